"""The Kubernetes manifests, held to the code they start and to the configuration they mount."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest
import trustme
import typer
import yaml
from typer.testing import CliRunner

from hookmill import __version__
from hookmill.cli.main import application
from hookmill.cli.setup import Setup, load_setup
from hookmill.pipeline import STAGES
from support.manifests import (
    FOLDER,
    OVERLAYS,
    ROOT,
    Manifest,
    built,
    container,
    manifests,
    of_kind,
    pod,
)  # fmt: skip

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
WORKLOADS = ("Deployment", "StatefulSet", "Job")
SECRETS_DIR = "/run/secrets"
EXPECTED_OF_PODS = 0.5
"""How much of a memory limit may be planned for bodies."""
MEBI = 1024 * 1024

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def ours(overlay: str, *kinds: str) -> dict[str, Manifest]:
    """The workloads that run hookmill, by name."""
    return {
        name: each
        for name, each in of_kind(manifests(overlay), *(kinds or WORKLOADS)).items()
        if each["metadata"]["labels"].get(NAME) == "hookmill"
    }


def every_workload() -> list[Any]:
    """Each workload of each overlay, as a parameter."""
    return [
        pytest.param(overlay, name, id=f"{overlay}-{name}")
        for overlay in OVERLAYS
        for name in ours(overlay)
    ]


workloads = pytest.mark.parametrize(("overlay", "name"), every_workload())


def options_of(workload: Manifest) -> dict[str, Any]:
    """The options of a container's command; raises the option parser's error if it is none."""
    command: Any = typer.main.get_command(application())
    arguments = [each.replace("$(POD_NAME)", "pod-0") for each in container(workload)["args"]]
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    options: dict[str, Any] = command.make_context("hookmill", arguments).params
    return options


def setup_of(overlay: str) -> Setup:
    """The configuration that an overlay mounts."""
    return load_setup(FOLDER / "overlays" / overlay / "hookmill.toml")


def secret_files(overlay: str) -> dict[str, set[str]]:
    """The files that the configuration names, by who reads them: a part, or `all`."""
    config = setup_of(overlay).config
    found: dict[str, set[str]] = {"ingress": set(), "all": set()}
    for endpoint in config.endpoints.values():
        found["ingress"] |= {each.file for each in endpoint.secrets if each.file}
    for name, handler in config.handlers.items():
        its = [*handler.secrets, *([handler.password] if handler.password else [])]
        found[f"handler-{name}"] = {each.file for each in its if each.file}
    password = config.kafka.sasl_password
    found["all"] |= {password.file} if password and password.file else set()
    found["all"] |= {config.kafka.ssl_cafile} if config.kafka.ssl_cafile else set()
    return found


def mounted_secrets(workload: Manifest) -> dict[str, str]:
    """Where each Secret is mounted: its name, by folder."""
    secrets = {v["name"]: v["secret"]["secretName"] for v in pod(workload)["volumes"]
               if "secret" in v}  # fmt: skip
    return {
        mount["mountPath"]: secrets[mount["name"]]
        for mount in container(workload)["volumeMounts"]
        if mount["name"] in secrets
    }


@overlays
def test_each_stage_and_handler_has_its_process(overlay: str) -> None:
    """Nothing that the configuration names is without one; the operator replaces the Job."""
    handlers = setup_of(overlay).config.handlers
    expected = {
        "topics": ["topics", "apply"],
        "ingress": ["ingress"],
        "monitor": ["monitor"],
        **{name: ["stage", name] for name in STAGES},
        **{f"handler-{name}": ["handle", name] for name in handlers},
    }

    found = ours(overlay)
    assert set(expected) == set(found)
    assert expected == {n: container(w)["args"][: len(expected[n])] for n, w in found.items()}


@workloads
def test_each_command_is_one_that_hookmill_has(overlay: str, name: str) -> None:
    """The command's own option parser takes the arguments."""
    assert isinstance(options_of(ours(overlay)[name]), dict)


@overlays
def test_the_configuration_is_good(
    overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hookmill config check` says so, with a secret in each file that the Secrets give."""
    text = (FOLDER / "overlays" / overlay / "hookmill.toml").read_text()
    for path in set().union(*secret_files(overlay).values()):
        place = tmp_path / path.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
        if place.name == "ca.crt":
            trustme.CA().cert_pem.write_to_path(place)
    config = tmp_path / "hookmill.toml"
    config.write_text(text.replace(SECRETS_DIR, f"{tmp_path}{SECRETS_DIR}"))
    monkeypatch.setenv("HOOKMILL_LOCAL__DIR", str(tmp_path / "state"))

    done = CliRunner().invoke(application(), ["config", "check", "--config", str(config)])

    assert done.exception is None, done.exception
    assert "the configuration is good" in done.stderr


@overlays
def test_each_secret_file_is_mounted_where_it_is_read_and_nowhere_else(overlay: str) -> None:
    """A part that is broken into knows its own secrets, and Kafka's."""
    wants = secret_files(overlay)
    for name, workload in ours(overlay).items():
        folders = set(mounted_secrets(workload))
        needed = {str(Path(file).parent) for file in wants.get(name, set()) | wants["all"]}

        assert needed <= folders, name
        foreign = {
            str(Path(file).parent)
            for part, files in wants.items()
            if part not in (name, "all")
            for file in files
        }
        assert not folders & foreign, name


@workloads
def test_secrets_and_configuration_are_mounted_as_folders(overlay: str, name: str) -> None:
    """A file that is mounted by subPath is never updated: a rotated secret would not arrive."""
    mounts = container(ours(overlay)[name])["volumeMounts"]

    assert not [each for each in mounts if "subPath" in each]
    assert all(each.get("readOnly") for each in mounts if each["name"] not in ("state", "tmp")), (
        mounts
    )


def test_the_readme_makes_each_secret_with_the_keys_that_are_read() -> None:
    """Whoever follows it has every file that the configuration names."""
    text = (FOLDER / "README.md").read_text()
    commands = re.findall(r"--namespace=(\S+) create secret generic (\S+) (.*)", text)
    made = {(space, name): set(re.findall(r"--from-file=(\S+)", keys))
            for space, name, keys in commands}  # fmt: skip
    for overlay in OVERLAYS:
        space = next(iter(of_kind(manifests(overlay), "Namespace")))
        needed: dict[tuple[str, str], set[str]] = {}
        for workload in ours(overlay).values():
            for folder, secret in mounted_secrets(workload).items():
                for file in set().union(*secret_files(overlay).values()):
                    if str(Path(file).parent) == folder:
                        needed.setdefault((space, secret), set()).add(Path(file).name)
        for trigger in of_kind(manifests(overlay), "TriggerAuthentication").values():
            for each in trigger["spec"]["secretTargetRef"]:
                needed.setdefault((space, each["name"]), set()).add(each["key"])

        assert needed == {key: keys for key, keys in made.items() if key[0] == space}


@workloads
def test_every_port_is_the_one_that_is_served(overlay: str, name: str) -> None:
    """The private port for probes and Prometheus, the public one of the ingress alone."""
    workload = ours(overlay)[name]
    config = setup_of(overlay).config.ingress
    only = container(workload)
    ports = {each["name"]: each["containerPort"] for each in only.get("ports", ())}
    probes = {key: each for key, each in only.items() if key.endswith("Probe")}

    if name == "topics":
        assert (ports, probes) == ({}, {})
        return
    private = options_of(workload).get("admin_port", config.admin_port)
    expected = {"private": private} | ({"webhooks": config.port} if name == "ingress" else {})
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert expected == ports
    assert {key: each["httpGet"]["path"] for key, each in probes.items()} == {
        "startupProbe": "/livez",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {each["httpGet"]["port"] for each in probes.values()} == {"private"}
    assert annotations["prometheus.io/port"] == str(private)
    assert config.admin_host == "0.0.0.0"  # the kubelet asks at the pod's own address


@overlays
def test_services_lead_to_ports_that_are_there(overlay: str) -> None:
    """Each service's selector fits one workload, which has the port of that name."""
    found = of_kind(manifests(overlay), *WORKLOADS)
    for name, service in of_kind(manifests(overlay), "Service").items():
        selector = service["spec"]["selector"]
        fits = [
            each
            for each in found.values()
            if selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]

        assert [name] == [each["metadata"]["name"] for each in fits]
        ports = {each["name"] for each in container(fits[0])["ports"]}
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports


@workloads
def test_a_pod_can_do_nothing_but_its_work(overlay: str, name: str) -> None:
    """What the Pod Security Standard `restricted` asks for, a read-only root, and no token."""
    workload = ours(overlay)[name]
    its, only = pod(workload), container(workload)
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/Dockerfile").read_text(), re.M)

    assert user is not None
    assert its["securityContext"]["runAsNonRoot"] is True
    assert its["securityContext"]["runAsUser"] == int(user[1])
    assert its["securityContext"]["runAsGroup"] == its["securityContext"]["fsGroup"] == int(user[2])
    assert its["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert its["automountServiceAccountToken"] is False
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "limits" in only["resources"]
    assert "cpu" not in only["resources"]["limits"]


@workloads
def test_what_a_process_writes_is_a_volume(overlay: str, name: str) -> None:
    """Its own folder and /tmp; the configuration is where HOOKMILL_CONFIG says."""
    workload = ours(overlay)[name]
    only = container(workload)
    environ = {each["name"]: each.get("value") for each in only["env"]}
    mounts = {each["mountPath"]: each["name"] for each in only["volumeMounts"]}
    volumes = {each["name"] for each in pod(workload)["volumes"]} | {
        each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())
    }

    assert mounts[setup_of(overlay).config.local.dir] == "state"
    assert mounts["/tmp"] == "tmp"
    assert mounts[str(Path(str(environ["HOOKMILL_CONFIG"])).parent)] == "config"
    assert set(mounts.values()) == volumes


@overlays
def test_members_have_stable_names_and_a_state_of_their_own(overlay: str) -> None:
    """The pod's name is the instance's: the same static member, the same folder."""
    members = ours(overlay, "StatefulSet")
    budgets = of_kind(manifests(overlay), "PodDisruptionBudget")
    services = of_kind(manifests(overlay), "Service")

    assert members
    for name, workload in members.items():
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        pod_name = next(e for e in container(workload)["env"] if e["name"] == "POD_NAME")

        assert options_of(workload)["instance"] == "pod-0"
        assert pod_name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        assert claim["metadata"]["name"] == "state"
        assert services[workload["spec"]["serviceName"]]["spec"]["clusterIP"] == "None"
        selector = workload["spec"]["selector"]["matchLabels"]
        assert budgets[name]["spec"]["selector"]["matchLabels"] == selector
        assert selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_members_are_made_alike() -> None:
    """But for names, commands, sizes and secrets of their own: what holds of one holds of all."""

    def shape(workload: Manifest) -> str:
        its, only = pod(workload), container(workload)
        only["args"], only["resources"] = [], {}
        known = {"config", "kafka", "state", "tmp"}
        only["volumeMounts"] = [e for e in only["volumeMounts"] if e["name"] in known]
        volumes = [each for each in its["volumes"] if each["name"] in known]
        text = yaml.safe_dump([workload["spec"] | {"template": {}, "volumeClaimTemplates": []},
                               {**its, "containers": [only], "volumes": volumes}])  # fmt: skip
        return text.replace(workload["metadata"]["name"], "NAME")

    shapes = {name: shape(each) for name, each in ours("production", "StatefulSet").items()}

    assert dict.fromkeys(shapes, shapes["dedup"]) == shapes


@overlays
def test_the_ingress_gets_the_time_to_drain(overlay: str) -> None:
    """The pause, what is in flight, what Kafka has not acknowledged; then the kubelet kills."""
    workload = ours(overlay)["ingress"]
    drain_secs = setup_of(overlay).config.ingress.drain_timeout_secs
    pause_secs = container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pause_secs > 0
    assert pod(workload)["terminationGracePeriodSeconds"] > pause_secs + 2 * drain_secs


@overlays
def test_the_ingress_has_room_for_the_bodies_that_it_takes(overlay: str) -> None:
    """Else the kernel would end it under the load that its own limits allow."""
    limit = container(ours(overlay)["ingress"])["resources"]["limits"]["memory"]
    bodies = setup_of(overlay).config.ingress.bytes_in_flight_max

    assert bodies <= EXPECTED_OF_PODS * int(limit.removesuffix("Mi")) * MEBI


@overlays
def test_a_ledger_on_a_disk_of_its_own_is_alone(overlay: str) -> None:
    """Two pods with a SQLite file each would keep half of the books each."""
    setup = setup_of(overlay)
    scaled = of_kind(manifests(overlay), "ScaledObject")
    for name, handler in setup.config.handlers.items():
        if handler.type == "ledger" and (handler.url or "sqlite").startswith("sqlite"):
            assert f"handler-{name}" not in scaled
            assert ours(overlay)[f"handler-{name}"]["spec"].get("replicas", 1) == 1


def test_the_way_in_leads_to_the_public_port() -> None:
    """By TLS, for the path of the webhooks alone; the private port is in no service of it."""
    found = manifests("production")
    (way,) = of_kind(found, "Ingress").values()
    (rule,) = way["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = of_kind(found, "Service")[path["backend"]["service"]["name"]]
    (port,) = service["spec"]["ports"]

    assert [rule["host"]] == way["spec"]["tls"][0]["hosts"]
    assert path["path"] == "/webhooks/"
    assert path["backend"]["service"]["port"]["name"] == port["name"]
    assert port["targetPort"] == "webhooks"
    assert setup_of("production").config.ingress.trusted_proxies


def test_the_ingress_is_scaled_by_what_it_needs() -> None:
    """One a zone at least; by CPU, below the one core that a process can use."""
    found = manifests("production")
    (scaler,) = of_kind(found, "HorizontalPodAutoscaler").values()
    workload = of_kind(found, "Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]
    (metric,) = scaler["spec"]["metrics"]
    request = container(workload)["resources"]["requests"]["cpu"]
    milli = int(request.removesuffix("m"))

    assert "replicas" not in workload["spec"]
    assert scaler["spec"]["minReplicas"] >= 3
    assert milli * metric["resource"]["target"]["averageUtilization"] / 100 < 1000


def test_the_topics_for_strimzi_are_those_of_the_map() -> None:
    """`hookmill topics strimzi` writes the file again, byte for byte."""
    config = FOLDER / "overlays/production/hookmill.toml"
    told = CliRunner().invoke(application(), ["topics", "strimzi", "--config", str(config)])

    assert told.stdout == (FOLDER / "components/strimzi/topics.yaml").read_text()


def test_nothing_gets_in_or_out_unless_a_rule_says_so() -> None:
    """Everything is denied; only the public port is open to all; only HTTPS goes everywhere."""
    policies = of_kind(manifests("production"), "NetworkPolicy")
    config = setup_of("production").config.ingress
    deny = policies.pop("default-deny")["spec"]
    open_in = {
        name: [port["port"] for rule in each["spec"]["ingress"] for port in rule["ports"]]
        for name, each in policies.items()
        if any("from" not in rule for rule in each["spec"].get("ingress", ()))
    }
    open_out = [
        name
        for name, each in policies.items()
        for rule in each["spec"].get("egress", ())
        if "to" not in rule or any("ipBlock" in peer for peer in rule["to"])
    ]
    private = policies["metrics"]["spec"]["ingress"][0]

    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert open_in == {"webhooks": [config.port]}
    assert open_out == ["egress-https"]
    assert [each["port"] for each in private["ports"]] == [config.admin_port]
    assert private["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]


def test_each_rule_is_about_pods_that_are_there() -> None:
    """A label that no pod has would be a rule of nothing."""
    labels = [
        each["spec"]["template"]["metadata"]["labels"] for each in ours("production").values()
    ]
    for policy in of_kind(manifests("production"), "NetworkPolicy").values():
        wanted = policy["spec"]["podSelector"].get("matchLabels", {})

        assert any(wanted.items() <= each.items() for each in labels), policy["metadata"]["name"]


@overlays
@pytest.mark.parametrize("version", ["1.30", None], ids=["oldest", "newest"])
def test_kubernetes_knows_every_field(overlay: str, version: str | None) -> None:
    """By the API's own schemas, strictly: of the oldest version that the README names, and now."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    checked = set()
    for each in manifests(overlay):
        if "." in each["apiVersion"] and not each["apiVersion"].split("/")[0].endswith("k8s.io"):
            continue  # a resource of an operator, of which Kubernetes knows nothing
        kubernetes_validate.validate(
            each, version or kubernetes_validate.latest_version(), strict=True
        )
        checked.add(each["kind"])

    assert {"Deployment", "StatefulSet", "Job", "NetworkPolicy", "PodDisruptionBudget"} <= checked


@overlays
def test_kustomize_builds_it(overlay: str) -> None:
    """Every resource in its namespace, every pod with a real image and the hashed configuration."""
    found = built(overlay)
    space = next(iter(of_kind(found, "Namespace")))
    (configuration,) = of_kind(found, "ConfigMap").values()
    written = (FOLDER / "overlays" / overlay / "hookmill.toml").read_text()
    expected = {"dev": "hookmill:local", "production": "registry.example.com/hookmill"}[overlay]

    names = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(names) == len(set(names))
    assert {e["metadata"].get("namespace", space) for e in found} == {space}
    assert configuration["data"] == {"hookmill.toml": written}
    assert re.fullmatch(r"hookmill-[a-z0-9]{10}", configuration["metadata"]["name"])
    for name, workload in of_kind(found, *WORKLOADS).items():
        if name == "kafka":
            continue
        (volume,) = (each for each in pod(workload)["volumes"] if each["name"] == "config")
        assert volume["configMap"]["name"] == configuration["metadata"]["name"]
        assert container(workload)["image"].startswith(expected)


def test_production_runs_this_release_and_its_operators_do_the_rest() -> None:
    """The version's image; no Job where Strimzi makes the topics; pods of a part on many nodes."""
    found = built("production")
    spread = {
        name: pod(each)["topologySpreadConstraints"][1]
        for name, each in of_kind(found, "Deployment", "StatefulSet").items()
        if name in ("ingress", *STAGES)
    }

    assert container(of_kind(found, "Deployment")["ingress"])["image"].endswith(f":{__version__}")
    assert of_kind(found, "Job") == {}
    assert {each["topologyKey"] for each in spread.values()} == {"kubernetes.io/hostname"}
    assert {each["whenUnsatisfiable"] for each in spread.values()} == {"DoNotSchedule"}
