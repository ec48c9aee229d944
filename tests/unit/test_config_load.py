"""Reading hookmill.toml: where it is looked for, and every wrong line told in plain words."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookmill.config.load import load
from hookmill.config.options import Configuration
from hookmill.config.shape import unknown_keys, wrong_values
from hookmill.core.errors import ConfigurationError
from hookmill.providers.endpoint import modes_of

GOOD = """
[kafka]
bootstrap_servers = ["a:9092", "b:9092"]
sasl_mechanism = "SCRAM-SHA-512"
security_protocol = "SASL_SSL"
sasl_username = "me"
sasl_password = { file = "password" }

[endpoints.shop-za]
provider = "yoco"
secrets = [{ name = "2026-11", env = "YOCO_SECRET" }, { name = "2026-05", file = "old" }]
tolerance_secs = 180

[handlers.ledger]
type = "ledger"

[[routes]]
name = "money"
match = { type = ["payment.*", "refund.*"], provider = "yoco", metadata = { shop = "1" } }
handlers = ["ledger"]
"""

FORWARDER = '[handlers.a]\ntype = "http"\nurl = "https://shop.example"\n'

Load = Callable[[str], Configuration]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Reads a text as the configuration file, without any environment."""

    def reading(text: str) -> Configuration:
        path = tmp_path / "hookmill.toml"
        path.write_text(text)
        return load(path, {})

    return reading


@pytest.fixture
def complaints(read: Load, tmp_path: Path) -> Callable[[str], list[str]]:
    """The lines with which a text is refused, without the file and line that begin each."""

    def lines(text: str) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            read(text)
        begin = re.compile(re.escape(str(tmp_path / "hookmill.toml")) + r"(:\d+)?: ")
        found = str(caught.value).splitlines()
        assert all(begin.match(each) for each in found), found
        return [begin.sub("", each) for each in found]

    return lines


def route(match: str) -> str:
    """A configuration that is good but for its route's match."""
    return f'{GOOD}\n[[routes]]\nname = "r"\nhandlers = ["ledger"]\nmatch = {match}\n'


def test_a_good_file_is_read(read: Load) -> None:
    """What is said holds, what is not said has its default."""
    config = read(GOOD)

    assert config.endpoints["shop-za"].tolerance_secs == 180
    assert [each.name for each in config.endpoints["shop-za"].secrets] == ["2026-11", "2026-05"]
    assert config.routes[0].match.provider == "yoco"
    assert config.ingress.port == 8080
    assert config.bootstrap_servers == ("a:9092", "b:9092")


def test_without_servers_the_local_broker_is_meant(read: Load) -> None:
    """On the port that the file gives it."""
    assert read("[local]\nbroker_port = 19092").bootstrap_servers == ("127.0.0.1:19092",)


def test_no_file_at_all_is_every_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local broker and topics need none."""
    monkeypatch.chdir(tmp_path)

    assert load(None, {}) == Configuration()


def test_the_file_of_the_current_folder_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its usual name."""
    (tmp_path / "hookmill.toml").write_text("[ingress]\nport = 1111")
    monkeypatch.chdir(tmp_path)

    assert load(None, {}).ingress.port == 1111


def test_the_option_goes_before_the_variable_and_the_variable_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config`, else HOOKMILL_CONFIG, else hookmill.toml here; an empty variable is none."""
    for name, port in (("hookmill.toml", 1), ("variable.toml", 2), ("option.toml", 3)):
        (tmp_path / name).write_text(f"[ingress]\nport = {port}")
    monkeypatch.chdir(tmp_path)
    environ = {"HOOKMILL_CONFIG": "variable.toml"}

    assert load(Path("option.toml"), environ).ingress.port == 3
    assert load(None, environ).ingress.port == 2
    assert load(None, {"HOOKMILL_CONFIG": ""}).ingress.port == 1


@pytest.mark.parametrize("environ", [{}, {"HOOKMILL_CONFIG": "gone.toml"}])
def test_a_file_that_is_named_must_be_there(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typing error must not mean the defaults."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError, match=r"^there is no configuration file gone\.toml$"):
        load(None if environ else Path("gone.toml"), environ)


@pytest.mark.parametrize("data", [b"[ingress", b"a = 1\na = 2", b'name = "\xff"', b"= 3"])
def test_what_is_no_toml_is_said_in_one_line(data: bytes, tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "c.toml"
    path.write_bytes(data)

    with pytest.raises(ConfigurationError, match=r"^[^\n]*c\.toml is not TOML: [^\n]+$"):
        load(path, {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[ingres]\nport = 1", "ingres is no option, did you mean 'ingress'?"),
        ("[ingress]\nprot = 1", "ingress.prot is no option, did you mean 'port'?"),
        (
            '[endpoints.a]\nprovider = "yoco"\nsecret = []',
            "endpoints.a.secret is no option, did you mean 'secrets'?",
        ),
        (
            '[endpoints.a]\nprovider = "yoco"\nsecrets = [{ envv = "A" }]',
            "endpoints.a.secrets[0].envv is no option, did you mean 'env'?",
        ),
        (
            "[kafka.sasl_password]\nfil = 'x'",
            "kafka.sasl_password.fil is no option, did you mean 'file'?",
        ),
        (
            '[[routes]]\nname = "r"\nhandlers = []\nmatch = { metadata = { a = { oneof = [] } } }',
            "routes[0].match.metadata.a.oneof is no option, did you mean 'one_of'?",
        ),
        ("[log]\nqqq = 1", "log.qqq is no option; known: format, level"),
    ],
)
def test_an_unknown_key_names_the_nearest(
    text: str, line: str, complaints: Callable[[str], list[str]]
) -> None:
    """At every depth; what is near nothing gets the list."""
    assert complaints(text) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[ingress]\nport = "x"', "ingress.port: expected int, got text"),
        ("[ingress]\nport = 65536", "ingress.port: expected int <= 65535"),
        ("[ingress]\nport = true", "ingress.port: expected int, got bool"),
        ("[ingress]\nbody_bytes_max = 1", "ingress.body_bytes_max: expected int >= 1024"),
        ("ingress = 3", "ingress: expected a table, got int"),
        ('[kafka]\nbootstrap_servers = "a"', "kafka.bootstrap_servers: expected a list, got text"),
        ("[kafka]\nbootstrap_servers = [1]", "kafka.bootstrap_servers[0]: expected text, got int"),
        ("[kafka]\nsasl_password = { file = 1 }",
         "kafka.sasl_password.file: expected text, got int"),
        ("[endpoints.a]", "endpoints.a.provider is missing"),
        ('[[routes]]\nname = "r"', "routes[0].handlers is missing"),
        ("[log]\nlevel = 'loud'", "log.level: expected one of debug, info, warning, error"),
        ("[local]\nbroker_nodes = 2", "local.broker_nodes: expected one of 1, 3"),
        ('[handlers.a]\ntype = "log"\nretry_delays_secs = [30, 30]',
         "handlers.a.retry_delays_secs: each must be longer than the one before"),
        ('[handlers.a-retry-30]\ntype = "log"',
         "handlers.a-retry-30: its topics would be those of another handler; not at the end of a "
         "name: -dlq, -state, -retry-N"),
        ('[handlers.a]\ntype = "log"\ntimeout_secs = 0',
         "handlers.a.timeout_secs: expected float > 0.0"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_its_whole_path(
    text: str, line: str, complaints: Callable[[str], list[str]]
) -> None:
    """In words of TOML, with the endpoint's name and the list's index."""
    assert complaints(text) == [line]


@pytest.mark.parametrize("name", ["Shop", "shop_za", "-shop", "shop-", "a.b", "", "x" * 65])
def test_names_are_fit_for_urls_and_topics(
    name: str, complaints: Callable[[str], list[str]]
) -> None:
    """Small letters, digits, hyphens within: a name is part of an address or of a topic's name."""
    (line,) = complaints(f'[handlers."{name}"]\ntype = "log"')

    assert line.startswith(f"handlers.{name}: its name: expected text")


def test_everything_that_is_wrong_is_said_at_once(complaints: Callable[[str], list[str]]) -> None:
    """Nobody likes to mend a file line by line."""
    assert (
        complaints('[ingress]\nport = "x"\nworkers = 0\n[log]\nlevel = 3')
        == [
            "ingress.port: expected int, got text",
            "ingress.workers: expected int >= 1",
            "log.level: expected text",
        ]
        or len(complaints('[ingress]\nport = "x"\nworkers = 0\n[log]\nlevel = 3')) == 3
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[ingress]\ntls_cert_file = "c"',
            "ingress.tls_cert_file and ingress.tls_key_file go together",
        ),
        (
            '[ingress]\ntrusted_proxies = ["10.0.0.0/8", "proxy"]',
            "ingress.trusted_proxies: 'proxy' is no address or network such as 10.0.0.0/8",
        ),
        (
            "[ingress]\nbytes_in_flight_max = 1024",
            "ingress.bytes_in_flight_max is below ingress.body_bytes_max: nothing would get in",
        ),
        ("[ingress]\nport = 9090", "ingress.port and ingress.admin_port are the same"),
        (
            '[kafka]\nsecurity_protocol = "SASL_SSL"',
            "kafka.security_protocol SASL_SSL needs kafka.sasl_username and kafka.sasl_password",
        ),
        (
            '[kafka]\nsasl_username = "me"',
            "kafka.sasl_username and sasl_password need security_protocol SASL_SSL",
        ),
        ('[kafka]\nssl_keyfile = "k"', "kafka.ssl_keyfile needs kafka.ssl_certfile"),
        *(
            (
                f'[telemetry]\notlp_endpoint = "{address}"',
                "telemetry.otlp_endpoint: an address such as http://127.0.0.1:4318 is needed, "
                "without the path /v1/traces, which is added",
            )
            for address in ("localhost:4317", "http://c:4318/v1/traces", "http://me:secret@c:1")
        ),
        (
            '[endpoints.a]\nprovider = "yoco"',
            "endpoints.a.secrets: at least one is needed, or nothing proves the sender",
        ),
        (
            '[endpoints.a]\nprovider = "yoco"\nsecrets = [{ env = "A" }]\n'
            'api_key = { value = "k" }',
            "endpoints.a.api_key: secret 'main' stands in the file; name it by env or file, or for "
            "a trial set allow_inline_secrets = true",
        ),
        (
            '[endpoints.a]\nprovider = "yoco"\nsecrets = [{ env = "A" }, { env = "B" }]',
            "endpoints.a.secrets: the name 'main' is there 2 times",
        ),
        (
            '[endpoints.a]\nprovider = "yoco"\nsecrets = [{ name = "n" }]',
            "endpoints.a.secrets: secret 'n' needs exactly one of env, file, value",
        ),
        (
            '[endpoints.a]\nprovider = "yoco"\nsecrets = [{ env = "A", file = "b" }]',
            "endpoints.a.secrets: secret 'main' needs exactly one of env, file, value",
        ),
        (
            '[handlers.a]\ntype = "leger"',
            "handlers.a.type: 'leger' is not built in, nor module:function, did you mean 'ledger'?",
        ),
        (
            '[handlers.a]\ntype = "log"\nurl = "x"',
            "handlers.a.url: only the types http and ledger have one",
        ),
        (
            '[handlers.a]\ntype = "ledger"\nsecrets = [{ env = "A" }]',
            "handlers.a.secrets: only the type http has it",
        ),
        (
            '[handlers.a]\ntype = "log"\nallow_plain_http = true',
            "handlers.a.allow_plain_http: only the type http has it",
        ),
        (
            '[handlers.a]\ntype = "http"\nsecrets = [{ env = "A" }]',
            'handlers.a.url: the address of the service is needed: url = "https://…"',
        ),
        (
            FORWARDER + "secrets = []",
            "handlers.a.secrets: at least one is needed, or the service cannot tell who sends",
        ),
        (
            FORWARDER + 'secrets = [{ value = "whsec_AA" }]',
            "handlers.a.secrets: secret 'main' stands in the file; name it by env or file, or for "
            "a trial set allow_inline_secrets = true",
        ),
        (
            FORWARDER + 'secrets = [{ env = "A" }, { file = "b" }]',
            "handlers.a.secrets: the name 'main' is there 2 times",
        ),
        (
            FORWARDER + 'secrets = [{ env = "A" }]\nallow_networks = ["inside"]',
            "handlers.a.allow_networks: 'inside' is no address or network such as 10.0.0.0/8",
        ),
        (
            FORWARDER + 'secrets = [{ env = "A" }]\nconcurrency = 4\nrequests_in_flight_max = 5',
            "handlers.a.requests_in_flight_max is above handlers.a.concurrency: there are never so "
            "many",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    text: str, line: str, complaints: Callable[[str], list[str]]
) -> None:
    """Each with what would be right."""
    text = '[ingress]\nport = "x"\nworkers = 0\n[log]\nlevel = 3'

    assert complaints(text) == [
        "ingress.port: expected int, got text",
        "ingress.workers: expected int >= 1",
        "log.level: expected one of debug, info, warning, error",
    ]


@pytest.mark.parametrize(
    ("match", "line"),
    [
        ('{ type = "payment.succeded" }',
         "no event has the type 'payment.succeded', did you mean 'payment.succeeded'?"),
        ('{ endpoint = "shop-zz" }',
         "no endpoint is called 'shop-zz', did you mean 'shop-za'?"),
        ('{ provider = ["yoko"] }', "no endpoint has the provider 'yoko', did you mean 'yoco'?"),
        ('{ kind = "refnd" }', "no event has the kind 'refnd', did you mean 'refund'?"),
        ('{ type = "*.succeded" }',
         "no event has the type '*.succeded', did you mean '*.succeeded'?"),
        ('{ type = "paymnt.*" }', "no event has the type 'paymnt.*', did you mean 'payment.*'?"),
        ('{ mode = "tets" }', "no event has the mode 'tets', did you mean 'test'?"),
        ('{ metadata = { a = {} } }',
         "metadata.a needs exactly one of exists, one_of, file, function"),
        ('{ metadata = { a = { exists = true, one_of = ["b"] } } }',
         "metadata.a needs exactly one of exists, one_of, file, function"),
    ],
)  # fmt: skip
def test_a_route_matches_only_what_there_is(
    match: str, line: str, complaints: Callable[[str], list[str]]
) -> None:
    """A misspelt word would match nothing for ever, in silence."""
    assert complaints(route(match)) == [f"routes 'r': {line}"]


@pytest.mark.parametrize(
    ("match", "line"),
    [
        ('{ kind = "refund", type = "payment.*" }', "type 'payment.*' is not of the kind refund"),
        ('{ kind = ["refund", "dispute"], type = ["*.failed"] }',
         "kind 'dispute' has not the type *.failed"),
        ('{ endpoint = "shop-za", provider = "rehive" }',
         "endpoint 'shop-za' is of yoco, not rehive"),
        ('{ endpoint = ["shop-za"], provider = ["yoco", "rehive"] }',
         "provider 'rehive' has not the endpoint shop-za"),
        ('{ endpoint = "invoices", mode = "test" }',
         "mode test: events of invoices are unknown"),
        ('{ provider = "rehive", mode = ["live", "test"] }',
         "mode live or test: events of invoices are unknown"),
        ('{ endpoint = "sandbox" }',
         "mode live or unknown: events of sandbox are test; test events must be asked for: "
         'mode = "test"'),
        ('{ amount = { currency = "zar" } }', "no currency is called 'zar', did you mean 'ZAR'?"),
        ('{ amount = { currency = "" } }', "amount.currency is empty"),
        ('{ amount = { currency = "ZAR", min = "9", max = 8 } }',
         "amount.min 9 is above amount.max 8"),
        ('{ amount = { currency = "ZAR", min = "1,000.00" } }',
         "amount.min '1,000.00' is no whole number of minor units of up to 38 digits: "
         '"100000" is ZAR 1,000.00'),
        (f'{{ amount = {{ currency = "ZAR", max = 1{38 * "0"} }} }}',
         f"amount.max '1{38 * '0'}' is no whole number of minor units of up to 38 digits: "
         '"100000" is ZAR 1,000.00'),
        ('{ metadata = { a = { one_of = [] } } }',
         "metadata.a is one of nothing: no event matches"),
    ],
)  # fmt: skip
def test_a_route_that_contradicts_itself_is_refused(match: str, line: str, tmp_path: Path) -> None:
    """Its words are good, but not together: it would never take an event."""
    path = tmp_path / "hookmill.toml"
    others = '\n[endpoints.invoices]\nprovider = "rehive"\nsecrets = [{ env = "A" }]\n'
    sandbox = others.replace("invoices", "sandbox").replace('"rehive"', '"pay3"\nmode = "test"')
    path.write_text(route(match) + others + sandbox)
    with pytest.raises(ConfigurationError) as caught:
        load(path, {}, modes_of=modes_of)

    assert str(caught.value).partition("routes 'r': ")[2] == line


@pytest.mark.parametrize(
    ("match", "line"),
    [
        ("{ amount = { min = 1 } }", "routes[1].match.amount.currency is missing"),
        ('{ amount = { currency = "ZAR", min = 1.5 } }',
         "routes[1].match.amount.min: expected int | text, got float"),
        ('{ amount = { currency = "ZAR", max = true } }',
         "routes[1].match.amount.max: expected int | text, got bool"),
        ('{ amount = { currency = "ZAR", exponent = 39 } }',
         "routes[1].match.amount.exponent: expected int <= 38"),
    ],
)  # fmt: skip
def test_an_amount_has_a_currency_and_no_fractions(
    match: str, line: str, complaints: Callable[[str], list[str]]
) -> None:
    """What cannot be compared exactly is not compared."""
    assert complaints(route(match)) == [line]


TABLE = """
[endpoints.shop-za]  # line 2
provider = "yoco"
secrets = [{ env = "A" }]

[handlers.ledger]
type = "ledger"

[[routes]]
name = "money"
handlers = [
  "ledger",
  "ledgr",  # line 13
]

[[routes]]
name = "refunds"
handlers = ["ledger"]
match = { kind = "refund", type = "payment.*" }  # line 19

[[routes]]  # line 21
name = "all"
handlers = ["ledger"]

[[routes]]  # line 25
name = "disputes"
handlers = ["ledger"]
match.kind = "dispute"

[[routes]]
name = "all"  # line 31
handlers = ["ledger"]
[routes.match]
metadata."a b" = {}  # line 34
provider = [
  "yoco",
  "yoko" ]  # line 37
"""


def test_every_complaint_about_the_table_names_its_line(tmp_path: Path) -> None:
    """The word itself where it stands on a line of its own; an idle rule at its beginning."""
    path = tmp_path / "hookmill.toml"
    path.write_text(TABLE)
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})

    assert str(caught.value).splitlines() == [
        f"{path}:{line}"
        for line in (
            "31: routes: the name 'all' is there 2 times",
            "13: routes 'money': no handler is called 'ledgr', did you mean 'ledger'?",
            "19: routes 'refunds': type 'payment.*' is not of the kind refund",
            "37: routes 'all': no endpoint has the provider 'yoko', did you mean 'yoco'?",
            "34: routes 'all': metadata.a b needs exactly one of exists, one_of, file, function",
            "25: routes 'disputes': adds nothing: 'all' takes all that it takes, for all its "
            "handlers",
        )
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n[ingress]\n\nport = 'x'", 4),
        ("\n[ingres]\nport = 1", 2),
        ("[log]\n[handlers]\na.type = 'log'\na.url = 'x'", 4),
        ("[endpoints.a]\nprovider = 'yoco'", 1),
        ("\n[kafka]\nssl_keyfile = 'k'", 3),
    ],
)
def test_every_other_complaint_names_its_line_too(text: str, line: int, tmp_path: Path) -> None:
    """Of the longest name that the file has: what is missing is missing from its table."""
    path = tmp_path / "hookmill.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=re.escape(f"{path}:{line}: ")):
        load(path, {})


@pytest.mark.parametrize(
    "match",
    [
        '{ type = "*", mode = "test" }',
        '{ type = "*.failed", mode = ["live", "test"] }',
        '{ kind = ["refund", "payment"], type = "*.failed" }',
        '{ amount = { currency = "ZAR" } }',
        '{ amount = { currency = "ETH", min = "-1", max = 1000000000000000000000 } }',
        '{ amount = { currency = "ETH", exponent = 18 } }',
        '{ metadata = { a = { exists = false }, b = { one_of = ["x"] } } }',
        '{ metadata = { a = { file = "ids.txt" }, b = { function = "m:f" } } }',
    ],
)
def test_every_form_of_a_match_is_read(match: str, read: Load) -> None:
    """Patterns, one or several words, the four conditions."""
    assert read(route(match)).routes[-1].name == "r"


def test_a_route_needs_handlers_that_are_there(complaints: Callable[[str], list[str]]) -> None:
    """And a name of its own, which is its metric's label."""
    text = GOOD + '\n[[routes]]\nname = "money"\nhandlers = ["leger"]\n'

    assert complaints(text) == [
        "routes: the name 'money' is there 2 times",
        "routes 'money': no handler is called 'leger', did you mean 'ledger'?",
    ]


def test_a_secret_in_the_file_is_refused_without_being_told(
    complaints: Callable[[str], list[str]],
) -> None:
    """The message goes to logs."""
    (line,) = complaints('[endpoints.a]\nprovider = "yoco"\nsecrets = [{ value = "hunter2" }]')

    assert "allow_inline_secrets = true" in line
    assert "hunter2" not in line


def test_a_secret_in_the_file_is_taken_for_a_trial(read: Load) -> None:
    """Only where the file says so itself."""
    text = 'allow_inline_secrets = true\n[endpoints.a]\nprovider = "yoco"\n'

    assert read(text + 'secrets = [{ value = "hunter2" }]').endpoints["a"].secrets[0].value


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, below in inner:
        found.append((*path, key))
        if isinstance(below, dict | list):
            found += _places(below, (*path, key))
    return found


ANYTHING = st.sampled_from([None, True, 0, -1, 3, 70000, 1.5, "", "x", [], [1], {}, {"a": 1}])


@given(place=st.sampled_from(_places(tomllib.loads(GOOD))), value=ANYTHING)
def test_what_is_found_wrong_is_what_cannot_be_read(place: tuple[Any, ...], value: Any) -> None:
    """The lines and the reader agree: no value gets past the one and falls over in the other."""
    raw = tomllib.loads(GOOD)
    inner: Any = raw
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    lines = unknown_keys(raw, Configuration) + list(wrong_values(raw, Configuration))
    try:
        msgspec.convert(raw, Configuration)
        readable = True
    except msgspec.ValidationError:
        readable = False

    assert readable is (lines == [])
