"""Where a ledger is: what an address names, and that its password is nowhere to be read."""

import traceback
from pathlib import Path

import pytest

from hookmill.config.options import Configuration, Handler, SecretSource
from hookmill.config.show import HIDDEN, rows, shown
from hookmill.core.errors import ConfigurationError
from hookmill.handlers.ledger.configured import ledger_place
from hookmill.handlers.ledger.place import File, Server, place
from hookmill.handlers.registry import make

HUSH = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "state/ledger.db"),
        ("sqlite:///books/ledger.db", "books/ledger.db"),
        ("sqlite:////var/books.db", "/var/books.db"),
    ],
)
def test_an_address_names_its_file(url: str | None, expected: str) -> None:
    """Three slashes and a relative path, four and an absolute one."""
    assert place(url, local_dir=Path("state")) == File(Path(expected))


@pytest.mark.parametrize(
    ("url", "dsn", "password"),
    [
        ("postgresql://db/books", "postgresql://db/books", None),
        ("postgres://me@db:5433/books", "postgres://me@db:5433/books", None),
        (f"postgresql://me:{HUSH}@db/books", "postgresql://me@db/books", HUSH),
        ("postgresql://me:a%2Fb%40c@db/books", "postgresql://me@db/books", "a/b@c"),
        ("postgresql://me:p@ss@db/books", "postgresql://me@db/books", "p@ss"),
        ("postgresql://me:x@a:1,b:2/books?sslmode=verify-full",
         "postgresql://me@a:1,b:2/books?sslmode=verify-full", "x"),
        ("postgresql://me@[::1]:5432/books", "postgresql://me@[::1]:5432/books", None),
        ("postgresql:///books?host=/run/postgresql",
         "postgresql:///books?host=/run/postgresql", None),
    ],
)  # fmt: skip
def test_an_address_names_its_server(url: str, dsn: str, password: str | None) -> None:
    """The password is taken out of it; everything else stays as it was."""
    found = place(url, local_dir=Path())

    assert isinstance(found, Server)
    assert found.dsn == dsn
    assert (found.password() if found.password else None) == password


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///",
        "sqlite:books.db",
        "books.db",
        f"{HUSH}",
        f"mysql://me:{HUSH}@db/books",
        f"postgresql:me:{HUSH}@db",
        f"postgresql://me:hun/{HUSH}@db/books",
        f"postgresql://me:hun?{HUSH}@db/books",
        f"postgresql://me:hun#{HUSH}@db/books",
        f"postgresql://me:{HUSH}@db:port/books",
        f"postgresql://me:{HUSH}@[::1/books",
        f"postgresql://me@db/books?password={HUSH}",
        f"postgresql://me@db/books?sslpassword={HUSH}",
        f"postgresql://me@db/books?{HUSH}",
    ],
)
def test_another_address_is_refused_without_its_password(url: str) -> None:
    """The message goes to logs; so does, at the worst, the whole chain of errors."""
    with pytest.raises(ConfigurationError) as caught:
        place(url, local_dir=Path())

    if url != HUSH:
        assert HUSH not in str(caught.value)
        assert HUSH not in "".join(traceback.format_exception_only(caught.value))
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", ["sqlite:///x.db", None, f"postgresql://me:{HUSH}@db/books"])
def test_a_password_that_has_no_use_or_is_there_twice_is_refused(url: str | None) -> None:
    """One of the two would be ignored in silence."""
    with pytest.raises(ConfigurationError, match="password"):
        place(url, local_dir=Path(), password=lambda: "x")


def test_no_repr_shows_a_password() -> None:
    """Neither of the options, nor of the place, nor of what is made of them."""
    url = f"postgresql://me:{HUSH}@db/books"
    options = Handler(type="ledger", url=url)
    source = SecretSource(value=HUSH)
    other = Handler(type="ledger", url="postgresql://me@db/books", password=source)
    found = place(url, local_dir=Path())
    assert isinstance(found, Server)

    for each in (options, other, Configuration(handlers={"a": options, "b": other}), found,
                 found.arguments(),
                 make(options, name="a", local_dir=Path(), environ={}, now_us=lambda: 0),
                 ledger_place(other, local_dir=Path(), environ={})):  # fmt: skip
        assert HUSH not in repr(each)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{HUSH}@db/books",
        f"postgresql://me:a/{HUSH}@db/books",
        f"postgresql://me:a@{HUSH}@db/books",
        f"postgresql://me@db/books?sslmode=require&password={HUSH}",
    ],
)
def test_config_show_hides_who_and_with_what(url: str) -> None:
    """Even where the address cannot be used as it is."""
    config = Configuration(handlers={"books": Handler(type="ledger", url=url)})

    assert HUSH not in repr(shown(config)) + repr(rows(config))
    assert HIDDEN in shown(config)["handlers"]["books"]["url"]


def test_config_show_hides_an_inline_password() -> None:
    """As every other secret in the file."""
    handler = Handler(type="ledger", password=SecretSource(value=HUSH))

    assert HUSH not in repr(rows(Configuration(handlers={"books": handler})))
