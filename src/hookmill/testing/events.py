"""Events and contexts as production hands them over, made from what a test wants to say."""

import hashlib
from datetime import datetime
from typing import Any, get_args

import msgspec

from hookmill.config.shape import nearest
from hookmill.core.errors import UnparseableBody
from hookmill.core.event import (
    STATUSES,
    Event,
    Failure,
    Kind,
    Links,
    ProviderEvent,
    Raw,
    Resource,
    decode,
    encode,
)
from hookmill.core.ids import bounded, normalized_id, uuid7
from hookmill.core.parse import exact_number, parse_object
from hookmill.core.times import from_epoch_us, from_rfc3339
from hookmill.handlers.api import Context
from hookmill.pipeline import RAW, HandlerTopics
from hookmill.telemetry.logs import bound

HANDLER = "tested"
TIMEOUT_SECS = 5.0
CURRENCY, EXPONENT = "ZAR", 2
EPOCH_US = 1_795_424_400_000_000
"""When the events of tests are received: 2026-11-23T09:00:00Z, and a second later for each
number."""

TYPES = tuple(f"{kind}.{status}" for kind, several in STATUSES.items() for status in several)

_FIELDS = msgspec.structs.fields(Event)
_NAMES = [each.name for each in _FIELDS]
_NESTED: dict[str, type[msgspec.Struct]] = {
    "resource": Resource,
    "links": Links,
    "failure": Failure,
    "provider_event": ProviderEvent,
    "raw": Raw,
}
_MONEY = ("amount", "amount_paid", "amount_refunded")
_TIMES = ("occurred_at", "received_at")
_PREFIXES = {
    "payment": "p", "refund": "rfd", "transfer": "po", "subscription": "sub", "dispute": "dp",
}  # fmt: skip
_DIRECTIONS = {"overpaid": "over", "underpaid": "under"}
_FURTHER = {
    "payment": "succeeded", "refund": "succeeded", "transfer": "succeeded",
    "subscription": "cancelled", "dispute": "won",
}  # fmt: skip


def make_event(
    number: int = 1, *, currency: str | None = None, exponent: int | None = None, **changes: Any
) -> Event:
    """A valid event, by default a payment of 9.00 rand that succeeded; `changes` are its fields.

    Events of different numbers are different events of different subjects. Those of one number
    and different types are of one payment: `make_event(7, type="payment.created")`, then
    `make_event(7)`. Ids depend on nothing but what is given.

    `type` sets kind and status, and the other way round. `amount`, `amount_paid` and
    `amount_refunded` may be digits in minor units, of `currency` ("ZAR") with `exponent` (2)
    decimals. `links`, `resource`, `failure`, `provider_event` and `raw` take a dict of what is to
    differ. Times may be aware datetimes or RFC 3339. Raises TypeError for a name that no event
    has, and ValueError for what contradicts itself or is no value of its field.
    """
    _refuse_unknown(changes, [*_NAMES, "currency", "exponent"], "an event")
    if number < 0:
        raise ValueError(f"number is a count from 0, not {number}")
    kind, status = _kind_and_status(changes)
    fields = _defaults(number, kind, status, changes)
    for name, value in changes.items():
        fields[name] = _field(name, value, fields[name])
    _fill(fields, currency, exponent)
    return _checked(fields)


def event_from(record: bytes | str) -> Event:
    """The event in a record's value, as it is in `events-*` or in a handler's queue.

    A line of `hookmill tail TOPIC --json` will do as well. Raises ValueError for anything else.
    """
    value = record.encode() if isinstance(record, str) else record
    try:
        whole = parse_object(value)
        if isinstance(whole.get("value"), dict) and "topic" in whole:
            value = msgspec.json.encode(whole["value"], enc_hook=exact_number)
        return _consistent(decode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, UnparseableBody) as error:
        raise ValueError(f"no event: {error}") from None


def make_context(event: Event | None = None, **changes: Any) -> Context:
    """What a handler is handed beside `event` (by default `make_event()`); `changes` are fields.

    Raises TypeError for a name that no context has, ValueError for a value it cannot have.
    """
    event = make_event() if event is None else event
    _refuse_unknown(changes, [each.name for each in msgspec.structs.fields(Context)], "a context")
    handler = changes.get("handler", HANDLER)
    delivery = changes.get("delivery", delivery_of(event))
    fields = {
        "handler": handler,
        "attempt": 1,
        "deadline_secs": TIMEOUT_SECS,
        "idempotency_key": event.id,
        "delivery": delivery,
        "topic": HandlerTopics(handler).queue,
        "partition": event.raw.partition,
        "offset": event.raw.offset,
        "log": bound(handler=handler, event_id=event.id, type=event.type, delivery=delivery),
        **changes,
    }
    if fields["idempotency_key"] != event.id:
        raise ValueError(f"the idempotency key is always the event's id, {event.id}")
    if fields["attempt"] < 1 or fields["deadline_secs"] <= 0:
        raise ValueError("attempts count from 1, and a deadline is longer than 0 s")
    return Context(**fields)


def delivery_of(event: Event) -> str:
    """The id of the delivery that the event came in: made of when it was received, and its id."""
    received = datetime.fromisoformat(event.received_at)
    chance = hashlib.sha256(event.id.encode()).digest()[:8]
    return uuid7(int(received.timestamp()) * 1_000_000 + received.microsecond, chance)


def _refuse_unknown(changes: dict[str, Any], known: list[str], what: str) -> None:
    for name in changes:
        if name not in known:
            raise TypeError(f"{what} has no '{name}'{nearest(name, known)}")


def _kind_and_status(changes: dict[str, Any]) -> tuple[str, str]:
    """What `type`, `kind` and `status` say together; the kind's usual end where only it is said."""
    type_ = changes.get("type")
    if type_ is not None and type_ not in TYPES:
        raise ValueError(f"no event has the type '{type_}'{nearest(str(type_), list(TYPES))}")
    said = type_.split(".") if type_ else (None, None)
    kind = changes.get("kind", said[0] or "payment")
    if kind not in get_args(Kind):
        raise ValueError(
            f"no event has the kind '{kind}'{nearest(str(kind), list(get_args(Kind)))}"
        )
    usual = "succeeded" if "succeeded" in STATUSES[kind] else STATUSES[kind][0]
    status = changes.get("status", said[1] or usual)
    if status not in STATUSES[kind]:
        known = nearest(str(status), list(STATUSES[kind]))
        raise ValueError(f"a {kind} has no status '{status}'{known}")
    if type_ is not None and type_ != f"{kind}.{status}":
        raise ValueError(f"type '{type_}' contradicts kind '{kind}' and status '{status}'")
    return kind, status


def _defaults(number: int, kind: str, status: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Every field as plain data; ids come of the number and, where one is said, the subject."""
    own = f"{_PREFIXES[kind]}_{number:024d}" if kind != "other" else None
    about_payment = kind in ("payment", "refund", "dispute")
    subject = changes.get("subject", f"p_{number:024d}" if about_payment else own)
    own = subject if kind == "payment" else own
    source = f"{number}|{subject}" if "subject" in changes else str(number)
    told = f"evt_{hashlib.sha256(source.encode()).hexdigest()[:24]}"
    late = bool(changes.get("late", False))
    links: dict[str, Any] = {"payment": subject} if about_payment else {}
    if kind in ("refund", "subscription"):
        links[kind] = own
    received_us = EPOCH_US + number * 1_000_000
    fields = {
        "type": f"{kind}.{status}", "kind": kind, "status": status,
        "endpoint": "shop", "provider": "yoco", "mode": "live",
        "occurred_at": from_epoch_us(received_us - 500_000),
        "received_at": from_epoch_us(received_us),
        "subject": subject,
        "resource": own and {
            "kind": kind, "id": own, "status": _FURTHER[kind] if late else status,
            "version": 2 if late else 1, "conflict": False,
        },
        "amount": None if own is None else "900", "amount_paid": None, "amount_refunded": None,
        "discrepancy": _DIRECTIONS.get(status) and {
            "direction": _DIRECTIONS[status], "amount": None,
        },
        "links": links, "failure": None, "metadata": {},
        "provider_event": {"id": told, "type": f"{kind}.{status}", "status": status},
        "late": late,
        "raw": {"topic": RAW, "partition": 0, "offset": number,
                "sha256": hashlib.sha256(told.encode()).hexdigest()},
        "schema_version": 1,
    }  # fmt: skip
    return {"id": None, **fields}


def _field(name: str, value: Any, default: Any) -> Any:
    """What the field becomes: tables are laid over the default, times made ours."""
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if name in _NESTED and isinstance(value, dict):
        known = [each.name for each in msgspec.structs.fields(_NESTED[name])]
        _refuse_unknown(value, known, f"{name} of an event")
        return {**(default or {}), **value}
    if name in _TIMES and value is not None:
        aware = isinstance(value, datetime) and value.tzinfo is not None
        found = from_rfc3339(value.isoformat() if aware else value)
        if found is None:
            raise ValueError(f"{name} is RFC 3339 or a datetime with a time zone, not {value!r}")
        return found
    return value


def _money(name: str, value: Any, currency: str | None, exponent: int | None) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        return {
            "minor": value,
            "currency": currency or CURRENCY,
            "exponent": EXPONENT if exponent is None else exponent,
        }
    if isinstance(value, dict):
        for key, said in (("currency", currency), ("exponent", exponent)):
            if said is not None and value.get(key) != said:
                raise ValueError(f"{name} has {key} {value.get(key)!r}, and {said!r} is said too")
    elif value is not None:
        raise ValueError(f"{name} is minor units in digits, '900' for 9.00 rand, not {value!r}")
    return value


def _fill(fields: dict[str, Any], currency: str | None, exponent: int | None) -> None:
    """Money in full, and what follows from other fields: the id, the provider's figure."""
    for name in _MONEY:
        fields[name] = _money(name, fields[name], currency, exponent)
    gap = fields["discrepancy"]
    if isinstance(gap, dict):
        amount = _money("discrepancy.amount", gap.get("amount"), currency, exponent)
        fields["discrepancy"] = {**gap, "amount": amount}
    if (currency or exponent is not None) and not any(fields[name] for name in _MONEY):
        raise ValueError("a currency or an exponent is said, and no amount")
    told = fields["provider_event"]
    if isinstance(told, dict):
        told.setdefault("amount", fields["amount"] and fields["amount"].get("minor"))
    if fields["id"] is None and isinstance(told, dict):
        source = bounded(str(told["id"] or fields["received_at"]))
        fields["id"] = normalized_id(f"{fields['endpoint']}|{source}|{told['type']}".encode())


def _checked(fields: dict[str, Any]) -> Event:
    """The event as a handler would read it out of Kafka: by way of its JSON."""
    try:
        event = decode(encode(msgspec.convert(fields, Event)))
    except (msgspec.MsgspecError, NotImplementedError, RecursionError) as error:
        raise ValueError(f"no event: {error}") from None
    direction = _DIRECTIONS.get(event.status)
    if direction and event.discrepancy and event.discrepancy.direction != direction:
        raise ValueError(f"an {event.status} payment is not '{event.discrepancy.direction}'")
    return _consistent(event)


def _consistent(event: Event) -> Event:
    _kind_and_status({"type": event.type, "kind": event.kind, "status": event.status})
    if event.late and event.resource is None:
        raise ValueError("late is said of a resource, and there is none")
    return event
