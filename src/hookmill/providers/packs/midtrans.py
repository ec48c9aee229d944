"""Midtrans' oddity: a notification of a refund lists every refund of the payment so far."""

from pathlib import Path
from typing import Any

from hookmill.core.parse import as_object
from hookmill.providers.declared import DeclaredPack
from hookmill.providers.loading import read


class Midtrans(DeclaredPack):
    """Midtrans by its declaration, which sees the refund that is told of as `/told_refund`."""

    def fields_of(self, fields: Any) -> Any:
        """The body, and beside its `refunds` the one that changed last."""
        told = told_refund(as_object(fields).get("refunds"))
        return {**as_object(fields), "told_refund": told}


def told_refund(refunds: object) -> dict[str, Any]:
    """The refund with the latest moment, of equals the last; an empty one where there is none.

    The moment is when the bank confirmed it, else when it was made: both as
    `2015-02-27 00:14:20`, so that the order of the texts is that of the times.
    """
    listed = [as_object(each) for each in refunds] if isinstance(refunds, list) else []
    return max(reversed(listed), key=_moment, default={})


def _moment(refund: dict[str, Any]) -> str:
    told = refund.get("bank_confirmed_at") or refund.get("created_at")
    return told if isinstance(told, str) else ""


PACK = Midtrans(read(Path(__file__).with_suffix(".toml")))
