"""`hookmill tail`: records of a topic as they come."""

import msgspec

from hookmill.cli.output import err, print_json
from hookmill.cli.setup import Setup
from hookmill.core.errors import HookmillError
from hookmill.core.record import Record
from hookmill.core.times import from_epoch_us
from hookmill.kafka.reader import reader

VALUE_CHARS_MAX = 400


async def run(
    setup: Setup, topic: str, *, from_start: bool, count: int | None, as_json: bool
) -> None:
    """Print until interrupted, or `count` records."""
    async with reader(setup.connection()) as source:
        name = setup.names.topic(topic)
        if not await source.partitions(name):
            name = topic
        if not await source.partitions(name):
            known = ", ".join(each.name for each in setup.topics())
            raise HookmillError(f"there is no topic '{topic}'; hookmill's are: {known}")
        err.print(f"{name}: waiting for records, Ctrl-C ends", markup=False)
        left = count
        async for record in source.follow(name, from_start=from_start):
            print_json(described(record)) if as_json else _print(record)
            left = None if left is None else left - 1
            if left == 0:
                return


def described(record: Record) -> dict[str, object]:
    """A record for people and programs; its value as JSON where it is JSON, else as text."""
    try:
        value: object = msgspec.json.decode(record.value) if record.value else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = record.value.decode("utf-8", "replace")
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time": from_epoch_us(record.timestamp_ms * 1000),
        "key": record.key.decode("utf-8", "replace"),
        "headers": {name: text.decode("utf-8", "replace") for name, text in record.headers},
        "value": value,
    }


def _print(record: Record) -> None:
    time = from_epoch_us(record.timestamp_ms * 1000)
    value = record.value.decode("utf-8", "replace")
    if len(value) > VALUE_CHARS_MAX:
        value = value[:VALUE_CHARS_MAX] + f"… ({len(record.value)} bytes)"
    key = record.key.decode("utf-8", "replace")
    print(f"{time}  {record.partition}:{record.offset}  {key}\n    {value!r}", flush=True)
