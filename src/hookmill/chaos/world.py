"""The running system that a plan of faults is done to: brokers, proxies, processes, state."""

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from hookmill.chaos.faults import BROKERS, SESSION_SECS, TAKING_OVER_SECS, Fault, Kind, Targets
from hookmill.chaos.proxy import Mood, Proxies
from hookmill.core.errors import HookmillError
from hookmill.local.broker import LocalBroker
from hookmill.local.errors import BrokerError
from hookmill.local.supervisor import Child, Supervisor

START_SECS_MAX = 90.0
STOP_SECS_MAX = 20.0
ROLL_SECS_MAX = 60.0
CORRUPT_BYTES = 64
ASK_AGAIN_SECS = 0.5

Tell = Callable[[str], None]


class World:
    """Three brokers behind proxies, and processes that are kept running.

    `children` are all processes in the order in which they are to end; `spare` makes one more
    member of a stage. Names are `{part}-{number}`; members with state keep it in
    `{folder}/state/*/*/{number}/*-{part}`. `refuse` makes the brokers refuse every record for one
    of the topics, or take them again.
    """

    def __init__(
        self,
        broker: LocalBroker,
        proxies: Proxies,
        broker_ports: Sequence[int],
        folder: Path,
        *,
        children: Sequence[Child],
        spare: Callable[[str, str], Child],
        stages: Sequence[str],
        topics: Sequence[str],
        refuse: Callable[[str, bool], Awaitable[None]],
        seed: int,
        tell: Tell,
    ) -> None:
        self._broker = broker
        self._proxies = proxies
        self._broker_ports = broker_ports
        self._folder = folder
        self._children = {child.name: child for child in children}
        self._spare = spare
        self._stages = stages
        self._topics = topics
        self._refuse = refuse
        self._chance = random.Random(f"world {seed}")
        self._tell = tell
        self._scaling = asyncio.Lock()
        self._full: set[int] = set()
        self.ended: list[str] = []
        self.supervisor = Supervisor(
            children,
            log_dir=folder / "logs",
            environ=os.environ,
            tell=self._listen,
            pause_secs_max=2.0,
        )

    @property
    def targets(self) -> Targets:
        """What can be hit."""
        names = list(self._children)
        doubled = [each for each in names if each.rpartition("-")[0] in self._stages]
        return Targets(
            processes=names,
            stateful=[*doubled, *(each for each in names if each.startswith("handler-"))],
            doubled=doubled,
            stages=self._stages,
            topics=self._topics,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start every process, and stop them all at the end."""
        try:
            await self.supervisor.start(timeout_secs=START_SECS_MAX)
            yield
        finally:
            await self.supervisor.stop(timeout_secs=STOP_SECS_MAX, at_once=True)

    async def do(self, fault: Fault) -> None:
        """Do it, and undo it when its time is over."""
        self._tell(f"{fault.at_secs:6.1f} s  {fault}")
        await self._doing(fault)

    async def heal(self) -> None:
        """When all faults are over: every broker runs."""
        await self._start_brokers(range(1, BROKERS + 1), wait=True)

    def _doing(self, fault: Fault) -> Coroutine[Any, Any, None]:
        match fault.kind:
            case Kind.KILL:
                return self._kill(fault.target)
            case Kind.FREEZE:
                return self._freeze(self.supervisor.pid(fault.target), fault.for_secs)
            case Kind.ZOMBIE:
                return self._zombie(fault)
            case Kind.REFUSE_WRITES:
                return self._refuse_writes(fault.target, fault.for_secs)
            case Kind.FREEZE_BROKER:
                return self._freeze(self._broker.pid(fault.brokers[0]), fault.for_secs)
            case Kind.KILL_BROKER | Kind.NO_QUORUM | Kind.ALL_BROKERS:
                return self._kill_brokers(fault.brokers, fault.for_secs)
            case Kind.DELETE_STATE:
                return self._kill(fault.target, then=shutil.rmtree)
            case Kind.CORRUPT_STATE:
                return self._kill(fault.target, then=self._corrupt)
            case Kind.FULL_DISK:
                return self._fill_disk(fault.target, fault.for_secs)
            case Kind.SLOW_BROKER:
                return self._in_mood(fault, Mood.SLOW)
            case Kind.DROP_ANSWERS:
                return self._in_mood(fault, Mood.DEAF)
            case Kind.CUT_BROKER:
                return self._in_mood(fault, Mood.CUT)
            case Kind.ROLLING_RESTART:
                return self._roll()
            case Kind.SCALE:
                return self._scale(fault.target, fault.for_secs)

    async def _kill(self, name: str, *, then: Callable[[Path], Any] | None = None) -> None:
        """SIGKILL; `then` is done to its state folders before it is started again."""
        pid = self.supervisor.pid(name)
        if pid is None:
            return
        self._signal(pid, signal.SIGKILL)
        if then is None:
            return
        while self.supervisor.pid(name) == pid:
            await asyncio.sleep(0.01)
        part, _, number = name.rpartition("-")
        for folder in self._folder.glob(f"state/*/*/{number}/*-{part}"):
            then(folder)

    def _corrupt(self, folder: Path) -> None:
        """Overwrite a piece of half of the files, in a place that may be anywhere."""
        files = sorted(each for each in folder.rglob("*") if each.is_file() and each.stat().st_size)
        for file in self._chance.sample(files, (len(files) + 1) // 2):
            with file.open("r+b") as opened:
                opened.seek(self._chance.randrange(file.stat().st_size))
                opened.write(self._chance.randbytes(CORRUPT_BYTES))

    async def _freeze(self, pid: int | None, seconds: float) -> None:
        if pid is None:
            return
        self._signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal(pid, signal.SIGCONT)

    async def _zombie(self, fault: Fault) -> None:
        """It wakes while another member takes over, each step of which takes its time."""
        freezing = asyncio.ensure_future(
            self._freeze(self.supervisor.pid(fault.target), fault.for_secs)
        )
        try:
            await asyncio.sleep(SESSION_SECS - 1.0)
            self._set_mood(self._broker_ports, Mood.SLOW, fault.delay_secs)
            await freezing
            await asyncio.sleep(TAKING_OVER_SECS[1])
        finally:
            freezing.cancel()
            self._set_mood(self._broker_ports, Mood.FAIR)

    async def _refuse_writes(self, topic: str, seconds: float) -> None:
        """A broker may be out when the topic is to take records again: it is asked until it does,
        or nothing would go on behind that topic for the rest of the run."""
        with contextlib.suppress(HookmillError):
            await self._refuse(topic, True)
        await asyncio.sleep(seconds)
        async with asyncio.timeout(START_SECS_MAX):
            while True:
                try:
                    await self._refuse(topic, False)
                    return
                except HookmillError:
                    await asyncio.sleep(ASK_AGAIN_SECS)

    async def _kill_brokers(self, ids: Sequence[int], seconds: float) -> None:
        for each in ids:
            await asyncio.to_thread(self._broker.kill_node, each)
        await asyncio.sleep(seconds)
        await self._start_brokers(ids, wait=False)

    async def _start_brokers(self, ids: Sequence[int], *, wait: bool) -> None:
        for each in ids:
            await asyncio.to_thread(self._broker.start_node, each, wait=False)
        if wait:
            await asyncio.to_thread(self._broker.start)

    async def _in_mood(self, fault: Fault, mood: Mood) -> None:
        ports = [self._broker_ports[number - 1] for number in fault.brokers]
        self._set_mood(ports, mood, fault.delay_secs)
        try:
            await asyncio.sleep(fault.for_secs)
        finally:
            self._set_mood(ports, Mood.FAIR)

    def _set_mood(self, ports: Sequence[int], mood: Mood, delay_secs: float = 0.0) -> None:
        for port in ports:
            self._proxies.before(port).set_mood(mood, delay_secs=delay_secs)

    async def _fill_disk(self, name: str, seconds: float) -> None:
        """No file of the process may grow or be written, as on a disk without room."""
        pid = self.supervisor.pid(name)
        if pid is None or pid in self._full:
            return
        with contextlib.suppress(ProcessLookupError):
            limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
            self._full.add(pid)
            try:
                await asyncio.sleep(seconds)
            finally:
                self._full.discard(pid)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    async def _roll(self) -> None:
        """SIGTERM, and start, one after another, each when the one before it works again; then
        the brokers."""
        async with self._scaling:
            for child in list(self._children.values()):
                await self.supervisor.remove(child.name, timeout_secs=STOP_SECS_MAX)
                self.supervisor.add(child)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ROLL_SECS_MAX):
                        await self.supervisor.until_started(child.name)
        for number in range(1, BROKERS + 1):
            await self._restart_broker(number)

    async def _restart_broker(self, number: int) -> None:
        """SIGTERM, and start again once it has handed over and ended."""
        pid = self._broker.pid(number)
        if pid is None:
            return
        self._signal(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError, BrokerError):
            async with asyncio.timeout(ROLL_SECS_MAX):
                while self._broker.pid(number) == pid:
                    await asyncio.sleep(0.1)
                await asyncio.to_thread(self._broker.start_node, number)

    async def _scale(self, stage: str, seconds: float) -> None:
        """From two members to one, to three, to one, and back to two."""
        ours = [child for name, child in self._children.items() if name.rpartition("-")[0] == stage]
        extra = [self._spare(stage, f"extra-{number}") for number in (1, 2)]
        async with self._scaling:
            await self.supervisor.remove(ours[1].name, timeout_secs=STOP_SECS_MAX)
            await asyncio.sleep(seconds)
            for child in extra:
                self.supervisor.add(child)
            await asyncio.sleep(seconds)
            for child in extra:
                await self.supervisor.remove(child.name, timeout_secs=STOP_SECS_MAX)
            await asyncio.sleep(seconds)
            self.supervisor.add(ours[1])

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _listen(self, name: str, line: str) -> None:
        """Whoever ends without having been killed is noted."""
        if line.startswith("died (status"):
            self.ended.append(f"{name} {line}")
            self._tell(f"          {name} {line}")
