"""`hookmill chaos`: the whole system on three brokers, faults from a seed, all promises checked."""

import asyncio
import base64
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from hookmill import pipeline
from hookmill.chaos.checker import check
from hookmill.chaos.faults import BROKERS, MEANINGS, SESSION_SECS, Fault, Kind, plan, short
from hookmill.chaos.history import Broken, History, Verdict
from hookmill.chaos.observe import LEDGER, observe, positions
from hookmill.chaos.proxy import Proxies
from hookmill.chaos.run import Look, Report, Result, run
from hookmill.chaos.service import ATTEMPTS, Service
from hookmill.chaos.traffic import Traffic
from hookmill.chaos.world import World
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.sample import endpoints, own_environment, targets
from hookmill.cli.setup import Setup, load_setup, now_us
from hookmill.cli.topics import apply_all
from hookmill.core.errors import ConfigurationError
from hookmill.handlers.signing import PREFIX
from hookmill.kafka.reader import reader
from hookmill.kafka.topics import admin
from hookmill.local.broker import LocalBroker
from hookmill.local.ports import HOST, free_ports
from hookmill.local.supervisor import Child
from hookmill.telemetry import logs

SHORT_SECS = 32.0
SHORT_RATE = 60.0
LANES = 6
HISTORY = "history.json"
MEMBERS = 2
PARTNER = "partner"
"""The handler that forwards to a service; the other one is the ledger."""
HANDLERS = (LEDGER, PARTNER)
MARKER_BYTES_MAX = "256"
"""A marker's batch is 78 bytes, no event is this small."""

CONFIGURATION = """\
allow_inline_secrets = true

[kafka]
bootstrap_servers = [{servers}]
partitions = 4
replication_factor = 3
session_timeout_secs = {session_secs}

[local]
dir = "{folder}"

[ingress]
admin_port = 0

{endpoints}
[handlers.ledger]
type = "ledger"

[handlers.partner]
type = "http"
url = "http://{service}/events"
allow_plain_http = true
allow_networks = ["127.0.0.1"]
secrets = [{{ value = "{secret}" }}]
retry_delays_secs = {delays_secs}

[[routes]]
name = "everything"
match = {{ mode = ["live", "test", "unknown"] }}
handlers = ["ledger", "partner"]
"""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: `minutes` None is the short form."""

    seed: int
    minutes: float | None
    kinds: Sequence[Kind]
    rate: float
    freeze_secs_max: float
    keep: bool


def kinds_of(text: str | None) -> list[Kind]:
    """The faults of those names, with commas between, all of them for None.

    Raises ConfigurationError that lists them all for a name that is none.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in MEANINGS]
    if unknown:
        known = "\n".join(f"  {kind:<16} {meaning}" for kind, meaning in MEANINGS.items())
        raise ConfigurationError(f"no fault is called '{unknown[0]}'; there are:\n{known}")
    return [Kind(name) for name in names] or list(Kind)


async def chaos(wish: Wish, *, as_json: bool) -> bool:
    """Run it; returns whether every promise held."""
    folder = Path(tempfile.mkdtemp(prefix="hookmill-chaos-"))
    kept = True  # after a defect, too
    try:
        with own_environment():
            result = await _in_folder(folder, wish)
        report = result.report
        kept = wish.keep or not report.good
        if kept:
            (folder / HISTORY).write_bytes(msgspec.json.encode(result.history))
        if as_json:
            print_json(report)
        else:
            _print(report)
        return report.good
    except (asyncio.CancelledError, KeyboardInterrupt):
        kept = wish.keep
        raise
    finally:
        if kept:
            err.print(
                f"kept: {folder} (configuration, logs, state, brokers, {HISTORY})", markup=False
            )
        else:
            shutil.rmtree(folder, ignore_errors=True)


def check_file(path: Path, *, as_json: bool) -> bool:
    """Check a history that a run has kept, or one from elsewhere; returns whether it is good.

    Raises ConfigurationError for a file that holds none.
    """
    try:
        history = msgspec.json.decode(path.read_bytes(), type=History)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} holds no history: {error}") from None
    verdict = check(history)
    if as_json:
        print_json(verdict)
    else:
        _print_verdict(verdict)
        print("every promise held" if verdict.good else "NOT every promise held")
    return verdict.good


async def _in_folder(folder: Path, wish: Wish) -> Result:
    service = Service(seed=wish.seed)
    async with _brokers(folder) as (broker, proxies, ports), service.serving() as service_port:
        config = folder / "hookmill.toml"
        servers = ", ".join(f'"{HOST}:{proxies.port_for(port)}"' for port in ports)
        config.write_text(
            CONFIGURATION.format(
                servers=servers,
                folder=folder,
                endpoints=endpoints(),
                session_secs=SESSION_SECS,
                service=f"{HOST}:{service_port}",
                secret=PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
                delays_secs=list(range(1, ATTEMPTS)),
            )
        )
        setup = load_setup(config)
        logs.configure(setup.config.log, part="chaos")
        await apply_all(setup)
        doors = free_ports(MEMBERS)
        world = World(
            broker,
            proxies,
            ports,
            folder,
            children=_children(config, doors),
            spare=partial(_stage, config),
            stages=list(pipeline.STAGES),
            topics=[pipeline.UNIQUE, pipeline.NORMALIZED, *pipeline.KIND_TOPICS.values()],
            refuse=partial(_refuse, setup),
            seed=wish.seed,
            tell=_tell,
        )
        traffic = Traffic(
            [targets(setup, f"http://{HOST}:{port}") for port in doors],
            seed=wish.seed,
            lanes=LANES,
            rate=wish.rate,
            now_us=now_us,
        )
        seconds = SHORT_SECS if wish.minutes is None else wish.minutes * 60
        async with world.running():
            return await run(
                world,
                traffic,
                service,
                _faults(wish, world, seconds),
                _look(setup, folder, traffic, service),
                seed=wish.seed,
                seconds=seconds,
                tell=_tell,
            )


def _faults(wish: Wish, world: World, seconds: float) -> list[Fault]:
    if wish.minutes is None:
        return short(wish.seed, world.targets)
    return plan(
        wish.seed,
        wish.kinds,
        world.targets,
        seconds=seconds,
        freeze_secs_max=wish.freeze_secs_max,
    )


@asynccontextmanager
async def _brokers(folder: Path) -> AsyncIterator[tuple[LocalBroker, Proxies, list[int]]]:
    proxies = Proxies()
    [port] = free_ports(1)
    broker = LocalBroker(folder, port=port, nodes=BROKERS, advertised_port=proxies.port_for)
    try:
        await asyncio.to_thread(broker.start, progress=_tell)
        await proxies.serve()
        ports = [int(server.rpartition(":")[2]) for server in broker.bootstrap_servers]
        yield broker, proxies, ports
    finally:
        await asyncio.to_thread(broker.stop, timeout_secs=10.0)
        await proxies.close()


def _look(setup: Setup, folder: Path, traffic: Traffic, service: Service) -> Look:
    connection, names = setup.connection(), setup.names

    async def quickly() -> object:
        async with reader(connection) as source:
            return await positions(source, names, HANDLERS)

    return Look(
        positions=quickly,
        observe=lambda: observe(
            connection,
            names,
            topics=[topic.name for topic in setup.topics()],
            handlers=HANDLERS,
            attempts=list(traffic.attempts),
            ledger=folder / "ledger.db",
            taken={PARTNER: list(service.taken)},
        ),
    )


async def _refuse(setup: Setup, topic: str, refusing: bool) -> None:
    """Let the topic take no record of ours, or again what it must take.

    Markers of transactions must pass: a broker gives up for good on one that is refused (Kafka
    4.3.1), and their transaction then stays open.
    """
    [want] = [each for each in setup.wanted() if each.name == setup.names.topic(topic)]
    if refusing:
        settings = {**want.settings, "max.message.bytes": MARKER_BYTES_MAX}
        want = msgspec.structs.replace(want, settings=settings)
    async with admin(setup.connection()) as client:
        await client.apply([want], await client.find([want.name]))


def _children(config: Path, doors: Sequence[int]) -> list[Child]:
    """Two of each part but one ledger, in the order in which they are to end."""
    found = [
        Child(
            f"ingress-{number}",
            [sys.executable, "-m", "hookmill", "ingress", "--config", str(config)],
            {"HOOKMILL_INGRESS__PORT": str(port)},
        )
        for number, port in enumerate(doors, 1)
    ]
    for stage in pipeline.STAGES:
        found += [
            _stage(config, stage, str(number), "--instance", str(number))
            for number in range(1, MEMBERS + 1)
        ]
    for handler, members in ((LEDGER, 1), (PARTNER, MEMBERS)):
        command = [sys.executable, "-m", "hookmill", "handle", handler, "--config", str(config)]
        found += [
            Child(f"handler-{handler}-{number}", [*command, "--instance", str(number)])
            for number in range(1, members + 1)
        ]
    return found


def _stage(config: Path, stage: str, number: str, *options: str) -> Child:
    """A member of a stage; without `--instance` it is a dynamic one."""
    command = [sys.executable, "-m", "hookmill", "stage", stage, "--config", str(config)]
    return Child(f"{stage}-{number}", [*command, *options])


def _tell(line: str) -> None:
    err.print(line, markup=False)


def _print(report: Report) -> None:
    verdict = report.verdict
    print_table(("fault", "times"), sorted(report.faults.items()), "What was done to it")
    answers = [(status or "no answer", count) for status, count in report.answers.items()]
    print_table(("answer", "requests"), answers, "What the client was told")
    answers = [(status or "cut off", count) for status, count in report.service_answers.items()]
    print_table(("answer", "requests"), answers, f"What the service of '{PARTNER}' said")
    _print_verdict(verdict)
    for ended in report.ended:
        print(f"ended by itself: {ended}")
    if report.untaken:
        print(f"BROKEN  {report.untaken} deliveries were never taken, long after the last fault")
    print(
        f"seed {report.seed}: {sum(report.faults.values())} faults, "
        f"{verdict.acknowledged} deliveries acknowledged, {verdict.events} events, "
        f"{verdict.lost} lost, {verdict.twice} twice; longest time without a new event "
        f"{report.silence_secs:.1f} s; through {report.settle_secs:.1f} s after the last fault"
    )
    outcome = "every promise held" if report.good else "NOT every promise held"
    print(f"{outcome}, in {report.seconds:.0f} s")


def _print_verdict(verdict: Verdict) -> None:
    rows = [
        (each.stage, each.read, each.forwarded, each.dropped, each.dead_lettered, each.open)
        for each in verdict.ends
    ]
    columns = ("stage", "read", "forwarded", "dropped", "dead letters", "open")
    print_table(columns, rows, "How every record ended")
    for broken in verdict.broken:
        _print_broken(broken)


def _print_broken(broken: Broken) -> None:
    more = f" (and {broken.more} more like it)" if broken.more else ""
    print(f"BROKEN  {broken.promise}: {broken.says}{more}")
    for attempt in broken.attempts:
        print(f"        {attempt}")
    for record in broken.records:
        print(f"        {record}")
