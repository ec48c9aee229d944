"""The Kubernetes manifests as files, and as kustomize builds them where it is to be had."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ("dev", "production")
BUILD_SECS_MAX = 60

Manifest = dict[str, Any]


def files(folder: Path) -> Iterator[Path]:
    """Each resource file of a kustomization, those of what it is built on included."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    for entry in kustomization.get("resources", []) + kustomization.get("components", []):
        path = (folder / entry).resolve()
        if path.is_dir():
            yield from files(path)
        else:
            yield path


@cache
def manifests(overlay: str) -> tuple[Manifest, ...]:
    """Every resource of an overlay as its file has it: before patches, names and hashes."""
    paths = dict.fromkeys(files(FOLDER / "overlays" / overlay))
    return tuple(each for path in paths for each in yaml.safe_load_all(path.read_text()))


def of_kind(found: tuple[Manifest, ...], *kinds: str) -> dict[str, Manifest]:
    """Those of these kinds, by name."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] in kinds}


def pod(workload: Manifest) -> Manifest:
    """The pod's spec of a Deployment, a StatefulSet or a Job."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Manifest) -> Manifest:
    """Its only container."""
    (only,) = pod(workload)["containers"]
    return dict(only)


@cache
def built(overlay: str) -> tuple[Manifest, ...]:
    """Every resource as the cluster gets it; skips where neither kustomize nor kubectl is."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, str(FOLDER / "overlays" / overlay)],
                capture_output=True, text=True, timeout=BUILD_SECS_MAX, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return tuple(yaml.safe_load_all(done.stdout))
    pytest.skip("neither kustomize nor kubectl is on this machine")
