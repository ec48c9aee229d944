"""The pipeline as the tests of the history checker write it down."""

from hookmill.chaos.history import Link

RAW, UNIQUE, NORMALIZED = "webhooks-raw", "webhooks-unique", "events-normalized"


def links(kinds: tuple[str, ...], queues: tuple[str, ...]) -> tuple[Link, ...]:
    """Dedup, normalize, and a route to these topics and queues."""
    return (
        Link(
            name="dedup",
            group="g-dedup",
            reads=RAW,
            writes=(UNIQUE,),
            dead_letters="dedup-dlq",
            drops_duplicates=True,
        ),
        Link(
            name="normalize",
            group="g-normalize",
            reads=UNIQUE,
            writes=(NORMALIZED,),
            dead_letters="normalize-dlq",
        ),
        Link(
            name="route",
            group="g-route",
            reads=NORMALIZED,
            writes=kinds,
            dead_letters="route-dlq",
            every=queues,
        ),
    )
