"""`hookmill leave`: what a scale-down says of a member with a stable name that will not return."""

import socket

from hookmill.cli.setup import Setup
from hookmill.cli.stage import static_id
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.kafka.leaving import take_out
from hookmill.pipeline import STAGES, HandlerTopics


async def run(setup: Setup, part: str, instance: str, host: str | None) -> str:
    """Take it out of its group; what was done, for people.

    Raises ConfigurationError for a part that is not there, HookmillError for no such member.
    """
    if part in STAGES:
        group = setup.names.group(part)
    elif part in setup.config.handlers:
        group = setup.names.group(HandlerTopics(part).part)
    else:
        known = ", ".join([*STAGES, *sorted(setup.config.handlers)])
        raise ConfigurationError(f"no stage or handler is called '{part}'; there are: {known}")
    member = static_id(group, instance, host=host)
    assert member is not None
    if not await take_out(setup.connection(), group, member):
        raise HookmillError(
            f"{group} has no member {member}: it left or timed out before, or ran on another "
            f"machine than {host or socket.gethostname()} (--host)"
        )
    return f"{member} has left {group}; its partitions go to the others"
