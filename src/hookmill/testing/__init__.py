"""For tests of a team's own handler: events, one call, or a whole life, and no Kafka.

`make_event` and `event_from` give events, `run` calls the handler once as production does, and
`deliver` plays its life with the real runner: retries, order, redeliveries and a crash, in a time
that costs none. `run_sync` and `deliver_sync` are the same for tests that are no coroutines.
"""

from hookmill.testing.calls import run, run_sync
from hookmill.testing.events import event_from, make_context, make_event
from hookmill.testing.life import Outcome, deliver, deliver_sync
from hookmill.testing.player import Attempt

__all__ = [
    "Attempt",
    "Outcome",
    "deliver",
    "deliver_sync",
    "event_from",
    "make_context",
    "make_event",
    "run",
    "run_sync",
]
