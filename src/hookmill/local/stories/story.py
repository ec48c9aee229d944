"""A story: the events of one business object in the order in which the provider makes them."""

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One event: its exact body, its stable message id, and the type that it must become.

    `headers` are those in which the provider says what it is, such as Shopify's topic.
    """

    body: bytes
    message_id: str
    becomes: str
    headers: dict[str, str] = {}


Story = tuple[Step, ...]
