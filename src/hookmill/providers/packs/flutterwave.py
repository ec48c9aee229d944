"""Flutterwave's oddity: a transfer between two currencies does not say whose its amount is."""

from pathlib import Path

from msgspec.structs import replace

from hookmill.providers.declared import DeclaredPack, Told
from hookmill.providers.loading import read
from hookmill.providers.pack import Draft


class Flutterwave(DeclaredPack):
    """As `flutterwave.toml` says, but without an amount whose currency is a guess."""

    def rest(self, draft: Draft, told: Told) -> Draft:
        """A merchant may give a transfer's amount in either currency (v4's guide to transfers)."""
        source = told.source.text("/data/source_currency")
        destination = told.source.text("/data/destination_currency")
        if draft.kind == "transfer" and source and source != destination:
            return replace(draft, amount=None)
        return draft


PACK = Flutterwave(read(Path(__file__).with_suffix(".toml")))
