"""The JSON Schema of the normalized events, kind by kind, made from the struct they are.

Keys that the schema does not name are allowed: a later release may add some.
"""

import inspect
from typing import Any

import msgspec

from hookmill.core.cloudevents import schema_id
from hookmill.core.event import SCHEMA_VERSION, STATUSES, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def event_schema(kind: str) -> dict[str, Any]:
    """The schema of the normalized events of one kind; raises KeyError if there is no such kind."""
    statuses = STATUSES[kind]
    schema = document(Event, schema_id(kind))
    event = schema["$defs"]["Event"]
    event["properties"]["kind"] = {"const": kind}
    event["properties"]["status"] = {"enum": list(statuses)}
    event["properties"]["type"] = {"enum": [f"{kind}.{status}" for status in statuses]}
    event["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    event["required"].append("schema_version")
    return schema


def document(type_: type[msgspec.Struct], id_: str) -> dict[str, Any]:
    """A struct's schema as a document of its own, with the structs it is made of in `$defs`."""
    (schema,), components = msgspec.json.schema_components([type_], ref_template="#/$defs/{name}")
    for component in components.values():
        if "description" in component:
            component["description"] = inspect.cleandoc(component["description"])
    return {"$schema": DIALECT, "$id": id_, **schema, "$defs": dict(components)}
