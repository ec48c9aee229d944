"""Keys and ids: made the same way for ever, and never the same for two things."""

import hashlib
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookmill.core.ids import (
    body_hash,
    bounded,
    normalized_id,
    resource_key,
    subject_key,
    uuid7,
    uuid7_epoch_ms,
)

WIRE_TEXT = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
"""Header values as they come by HTTP: bytes that are no UTF-8 are surrogates."""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("evt_1", "evt_1"),
        ("", ""),
        ("a|b", "a%7Cb"),
        ("a%7Cb", "a%257Cb"),
        ("100%", "100%25"),
        ("ü", "ü"),
        ("a" * 256, "a" * 256),
    ],
)
def test_bounded_escapes_only_what_separates(text: str, key: str) -> None:
    """An id stays readable, and a bar in it separates nothing."""
    assert key == bounded(text)


def test_bounded_counts_bytes_not_characters() -> None:
    """256 bytes stay; one more becomes a hash."""
    long_text = "ü" * 129
    found = bounded(long_text)

    assert bounded("ü" * 128) == "ü" * 128
    assert found == "sha256:" + hashlib.sha256(long_text.encode()).hexdigest()
    assert len(found) == 71


@given(WIRE_TEXT, WIRE_TEXT)
@example("a|b", "a%7Cb")
@example("\udc80", "\\udc80")
def test_two_ids_never_make_one_key(one: str, other: str) -> None:
    """Escaping loses nothing, whatever bytes an id was sent as."""
    assert (bounded(one) == bounded(other)) == (one == other)


@given(st.text(), st.text())
def test_a_key_has_one_separator(endpoint_part: str, subject: str) -> None:
    """The subject never reaches into another part of the key."""
    key = subject_key("shop", endpoint_part + subject)

    assert key.startswith(b"shop|")
    assert key.count(b"|") == 1


def test_the_subject_key_is_endpoint_and_subject() -> None:
    """What one provider's endpoint calls 1 is not what another's does."""
    assert subject_key("shop-za", "p_1") == b"shop-za|p_1"
    assert subject_key("shop-ng", "p_1") == b"shop-ng|p_1"


def test_the_resource_key_keeps_mode_and_kind_apart() -> None:
    """A test payment never touches a live one of the same id."""
    assert resource_key("shop", "live", "payment", "p|1") == b"shop|live|payment|p%7C1"


def test_the_body_hash_is_sha256_in_hex() -> None:
    """The known hash of the empty body, and of one byte more."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert empty == body_hash(b"")
    assert body_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_normalized_id_is_the_same_for_ever() -> None:
    """A changed id would make every handler do everything again."""
    assert normalized_id(b"abc") == "hm_ba7816bf8f01cfea414140de5dae2223"
    assert normalized_id(b"shop|evt_1|payment.succeeded") == "hm_1945db2841c96c02ace6cdc682858df1"


def test_uuid7_is_the_standards_own_example() -> None:
    """RFC 9562, appendix A.6, but for the twelve bits that hold our microseconds."""
    made = uuid7(1_645_557_742_000_000, (0x18C4DC0C0C07398F).to_bytes(8, "big"))

    assert made == "017f22e2-79b0-7000-98c4-dc0c0c07398f"


@given(st.integers(0, 2**48 * 1000 - 1), st.binary(min_size=8, max_size=8))
def test_uuid7_is_valid_and_tells_its_time(epoch_us: int, random: bytes) -> None:
    """Version, variant and milliseconds are where every UUID library looks for them."""
    text = uuid7(epoch_us, random)
    parsed = uuid.UUID(text)

    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert epoch_us // 1000 == uuid7_epoch_ms(text)


@given(st.integers(0, 2**47 * 1000), st.integers(1, 10**9), st.binary(min_size=8, max_size=8))
def test_uuid7_sorts_by_its_microseconds(epoch_us: int, later_us: int, random: bytes) -> None:
    """A later delivery has a greater id, whatever the random part."""
    assert uuid7(epoch_us, b"\xff" * 8) < uuid7(epoch_us + later_us, random)


@pytest.mark.parametrize(
    "text",
    ["", "no uuid", "evt_1EAwK8Mjy2DT38WIWntiZWxm", "9f1c2d3e-4b5a-4c6d-8e7f-0a1b2c3d4e5f"],
)
def test_another_id_tells_no_time(text: str) -> None:
    """Only version 7 carries one; version 4 and a provider's id do not."""
    assert uuid7_epoch_ms(text) is None
