"""The pure decisions on the way: accept, dedup, normalize, route."""
