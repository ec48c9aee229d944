"""The one error of the local broker, in a place that all its modules can import."""


class BrokerError(Exception):
    """The local broker cannot do what was asked; the message says what to do about it."""
