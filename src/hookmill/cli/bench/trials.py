"""What the ingress does by another client, and at its limits: long, idle, too much, Kafka away."""

import asyncio
import time

from hookmill.bench.figures import Figure
from hookmill.bench.ingress import Side
from hookmill.bench.load import Outcome
from hookmill.cli.bench.bed import tell
from hookmill.cli.bench.stand import Stand
from hookmill.core.errors import HookmillError
from hookmill.local import probe

WRK_ROUNDS, WRK_SECS, WRK_POSTS = 4, 2, 10_000
SOAK_RATE = 1_000.0
SOAK_CHUNK_SECS = 10
IDLE_SECS = 20.0
GROWTH_PERCENT_MAX = 10.0
CAPACITY_POSTS, CAPACITY_CONNECTIONS = 20_000, 256
OVERLOAD_TIMES = 3
OVERLOAD_SECS = 4
OVERLOAD_CONNECTIONS = 3_072
"""More than an endpoint has places: two thirds of what is posted waits."""
KEPT_PERCENT_MIN = 90.0
OUTAGE_RATE = 100.0
OUTAGE_CONNECTIONS = 600
BEFORE_SECS, AWAY_SECS, AFTER_SECS = 1.0, 8.0, 60.0  # a busy machine starts it in half a minute
BACK_SECS_MAX = 1.0
SAMPLE_SECS = 0.5
PROBE_SECS = 0.01


async def by_wrk(standing: Stand, program: str, connections: int) -> list[Figure]:
    """The plain program and the ingress once more in turn, with wrk as their client."""
    plain, own = sides = [Side(name="floor"), Side(name="ingress")]
    for number in range(WRK_ROUNDS):
        tell(f"wrk, {connections} connections: round {number + 1} of {WRK_ROUNDS}")
        for side in sides:
            before = standing.running.usage(side.name).cpu_secs
            told = await standing.load_by_wrk(
                program, side.name, standing.posts(WRK_POSTS),
                connections=connections, secs=WRK_SECS,
            )  # fmt: skip
            if told.failed or not told.answered:
                raise HookmillError(f"{told.failed} of wrk's requests to {side.name} failed")
            side.cpu_secs += standing.running.usage(side.name).cpu_secs - before
            side.wall_secs += told.wall_secs
            side.offered += told.answered
    ratio = (own.cpu_secs / own.offered) / (plain.cpu_secs / plain.offered)
    per_sec = own.offered / own.wall_secs
    called = f"by wrk, {connections} connections: ingress"
    return [
        Figure(name=f"{called} to plain program", value=ratio, unit="of its CPU"),
        Figure(name=called, value=per_sec, unit="deliveries/s"),
    ]


async def soak(standing: Stand, secs: int) -> list[Figure]:
    """Steady load for so long: whether memory grows from the first quarter to the last."""
    sampled: list[int] = []
    refused = 0
    for number in range(max(1, secs // SOAK_CHUNK_SECS)):
        tell(f"soak: {number * SOAK_CHUNK_SECS} of {secs} s")
        posted = standing.posts(int(SOAK_RATE) * SOAK_CHUNK_SECS)
        outcome = await standing.load("ingress", posted, connections=64, rate=SOAK_RATE)
        refused += sum(each.status != 200 for each in outcome.answers)
        sampled.append(standing.running.usage("ingress").rss_bytes)
    quarter = max(1, len(sampled) // 4)
    early, late = sampled[quarter - 1], max(sampled[-quarter:])
    return [
        _growth(f"RSS grew in {secs} s at {SOAK_RATE:,.0f} deliveries/s", early, late),
        Figure(name="refused meanwhile", value=refused, unit="deliveries", at_most=0),
    ]


async def idle(standing: Stand, count: int) -> list[Figure]:
    """That many connections, each of which posts once and then rests: what they hold."""
    tell(f"{count:,} connections at rest")
    before = standing.running.usage("ingress").rss_bytes
    posted = standing.posts(count)
    loading = asyncio.ensure_future(
        standing.load("ingress", posted, connections=count, hold_secs=IDLE_SECS)
    )
    sampled = []
    while not loading.done():
        sampled.append(standing.running.usage("ingress").rss_bytes)
        await asyncio.wait({loading}, timeout=SAMPLE_SECS)
    resting = sampled[-int(IDLE_SECS / SAMPLE_SECS) :]
    return [
        Figure(name=f"RSS with {count:,} idle connections", value=max(resting) / 1e6, unit="MB"),
        Figure(
            name="a connection at rest holds",
            value=(max(resting) - before) / count / 1e3,
            unit="kB",
        ),
        _growth(f"RSS grew in {IDLE_SECS:g} s of rest", resting[len(resting) // 2], resting[-1]),
    ]


async def overload(standing: Stand) -> list[Figure]:
    """Three times as much as it can take is offered: what it accepts of that.

    What it can take is measured before and after: a machine's speed may change within seconds.
    """
    before = await _capacity(standing)
    offered = OVERLOAD_TIMES * before
    tell(f"overload: {offered:,.0f} deliveries/s offered")
    posted = standing.posts(int(offered * OVERLOAD_SECS))
    outcome = await standing.load("ingress", posted, connections=OVERLOAD_CONNECTIONS, rate=offered)
    accepted = sum(each.status == 200 for each in outcome.answers)
    per_sec_max = (before + await _capacity(standing)) / 2
    return [
        Figure(
            name=f"accepted at {OVERLOAD_TIMES} times capacity",
            value=100 * accepted / outcome.wall_secs / per_sec_max,
            unit=f"% of {per_sec_max:,.0f}/s",
            at_least=KEPT_PERCENT_MIN,
        )
    ]


async def _capacity(standing: Stand) -> float:
    """How many deliveries a second it takes from clients that each wait for their answer."""
    posted = standing.posts(CAPACITY_POSTS)
    outcome = await standing.load("ingress", posted, connections=CAPACITY_CONNECTIONS)
    return len(posted) / outcome.wall_secs


async def outage(standing: Stand) -> list[Figure]:
    """The broker is killed and comes back: how fast it is refused meanwhile, accepted after."""
    tell("outage: the broker is killed, and started again")
    secs = BEFORE_SECS + AWAY_SECS + AFTER_SECS
    posted = standing.posts(int(OUTAGE_RATE * secs))
    loading = asyncio.ensure_future(
        standing.load("ingress", posted, connections=OUTAGE_CONNECTIONS, rate=OUTAGE_RATE)
    )
    broker = standing.bed.broker
    await asyncio.sleep(BEFORE_SECS + 1)  # the client has to start first
    await asyncio.to_thread(broker.kill_node, 1)
    killed_at = time.perf_counter()
    await asyncio.sleep(AWAY_SECS)
    await asyncio.to_thread(broker.start_node, 1, wait=False)
    back_at = await asyncio.to_thread(_until_it_answers, standing.bed.servers)
    return outage_figures(await loading, killed_at, back_at)


def outage_figures(outcome: Outcome, killed_at: float, back_at: float) -> list[Figure]:
    """From the answers and the moments, all on one clock.

    Raises HookmillError if nothing was refused while it was away, or accepted after its return.
    """
    refused = [each for each in outcome.answers if each.status == 503]
    accepted_secs = [
        each.at_secs for each in outcome.answers if each.status == 200 and each.at_secs > back_at
    ]
    if not refused or not accepted_secs:
        raise HookmillError(
            f"{len(refused)} deliveries were refused while the broker was away, and "
            f"{len(accepted_secs)} accepted after its return: the ingress's log says why"
        )
    known_at = min(each.at_secs for each in refused)
    at_once = sorted(
        each.took_secs for each in refused if each.at_secs - each.took_secs >= known_at
    ) or [each.took_secs for each in refused]
    accepted_at = min(accepted_secs)
    return [
        Figure(name="until it is known that Kafka is away", value=known_at - killed_at, unit="s"),
        Figure(
            name="a refusal from then on, p50", value=1000 * at_once[len(at_once) // 2], unit="ms"
        ),
        Figure(
            name="first accepted after its return",
            value=accepted_at - back_at,
            unit="s",
            at_most=BACK_SECS_MAX,
        ),
    ]


def _until_it_answers(server: str) -> float:
    """When the broker, asked again and again, answers for the first time."""
    host, _, port = server.rpartition(":")
    while True:
        view = probe.ask(host, int(port))
        if view is not None and view.broker_ids:
            return time.perf_counter()
        time.sleep(PROBE_SECS)


def _growth(name: str, early: int, late: int) -> Figure:
    return Figure(
        name=name, value=100 * (late - early) / early, unit="%", at_most=GROWTH_PERCENT_MAX
    )
