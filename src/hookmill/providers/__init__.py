"""One file per payment provider: what it signs, how it names an event, what its words mean."""
