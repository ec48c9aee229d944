"""What the service can say of itself: logs, metrics, health."""
