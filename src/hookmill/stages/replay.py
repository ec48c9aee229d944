"""Replay: which events of the past a handler is to be given again, and how they go. Pure.

The window would drop a raw record that is written again, and everybody would get what only one
asked for. So what is replayed are normalized events, into the queue of one handler.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from hookmill.core.event import Event, decode, type_pattern
from hookmill.core.record import Output, Record, with_headers
from hookmill.stages import headers
from hookmill.stages.letters import Place
from hookmill.stages.route import Rule


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: those of that time that the rules give the handler and that fit every field.

    `since_us` and `until_us` are epoch microseconds of the broker's append time in
    `events-normalized`, the second one excluded; an empty field takes everything.
    """

    handler: str
    since_us: int
    until_us: int
    types: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The same for the same wish: how far it came is kept under it."""
        said = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]
        return f"replay-{self.handler}-{said}"

    def takes(self, event: Event) -> bool:
        """Whether the event is meant, were it the handler's."""
        return (
            (not self.types or any(type_pattern(each).fullmatch(event.type) for each in self.types))
            and (not self.endpoints or event.endpoint in self.endpoints)
            and (not self.subjects or event.subject in self.subjects)
        )


def meant(record: Record, wish: Wish, rules: Sequence[Rule]) -> bool:
    """Whether this record of `events-normalized` is to go again, by the rules as they are now.

    One that is no event is not: route set it aside, and it is sent again from there.
    """
    try:
        event = decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    if not wish.takes(event):
        return False
    return any(wish.handler in rule.handlers and rule.matches(event) for rule in rules)


def again(record: Record, place: Place, to: str) -> Output:
    """The event for the handler's queue; it says where it was taken from."""
    added = [(headers.REPLAYED_FROM, str(place))]
    return Output(to, record.key, record.value, with_headers(record.headers, added))
