"""What the simulator tells: for each provider, the life of a payment in that provider's words."""
