"""Load by wrk, a client that others wrote: whether what our own client finds is to be believed.

wrk (https://github.com/wg/wrk) posts for a time, not so many requests; what it is to post, and the
ids that it is answered, go through files, by its LuaJIT.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hookmill.core.errors import HookmillError

SCRIPT = r"""
local requests, at, told = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  told = assert(io.open(args[2], "w"))
  while true do
    local length = file:read("*l")
    if not length then break end
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, headers, body)
  if status == 200 then
    told:write(string.match(body, '"delivery":"([^"]+)"'), "\n")
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("told %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class Told(msgspec.Struct, frozen=True):
    """What wrk found. `failed` had no answer, or none that says that it is kept."""

    answered: int
    wall_secs: float
    failed: int
    deliveries: frozenset[str]


def program() -> str | None:
    """Where wrk is, None where it is not installed."""
    return shutil.which("wrk")


def command(
    wrk: str, url: str, requests: Sequence[bytes], *, connections: int, secs: int, folder: Path
) -> list[str]:
    """Its command line, for requests that are posted in turn; writes what it reads."""
    asked, script = folder / "wrk.requests", folder / "wrk.lua"
    with asked.open("wb") as file:
        for each in requests:
            file.write(b"%d\n%b" % (len(each), each))
    script.write_text(SCRIPT)
    return [
        wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{secs}s",
        "--script", str(script), url, "--", str(asked), str(folder / "wrk.deliveries"),
    ]  # fmt: skip


def told(said: str, folder: Path) -> Told:
    """What it said, and wrote; raises HookmillError where that is nothing."""
    for line in said.splitlines():
        match line.split():
            case ["told", answered, duration_us, failed]:
                deliveries = frozenset((folder / "wrk.deliveries").read_text().split())
                return Told(int(answered), int(duration_us) / 1e6, int(failed), deliveries)
    raise HookmillError(f"wrk told nothing: {said[-300:]}")
