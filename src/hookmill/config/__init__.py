"""Every option, and how a configuration is read."""
