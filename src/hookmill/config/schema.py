"""The JSON Schema of hookmill.toml, for editors: every option with what options.py says of it."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from hookmill.config import options
from hookmill.core.schema import document

ID = "urn:hookmill:schema:configuration"


def configuration_schema() -> dict[str, Any]:
    """The schema of hookmill.toml; raises OSError where hookmill's own source is not installed."""
    schema = document(options.Configuration, ID)
    for section, option, text in _descriptions():
        if section in schema["$defs"]:
            schema["$defs"][section]["properties"][option]["description"] = text
    return schema


def _descriptions() -> Iterator[tuple[str, str, str]]:
    """Section, option and the text below it, which Python itself does not keep."""
    for section in ast.parse(inspect.getsource(options)).body:
        if isinstance(section, ast.ClassDef):
            for above, below in pairwise(section.body):
                match above, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=option)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        yield section.name, option, inspect.cleandoc(text)
