"""The program as the system tests have it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.program import Program


@pytest.fixture
def program(tmp_path: Path, broker_servers: list[str], namespace: str) -> Iterator[Program]:
    """The program, not started yet."""
    program = Program(tmp_path, broker_servers, namespace)
    yield program
    program.stop()
