"""Registering at a provider: a server of this machine answers as Yoco's pages and users say."""

import asyncio
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from hookmill.cli.main import main
from hookmill.cli.setup import load_setup
from hookmill.core.errors import ConfigurationError, HookmillError
from hookmill.local.registrar import Registrar, RegistrationFailed
from hookmill.local.secret_file import SecretFile
from hookmill.providers.registration import APIS, YOCO
from hookmill.providers.registry import PACKS

KEY = "sk_test_960bfde0VBrLlpK098e4ffeb53e1"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ADDRESS = "https://shop.example/webhooks/shop"
OWN_ID = "sub_4xbq4vbRmXGtlM5IlARh7egy"
CONFIG = """
[endpoints.shop]
provider = "yoco"
api_key = { env = "T_KEY" }
secrets = [{ name = "new", file = "secrets/yoco" }, { name = "old", env = "T_SECRET" }]

[endpoints.by-env]
provider = "yoco"
api_key = { env = "T_KEY" }
secrets = [{ env = "T_SECRET" }]

[endpoints.by-file]
provider = "yoco"
secrets = [{ name = "new", file = "secrets/yoco" }]

[endpoints.keyless]
provider = "yoco"
secrets = [{ file = "secrets/keyless" }]

[endpoints.invoices]
provider = "rehive"
secrets = [{ env = "T_SECRET" }]
"""


class Done(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


class Yoco:
    """Plays the API: keeps registrations, and what it was asked; `answers` puts others first."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, Any]] = []
        self.kept: list[dict[str, str]] = []
        self.answers: dict[str, Callable[[], web.StreamResponse]] = {}
        self.silent_for: set[str] = set()
        self.base_url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As documented: the secret in the answer to POST alone."""
        body = json.loads(await request.read() or b"null")
        said = request.headers.get("authorization", "")
        self.asked.append((request.method, request.path, said, body))
        if request.method in self.silent_for:
            await asyncio.sleep(30)
        if request.method in self.answers:
            return self.answers[request.method]()
        if said != f"Bearer {KEY}":
            return web.json_response({"message": f"bad key {said}"}, status=401)
        match request.method:
            case "POST":
                made = {"id": OWN_ID, "mode": "test", "name": body["name"], "url": body["url"]}
                self.kept.append(made)
                return web.json_response({**made, "secret": SECRET})
            case "GET":
                return web.json_response({"subscriptions": self.kept})
            case _:
                gone = [each for each in self.kept if request.path.endswith(f"/{each['id']}")]
                if not gone:
                    return web.json_response({"message": "not found"}, status=404)
                self.kept.remove(gone[0])
                return web.json_response({"message": "deleted"})


@pytest.fixture
def yoco() -> Iterator[Yoco]:
    """The API in a thread of its own, since commands have an event loop of their own."""
    api, started, loop = Yoco(), threading.Event(), asyncio.new_event_loop()

    async def serve() -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", api.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/api"
        return runner

    def work() -> None:
        runner = loop.run_until_complete(serve())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    yield api
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


Run = Callable[..., Done]


@pytest.fixture
def run(
    yoco: Yoco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`hookmill providers …` in a folder with a configuration, against the API of this machine."""
    for name in [each for each in os.environ if each.upper().startswith("HOOKMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T_KEY", KEY)
    (tmp_path / "hookmill.toml").write_text(CONFIG)
    (tmp_path / "secrets").mkdir()

    def running(*arguments: str) -> Done:
        words = ["hookmill", "providers", *arguments, "--base-url", yoco.base_url]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        assert KEY not in out + err
        return Done(ended.value.code, out, err)

    return running


def register(run: Run, *more: str) -> Done:
    """The command as the guide has it."""
    return run("register", "shop", "--url", ADDRESS, *more)


def test_the_secret_goes_into_the_file_and_nowhere_else(
    run: Run, yoco: Yoco, tmp_path: Path
) -> None:
    """Registered by name and address; only its owner can read the file; nothing else is left."""
    done = register(run)

    assert (done.status, SECRET in done.out + done.err) == (0, False)
    path = tmp_path / "secrets" / "yoco"
    assert path.read_text() == SECRET + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert yoco.asked == [
        ("GET", "/api/webhooks", f"Bearer {KEY}", None),
        ("POST", "/api/webhooks", f"Bearer {KEY}", {"name": "shop", "url": ADDRESS}),
    ]
    assert OWN_ID in done.out


def test_the_answer_as_json_names_the_file(run: Run) -> None:
    """For scripts: id, address, mode and where the secret lies."""
    done = register(run, "--json", "--name", "Shop of South Africa")

    assert json.loads(done.out) == {
        "endpoint": "shop", "id": OWN_ID, "url": ADDRESS, "name": "Shop of South Africa",
        "mode": "test", "secret_file": "secrets/yoco",
    }  # fmt: skip


def test_the_endpoint_works_with_what_was_stored(run: Run, tmp_path: Path) -> None:
    """The file is one that the ingress reads."""
    register(run)
    setup = load_setup(tmp_path / "hookmill.toml")

    assert setup.signing_secret("by-file") == SECRET
    assert setup.secrets(setup.endpoints["by-file"])()[0].key == PACKS["yoco"].key(SECRET)


def test_a_secret_that_is_there_is_never_replaced_unasked(
    run: Run, yoco: Yoco, tmp_path: Path
) -> None:
    """Nothing is even asked; with --force it is replaced, in one step."""
    path = tmp_path / "secrets" / "yoco"
    path.write_text("in use")
    refused = register(run)

    assert (refused.status, yoco.asked, path.read_text()) == (2, [], "in use")
    assert "give --force" in refused.err
    assert register(run, "--force").status == 0
    assert path.read_text() == SECRET + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_noticed_before_anything_is_asked(
    run: Run, yoco: Yoco, tmp_path: Path
) -> None:
    """Or the secret, told only once, would be lost."""
    (tmp_path / "secrets").rmdir()
    done = register(run)

    assert (done.status, yoco.asked) == (2, [])
    assert "secrets/yoco cannot be written" in done.err


@pytest.mark.parametrize("choice", [("by-env",), ("shop", "--secret", "old")])
def test_a_secret_by_environment_is_printed_only_when_asked(
    choice: tuple[str, ...], run: Run, yoco: Yoco
) -> None:
    """Else it would be lost: so nothing is registered."""
    refused = run("register", *choice, "--url", ADDRESS)

    assert (refused.status, yoco.asked) == (2, [])
    assert "told only once" in refused.err
    assert "--show-secret" in refused.err
    shown = run("register", *choice, "--url", ADDRESS, "--show-secret", "--json")
    assert json.loads(shown.out)["secret"] == SECRET
    assert SECRET not in shown.err


def test_an_address_is_registered_once(run: Run, yoco: Yoco, tmp_path: Path) -> None:
    """Two of one address would deliver everything twice; for a rotation it can be had."""
    register(run)
    (tmp_path / "secrets" / "yoco").unlink()
    second = register(run)

    assert second.status == 1
    assert f"registered already, as {OWN_ID}" in second.err
    assert len(yoco.kept) == 1
    assert register(run, "--again").status == 0
    assert len(yoco.kept) == 2


def test_a_dry_run_shows_the_request_and_sends_nothing(
    run: Run, yoco: Yoco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the key is needed."""
    monkeypatch.delenv("T_KEY")
    done = register(run, "--dry-run", "--json")
    ending = run("unregister", "shop", "a/b", "--dry-run")

    assert json.loads(done.out) == {
        "method": "POST", "url": f"{yoco.base_url}/webhooks",
        "headers": {"authorization": "Bearer …"}, "body": {"name": "shop", "url": ADDRESS},
    }  # fmt: skip
    assert ending.out.splitlines()[0] == f"DELETE {yoco.base_url}/webhooks/a%2Fb"
    assert (done.status, ending.status, yoco.asked) == (0, 0, [])


def test_registrations_are_listed_and_ended(run: Run, yoco: Yoco) -> None:
    """By their id; one that is not there is told."""
    register(run)
    listed = run("registrations", "shop", "--json")
    table = run("registrations", "shop")
    ended = run("unregister", "shop", OWN_ID, "--json")
    again = run("unregister", "shop", OWN_ID)

    assert json.loads(listed.out) == [
        {"id": OWN_ID, "url": ADDRESS, "name": "shop", "mode": "test"}
    ]
    assert OWN_ID in table.out
    assert json.loads(ended.out) == {"endpoint": "shop", "unregistered": OWN_ID}
    assert (again.status, yoco.kept) == (1, [])
    assert f"has no webhook '{OWN_ID}'" in again.err


def test_a_bare_list_and_an_empty_deletion_do_too(run: Run, yoco: Yoco) -> None:
    """As the one description of the API says that is not an integration."""
    yoco.answers["GET"] = lambda: web.json_response([{"id": OWN_ID, "more": 1}, {"no": "id"}])
    yoco.answers["DELETE"] = lambda: web.Response(status=204)

    listed = run("registrations", "shop", "--json")

    assert [each["id"] for each in json.loads(listed.out)] == [OWN_ID]
    assert run("unregister", "shop", OWN_ID).status == 0


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "is the api_key this account's"), (403, "is the api_key this account's"),
        (409, "5 webhooks an account"), (422, "5 webhooks an account"), (429, "wait a minute"),
        (500, "try again later; whether it is registered now is not known"),
        (302, "another answer than its documentation says"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do_and_no_secret(
    status: int, says: str, run: Run, yoco: Yoco, tmp_path: Path
) -> None:
    """The provider's words are shown, without what looks like a key; no file is left behind."""
    told = {"message": f"no, {KEY} and {SECRET}\x1b[31m " + "long " * 100}
    headers = {"location": f"{yoco.base_url}/elsewhere"}
    yoco.answers["POST"] = lambda: web.json_response(told, status=status, headers=headers)
    done = register(run)

    assert done.status == 1
    assert f"Yoco answered {status} ('no, … and …" in done.err
    assert says in done.err
    assert SECRET not in done.err
    assert "\x1b" not in done.err
    assert len(done.err) < 800
    assert list((tmp_path / "secrets").iterdir()) == []
    assert [each[1] for each in yoco.asked if "elsewhere" in each[1]] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "without an id"), (b"[]", "without an id"), (b'{"id": 7}', "without an id"),
        (b'{"id": "sub_1"}', "without a secret (it has the id sub_1)"),
        (b'{"id": "sub_1", "secret": ""}', "without a secret"),
        (b"x" * 2_000_000, "the connection broke"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_understood_is_told(
    body: bytes, says: str, run: Run, yoco: Yoco
) -> None:
    """With where to look, since the webhook may exist."""
    yoco.answers["POST"] = lambda: web.Response(body=body, content_type="application/json")
    done = register(run)

    assert done.status == 1
    assert says in done.err
    assert "hookmill providers registrations" in done.err


async def test_silence_ends_in_time() -> None:
    """And says that the webhook may be registered."""
    held: list[asyncio.StreamWriter] = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    registrar = Registrar(YOCO, KEY, "Yoco", base_url=address, timeout_secs=0.2)

    with pytest.raises(RegistrationFailed, match=r"within 0\.2 s; whether it is registered now"):
        await registrar.register(ADDRESS, "shop")
    for writer in held:
        writer.close()
    server.close()
    await server.wait_closed()
    with pytest.raises(RegistrationFailed, match="cannot be reached"):
        await registrar.registered()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shop", "--url", "http://shop.example/webhooks/shop"), "it must be https://"),
        (("shop", "--url", "https://me:pw@shop.example/webhooks/shop"), "it must be https://"),
        (("shap", "--url", ADDRESS), "no endpoint is called 'shap'; there are: shop"),
        (("invoices", "--url", ADDRESS), "no documented API for registering webhooks"),
        (("keyless", "--url", ADDRESS), "endpoints.keyless.api_key is needed"),
        (("shop", "--url", ADDRESS, "--secret", "x"), "has no secret 'x'; it has: new, old"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_asked(
    arguments: tuple[str, ...], says: str, run: Run, yoco: Yoco
) -> None:
    """Status 2: the configuration or the command must change."""
    done = run("register", *arguments)

    assert (done.status, yoco.asked) == (2, [])
    assert says in done.err


def test_a_key_that_is_not_set_is_named_by_its_option(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As secrets are."""
    monkeypatch.delenv("T_KEY")

    assert "endpoints.shop.api_key: " in run("registrations", "shop").err


def test_the_key_goes_to_no_plain_address() -> None:
    """Only https, or this machine."""
    registrar = Registrar(YOCO, KEY, "Yoco", base_url="http://yoco.example/api")

    with pytest.raises(ConfigurationError, match="only https"):
        asyncio.run(registrar.registered())


def test_another_address_is_registered_with_a_note(run: Run) -> None:
    """A proxy may change the path; most often it is a slip."""
    done = run("register", "shop", "--url", "https://shop.example/in/yoco")

    assert done.status == 0
    assert "does not end in /webhooks/shop" in done.err


@pytest.mark.parametrize("own_id", ["", ".", ".."])
def test_an_id_that_is_none_is_refused(own_id: str, run: Run, yoco: Yoco) -> None:
    """It would lead to another address."""
    assert run("unregister", "shop", own_id).status == 2
    assert yoco.asked == []


def test_a_file_that_comes_meanwhile_stays_and_the_secret_is_not_lost(tmp_path: Path) -> None:
    """It lies beside, for its owner only."""
    path = tmp_path / "secret"
    with SecretFile(path) as place:
        path.write_text("another's")
        with pytest.raises(HookmillError, match="the secret lies in") as told:
            place.keep("mine")
    beside = Path(str(told.value).rpartition(" ")[2])

    assert (path.read_text(), beside.read_text()) == ("another's", "mine\n")
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600


def test_every_api_belongs_to_a_pack_and_says_where_it_is_written() -> None:
    """A name that no pack has could never be used."""
    assert set(APIS) <= set(PACKS)
    assert all(api.sources and api.base_url.startswith("https://") for api in APIS.values())
