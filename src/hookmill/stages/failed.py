"""Makes the record of one that failed: set aside, or to be tried later. The source, plus why."""

from hookmill.core.record import Headers, Output, Record, with_headers
from hookmill.stages import headers

DETAIL_CHARS_MAX = 1_000
_POSITION = (headers.ERROR_TOPIC, headers.ERROR_PARTITION, headers.ERROR_OFFSET)


def dead_letter(
    record: Record, *, topic: str, part: str, reason: str, detail: str, attempt: int, at_us: int
) -> Output:
    """The dead letter of a record for `topic`; `at_us` is epoch microseconds."""
    why = _why(record, part, reason, detail, attempt, at_us)
    plain = tuple(pair for pair in why if pair[0] != headers.NOT_BEFORE)
    return Output(topic, record.key, record.value, plain)


def retry(
    record: Record,
    *,
    topic: str,
    part: str,
    reason: str,
    detail: str,
    attempt: int,
    at_us: int,
    not_before_ms: int,
) -> Output:
    """The record that waits in `topic` after its `attempt`-th failure; not before that epoch ms."""
    why = _why(record, part, reason, detail, attempt, at_us)
    waits = with_headers(why, [(headers.NOT_BEFORE, str(not_before_ms))])
    return Output(topic, record.key, record.value, waits)


def _why(record: Record, part: str, reason: str, detail: str, attempt: int, at_us: int) -> Headers:
    """A record that was tried before keeps the position in its queue, not in a retry topic."""
    place = [record.topic, str(record.partition), str(record.offset)]
    if record.header(headers.NOT_BEFORE) is not None:
        place = [record.header(name) or own for name, own in zip(_POSITION, place, strict=True)]
    return with_headers(
        record.headers,
        [
            (headers.ERROR_REASON, reason),
            (headers.ERROR_DETAIL, detail[:DETAIL_CHARS_MAX]),
            (headers.ERROR_STAGE, part),
            *zip(_POSITION, place, strict=True),
            (headers.ERROR_AT, str(at_us)),
            (headers.ATTEMPT, str(attempt)),
        ],
    )
