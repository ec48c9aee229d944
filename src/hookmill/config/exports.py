"""The files of `schemas/`, made from the code: the events by kind, and the configuration."""

import json
from typing import Any

import msgspec

from hookmill.config.options import Configuration
from hookmill.core.cloudevents import schema_id
from hookmill.core.event import SCHEMA_VERSION, STATUSES, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def exports() -> dict[str, bytes]:
    """Every file by its path from the repository's root, with its exact bytes."""
    schemas = {f"event.{kind}": event_schema(kind) for kind in STATUSES}
    schemas["configuration"] = configuration_schema()
    return {
        f"schemas/{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False).encode()
        + b"\n"
        for name, schema in schemas.items()
    }


def event_schema(kind: str) -> dict[str, Any]:
    """The schema of the normalized events of one kind."""
    schema, components = _schema_of(Event)
    event = components["Event"]
    event["properties"]["kind"] = {"const": kind}
    event["properties"]["status"] = {"enum": list(STATUSES[kind])}
    event["properties"]["type"] = {"enum": [f"{kind}.{status}" for status in STATUSES[kind]]}
    event["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    event["required"].append("schema_version")
    return {"$schema": DIALECT, "$id": schema_id(kind), **schema, "$defs": components}


def configuration_schema() -> dict[str, Any]:
    """The schema of hookmill.toml."""
    schema, components = _schema_of(Configuration)
    return {
        "$schema": DIALECT,
        "$id": "urn:hookmill:schema:configuration",
        **schema,
        "$defs": components,
    }


def _schema_of(type_: type) -> tuple[dict[str, Any], dict[str, Any]]:
    (schema,), components = msgspec.json.schema_components([type_], ref_template="#/$defs/{name}")
    return schema, dict(components)
