"""What finally does something with an event, and the runner that feeds it."""
