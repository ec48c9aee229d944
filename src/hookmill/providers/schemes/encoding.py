"""Signatures as text: hex in either case, base64 in its one spelling, and nothing else."""

import base64
import binascii
import re
from typing import Literal

Encoding = Literal["hex", "base64"]

_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def decoded(text: str, encoding: Encoding) -> bytes | None:
    """The bytes that the text stands for, None if it is no such text, or not in its one spelling.

    Padding left out, the other alphabet, spaces and stray bits at the end are not base64 here.
    """
    if not text.isascii():
        return None
    if encoding == "hex":
        return bytes.fromhex(text) if _HEX.fullmatch(text) else None
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None
    return raw if raw and binascii.b2a_base64(raw, newline=False) == text.encode() else None


def encoded(raw: bytes, encoding: Encoding) -> str:
    """The bytes as providers write them: hex in lower case, or base64 with its padding."""
    return raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()
