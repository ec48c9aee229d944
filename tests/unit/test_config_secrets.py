"""Secrets by reference: rotated by changing a file, kept while it is away, told to nobody."""

import os
import shutil
from pathlib import Path

import pytest

from hookmill.config.options import Configuration, Endpoint, SecretSource
from hookmill.config.secrets import SecretTexts, read_once
from hookmill.config.watched import CHECK_EVERY_SECS, WatchedFile
from hookmill.core.errors import ConfigurationError

HUSH = "hunter2-is-the-secret"


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now_secs = 100.0

    def __call__(self) -> float:
        return self.now_secs

    def turn(self) -> None:
        """On to when files are looked at again."""
        self.now_secs += CHECK_EVERY_SECS


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is turned."""
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a secret in it."""
    path = tmp_path / "yoco"
    path.write_text("first\n")
    return path


def texts(*sources: SecretSource, clock: Clock, **environ: str) -> SecretTexts:
    """The secrets of an endpoint."""
    return SecretTexts(sources, environ=environ, clock=clock)


def rotate(path: Path, text: str) -> None:
    """Put another file in its place, as every careful tool does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def test_every_live_secret_is_read_in_its_order(file: Path, clock: Clock) -> None:
    """While a secret is being rotated, the old one and the new one both hold."""
    found = texts(
        SecretSource(name="new", env="NEW"),
        SecretSource(name="old", file=str(file)),
        SecretSource(name="trial", value="inline"),
        clock=clock,
        NEW="fresh",
    )

    assert found.read() == [("new", "fresh"), ("old", "first"), ("trial", "inline")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("plain", "plain"),
        ("plain\n", "plain"),
        ("plain\r\n", "plain"),
        ("plain\n\n", "plain\n"),
        ("plain\r", "plain\r"),
        ("two\r\nlines\n", "two\r\nlines"),
        (" spaced \n", " spaced "),
        ("ключ\n", "ключ"),
    ],
)
def test_only_the_last_line_end_is_not_the_secrets(
    data: str, text: str, file: Path, clock: Clock
) -> None:
    """Editors add one; anything more could be meant."""
    file.write_bytes(data.encode())

    assert texts(SecretSource(file=str(file)), clock=clock).read() == [("main", text)]


def test_a_changed_file_is_read_again(file: Path, clock: Clock) -> None:
    """At the next look, and no sooner than a second after the last."""
    found = texts(SecretSource(file=str(file)), clock=clock)
    rotate(file, "second\n")

    assert found.read() == [("main", "first")]
    clock.turn()
    assert found.read() == [("main", "second")]


def test_a_file_written_in_place_is_read_again(file: Path, clock: Clock) -> None:
    """The same file with as many bytes: its time tells."""
    found = texts(SecretSource(file=str(file)), clock=clock)
    file.write_text("third\n")
    os.utime(file, ns=(1, 1))
    clock.turn()

    assert found.read() == [("main", "third")]


def test_links_are_followed_as_kubernetes_swaps_them(tmp_path: Path, clock: Clock) -> None:
    """A mounted secret is a link to a link, of which the inner one is replaced."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "yoco").write_text(f"secret-{version}")
    data = tmp_path / "..data"
    data.symlink_to("1")
    (tmp_path / "yoco").symlink_to("..data/yoco")
    found = texts(SecretSource(file=str(tmp_path / "yoco")), clock=clock)
    fresh = tmp_path / "..fresh"
    fresh.symlink_to("2")
    os.replace(fresh, data)
    clock.turn()

    assert found.read() == [("main", "secret-2")]


def test_a_mounted_secret_is_read_after_every_rotation(tmp_path: Path, clock: Clock) -> None:
    """As the kubelet does it: a folder of the time, a link that is swapped, the old folder gone.

    Two files of one Secret change in one moment, and are as long as they were before.
    """
    data = tmp_path / "..data"
    mounted = {name: SecretSource(name=name, file=str(tmp_path / name)) for name in "ab"}
    for name in mounted:
        (tmp_path / name).symlink_to(f"..data/{name}")

    def rotate_mount(version: str) -> None:
        folder = tmp_path / f"..2026_11_25_{version}"
        folder.mkdir()
        for name in mounted:
            (folder / name).write_text(f"{name}-{version}")
        before = os.readlink(data) if data.is_symlink() else None
        (tmp_path / "..data_tmp").symlink_to(folder.name)
        os.replace(tmp_path / "..data_tmp", data)
        if before is not None:
            shutil.rmtree(tmp_path / before)

    rotate_mount("1")
    found = texts(*mounted.values(), clock=clock)
    for version in ("2", "3", "4"):
        rotate_mount(version)
        clock.turn()

        assert found.read() == [("a", f"a-{version}"), ("b", f"b-{version}")]


@pytest.mark.parametrize("broken", ["gone", "empty", "binary"])
def test_a_file_that_is_away_for_a_moment_keeps_the_last_secret(
    broken: str, file: Path, clock: Clock
) -> None:
    """Deliveries go on being verified; when it is back, the new one holds."""
    found = texts(SecretSource(file=str(file)), clock=clock)
    if broken == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if broken == "empty" else b"\xff\xfe")
    clock.turn()

    assert found.read() == [("main", "first")]
    rotate(file, "second")
    clock.turn()
    assert found.read() == [("main", "second")]


def test_an_unreadable_file_is_told_once_and_without_its_text(file: Path, clock: Clock) -> None:
    """Once for each time that it goes away, not at every look."""
    told: list[str] = []
    watched = WatchedFile(file, clock=clock, tell=told.append)
    for _ in range(3):
        file.write_bytes(b"first\xff")
        clock.turn()
        watched.text()
    assert told == [f"{file}: UnicodeDecodeError"]
    assert watched.problem == told[0]

    rotate(file, "back")
    clock.turn()

    assert watched.text() == "back"
    assert watched.problem is None
    file.unlink()
    clock.turn()
    watched.text()
    assert told[1:] == [f"{file}: FileNotFoundError"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SecretSource(name="n", env="GONE"), "the environment variable GONE is not set"),
        (SecretSource(name="n", env="EMPTY"), "the environment variable EMPTY is not set"),
        (SecretSource(name="n", value=""), "is empty"),
        (SecretSource(name="n", file="gone"), "gone cannot be read (FileNotFoundError)"),
        (SecretSource(name="n", file="."), ". cannot be read (IsADirectoryError)"),
        (SecretSource(name="n", file="empty"), "empty is empty"),
        (SecretSource(name="n", file="line"), "line is empty"),
        (SecretSource(name="n", file="binary"), "binary cannot be read (UnicodeDecodeError)"),
    ],
)
def test_a_secret_that_is_not_there_at_the_start_is_an_error(
    source: SecretSource,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:
    """Never "accept all", never a literal in its place."""
    for name, data in (("empty", b""), ("line", b"\n"), ("binary", b"hunter2\xff")):
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError) as caught:
        texts(source, clock=clock, EMPTY="")

    assert str(caught.value).startswith("secret 'n'")
    assert str(caught.value).endswith(said)
    assert "hunter2" not in str(caught.value)


def test_one_secret_by_itself(file: Path) -> None:
    """As the broker's password is read: anew at each connection."""
    assert read_once(SecretSource(env="A"), environ={"A": "text"}) == "text"
    assert read_once(SecretSource(file=str(file)), environ={}) == "first"


def test_no_repr_tells_a_secret(tmp_path: Path, clock: Clock) -> None:
    """Of what holds it, and of the configuration that it stands in."""
    path = tmp_path / "s"
    path.write_text(HUSH)
    inline = SecretSource(value=HUSH)
    found = texts(
        inline,
        SecretSource(name="e", env="E"),
        SecretSource(name="f", file=str(path)),
        clock=clock,
        E=HUSH,
    )
    config = Configuration(endpoints={"a": Endpoint(provider="yoco", secrets=(inline,))})

    for each in (inline, found, config, WatchedFile(path, clock=clock)):
        assert HUSH not in repr(each)
        assert HUSH not in f"{each}"
    assert str(path) in repr(SecretSource(file=str(path)))
