"""Makes the record that a part sets aside: the source as it was, plus why, where and when."""

from hookmill.core.record import Output, Record, with_headers
from hookmill.stages import headers

DETAIL_CHARS_MAX = 1_000


def dead_letter(
    record: Record, *, topic: str, part: str, reason: str, detail: str, attempt: int, at_us: int
) -> Output:
    """The dead letter of a record for `topic`; `at_us` is epoch microseconds."""
    return Output(
        topic,
        record.key,
        record.value,
        with_headers(
            record.headers,
            [
                (headers.ERROR_REASON, reason),
                (headers.ERROR_DETAIL, detail[:DETAIL_CHARS_MAX]),
                (headers.ERROR_STAGE, part),
                (headers.ERROR_TOPIC, record.topic),
                (headers.ERROR_PARTITION, str(record.partition)),
                (headers.ERROR_OFFSET, str(record.offset)),
                (headers.ERROR_AT, str(at_us)),
                (headers.ATTEMPT, str(attempt)),
            ],
        ),
    )
