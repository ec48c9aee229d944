"""The conformance kit: from a pack and its fixtures alone, hundreds of cases that it must pass."""
