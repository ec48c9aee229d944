"""What the configuration points at: one's own functions, and files of ids."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookmill.config.references import id_file, import_function
from hookmill.config.watched import CHECK_EVERY_SECS
from hookmill.core.errors import ConfigurationError


class Clock:
    """Seconds that the test moves."""

    now_secs = 0.0

    def __call__(self) -> float:
        return self.now_secs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with modules of the operator's own in it."""
    package = tmp_path / "shop_rules"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "ids.py").write_text("LIST = []\ndef ours(value):\n    return value == 'ch_1'\n")
    (package / "syntax.py").write_text("def ours(:\n")
    (package / "raises.py").write_text("raise RuntimeError('no database')\n")
    (package / "needs.py").write_text("import a_module_that_is_nowhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [each for each in sys.modules if each.startswith("shop_rules")]:
        del sys.modules[name]


def test_a_function_of_the_current_folder_is_found(folder: Path) -> None:
    """Without installing anything."""
    ours = import_function("shop_rules.ids:ours")

    assert ours("ch_1")
    assert not ours("ch_2")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("shop_rules.nowhere:ours", "cannot be imported: ModuleNotFoundError: No module named"),
        ("shop_rules.needs:ours", "cannot be imported: ModuleNotFoundError: No module named 'a_mo"),
        ("shop_rules.syntax:ours", "cannot be imported: SyntaxError: "),
        ("shop_rules.raises:ours", "cannot be imported: RuntimeError: no database"),
        (":ours", "cannot be imported: ValueError: "),
        (".ids:ours", "cannot be imported: TypeError: "),
        ("shop_rules.ids:theirs", "shop_rules.ids has no function 'theirs'"),
        ("shop_rules.ids:LIST", "shop_rules.ids has no function 'LIST'"),
        ("shop_rules.ids", "shop_rules.ids has no function ''"),
    ],
)
def test_a_function_that_is_not_there_is_said(reference: str, said: str, folder: Path) -> None:
    """In one line that names it, whatever its module does when it is imported."""
    with pytest.raises(ConfigurationError) as caught:
        import_function(reference)

    assert str(caught.value).startswith(f"'{reference}'")
    assert said in str(caught.value)


def test_an_id_file_has_one_a_line(tmp_path: Path) -> None:
    """Comments, empty lines and spaces around are not ids."""
    path = tmp_path / "ids.txt"
    path.write_text("# ours\nch_1\n\n  ch_2  # the second shop\r\nch_3")
    listed = id_file(path, clock=Clock())

    assert all(listed(each) for each in ("ch_1", "ch_2", "ch_3"))
    assert not any(listed(each) for each in ("", "# ours", "ch_2 ", "ch_4"))


def test_a_changed_id_file_is_read_again(tmp_path: Path) -> None:
    """Checkout ids are made per checkout; while the file is away, the last ones hold."""
    path, clock = tmp_path / "ids.txt", Clock()
    path.write_text("ch_1")
    listed = id_file(path, clock=clock)
    fresh = tmp_path / "fresh"
    fresh.write_text("ch_2")
    os.replace(fresh, path)

    assert listed("ch_1")
    clock.now_secs += CHECK_EVERY_SECS
    assert (listed("ch_1"), listed("ch_2")) == (False, True)

    path.unlink()
    clock.now_secs += CHECK_EVERY_SECS
    assert listed("ch_2")


@pytest.mark.parametrize("data", [None, b"\xff"])
def test_an_id_file_that_cannot_be_read_is_an_error(data: bytes | None, tmp_path: Path) -> None:
    """At the start, where somebody looks."""
    path = tmp_path / "ids.txt"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(ConfigurationError, match=r"ids\.txt cannot be read \(\w+\)$"):
        id_file(path, clock=Clock())
