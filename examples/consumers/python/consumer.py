"""Reads a normalized topic: read_committed, each value checked, committed after the work."""

import json
import os
import signal
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message
from jsonschema import Draft202012Validator, ValidationError

Validators = dict[str, Draft202012Validator]

POLL_SECS = 0.2


def main() -> None:
    """Settings come from the environment; a signal or COUNT handled events end it."""
    validators = read_schemas(Path(os.environ.get("SCHEMAS", "../../../schemas")))
    count = int(os.environ.get("COUNT", "0"))
    database = open_database(os.environ.get("DATABASE", "billing.db"))
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_SERVERS", "localhost:9092"),
            "group.id": os.environ.get("GROUP", "billing"),
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            # offsets are committed in the background and at close, but only those of records
            # whose work is done: `store_offsets` below says so
            "enable.auto.offset.store": False,
        }
    )
    consumer.subscribe([os.environ.get("TOPIC", "events-payment")])
    stopping: list[int] = []
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, _: stopping.append(number))
    handled = 0
    try:
        while not stopping and (count == 0 or handled < count):
            message = consumer.poll(POLL_SECS)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            handled += handle(message, validators, database)
            consumer.store_offsets(message)
    finally:
        consumer.close()
        database.close()


def handle(message: Message, validators: Validators, database: sqlite3.Connection) -> bool:
    """Do the work for one record; False if there was none to do."""
    try:
        event = checked(message, validators)
    except ValueError as error:
        where = f"{message.topic()}/{message.partition()}@{message.offset()}"
        print(f"refused {where}: {error}", file=sys.stderr, flush=True)
        return False  # your service would keep it somewhere, for a person
    with database:  # the effect and the event's id are one transaction: both or neither
        if not book(database, event):
            print(f"seen before: {event['id']}", file=sys.stderr, flush=True)
            return False
    said = {
        "id": event["id"],
        "type": event["type"],
        "subject": event["subject"],
        "amount": in_words(event["amount"]),
        "partition": message.partition(),
        "offset": message.offset(),
    }
    print(json.dumps(said), flush=True)
    return True


def checked(message: Message, validators: Validators) -> dict[str, Any]:
    """The event in the record; raises ValueError if it is not what its headers and schema say."""
    headers = {name: (value or b"").decode() for name, value in message.headers() or []}
    validator = validators.get(headers.get("ce_dataschema", ""))
    if validator is None:
        raise ValueError(f"no schema here is called {headers.get('ce_dataschema')}")
    event = json.loads(message.value() or b"", parse_float=Decimal, parse_constant=no_number)
    try:
        validator.validate(event)
    except ValidationError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from None
    if (headers.get("ce_id"), headers.get("ce_type")) != (event["id"], f"hookmill.{event['type']}"):
        raise ValueError("ce_id and ce_type are not those of the value")
    return event


def no_number(word: str) -> None:
    """Python's json would take NaN and Infinity, which are no JSON."""
    raise ValueError(f"{word} is no JSON")


def read_schemas(folder: Path) -> Validators:
    """The validators of `event.*.schema.json` by their `$id`."""
    schemas = [json.loads(path.read_bytes()) for path in folder.glob("event.*.schema.json")]
    return {schema["$id"]: Draft202012Validator(schema) for schema in schemas}


def open_database(path: str) -> sqlite3.Connection:
    """Where this service keeps what it did, and for which events."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE IF NOT EXISTS booked (event TEXT PRIMARY KEY, amount TEXT)")
    return database


def book(database: sqlite3.Connection, event: dict[str, Any]) -> bool:
    """The effect; False if this event has had it."""
    row = (event["id"], in_words(event["amount"]))
    return database.execute("INSERT OR IGNORE INTO booked VALUES (?, ?)", row).rowcount == 1


def in_words(money: dict[str, Any] | None) -> str | None:
    """`9.00 ZAR` for 900 cents: whole numbers of any size, never a float."""
    if money is None:
        return None
    if money["exponent"] is None:
        return f"{money['minor']} minor units of {money['currency']}"
    minor, unit = int(money["minor"]), 10 ** money["exponent"]
    whole, rest = divmod(abs(minor), unit)
    decimals = f".{rest:0{money['exponent']}}" if money["exponent"] else ""
    return f"{'-' if minor < 0 else ''}{whole}{decimals} {money['currency']}"


if __name__ == "__main__":
    main()
