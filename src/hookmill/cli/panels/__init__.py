"""The commands as `--help` shows them, panel by panel: options here, work in modules beside."""
