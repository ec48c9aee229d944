"""The files of `schemas/`, made from the code: the events by kind, and the configuration."""

import json

from hookmill.config.schema import configuration_schema
from hookmill.core.event import STATUSES
from hookmill.core.schema import event_schema


def exports() -> dict[str, bytes]:
    """Every file by its path from the repository's root, with its exact bytes."""
    schemas = {f"event.{kind}": event_schema(kind) for kind in STATUSES}
    schemas["configuration"] = configuration_schema()
    return {
        f"schemas/{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False).encode()
        + b"\n"
        for name, schema in schemas.items()
    }
