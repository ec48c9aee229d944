"""hookmill: the front door for payment webhooks."""

__version__ = "0.1.0"
