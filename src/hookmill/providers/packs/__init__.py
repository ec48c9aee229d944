"""The packs that are data: a TOML file each; beside it a module where a provider has an oddity."""
