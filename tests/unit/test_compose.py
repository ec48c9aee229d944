"""docker-compose.yml and its configuration, held to the code that they start."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hookmill.cli.main import application
from hookmill.cli.setup import Setup, load_setup
from hookmill.local import jars
from hookmill.pipeline import STAGES

ROOT = Path(__file__).parents[2]
CONFIGURATION = "./deploy/compose/hookmill.toml"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BROKERS = {name: service for name, service in SERVICES.items() if name.startswith("kafka")}
OURS = {name: service for name, service in SERVICES.items() if name not in BROKERS}
OBSERVING: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/observability.yml").read_text())
THREE = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy/compose/three-brokers.env").read_text().splitlines()
    if not line.startswith("#")
)
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
RUNNING = {name: service for name, service in OURS.items() if name != "topics"}


@pytest.fixture(scope="module")
def setup() -> Setup:
    """The configuration that the containers get."""
    return load_setup(ROOT / CONFIGURATION)


def options_of(service: dict[str, Any]) -> dict[str, Any]:
    """The options of a service's command; raises the option parser's error if it is none."""
    command: Any = typer.main.get_command(application())
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
        "monitor": ["monitor"],
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

    assert service["environment"]["HOOKMILL_HEALTH_URL"] == f"http://127.0.0.1:{port}/readyz"
    assert "test" not in service["healthcheck"]  # the image's own
    assert service["environment"]["HOOKMILL_INGRESS__ADMIN_HOST"] == "0.0.0.0"


def test_members_can_be_scaled_and_their_state_outlives_them(setup: Setup) -> None:
    """Nothing that a second container of a service could not have, too: `--scale` works.

    The state is the service's: each member takes the lowest number that is free, and its folder.
    """
    for name, service in RUNNING.items():
        assert not {"hostname", "container_name", "deploy", "scale"} & set(service), name
        assert f"{name}-state:{setup.config.local.dir}" == service["volumes"][-1]
        assert f"{name}-state" in COMPOSE["volumes"]
        assert options_of(service).get("instance") is None
    assert SERVICES["ingress"]["ports"] == ["127.0.0.1:${INGRESS_PORT:-8080}:8080"]


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

    healthy = {"condition": "service_healthy"}
    others = {name: {**healthy, "required": False} for name in BROKERS if name != "kafka"}
    assert SERVICES["topics"]["depends_on"] == {"kafka": healthy, **others}
    assert all(service["depends_on"] == expected for service in RUNNING.values())


def test_only_this_machine_reaches_the_published_ports(setup: Setup) -> None:
    """On the loopback address, each at a port of its own; private ports are not published."""
    every = [*SERVICES.values(), *OBSERVING["services"].values()]
    published = [port for service in every for port in service.get("ports", ())]
    inside = {
        int(port.rsplit(":", 1)[1])
        for service in SERVICES.values()
        for port in service.get("ports", ())
    }
    outside = [port.split(":-")[1].split("}")[0] for port in published]

    assert all(port.startswith("127.0.0.1:") for port in published)
    assert {setup.config.ingress.port, 9092} == inside
    assert len(set(outside)) == len(outside)


def test_the_container_runs_the_kafka_of_the_local_broker() -> None:
    """One version: the image's, pom.xml's and that of the code that fetches the jars."""
    pom = ElementTree.parse(jars.POM).getroot()
    version = next(each.text for each in pom.iter() if each.tag.endswith("}kafka.version"))

    assert {f"apache/kafka:{version}"} == {each["image"] for each in BROKERS.values()}
    assert version == jars.KAFKA_VERSION


def given(text: str, chosen: dict[str, str]) -> str:
    """The text as compose reads it: each variable's value, or what stands behind `:-`."""
    return VARIABLE.sub(lambda found: chosen.get(found[1]) or found[2], text)


def with_profile(profile: str | None, chosen: dict[str, str]) -> dict[str, dict[str, str]]:
    """The environment of each broker that then runs."""
    return {
        name: {key: given(value, chosen) for key, value in service["environment"].items()}
        for name, service in BROKERS.items()
        if profile in service.get("profiles", [profile])
    }


def controllers(environ: dict[str, str]) -> set[str]:
    """The ids of the nodes that vote."""
    return {each.split("@")[0] for each in environ["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")}


@pytest.mark.parametrize(
    ("profile", "chosen", "copies"),
    [(None, {}, 1), ("three-brokers", {}, 1), ("three-brokers", THREE, 3)],
    ids=["one", "three-one-copy", "three"],
)
def test_as_many_copies_are_promised_as_there_are_brokers_for(
    profile: str | None, chosen: dict[str, str], copies: int, setup: Setup
) -> None:
    """Of our topics and of Kafka's own; a node that votes has the listener for it, others none."""
    brokers = with_profile(profile, chosen)
    ours = {key: given(value, chosen) for key, value in RUNNING["dedup"]["environment"].items()}
    addresses = {
        each.removeprefix("INSIDE://")
        for environ in brokers.values()
        for each in environ["KAFKA_ADVERTISED_LISTENERS"].split(",")
        if each.startswith("INSIDE://")
    }

    assert int(ours["HOOKMILL_KAFKA__REPLICATION_FACTOR"]) == copies <= len(brokers)
    assert set(ours["HOOKMILL_KAFKA__BOOTSTRAP_SERVERS"].split(",")) <= addresses
    assert {str(number) for number in range(1, len(brokers) + 1)} == {
        environ["KAFKA_NODE_ID"] for environ in brokers.values()
    }
    for environ in brokers.values():
        votes = environ["KAFKA_NODE_ID"] in controllers(environ)
        assert ("controller" in environ["KAFKA_PROCESS_ROLES"]) == votes
        assert ("CONTROLLER://" in environ["KAFKA_LISTENERS"]) == votes
        assert {v for k, v in environ.items() if "REPLICATION_FACTOR" in k} == {str(copies)}
        in_sync = {value for key, value in environ.items() if key.endswith("MIN_ISR")}
        assert in_sync == {str(max(1, copies - 1))}


def test_the_file_for_three_brokers_chooses_all_that_it_must() -> None:
    """Every variable of the brokers; a project of its own keeps the volumes of one node apart."""
    text = (ROOT / "docker-compose.yml").read_text()
    known = {found[1] for found in VARIABLE.finditer(text)} | {
        "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME",
    }  # fmt: skip
    ports = {name for name in known if name.endswith("PORT") or "PORT_" in name}

    assert set(THREE) <= known
    assert {name for name in known if name.startswith(("KAFKA", "COMPOSE"))} - ports == set(THREE)
    assert THREE["COMPOSE_PROFILES"] in BROKERS["kafka-2"]["profiles"]
    assert THREE["COMPOSE_PROJECT_NAME"] != COMPOSE["name"]


def test_prometheus_and_grafana_come_with_their_profile_only() -> None:
    """In a file that is included; what they mount is there."""
    assert COMPOSE["include"] == ["deploy/compose/observability.yml"]
    assert set(OBSERVING["services"]) == {"prometheus", "grafana"}
    for service in OBSERVING["services"].values():
        assert service["profiles"] == ["observability"]
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", [*SERVICES, *OBSERVING["services"]])
def test_what_is_mounted_is_there(name: str) -> None:
    """A path that is missing would become an empty folder of root's."""
    folder, compose = (ROOT, COMPOSE) if name in SERVICES else (ROOT / "deploy/compose", OBSERVING)
    for volume in compose["services"][name].get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (folder / source).exists(), source
            assert volume.endswith(":ro")
        else:
            assert source in compose["volumes"]


def test_every_image_of_ours_is_built_from_the_one_dockerfile() -> None:
    """For every role; tests/unit/test_image.py says what it must be."""
    assert {service["build"]["dockerfile"] for service in OURS.values()} == {"deploy/Dockerfile"}
