"""The environment over the file: HOOKMILL_<SECTION>__<KEY>, and what is not ours is left alone."""

from pathlib import Path

import pytest
from msgspec import inspect

from hookmill.config.load import load
from hookmill.config.options import Configuration, SecretSource
from hookmill.config.shape import scalar
from hookmill.core.errors import ConfigurationError

FILE = """
[ingress]
port = 8081

[endpoints.shop-za]
provider = "yoco"
secrets = [{ env = "YOCO_SECRET" }]
tolerance_secs = 180

[endpoints.naira]
provider = "echezona"
secrets = [{ env = "ECHEZONA_SECRET" }]
options = { header = "x-sig", Some-Option = "a", some_option = "b" }

[handlers.ledger]
type = "ledger"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file under the environment."""
    path = tmp_path / "hookmill.toml"
    path.write_text(FILE)
    return path


def refused(path: Path, **environ: str) -> str:
    """The message with which the environment is refused."""
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ)
    return str(caught.value)


def test_a_variable_goes_before_the_file(path: Path) -> None:
    """And what it does not say, the file still does."""
    config = load(path, {"HOOKMILL_INGRESS__WORKERS": "4"})

    assert (config.ingress.workers, config.ingress.port) == (4, 8081)
    assert load(path, {"HOOKMILL_INGRESS__PORT": "1"}).ingress.port == 1


def test_a_variable_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have only its environment."""
    monkeypatch.chdir(tmp_path)

    assert load(None, {"HOOKMILL_KAFKA__NAMESPACE": "t"}).kafka.namespace == "t"


@pytest.mark.parametrize(
    "name",
    [
        "HOOKMILL_ENDPOINTS__SHOP_ZA__TOLERANCE_SECS",
        "HOOKMILL_endpoints__shop-za__tolerance_secs",
        "hookmill_Endpoints__Shop_Za__Tolerance-Secs",
    ],
)
def test_segments_match_without_case_and_with_underscores_for_hyphens(
    name: str, path: Path
) -> None:
    """Most shells cannot set a name with a hyphen."""
    config = load(path, {name: "99"})

    assert config.endpoints["shop-za"].tolerance_secs == 99
    assert set(config.endpoints) == {"shop-za", "naira"}


@pytest.mark.parametrize(
    "name",
    [
        "HOOKMILL_PORT",
        "HOOKMILL_SERVICE_HOST",
        "HOOKMILL_INGRESS_PORT",
        "HOOKMILL_INGRESS_PORT_8080_TCP_ADDR",
        "HOOKMILL_CONFIG",
        "OTHER_INGRESS__PORT",
    ],
)
def test_names_without_two_underscores_are_not_ours(name: str, path: Path) -> None:
    """Kubernetes sets them for a service that is called hookmill."""
    assert load(path, {name: "tcp://10.0.0.1:8080"}) == load(path, {})


@pytest.mark.parametrize("text", ["a:1,b:2", " a:1 , b:2, ", '["a:1", "b:2"]', ' [ "a:1","b:2" ]'])
def test_a_list_is_json_or_separated_by_commas(text: str, path: Path) -> None:
    """Spaces around and a comma at the end are forgiven."""
    config = load(path, {"HOOKMILL_KAFKA__BOOTSTRAP_SERVERS": text})

    assert config.kafka.bootstrap_servers == ("a:1", "b:2")


def test_an_empty_list_is_said_by_nothing(path: Path) -> None:
    """An empty variable empties what the file says."""
    config = load(path, {"HOOKMILL_KAFKA__BOOTSTRAP_SERVERS": ""})

    assert config.kafka.bootstrap_servers == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False), ("yes", "yes")],
)
def test_a_switch_has_two_spellings(text: str, value: bool | str) -> None:
    """Anything else stays text, which the option then refuses."""
    assert value == scalar(text, inspect.type_info(bool))


def test_secrets_in_the_file_are_not_allowed_from_outside(path: Path) -> None:
    """That option is no section's, so no variable means it."""
    config = load(path, {"HOOKMILL_ALLOW_INLINE_SECRETS": "true"})

    assert not config.allow_inline_secrets


def test_a_list_of_tables_is_json(path: Path) -> None:
    """As the secrets of an endpoint are."""
    config = load(path, {"HOOKMILL_ENDPOINTS__SHOP_ZA__SECRETS": '[{"name": "n", "env": "A"}]'})

    assert config.endpoints["shop-za"].secrets == (SecretSource(name="n", env="A"),)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HOOKMILL_KAFKA__PARTITIONS", "6", ("kafka", "partitions", 6)),
        ("HOOKMILL_INGRESS__ANSWER_DEADLINE_SECS", "2.5", ("ingress", "answer_deadline_secs", 2.5)),
        ("HOOKMILL_INGRESS__ANSWER_DEADLINE_SECS", "2", ("ingress", "answer_deadline_secs", 2.0)),
        ("HOOKMILL_LOCAL__BROKER_NODES", "3", ("local", "broker_nodes", 3)),
        ("HOOKMILL_LOCAL__DIR", "7", ("local", "dir", "7")),
        ("HOOKMILL_KAFKA__SECURITY_PROTOCOL", "SSL", ("kafka", "security_protocol", "SSL")),
        ("HOOKMILL_KAFKA__SSL_CAFILE", "true", ("kafka", "ssl_cafile", "true")),
    ],
)
def test_the_text_becomes_what_the_option_is(
    name: str, text: str, value: tuple[str, str, object], path: Path
) -> None:
    """A figure where a figure is wanted, a text where a text is, even one that looks otherwise."""
    section, option, expected = value

    assert expected == getattr(getattr(load(path, {name: text}), section), option)


def test_a_whole_endpoint_may_come_from_the_environment(path: Path) -> None:
    """Option by option, or its table as JSON; a new name gets hyphens."""
    config = load(
        path,
        {
            "HOOKMILL_ENDPOINTS__SHOP_NA__PROVIDER": "yoco",
            "HOOKMILL_ENDPOINTS__SHOP_NA__SECRETS": '[{"env": "A"}]',
            "HOOKMILL_ENDPOINTS__SHOP_BW": '{"provider": "yoco", "secrets": [{"env": "A"}]}',
        },
    )

    assert {"shop-za", "naira", "shop-na", "shop-bw"} == set(config.endpoints)


def test_an_option_of_a_pack_keeps_its_underscores(path: Path) -> None:
    """They are not names of ours; what they mean is the pack's to check."""
    config = load(path, {"HOOKMILL_ENDPOINTS__NAIRA__OPTIONS__SIGNED_PART": "body"})

    assert config.endpoints["naira"].options["signed_part"] == "body"


def test_a_name_that_may_mean_two_is_refused(path: Path) -> None:
    """Rather than setting one of them."""
    assert refused(path, HOOKMILL_ENDPOINTS__NAIRA__OPTIONS__SOME_OPTION="c") == (
        "HOOKMILL_ENDPOINTS__NAIRA__OPTIONS__SOME_OPTION is ambiguous: it may mean Some-Option or "
        "some_option"
    )


def test_two_variables_for_one_option_are_refused(path: Path) -> None:
    """Whichever came last would have won."""
    said = refused(path, HOOKMILL_INGRESS__PORT="1", hookmill_ingress__port="2")

    assert said == "HOOKMILL_INGRESS__PORT and hookmill_ingress__port both set ingress.port"


@pytest.mark.parametrize("name", ["HOOKMILL_ROUTES__0__NAME", "HOOKMILL_Routes__MONEY"])
def test_routes_stay_in_the_file(name: str, path: Path) -> None:
    """Their order and their whole matter; a variable for a part of one would be a trap."""
    assert f"{name}: routes cannot be set by the environment" == refused(path, **{name: "x"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HOOKMILL_INGRES__PORT", "'ingres' is no option, did you mean 'ingress'?"),
        ("HOOKMILL_INGRESS__PROT", "'prot' is no option, did you mean 'port'?"),
        (
            "HOOKMILL_ENDPOINTS__SHOP_ZA__TOLERANCE",
            "'tolerance' is no option, did you mean 'tolerance_secs'?",
        ),
        ("HOOKMILL__INGRESS__PORT", "'_ingress' is no option, did you mean 'ingress'?"),
        ("HOOKMILL_INGRESS__PORT__X", "'port' has nothing called 'x'"),
        ("HOOKMILL_INGRESS__WORKERS__X", "there is no option of that name"),
    ],
)
def test_an_unknown_option_names_the_variable_and_the_nearest(
    name: str, said: str, path: Path
) -> None:
    """As an unknown key of the file does."""
    assert f"{name}: {said}" == refused(path, **{name: "1"})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("HOOKMILL_INGRESS__PORT", "x", "ingress.port: expected int, got text"),
        ("HOOKMILL_INGRESS__PORT", "", "ingress.port: expected int, got text"),
        ("HOOKMILL_INGRESS__PORT", "70000", "ingress.port: expected int <= 65535"),
        ("HOOKMILL_INGRESS__PORT", "1e3", "ingress.port: expected int, got float"),
        ("HOOKMILL_INGRESS__TRUSTED_PROXIES", "10.0.0.0/8,proxy",
         "ingress.trusted_proxies: 'proxy' is no address or network such as 10.0.0.0/8"),
        ("HOOKMILL_ENDPOINTS__SHOP_ZA__TOLERANCE_SECS", "0",
         "endpoints.shop-za.tolerance_secs: expected int >= 1"),
        ("HOOKMILL_ENDPOINTS__SHOP_ZA__SECRETS", '[{"evn": "A"}]',
         "endpoints.shop-za.secrets[0].evn is no option, did you mean 'env'?"),
        ("HOOKMILL_ENDPOINTS__SHOP_ZA__MODE", "lvie",
         "endpoints.shop-za.mode: expected one of live, test"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_laid_at_the_variable_not_at_the_file(
    name: str, text: str, said: str, path: Path
) -> None:
    """Nobody finds it in the file."""
    assert f"{name}: {said}" == refused(path, **{name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HOOKMILL_KAFKA__BOOTSTRAP_SERVERS", "[a, b]"),
        ("HOOKMILL_KAFKA__SASL_PASSWORD", "hunter2"),
        ("HOOKMILL_ENDPOINTS__SHOP_ZA", "hunter2"),
    ],
)
def test_json_that_is_none_is_said_without_its_text(name: str, text: str, path: Path) -> None:
    """It may be a secret that was put in the wrong place."""
    assert f"{name}: not JSON" == refused(path, **{name: text})


def test_the_rest_of_the_file_is_still_checked(path: Path) -> None:
    """Each line names where it comes from: the line of the file, or the variable."""
    text = FILE.replace("8081", '"x"')
    path.write_text(text)
    line = next(n for n, each in enumerate(text.splitlines(), start=1) if "port" in each)
    lines = refused(path, HOOKMILL_INGRESS__WORKERS="0").splitlines()

    assert lines == [
        f"{path}:{line}: ingress.port: expected int, got text",
        "HOOKMILL_INGRESS__WORKERS: ingress.workers: expected int >= 1",
    ]


def test_every_scalar_option_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own default as the text, every option of every section comes out as it was."""
    monkeypatch.chdir(tmp_path)
    plain = Configuration()
    environ = {
        f"HOOKMILL_{section}__{option}".upper(): str(getattr(getattr(plain, section), option))
        for section in ("kafka", "local", "ingress", "log")
        for option in getattr(plain, section).__struct_fields__
        if isinstance(getattr(getattr(plain, section), option), str | int | float)
    }

    assert len(environ) > 20
    assert load(None, environ) == plain
