"""The HTTP front: from a provider's request to the answer that its events are kept."""
