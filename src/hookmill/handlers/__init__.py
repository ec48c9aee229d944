"""What finally does something with an event, and the runner that feeds it.

A team's own handler is a function; these names are all that it needs.
"""

from hookmill.core.event import Event
from hookmill.core.outcome import DeadLetter, Retry
from hookmill.handlers.api import Answer, Context

__all__ = ["Answer", "Context", "DeadLetter", "Event", "Retry"]
