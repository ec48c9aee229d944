"""A redrive killed or frozen inside its transaction: what Kafka and the next one make of it."""

import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from hookmill import pipeline
from hookmill.core.record import Record
from hookmill.kafka.desk import desk
from hookmill.kafka.redrive import Order, Redrive
from hookmill.stages import headers
from hookmill.stages.failed import dead_letter
from hookmill.stages.letters import Selection
from support.brokers import BrokerLog

pytestmark = pytest.mark.broker

ITS = pipeline.HandlerTopics("it")
TOPICS = [pipeline.Topic(name, "test", pipeline.KEEP_MS, 1_300_000)
          for name in (ITS.queue, ITS.dead_letters, pipeline.DECISIONS)]  # fmt: skip
LETTERS = 40
SETTLED_SECS_MAX = 10
"""Less than the transaction's own time limit: it is the fence that settles what was left open."""

DOOMED = """
import asyncio, sys
from hookmill import pipeline
from hookmill.core.errors import HookmillError
from hookmill.kafka.client import Connection
from hookmill.kafka.desk import desk
from hookmill.kafka.redrive import Order, Redrive
from hookmill.kafka.transaction import TransactionalProducer
from hookmill.stages.letters import Selection

servers, namespace, when = sys.argv[1:]
commit = TransactionalProducer._end

async def told(producer):
    if when == "after":
        await commit(producer)
    print("here", flush=True)
    sys.stdin.readline()
    if when == "before":
        await commit(producer)

class Quiet:
    begins = passed = settled = lambda self, count: None

async def main():
    TransactionalProducer._end = told
    at = Connection(tuple(servers.split(",")), {"security_protocol": "PLAINTEXT"})
    order = Order(word="redriven", selection=Selection(), rate_per_sec=100,
                  sent_again_to=pipeline.sent_again_to(["it"]))
    async with desk(at, pipeline.Names(namespace)) as port:
        try:
            await Redrive(port, order, now_us=lambda: 1, pause=asyncio.sleep, watcher=Quiet()).run()
        except HookmillError as error:
            print(error, flush=True)

asyncio.run(main())
"""


class Quiet:
    """A watcher that is told for nothing."""

    def begins(self, offsets: int) -> None:
        """Nothing."""

    def passed(self, offsets: int) -> None:
        """Nothing."""

    def settled(self, letters: int) -> None:
        """Nothing."""


@pytest.fixture
async def log(broker_servers: list[str], namespace: str) -> AsyncIterator[BrokerLog]:
    """Dead letters that wait."""
    log = BrokerLog(broker_servers, namespace)
    await log.start(TOPICS)
    for number in range(LETTERS):
        record = Record("q", 0, 0, 0, b"shop|p", str(number).encode())
        letter = dead_letter(record, topic=ITS.dead_letters, part="it", reason="declined",
                             detail="", attempt=1, at_us=1)  # fmt: skip
        await log.produce(letter.topic, 0, letter.key, letter.value or b"", letter.headers)
    yield log
    await log.stop()


@pytest.fixture
def doomed(
    request: pytest.FixtureRequest, log: BrokerLog, namespace: str
) -> Iterator[subprocess.Popen[str]]:
    """A redrive in a process of its own, once its first transaction is written."""
    servers = ",".join(log.connection.servers)
    process = subprocess.Popen(
        [sys.executable, "-c", DOOMED, servers, namespace, request.param],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "here\n"
    yield process
    if process.poll() is None:
        process.kill()
    process.wait(30)
    process.stdin.close()
    process.stdout.close()


async def redrive(log: BrokerLog) -> tuple[int, float]:
    """Redrive everything; returns how many letters, and how many seconds it took."""
    order = Order(word="redriven", selection=Selection(),
                  sent_again_to=pipeline.sent_again_to(["it"]))  # fmt: skip
    began = time.monotonic()

    async def no_pause(seconds: float) -> None:
        pass

    async with desk(log.connection, log.names) as port:
        work = Redrive(port, order, now_us=lambda: 1, pause=no_pause, watcher=Quiet())
        await work.run()
    return work.done.total(), time.monotonic() - began


async def sent(log: BrokerLog) -> list[int]:
    """The numbers of what was sent again, in order."""
    return [int(each.value) for each in await log.read(ITS.queue, 0)]


@pytest.mark.parametrize(("doomed", "left"), [("before", LETTERS), ("after", LETTERS - 10)],
                         indirect=["doomed"])  # fmt: skip
async def test_a_redrive_killed_in_its_transaction_leaves_nothing_half_done(
    doomed: "subprocess.Popen[str]", left: int, log: BrokerLog
) -> None:
    """The next one does not wait for what was left open; each letter goes once, in order."""
    doomed.send_signal(signal.SIGKILL)
    doomed.wait(30)
    letters, secs = await redrive(log)

    assert letters == left
    assert secs < SETTLED_SECS_MAX
    assert await sent(log) == list(range(LETTERS))
    decisions = await log.read(pipeline.DECISIONS, 0)
    assert len(decisions) == len({each.key for each in decisions}) == LETTERS
    assert {each.header(headers.REDRIVES) for each in await log.read(ITS.queue, 0)} == {"1"}


@pytest.mark.parametrize("doomed", ["before"], indirect=True)
async def test_a_redrive_that_stood_still_in_its_transaction_commits_no_more(
    doomed: "subprocess.Popen[str]", log: BrokerLog
) -> None:
    """Another one went on meanwhile; this one says so."""
    doomed.send_signal(signal.SIGSTOP)
    letters, _ = await redrive(log)
    doomed.send_signal(signal.SIGCONT)
    said, _ = doomed.communicate("go on\n", timeout=60)

    assert letters == LETTERS
    assert "another `hookmill dlq` has begun meanwhile" in said
    assert "0 letters were redriven" in said
    assert await sent(log) == list(range(LETTERS))
