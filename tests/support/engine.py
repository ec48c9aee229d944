"""A Docker engine, where one answers."""

import contextlib
import gc
import warnings

import docker
import pytest
from docker.errors import DockerException

PING_SECS_MAX = 3


def why_no_engine() -> str | None:
    """None where a Docker engine answers, else in a few words what came instead."""
    try:
        with contextlib.closing(docker.from_env(timeout=PING_SECS_MAX)) as client:
            client.ping()
    except (DockerException, OSError) as error:
        return f"{error}"[:200]
    return None


def skip_without_engine() -> None:
    """Skip the test at once, with the reason, where none answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        why = why_no_engine()
        gc.collect()  # docker forgets to close a socket that did not connect
    if why is not None:
        pytest.skip(f"no Docker engine answers: {why}")
