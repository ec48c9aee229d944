"""`hookmill doctor` as a person meets it: what it prints, its exit statuses, one JSON value."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hookmill.cli.main import main
from support.ports import free_port

CONFIG = """
allow_inline_secrets = true

[kafka]
bootstrap_servers = ["127.0.0.1:{port}"]

[ingress]
port = 0
admin_port = 0

[endpoints.shop]
provider = "yoco"
secrets = [{{ value = "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==" }}]
"""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program in a folder whose configuration names a cluster that does not answer."""
    (tmp_path / "hookmill.toml").write_text(CONFIG.format(port=free_port()))
    monkeypatch.chdir(tmp_path)

    def running(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hookmill", "doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().out

    return running


def test_a_cluster_that_does_not_answer_is_a_failure_among_findings(run: Run) -> None:
    """Everything else is looked at all the same, and no secret is shown."""
    status, out = run("--json")
    report = json.loads(out)

    assert status == 1
    assert report["failures"] == 1
    (kafka,) = [each for each in report["findings"] if each["check"] == "kafka"]
    assert kafka["state"] == "failure"
    assert "bootstrap_servers" in kafka["do"]
    assert {"configuration", "secret", "disk", "open files", "port"} <= {
        each["check"] for each in report["findings"]
    }
    assert "whsec" not in out


def test_what_is_to_be_done_stands_under_what_was_found(run: Run) -> None:
    """For people: one line a finding, and an arrow."""
    _, out = run()
    lines = out.splitlines()
    at = next(i for i, each in enumerate(lines) if each.startswith("FAILURE"))

    assert lines[0].split()[:2] == ["ok", "configuration"]
    assert lines[at + 1].strip().startswith("→ ")


def test_a_configuration_that_cannot_be_read_is_a_finding_too(run: Run, tmp_path: Path) -> None:
    """With status 2, as everywhere."""
    (tmp_path / "hookmill.toml").write_text("[ingres]\nport = 1\n")
    status, out = run("--json")
    report = json.loads(out)

    assert status == 2
    assert [each["check"] for each in report["findings"]] == ["configuration"]
    assert "did you mean 'ingress'?" in report["findings"][0]["what"]


def test_the_commands_for_permissions_need_no_cluster(run: Run) -> None:
    """Those of one role, or of all; a role that is none is wrong usage."""
    status, every = run("--acls", "User:hm")
    _, one = run("--acls", "User:hm", "--role", "ingress")

    assert status == 0
    assert len(every.splitlines()) > len(one.splitlines()) == 1
    assert "--topic webhooks-raw" in one
    assert run("--acls", "User:hm", "--role", "nobody")[0] == 2
