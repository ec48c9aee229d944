"""What runs on one machine without any other service: the embedded broker."""
