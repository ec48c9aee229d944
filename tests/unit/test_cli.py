"""The program as a person and a script meet it: exit statuses, one clear line, clean output."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
import typer.main

from hookmill import __version__
from hookmill.cli import send
from hookmill.cli.main import PARTS, application, main
from hookmill.cli.setup import load_setup
from hookmill.cli.up import children
from hookmill.providers.registry import PACKS

CONFIG = """
[endpoints.shop]
provider = "yoco"
secrets = [{ env = "T_YOCO" }]

[endpoints.invoices]
provider = "rehive"
secrets = [{ env = "T_REHIVE" }]

[endpoints.crypto]
provider = "pay3"
secrets = [{ env = "T_PAY3" }]

[endpoints.naira]
provider = "echezona"
secrets = [{ env = "T_ECHEZONA" }]
options = { header = "x-sig", algorithm = "hmac-sha256", encoding = "base64" }

[handlers.ledger]
type = "ledger"

[[routes]]
name = "money"
match = { type = "payment.*" }
handlers = ["ledger"]
"""
SECRETS = {
    "T_YOCO": "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==",
    "T_REHIVE": "hunter2-hunter2-hunter2-hunter2-hunter2",
    "T_PAY3": "hunter2-" * 8,
    "T_ECHEZONA": "hunter2",
}
SEEDS = {"yoco": "shop", "rehive": "invoices", "pay3": "crypto", "echezona": "naira"}
"""The endpoints of CONFIG by their provider."""
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[\d;]*(3|4|9|10)[0-7](;|m)")
NOW_US = 1_795_424_400_000_000


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a good configuration in it and its secrets in the environment."""
    (tmp_path / "hookmill.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.upper().startswith("HOOKMILL_")]:
        monkeypatch.delenv(name)
    for name, text in SECRETS.items():
        monkeypatch.setenv(name, text)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program's own entry point in this process."""

    def running(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["hookmill", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return running


def commands(
    group: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of the program, with its words."""
    here = group or typer.main.get_command(application())
    yield path, here
    for name, below in getattr(here, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = dict(commands())


def program(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the program as a process."""
    return subprocess.run(
        [sys.executable, "-m", "hookmill", *arguments],
        capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "hookmill")
def test_the_help_of_every_command_teaches(words: tuple[str, ...], run: Run) -> None:
    """A sentence on what it does, its usage, and each option explained."""
    done = run(*words, "--help")
    command = COMMANDS[words]
    unexplained = [
        each.name
        for each in command.params
        if not getattr(each, "hidden", False) and not getattr(each, "help", None)
    ]

    assert done.status == 0
    assert done.err == ""
    assert "Usage: " in done.out
    assert (command.help or "").split("\n")[0].rstrip().endswith((".", ":")), command.help
    assert unexplained == []
    for name in getattr(command, "commands", {}):
        assert name in done.out


@pytest.mark.parametrize("words", [w for w, each in COMMANDS.items() if hasattr(each, "commands")])
def test_a_group_alone_shows_its_help(words: tuple[str, ...], run: Run) -> None:
    """Whoever does not know what to type next is told; a script learns that it was no command."""
    done = run(*words)

    assert done.status == 2
    assert "Usage: " in done.out + done.err


def test_every_command_that_reads_a_configuration_takes_its_path() -> None:
    """Under one name; a benchmark makes its own."""
    without = {
        " ".join(words)
        for words, command in COMMANDS.items()
        if not hasattr(command, "commands")
        and words[:1] != ("bench",)
        and "--config" not in [opt for each in command.params for opt in each.opts]
    }

    assert without <= {
        "chaos", "demo", "providers new", "scaling", "schemas export", "telemetry",
    }  # fmt: skip


def test_it_says_its_version(run: Run) -> None:
    """On standard output."""
    assert run("--version") == Done(0, f"hookmill {__version__}\n", "")


def test_it_runs_as_a_process_and_as_a_module(folder: Path) -> None:
    """`python -m hookmill` is the same program, and its exit status reaches the shell."""
    good, wrong = program("config", "check"), program("config", "check", "--config", "gone.toml")

    assert (good.returncode, good.stdout) == (0, "")
    assert good.stderr.startswith("the configuration is good: 4 endpoints, 1 handlers, 1 routes")
    assert wrong.returncode == 2
    assert wrong.stderr == "hookmill: there is no configuration file gone.toml\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["config", "nonsense"], "No such command 'nonsense'"),
        (["config", "show", "--jsn"], "No such option"),
        (["stage"], "Missing argument"),
        (["stage", "dedupe"], "no stage is called 'dedupe': dedup, normalize or route"),
        (["leave", "dedupe", "--instance", "0"], "no stage or handler is called 'dedupe'"),
        (["send", "yoco", "--count", "many"], "Invalid value"),
        (["send", "yoco", "--forged", "2"], "Invalid value"),
        (["send", "yoko"], "no provider pack is called 'yoko', did you mean 'yoco'?"),
        (["send", "yoco", "--endpoint", "naira"], "no endpoint 'naira' of yoco is configured"),
        (["providers", "show", "acme"], "no provider pack is called 'acme'; known: adyen"),
        (["providers", "test", "yoko"], "did you mean 'yoco'?"),
        (["trace", "x", "--since", "yesterday"], "--since yesterday: a number and s, m, h or d"),
        (["dlq", "list", "--topic", "handler-dlq"],
         "no dead-letter topic is called 'handler-dlq': dedup-dlq, normalize-dlq, route-dlq, "
         "handler-ledger-dlq"),
        (["dlq", "list", "--until", "2026-11-23"], "--until 2026-11-23: a number and"),
        (["dlq", "show"], "say which letters: by place, --topic, --reason"),
        (["dlq", "show", "route-dlq:1"], "'route-dlq:1' is no place of a letter"),
        (["dlq", "redrive"], "say which letters"),
        (["dlq", "redrive", "--all", "--reason", "x"], "either a selection or --all"),
        (["dlq", "redrive", "--count", "0"], "Invalid value"),
        (["dlq", "discard", "--all"], "Missing option '--why'"),
        (["dlq", "discard", "--all", "--why", " "], "--why: say why"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_status_2(arguments: list[str], said: str, run: Run) -> None:
    """And says what was wrong, on standard error alone."""
    done = run(*arguments)

    assert done.status == 2
    assert said in " ".join(done.err.split())
    assert done.out == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[routes]]", "[[routes", ["is not TOML: "]),
        ("T_YOCO", "T_GONE",
         ["secret 'main': the environment variable T_GONE is not set"]),
        ('{ env = "T_YOCO" }', '{ file = "gone" }',
         ["secret 'main': gone cannot be read (FileNotFoundError)"]),
        ('provider = "yoco"', 'provider = "yoko"', ["no provider pack is called 'yoko', did you"]),
        ("encoding =", "encodng =", ["endpoints.naira.options: "]),
        (', encoding = "base64"', "", ["endpoints.naira.options: "]),
        ('provider = "rehive"', 'provider = "rehive"\ntolerance_secs = 5',
         ["endpoints.invoices.tolerance_secs: Rehive signs no time; remove it"]),
        ('type = "ledger"', 'type = "ledger"\nurl = "mysql://me:hunter2@db/x"',
         ["the ledger's url begins with 'mysql' and is neither sqlite:///path nor postgresql://"]),
        ('type = "ledger"', 'type = "ledger"\nurl = "postgresql://me:hun/ter2@db/x"',
         ["the ledger's url cannot be read: postgresql://user@host:5432/database. In a password"]),
        ('type = "ledger"', 'type = "ledger"\nurl = "postgresql://me@db/x?password=hunter2"',
         ["the ledger's url has a parameter 'password'; give the password as `password`"]),
        ('type = "ledger"', 'type = "ledger"\npassword = { env = "T_GONE" }',
         ["secret 'main': the environment variable T_GONE is not set"]),
        ('type = "ledger"', 'type = "ledger"\npassword = { value = "hunter2" }',
         ["handlers.ledger.password: secret 'main' stands in the file"]),
        ('type = "ledger"', 'type = "ledger"\npassword = { env = "T_YOCO" }',
         ["the ledger's password is for PostgreSQL; SQLite has none"]),
        ('type = "ledger"',
         'type = "ledger"\nurl = "postgresql://a:hunter2@b/c"\npassword = { env = "T_YOCO" }',
         ["the ledger's password is in its url and in `password`: once only"]),
        ('type = "ledger"', 'type = "nowhere_at_all:f"',
         ["'nowhere_at_all:f' cannot be imported: ModuleNotFoundError"]),
        ('match = { type', 'match = { metadata = { a = { file = "gone.txt" } }, type',
         ["gone.txt cannot be read (FileNotFoundError)"]),
        ('match = { type', 'match = { metadata = { a = { function = "gone" } }, type',
         ["'gone' cannot be imported: ModuleNotFoundError"]),
        ("[handlers.ledger]", "[ingress]\nport = 'x'\nworkers = 0\n[handlers.ledger]",
         ["ingress.port: expected int, got text", "ingress.workers: expected int >= 1"]),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_one_clear_line_for_each_problem(
    old: str, new: str, said: list[str], folder: Path, run: Run
) -> None:
    """Status 2, no traceback, no secret."""
    assert old in CONFIG
    (folder / "hookmill.toml").write_text(CONFIG.replace(old, new, 1))
    done = run("config", "check")
    lines = done.err.splitlines()

    assert done.status == 2
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True)), lines
    assert "hunter2" not in done.err


def test_the_environment_reaches_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of Kubernetes' own do not."""
    monkeypatch.setenv("HOOKMILL_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("HOOKMILL_INGRESS__PORT", "1234")

    assert json.loads(run("config", "show", "--json").out)["ingress"]["port"] == 1234


def test_a_secret_is_never_shown(folder: Path, run: Run) -> None:
    """Not even one that stands in the file; for people it reads as hidden."""
    inline = "allow_inline_secrets = true\n" + CONFIG.replace('env = "T_YOCO"', 'value = "hunter2"')
    (folder / "hookmill.toml").write_text(inline)
    table, data = run("config", "show").out, run("config", "show", "--json").out

    assert "hunter2" not in table + data
    assert "hidden" in table
    assert "T_REHIVE" in table


@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "show"],
        ["providers", "list"],
        *(["providers", "show", name] for name in PACKS),
        *(["providers", "test", name] for name in PACKS),
    ],
    ids=" ".join,
)  # fmt: skip
def test_json_is_one_value_on_standard_output(arguments: list[str], run: Run) -> None:
    """Nothing before it, nothing behind it; everything else goes to standard error."""
    done = run(*arguments, "--json")

    assert done.status == 0
    assert json.loads(done.out)
    assert done.out.count("\n") == 1
    assert done.err == ""


@pytest.mark.parametrize("arguments", [["config", "show"], ["providers", "list"],
                                       ["providers", "show", "yoco"]], ids=" ".join)  # fmt: skip
def test_a_table_in_a_pipe_is_plain(arguments: list[str], run: Run) -> None:
    """No colours and no frames for grep to stumble over."""
    done = run(*arguments)

    assert done.status == 0
    assert ESCAPE not in done.out
    assert not set(done.out) & set("│╭─╰━")


def on_a_terminal(*arguments: str, **environ: str) -> str:
    """What the program writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hookmill", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environ},
    ) as process:  # fmt: skip
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
            written += part
            if not part:
                break
        process.wait(60)
    os.close(ours)
    return written.decode()


def test_no_color_is_honoured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, where there would be colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert COLOUR.search(on_a_terminal("--help"))
    assert not COLOUR.search(on_a_terminal("--help", NO_COLOR="1"))
    assert not COLOUR.search(on_a_terminal("config", "show", NO_COLOR="1"))


def test_schemas_are_written_and_compared(folder: Path, run: Run) -> None:
    """Status 1 while they differ, 0 when they do not."""
    before = run("schemas", "export", "--check")
    written = run("schemas", "export")
    after = run("schemas", "export", "--check")

    assert (before.status, written.status, after.status) == (1, 0, 0)
    assert len(before.err.splitlines()) == len(list((folder / "schemas").iterdir())) == 7
    (folder / "schemas" / "event.refund.schema.json").write_text("{}")
    assert run("schemas", "export", "--check") == Done(
        1, "",
        "schemas/event.refund.schema.json differs from the code: run `hookmill schemas export`\n",
    )  # fmt: skip


class Curl(NamedTuple):
    """A printed command, taken apart as the shell does it."""

    headers: dict[str, str]
    body: str
    url: str


def printed(done: Done) -> list[Curl]:
    """The curl commands on standard output; anything else fails."""
    found = []
    for line in done.out.splitlines():
        match shlex.split(line):
            case ["curl", "-sS", *headers, "--data-binary", body, url]:
                assert set(headers[::2]) == {"-H"}
                pairs = [each.split(": ", 1) for each in headers[1::2]]
                found.append(Curl(dict(pairs), body, url))
            case other:
                pytest.fail(f"not the command that was meant: {other}")
    assert done.status == 0
    return found


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still: signatures and bodies have it in them."""
    monkeypatch.setattr(send, "now_us", lambda: NOW_US)


@pytest.fixture
def any_provider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint of every provider besides, with the options that it cannot do without."""
    more = []
    for name, pack in PACKS.items():
        if name in SEEDS:
            continue
        chosen = ", ".join(f'{key} = "{value}"' for key, value in pack.example_options.items())
        more.append(f"[endpoints.{name}]\nprovider = '{name}'\noptions = {{ {chosen} }}\n"
                    f'secrets = [{{ env = "T_{name.upper()}" }}]\n')  # fmt: skip
        monkeypatch.setenv(f"T_{name.upper()}", pack.example_secret("main"))
    (folder / "hookmill.toml").write_text(CONFIG + "".join(more))


@pytest.mark.parametrize("provider", PACKS)
@pytest.mark.usefixtures("any_provider", "stopped_clock")
def test_printed_deliveries_are_the_same_for_a_seed(provider: str, run: Run) -> None:
    """The same seed, the same business, to the byte; another seed, another."""
    first, again, other = (
        run("send", provider, "--print", "--count", "7", "--seed", seed) for seed in "334"
    )

    assert first.out == again.out
    assert first.out != other.out
    assert len(printed(first)) == 7


@pytest.mark.parametrize("provider", PACKS)
@pytest.mark.usefixtures("any_provider")
def test_a_printed_delivery_is_whole(provider: str, run: Run) -> None:
    """A JSON body, or a form, its type (curl would call it a form), and the endpoint's address."""
    for each in printed(run("send", provider, "--print", "--count", "20")):
        headers = {name.lower(): value for name, value in each.headers.items()}
        if headers["content-type"] == "application/json":
            assert json.loads(each.body)
        else:
            assert parse_qsl(each.body, strict_parsing=True)
        address = each.url.partition("?")[0]
        assert address == f"http://127.0.0.1:8080/webhooks/{SEEDS.get(provider, provider)}"


def test_a_time_makes_the_same_bytes_on_any_day(run: Run) -> None:
    """Without it the clock is in them; posted, it would only be refused as stale."""
    wish = ("send", "yoco", "--print", "--count", "3", "--at", "2026-11-23T09:00:00Z")
    found = printed(run(*wish))

    assert found == printed(run(*wish))
    assert {each.headers["webhook-timestamp"] for each in found} == {"1795424400"}
    assert run("send", "yoco", "--at", "2026-11-23T09:00:00Z").status == 2
    assert run("send", "yoco", "--print", "--at", "noon").status == 2


@pytest.mark.usefixtures("stopped_clock")
def test_a_printed_rotation_begins_in_the_middle(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or where it is said; before it nothing changes."""
    monkeypatch.setenv("T_NEXT", "whsec_bmV4dC1uZXh0LW5leHQtbmV4dC1uZXh0LW5leHQ=")
    plain = printed(run("send", "yoco", "--print", "--count", "6"))

    def same(*more: str) -> list[bool]:
        done = run("send", "yoco", "--print", "--count", "6", "--rotate-to", "env:T_NEXT", *more)
        return [a == b for a, b in zip(plain, printed(done), strict=True)]

    assert same() == [True] * 3 + [False] * 3
    assert same("--rotate-after", "5") == [True] * 5 + [False]
    assert run("send", "yoco", "--rotate-to", "next").status == 2


def test_a_printed_delivery_survives_the_shell(folder: Path, run: Run) -> None:
    """A real shell hands over the very bytes that were signed."""
    done = run("send", "rehive", "--print", "--count", "5")
    script = folder / "curl"
    script.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    script.chmod(0o755)
    shell = subprocess.run(
        ["sh", "-c", done.out], capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    handed = [json.loads(line) for line in shell.stdout.splitlines()]

    assert [(each.body, each.url) for each in printed(done)] == [tuple(x[-2:]) for x in handed]
    assert shell.stderr == ""


@pytest.mark.parametrize(
    ("ingress", "url"),
    [
        ('host = "0.0.0.0"', "http://127.0.0.1:8080/webhooks/shop"),
        ('host = "::1"\nport = 8443', "http://[::1]:8443/webhooks/shop"),
        ('host = "h"\ntls_cert_file = "c"\ntls_key_file = "k"', "https://h:8080/webhooks/shop"),
    ],
)
def test_deliveries_go_where_the_ingress_listens(
    ingress: str, url: str, folder: Path, run: Run
) -> None:
    """Unless `--url` says otherwise."""
    (folder / "hookmill.toml").write_text(f"[ingress]\n{ingress}\n{CONFIG}")

    assert [url] == [each.url for each in printed(run("send", "yoco", "--print", "--count", "1"))]
    elsewhere = run("send", "yoco", "--print", "--count", "1", "--url", "https://tunnel/x?y=1&z")
    assert printed(elsewhere)[0].url == "https://tunnel/x?y=1&z"


def test_two_endpoints_of_a_provider_need_a_choice(folder: Path, run: Run) -> None:
    """The names to choose from are told."""
    second = '[endpoints.shop-na]\nprovider = "yoco"\nsecrets = [{ env = "T_YOCO" }]\n'
    (folder / "hookmill.toml").write_text(CONFIG + second)
    done = run("send", "yoco", "--print")

    assert done.status == 2
    assert "--endpoint is needed" in done.err
    assert "shop, shop-na" in done.err
    chosen = run("send", "yoco", "--print", "--endpoint", "shop-na")
    assert printed(chosen)[0].url.endswith("/webhooks/shop-na")


def test_the_readme_of_the_program_is_its_own(run: Run) -> None:
    """The entry point of the package is the one tested here."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())

    assert project["project"]["scripts"] == {"hookmill": "hookmill.cli.main:main"}
    assert project["project"]["version"] == __version__


@pytest.mark.parametrize(
    ("lost", "status", "said"),
    [(False, 0, "every promise held"), (True, 1, "BROKEN  acknowledged means kept: delivery d1")],
)
def test_a_history_is_checked_without_running_anything(
    run: Run, folder: Path, lost: bool, status: int, said: str
) -> None:
    """`chaos --check`: one that a run has kept, or anybody's own."""
    attempt = {"step": "s", "endpoint": "shop", "began": 1, "ended": 2, "status": 200,
               "delivery": "d1"}  # fmt: skip
    record = {"topic": "webhooks-raw", "partition": 0, "offset": 0, "key": "shop|p",
              "event": "hm_1", "delivery": "d1"}  # fmt: skip
    history = {"attempts": [attempt], "topics": {"webhooks-raw": [] if lost else [record]},
               "raw": "webhooks-raw", "links": []}  # fmt: skip
    (folder / "history.json").write_text(json.dumps(history))
    done = run("chaos", "--check", "history.json")

    assert done.status == status
    assert said in done.out


def test_what_is_no_history_is_said(run: Run, folder: Path) -> None:
    """In one line, with status 2; so is a fault that there is none of."""
    (folder / "history.json").write_text('{"attempts": 1}')

    assert run("chaos", "--check", "history.json").status == 2
    assert "hookmill: history.json holds no history" in run("chaos", "--check", "history.json").err
    assert "zombie" in run("chaos", "--faults", "help").err
    assert run("chaos", "--faults", "kill").status == 2


def test_up_keeps_a_monitor_only_where_it_is_asked_to(folder: Path) -> None:
    """On a machine for trying things out nobody may be there to ask it."""
    setup = load_setup(None)
    plain = [each.name for each in children(setup, None)]

    assert [each.name for each in children(setup, None, monitor=True)] == [*plain, "monitor"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_starts_without_what_only_other_commands_need(part: str) -> None:
    """A killed member is back only after its imports."""
    asked = (
        "import sys; from hookmill.cli.main import application; import typer.main\n"
        f"print(*typer.main.get_command(application('{part}')).commands)\n"
        "print(*sys.modules)"
    )
    commands, modules = subprocess.check_output(
        [sys.executable, "-c", asked], text=True
    ).splitlines()

    assert part in commands.split()
    assert not {"asyncpg", "hookmill.cli.bench", "hookmill.cli.chaos", "hookmill.cli.doctor"} & {
        *modules.split()
    }
