"""docker-compose.yml and its configuration, held to the code that they start."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hookmill.cli.main import app
from hookmill.cli.setup import Setup, load_setup
from hookmill.local import jars
from hookmill.pipeline import STAGES

ROOT = Path(__file__).parents[2]
CONFIGURATION = "./deploy/compose/hookmill.toml"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "kafka"}
RUNNING = {name: service for name, service in OURS.items() if name != "topics"}


@pytest.fixture(scope="module")
def setup() -> Setup:
    """The configuration that the containers get."""
    return load_setup(ROOT / CONFIGURATION)


def options_of(service: dict[str, Any]) -> dict[str, Any]:
    """The options of a service's command; raises the option parser's error if it is none."""
    command: Any = typer.main.get_command(app)
    arguments = list(service["command"])
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    options: dict[str, Any] = command.make_context("hookmill", arguments).params
    return options


def secs(text: str) -> int:
    """A duration in whole seconds, the only unit that the file uses."""
    return int(text.removesuffix("s"))


def test_each_stage_and_handler_of_the_configuration_has_a_service(setup: Setup) -> None:
    """Nothing that the configuration names is without its process, and no process is idle."""
    expected = {
        "topics": ["topics", "apply"],
        "ingress": ["ingress"],
        **{name: ["stage", name] for name in STAGES},
        **{f"handler-{name}": ["handle", name] for name in setup.config.handlers},
    }

    found = {name: service["command"][: len(expected[name])] for name, service in OURS.items()}
    assert expected == found


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_that_hookmill_has(name: str) -> None:
    """The command's own option parser takes the arguments."""
    options = options_of(OURS[name])

    assert isinstance(options, dict)


@pytest.mark.parametrize("name", RUNNING)
def test_each_process_is_asked_at_the_private_port_that_it_serves(name: str, setup: Setup) -> None:
    """The port of the health check is the command's, which every interface of the container has."""
    service = RUNNING[name]
    port = options_of(service).get("admin_port", setup.config.ingress.admin_port)

    assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
    assert service["environment"]["HOOKMILL_INGRESS__ADMIN_HOST"] == "0.0.0.0"


def test_members_and_their_state_outlive_their_containers(setup: Setup) -> None:
    """A member's host, instance and state volume stay the same, and are nobody else's."""
    volumes = {name: service["volumes"][-1] for name, service in RUNNING.items()}

    assert {name: name for name in RUNNING} == {n: s["hostname"] for n, s in RUNNING.items()}
    assert {name: f"{name}-state:{setup.config.local.dir}" for name in RUNNING} == volumes
    assert {volume.split(":")[0] for volume in volumes.values()} <= set(COMPOSE["volumes"])
    assert all(options_of(RUNNING[name])["instance"] for name in RUNNING if name != "ingress")


def test_every_process_has_the_same_configuration() -> None:
    """It is mounted, read-only, where HOOKMILL_CONFIG says."""
    for service in OURS.values():
        path = service["environment"]["HOOKMILL_CONFIG"]

        assert f"{CONFIGURATION}:{path}:ro" in service["volumes"]


def test_the_four_seed_providers_have_an_endpoint(setup: Setup) -> None:
    """One each; a secret without a value stops compose, and only the ingress is told any."""
    providers = {endpoint.pack.name for endpoint in setup.endpoints.values()}
    secrets = {source.env for each in setup.config.endpoints.values() for source in each.secrets}
    told = {
        name: value
        for service in SERVICES.values()
        for name, value in service["environment"].items()
        if name in secrets
    }

    assert {"rehive", "echezona", "pay3", "yoco"} <= providers
    assert secrets == set(told) <= set(SERVICES["ingress"]["environment"])
    assert all(f"${{{name}:?set {name} " in value for name, value in told.items())
    assert not any(
        secrets & set(SERVICES[name]["environment"]) for name in SERVICES.keys() - {"ingress"}
    )


def test_a_process_gets_the_time_to_drain(setup: Setup) -> None:
    """Docker kills later than the ingress gives up on what is in flight."""
    drain_secs = setup.config.ingress.drain_timeout_secs

    assert all(drain_secs < secs(service["stop_grace_period"]) for service in RUNNING.values())


def test_processes_wait_for_their_topics() -> None:
    """First Kafka is healthy, then the topics are made, then everything else starts."""
    expected = {"topics": {"condition": "service_completed_successfully"}}

    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert all(service["depends_on"] == expected for service in RUNNING.values())


def test_only_this_machine_reaches_the_published_ports(setup: Setup) -> None:
    """Two are published, on the loopback address; private ports are not."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    inside = {int(port.rsplit(":", 1)[1]) for port in published}

    assert all(port.startswith("127.0.0.1:") for port in published)
    assert {setup.config.ingress.port, 9092} == inside


def test_the_container_runs_the_kafka_of_the_local_broker() -> None:
    """One version: the image's, pom.xml's and that of the code that fetches the jars."""
    pom = ElementTree.parse(jars.POM).getroot()
    version = next(each.text for each in pom.iter() if each.tag.endswith("}kafka.version"))

    assert f"apache/kafka:{version}" == SERVICES["kafka"]["image"]
    assert version == jars.KAFKA_VERSION


def test_one_node_promises_no_more_than_one_copy(setup: Setup) -> None:
    """Replication of our topics and of Kafka's own is what the one node can give."""
    kafka = SERVICES["kafka"]["environment"]
    copies = {name: value for name, value in kafka.items() if "REPLICATION_FACTOR" in name}

    assert setup.config.kafka.replication_factor == 1
    assert set(copies.values()) == {"1"}
    assert set(setup.config.kafka.bootstrap_servers) == {
        address.removeprefix("INSIDE://")
        for address in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
        if address.startswith("INSIDE://")
    }


def test_every_image_of_ours_is_built_from_the_one_dockerfile() -> None:
    """It ends as an ordinary user, with hookmill as its program and SIGTERM to stop it."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    user = next(line for line in reversed(lines) if line.startswith("USER "))

    assert {service["build"]["dockerfile"] for service in OURS.values()} == {"deploy/Dockerfile"}
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", user)
    assert {'ENTRYPOINT ["hookmill"]', "STOPSIGNAL SIGTERM"} <= set(lines)
