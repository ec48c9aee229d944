"""Reads amounts exactly: in minor or major units, as numbers or as text; never through a float."""

import re
from collections.abc import Callable
from typing import Any, Literal

from hookmill.core.money import Money, whole_units
from hookmill.core.parse import Number, figure_text

Unit = Literal["minor", "major"]

_HUNDREDTHS = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL
HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP
MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD
SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS
VED VES WST XCD YER ZAR ZMW ZWG
"""
# How many digits of ISO 4217's currencies are decimals (list one, amendment 177).
_EXPONENTS = {
    **dict.fromkeys(_HUNDREDTHS.split(), 2),
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI",
         "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip

_FIGURE = re.compile(r"([0-9]{1,60}(?:\.[0-9]{1,60})?)(?:[eE]([+-]?[0-9]{1,3}))?")
_FIGURE_IN_TEXT = re.compile(r"[0-9]{1,60}(?:\.[0-9]{1,60})?")


def exponent_of(currency: str) -> int | None:
    """How many digits of that currency are decimals by ISO 4217; None for what it does not list."""
    return _EXPONENTS.get(currency)


def money(
    figure: Any,
    currency: str | None,
    unit: Unit,
    *,
    exponent: Callable[[str], int | None],
    as_text: bool,
) -> Money | None:
    """The amount; None where it is negative, no figure, or has digits below the minor unit.

    A figure in major units needs a currency whose decimals are known. `as_text`: whether the
    provider writes figures as strings too.
    """
    if not currency:
        return None
    code = currency.upper()
    places = exponent(code)
    if unit == "major" and places is None:
        return None
    minor = shifted(figure, places or 0 if unit == "major" else 0, as_text=as_text)
    return None if minor is None else Money(str(minor), code, places)


def shifted(figure: Any, places: int, *, as_text: bool = True) -> int | None:
    """The figure times ten to the power of `places`, if that is whole and not negative."""
    if type(figure) is int and places >= 0:
        return whole_units(figure * 10**places if places else figure)
    if isinstance(figure, str) and not (as_text and _FIGURE_IN_TEXT.fullmatch(figure)):
        return None
    match = _FIGURE.fullmatch(figure_text(figure) or "")
    if match is None:
        return None
    digits, exponent = match.groups()
    return whole_units(Number(f"{digits}e{int(exponent or 0) + places}"))
