"""The image, built and run as a cluster runs it: read-only, without rights, stopped by SIGTERM."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from hookmill import __version__
from support.manifests import ROOT

pytestmark = [
    pytest.mark.containers,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # docker's client leaves sockets open
]

TAG = "hookmill:test"
HEALTHY_SECS_MAX = 60
STOP_SECS = 45
CONFINED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "network_mode": "none",
}


@pytest.fixture(scope="module")
def client(engine: None) -> Iterator[docker.DockerClient]:
    """A client of the engine, with the image built."""
    with contextlib.closing(docker.from_env(timeout=600)) as found:
        found.images.build(path=str(ROOT), dockerfile="deploy/Dockerfile", tag=TAG, rm=True)
        yield found


def said(client: docker.DockerClient, *words: str, **options: Any) -> str:
    """What a container prints until its end; raises docker's error if that is not a good one."""
    return str(client.containers.run(TAG, list(words), remove=True, **CONFINED, **options).decode())


def test_every_role_is_in_it(client: docker.DockerClient) -> None:
    """The program is hookmill, of this version."""
    assert f"hookmill {__version__}" in said(client, "--version")
    for command in ("ingress", "stage", "handle", "topics"):
        assert "Usage" in said(client, command, "--help")


def test_it_is_nobody_and_builds_nothing(client: docker.DockerClient) -> None:
    """A user without a name to speak of; no pip, no compiler."""
    script = (
        "import importlib.util, os, shutil; print(os.getuid(), "
        "importlib.util.find_spec('pip'), importlib.util.find_spec('ensurepip'), "
        "[each for each in ('pip', 'gcc', 'cc', 'make') if shutil.which(each)])"
    )

    assert said(client, "-c", script, entrypoint="python").split("\n")[0] == "10001 None None []"


def test_it_is_healthy_and_drains_when_it_is_stopped(client: docker.DockerClient) -> None:
    """The ingress serves without Kafka; SIGTERM ends it with 0, before anybody kills it."""
    container = client.containers.run(
        TAG,
        ["ingress"],
        detach=True,
        environment={
            "HOOKMILL_ENDPOINTS__SHOP__PROVIDER": "rehive",
            "HOOKMILL_ENDPOINTS__SHOP__SECRETS": '[{"name": "a", "env": "SHOP"}]',
            "SHOP": "for-this-test-only",
        },
        healthcheck={"interval": 1_000_000_000},
        **CONFINED,
    )
    try:
        deadline = time.monotonic() + HEALTHY_SECS_MAX
        while container.attrs["State"].get("Health", {}).get("Status") != "healthy":
            assert time.monotonic() < deadline, container.logs().decode()
            time.sleep(0.2)
            container.reload()
        container.stop(timeout=STOP_SECS)

        assert container.wait()["StatusCode"] == 0, container.logs().decode()
    finally:
        container.remove(force=True, v=True)
