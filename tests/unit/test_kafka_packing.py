"""What a transaction writes is packed into batches as it comes."""

from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from hookmill.core.record import Output, size_of
from hookmill.kafka.packing import Packed

PRODUCER = (7, 3)
BATCH_AND_RECORD_BYTES = 61 + 30
"""What stands before a batch's records (Kafka's message format 2), and before a record's texts."""


def packed(*, batch_bytes_max: int = 1_000) -> Packed:
    """An empty one of small batches."""
    return Packed(PRODUCER, batch_bytes_max=batch_bytes_max)


def unpacked(pack: Packed) -> dict[str, list[tuple[int, list[Output]]]]:
    """By topic: each batch's first sequence number, and its records as a client reads them."""
    found: dict[str, list[tuple[int, list[Output]]]] = {}
    for topic, batches in pack.batches():
        for each in batches:
            batch = MemoryRecords(bytes(each.data)).next_batch()
            assert batch is not None
            assert batch.validate_crc()
            assert (batch.producer_id, batch.producer_epoch) == PRODUCER
            assert batch.is_transactional
            records = [
                Output(topic, record.key, record.value, tuple(record.headers)) for record in batch
            ]
            assert len(records) == each.count
            found.setdefault(topic, []).append((batch.base_sequence, records))
    return found


def test_every_output_is_there_in_the_order_of_its_topic() -> None:
    """However they are mixed and in how many pieces they come; a deletion has no value."""
    pack = packed()
    outputs = [
        Output("a", b"1", b"x", (("h", b"v"),)),
        Output("b", b"2", None),
        Output("a", b"3", b"z"),
    ]
    pack.add(outputs[:1])
    pack.add(iter(outputs[1:]))

    assert unpacked(pack) == {"a": [(0, [outputs[0], outputs[2]])], "b": [(0, [outputs[1]])]}


def test_a_batch_that_is_full_is_followed_by_another() -> None:
    """Sequence numbers are the places in the transaction; what alone is too large stays alone."""
    pack = packed()
    outputs = [Output("a", b"%d" % number, b"v" * 90) for number in range(40)]
    large = Output("a", b"large", b"v" * 3_000)
    pack.add([*outputs, large, *outputs])
    found = unpacked(pack)["a"]

    assert [each for _, records in found for each in records] == [*outputs, large, *outputs]
    assert [begin for begin, _ in found] == [
        sum(len(records) for _, records in found[:number]) for number in range(len(found))
    ]
    assert [large] in [records for _, records in found]


def test_nothing_packed_is_no_batch() -> None:
    """A transaction that only moves an offset."""
    assert unpacked(packed()) == {}


@given(
    st.binary(max_size=50),
    st.none() | st.binary(max_size=200),
    st.lists(st.tuples(st.text(max_size=40), st.binary(max_size=200)), max_size=30),
)
def test_what_an_output_takes_is_not_counted_too_low(
    key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    """A topic that takes as much as was counted takes its batch."""
    output = Output("a", key, value, tuple(headers))
    pack = packed()
    pack.add([output])
    [(_, [batch])] = pack.batches()

    assert len(batch.data) <= size_of(output) + BATCH_AND_RECORD_BYTES
