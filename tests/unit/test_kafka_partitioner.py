"""A key lies where Kafka's own partitioner would put it: producers in any language agree."""

from aiokafka.partitioner import murmur2 as plain
from hypothesis import given
from hypothesis import strategies as st

from hookmill.kafka.partitioner import murmur2, partition_of


@given(st.binary(max_size=300))
def test_every_key_has_the_hash_that_it_has_elsewhere(key: bytes) -> None:
    """Of any length, so that every tail is met."""
    assert murmur2(key) == plain(key) & 0xFFFFFFFF


def test_published_hashes() -> None:
    """Those of Kafka's own test, UtilsTest.testMurmur2."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}

    assert {key: murmur2(key) for key in known} == {k: v & 0xFFFFFFFF for k, v in known.items()}


@given(st.binary(max_size=50), st.integers(1, 100))
def test_a_partition_is_one_of_them(key: bytes, partitions: int) -> None:
    """Never a negative one."""
    assert 0 <= partition_of(key, partitions) < partitions
