"""Times on the command line: so long ago, or a moment; and how old a thing is."""

import pytest

from hookmill.cli.output import plain
from hookmill.cli.times import age, moment_us
from hookmill.core.errors import ConfigurationError

NOW_US = 1_795_424_400_000_000


@pytest.mark.parametrize(
    ("text", "secs_ago"),
    [
        ("0s", 0),
        ("90s", 90),
        ("30m", 1_800),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2026-11-23T09:00:00Z", 0),
        ("2026-11-23T10:00:00+02:00", 3_600),
        ("2026-11-23 08:59:59.5Z", 0.5),
    ],
)
def test_a_moment_is_so_long_ago_or_a_time(text: str, secs_ago: float) -> None:
    """Microseconds since the epoch."""
    assert moment_us(text, NOW_US, option="--since") == NOW_US - secs_ago * 1_000_000


@pytest.mark.parametrize("text", ["", "h", "24", "-1h", "1w", "٢h", "yesterday", "2026-11-23"])
def test_anything_else_is_said_to_be_wrong(text: str) -> None:
    """With the option's name and what would be right."""
    with pytest.raises(ConfigurationError, match=r"--since .*24h.*2026-11-23T09:00:00Z"):
        moment_us(text, NOW_US, option="--since")


@pytest.mark.parametrize(
    ("secs", "text"),
    [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"),
     (172_799, "47h"), (172_800, "2d"), (864_000, "10d")],
)  # fmt: skip
def test_an_age_has_the_unit_that_says_enough(secs: int, text: str) -> None:
    """A clock that is behind the broker's makes nothing younger than now."""
    assert text == age(secs)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("a\x1b[2Jb", "a\\x1b[2Jb"), ("\x9bm", "\\x9bm"), ("\r\t", "\\r\\t"), ("a\nb", "a\nb"),
     ("→ ü 支払い", "→ ü 支払い"), ("\u202e", "\\u202e")],
)  # fmt: skip
def test_what_others_sent_does_not_steer_the_terminal(theirs: str, ours: str) -> None:
    """Control characters are written out."""
    assert ours == plain(theirs)
