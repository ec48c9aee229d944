"""Which faults happen when, all of it from one seed. Pure: `world` does them."""

import random
from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What can be done to a running system."""

    KILL = "kill"
    FREEZE = "freeze"
    ZOMBIE = "zombie"
    KILL_BROKER = "kill-broker"
    FREEZE_BROKER = "freeze-broker"
    NO_QUORUM = "no-quorum"
    ALL_BROKERS = "all-brokers"
    DELETE_STATE = "delete-state"
    CORRUPT_STATE = "corrupt-state"
    FULL_DISK = "full-disk"
    SLOW_BROKER = "slow-broker"
    DROP_ANSWERS = "drop-answers"
    CUT_BROKER = "cut-broker"
    REFUSE_WRITES = "refuse-writes"
    ROLLING_RESTART = "rolling-restart"
    SCALE = "scale"


MEANINGS = {
    Kind.KILL: "SIGKILL of a process; it is started again",
    Kind.FREEZE: "SIGSTOP of a process for a while, then SIGCONT: a zombie that goes on",
    Kind.ZOMBIE: "SIGSTOP of a stage's member until another takes over, slowly: both at once",
    Kind.KILL_BROKER: "SIGKILL of one broker; it comes back after a while",
    Kind.FREEZE_BROKER: "SIGSTOP of one broker for a while: its clients hang",
    Kind.NO_QUORUM: "SIGKILL of two brokers at once: nothing can be kept until they are back",
    Kind.ALL_BROKERS: "SIGKILL of all brokers",
    Kind.DELETE_STATE: "SIGKILL of a stage, its state folder deleted",
    Kind.CORRUPT_STATE: "SIGKILL of a stage, its state files overwritten in part",
    Kind.FULL_DISK: "a stage's or the ledger's disk takes no more writes for a while",
    Kind.SLOW_BROKER: "everything to and from one broker is delayed",
    Kind.DROP_ANSWERS: "one broker does what it is asked and its answers are lost",
    Kind.CUT_BROKER: "one broker's connections are cut and refused, though it runs",
    Kind.REFUSE_WRITES: "the brokers refuse every record for one topic of a stage",
    Kind.ROLLING_RESTART: "SIGTERM of every process and broker, one after another",
    Kind.SCALE: "a stage gets two more members, then loses all but one, then is as before",
}
"""For people: what each fault does."""

OF_BROKERS = {
    Kind.KILL_BROKER, Kind.FREEZE_BROKER, Kind.NO_QUORUM, Kind.ALL_BROKERS, Kind.SLOW_BROKER,
    Kind.DROP_ANSWERS, Kind.CUT_BROKER, Kind.ZOMBIE,
}  # fmt: skip
SHORT = (
    Kind.KILL, Kind.REFUSE_WRITES, Kind.ZOMBIE, Kind.CORRUPT_STATE, Kind.FULL_DISK,
    Kind.DELETE_STATE, Kind.DROP_ANSWERS, Kind.NO_QUORUM,
)  # fmt: skip
"""The faults that take the engine through all of its states, in the order of the short form."""

BROKERS = 3
FREEZE_SECS = (1.0, 30.0)
AWAY_SECS = (2.0, 9.0)
DELAY_SECS = (0.02, 0.25)
SESSION_SECS = 6.0
"""The session timeout of the groups: who is silent for longer loses its partitions."""
TAKING_OVER_SECS = (0.3, 3.0)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing done: seconds after the start, to whom (a process's name, a stage's, or brokers'
    ids), and for how long where it lasts."""

    at_secs: float
    kind: Kind
    target: str = ""
    brokers: tuple[int, ...] = ()
    for_secs: float = 0.0
    delay_secs: float = 0.0

    def __str__(self) -> str:
        whom = self.target or ", ".join(f"broker {each}" for each in self.brokers)
        how_long = f" for {self.for_secs:.1f} s" if self.for_secs else ""
        return f"{self.kind} {whom}{how_long}".replace("  ", " ")


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What can be hit: processes by name, which of them hold state, which of those have a second
    member to take over, the stages and the topics that they write, in flow order."""

    processes: Sequence[str]
    stateful: Sequence[str]
    doubled: Sequence[str]
    stages: Sequence[str]
    topics: Sequence[str]


def plan(
    seed: int, kinds: Sequence[Kind], targets: Targets, *, seconds: float, freeze_secs_max: float
) -> list[Fault]:
    """Faults one after another from the seed until the time is over.

    Kinds are drawn so that each comes before any comes again. Broker faults do not overlap (two
    at once are a kind of their own); faults of processes may fall into them.
    """
    chance = random.Random(f"faults {seed}")
    faults: list[Fault] = []
    at_secs, brokers_free_secs = 1.0, 0.0
    waiting: list[Kind] = []
    while at_secs < seconds:
        if not waiting:
            waiting = list(kinds)
            chance.shuffle(waiting)
        kind = waiting.pop()
        fault = _fault(chance, kind, targets, at_secs, freeze_secs_max)
        if kind in OF_BROKERS:
            at_secs = max(at_secs, brokers_free_secs)
            fault = msgspec.structs.replace(fault, at_secs=at_secs)
            brokers_free_secs = at_secs + fault.for_secs + chance.uniform(2.0, 6.0)
        faults.append(fault)
        at_secs += chance.uniform(1.0, 6.0)
    return faults


def short(seed: int, targets: Targets) -> list[Fault]:
    """The short form: each fault of `SHORT` once, every one as brief as it can show something."""
    chance = random.Random(f"short {seed}")
    faults, at_secs = [], 1.0
    for kind in SHORT:
        fault = _fault(chance, kind, targets, at_secs, freeze_secs_max=9.0)
        if kind is Kind.REFUSE_WRITES:  # dedup's: a state ahead of its topic would lose events
            fault = msgspec.structs.replace(fault, target=targets.topics[0], for_secs=4.0)
        elif fault.for_secs and kind is not Kind.ZOMBIE:
            fault = msgspec.structs.replace(fault, for_secs=4.0)
        faults.append(fault)
        at_secs += 3.5
    return faults


def _fault(
    chance: random.Random, kind: Kind, targets: Targets, at_secs: float, freeze_secs_max: float
) -> Fault:
    away = chance.uniform(*AWAY_SECS)
    one = chance.randint(1, BROKERS)
    match kind:
        case Kind.KILL | Kind.DELETE_STATE | Kind.CORRUPT_STATE:
            pool = targets.processes if kind is Kind.KILL else targets.stateful
            return Fault(at_secs=at_secs, kind=kind, target=chance.choice(list(pool)))
        case Kind.FULL_DISK | Kind.SCALE | Kind.REFUSE_WRITES:
            pool = {
                Kind.FULL_DISK: targets.stateful,
                Kind.SCALE: targets.stages,
                Kind.REFUSE_WRITES: targets.topics,
            }[kind]
            target = chance.choice(list(pool))
            return Fault(at_secs=at_secs, kind=kind, target=target, for_secs=away)
        case Kind.FREEZE:
            for_secs = chance.uniform(FREEZE_SECS[0], min(FREEZE_SECS[1], freeze_secs_max))
            target = chance.choice(list(targets.processes))
            return Fault(at_secs=at_secs, kind=kind, target=target, for_secs=for_secs)
        case Kind.ZOMBIE:
            for_secs = SESSION_SECS + chance.uniform(*TAKING_OVER_SECS)
            delay_secs = chance.uniform(0.05, 0.2)
            target = chance.choice(list(targets.doubled))
            return Fault(
                at_secs=at_secs, kind=kind, target=target, for_secs=for_secs, delay_secs=delay_secs
            )
        case Kind.ROLLING_RESTART:
            return Fault(at_secs=at_secs, kind=kind, target="every process")
        case Kind.NO_QUORUM:
            two = tuple(sorted(chance.sample(range(1, BROKERS + 1), 2)))
            return Fault(at_secs=at_secs, kind=kind, brokers=two, for_secs=away)
        case Kind.ALL_BROKERS:
            every = tuple(range(1, BROKERS + 1))
            return Fault(at_secs=at_secs, kind=kind, brokers=every, for_secs=away)
        case _:
            delay_secs = chance.uniform(*DELAY_SECS) if kind is Kind.SLOW_BROKER else 0.0
            return Fault(
                at_secs=at_secs, kind=kind, brokers=(one,), for_secs=away, delay_secs=delay_secs
            )
