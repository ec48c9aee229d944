"""What a Python team gets from `hookmill.consume`: nothing lost, nothing aborted, their pace."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from hookmill.consume import Events, UnreadableRecord, consume
from hookmill.core.errors import KafkaUnavailable, TopicsMissing
from hookmill.core.event import Event
from hookmill.pipeline import KEEP_MS, Topic
from support.brokers import BrokerLog, until
from support.events import payment, sent
from support.ports import free_port

pytestmark = pytest.mark.broker

TOPIC = "events-payment"
PARTITIONS = 2
PATIENCE_SECS = 20.0


class Stream:
    """The topic in a namespace of its own, and members of one group that read it."""

    def __init__(self, log: BrokerLog) -> None:
        self.log = log
        self.name = log.names.topic(TOPIC)

    async def send(self, *numbers: int) -> None:
        """Append those payments, each to the partition of its number."""
        for number in numbers:
            await self.log.produce(TOPIC, number % PARTITIONS, *sent(payment(number)))

    def member(self, **options: Any) -> AbstractAsyncContextManager[Events]:
        """A member of the group."""
        return consume(
            self.log.connection.servers,
            group=self.log.names.group("billing"),
            topics=[self.name],
            **options,
        )

    async def read(self, count: int, **options: Any) -> list[int]:
        """Handle that many events in a member of their own, which then leaves."""
        found: list[int] = []
        async with asyncio.timeout(PATIENCE_SECS), self.member(**options) as events:
            async for event in events:
                found.append(number_of(event))
                if len(found) == count:
                    await events.commit()
                    break
        return found


def number_of(event: Event) -> int:
    """Which payment it is."""
    return event.raw.offset


@pytest.fixture
async def stream(broker_servers: list[str], namespace: str) -> AsyncIterator[Stream]:
    """An empty topic of two partitions."""
    log = BrokerLog(broker_servers, namespace)
    await log.start([Topic(TOPIC, "route", KEEP_MS, 1_048_576)], partitions=PARTITIONS)
    yield Stream(log)
    await log.stop()


async def test_a_new_group_begins_at_the_start_and_a_restart_resumes(stream: Stream) -> None:
    """Every event once, typed, in its partition's order, over three processes of the group."""
    await stream.send(*range(10))
    found = await stream.read(4) + await stream.read(6)
    await stream.send(10, 11)
    found += await stream.read(2)

    assert sorted(found) == list(range(12))
    for partition in range(PARTITIONS):
        mine = [each for each in found if each % PARTITIONS == partition]
        assert mine == sorted(mine)


@pytest.mark.parametrize("failure", [OSError("the shop's database"), TimeoutError("too slow")])
async def test_an_event_whose_body_failed_comes_again(stream: Stream, failure: Exception) -> None:
    """The error comes out as it is; what was done before it is not repeated."""
    await stream.send(0, 2, 4)

    async def work() -> None:
        async with stream.member() as events:
            async for event in events:
                if number_of(event) == 2:
                    raise failure

    with pytest.raises(type(failure), match=str(failure)):
        await work()

    assert await stream.read(2) == [2, 4]


async def test_leaving_the_loop_does_not_count_the_event_in_hand(stream: Stream) -> None:
    """A `break` may come before the work; `commit` says that it came after."""
    await stream.send(0, 2, 4)
    for _ in range(2):
        async with asyncio.timeout(PATIENCE_SECS), stream.member() as events:
            async for event in events:
                assert number_of(event) == 0
                break

    assert await stream.read(1) == [0]
    assert await stream.read(2) == [2, 4]


async def test_a_cancelled_member_leaves_at_once_and_has_committed(stream: Stream) -> None:
    """Waiting for more or in the middle of a body: the next member need not wait for a timeout."""
    await stream.send(0, 2)
    seen: list[int] = []
    at_work = asyncio.Event()

    async def work() -> None:
        async with stream.member() as events:
            async for event in events:
                seen.append(number_of(event))
                if number_of(event) == 4:
                    at_work.set()
                    await asyncio.Event().wait()

    async def cancelled(condition: Any) -> None:
        task = asyncio.ensure_future(work())
        await until(condition, timeout_secs=PATIENCE_SECS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await cancelled(lambda: seen == [0, 2])
    await stream.send(4)
    await cancelled(at_work.is_set)

    assert seen[-1] == 4
    async with asyncio.timeout(PATIENCE_SECS):
        assert await stream.read(1) == [4]


KILLED = """
import asyncio, sys
from hookmill.kafka import events
from hookmill.consume import consume
events.SESSION_TIMEOUT_MS = 6_000

async def main(servers, group, topic):
    async with consume(servers, group=group, topics=[topic]) as found:
        async for event in found:
            print(event.raw.offset, flush=True)
            if event.raw.offset == 4:
                await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_killed_member_repeats_what_it_had_not_committed(stream: Stream) -> None:
    """SIGKILL in the middle of an event: that one comes again, and none is left out."""
    await stream.send(0, 2, 4, 6)
    arguments = [",".join(stream.log.connection.servers), stream.log.names.group("billing")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, *arguments, stream.name, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECS):
        before = [int(await process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGKILL)
    await process.wait()
    again = []
    async with asyncio.timeout(PATIENCE_SECS), stream.member() as events:
        async for event in events:
            again.append(number_of(event))
            if number_of(event) == 6:
                break

    assert before == [0, 2, 4]
    assert again[-2:] == [4, 6]
    assert set(again) <= {0, 2, 4, 6}


async def test_what_was_aborted_is_never_seen(stream: Stream) -> None:
    """And what is not committed yet is seen only then."""
    producer = AIOKafkaProducer(
        **stream.log.connection.arguments("test"), transactional_id=stream.log.names.group("route")
    )
    await producer.start()
    try:
        for number, end in [
            (0, producer.commit_transaction),
            (2, producer.abort_transaction),
            (4, producer.commit_transaction),
        ]:
            await producer.begin_transaction()
            key, value, headers = sent(payment(number))
            await producer.send_and_wait(stream.name, value, key, 0, headers=list(headers))
            await end()
    finally:
        await producer.stop()

    assert await stream.read(2) == [0, 4]


async def test_a_rebalance_loses_nothing_and_gives_no_event_to_two_at_once(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second member comes and the first one goes, both at work: each event is handled once."""
    monkeypatch.setattr("hookmill.kafka.events.MEMBER_HEARTBEAT_MS", 100)
    numbers = list(range(120))
    await stream.send(*numbers)
    handled: list[int] = []
    at_work: set[int] = set()
    by_member: dict[str, int] = {"first": 0, "second": 0}

    async def work(name: str) -> None:
        async with stream.member() as events:
            async for event in events:
                number = number_of(event)
                assert number not in at_work
                at_work.add(number)
                try:
                    await asyncio.sleep(0.02)
                finally:
                    at_work.remove(number)
                handled.append(number)
                by_member[name] += 1

    first = asyncio.ensure_future(work("first"))
    await until(lambda: by_member["first"] >= 10, timeout_secs=PATIENCE_SECS)
    second = asyncio.ensure_future(work("second"))
    await until(lambda: by_member["second"] >= 10, timeout_secs=PATIENCE_SECS)
    first.cancel()
    await asyncio.wait({first})
    await until(lambda: len(set(handled)) == len(numbers), timeout_secs=PATIENCE_SECS)
    second.cancel()
    await asyncio.wait({second})

    assert sorted(handled) == numbers
    for partition in range(PARTITIONS):
        mine = [each for each in handled if each % PARTITIONS == partition]
        assert mine == sorted(mine)


async def test_what_is_no_event_is_an_error_that_says_where(stream: Stream) -> None:
    """At every start again, until somebody decides; what came before it is done."""
    await stream.send(0)
    await stream.log.produce(TOPIC, 0, b"shop|p", b'{"id": 7}')
    await stream.send(2)
    assert await stream.read(1) == [0]
    for _ in range(2):
        with pytest.raises(UnreadableRecord, match=rf"{stream.name} partition 0 offset 1 is no"):
            await stream.read(1)
    bad: list[UnreadableRecord] = []

    async def set_aside(record: UnreadableRecord) -> None:
        bad.append(record)

    assert await stream.read(1, on_bad=set_aside) == [2]
    assert [each.record.value for each in bad] == [b'{"id": 7}']


async def test_a_key_of_a_later_release_is_no_trouble(stream: Stream) -> None:
    """Readers that do not know it go on."""
    key, value, headers = sent(payment(1))
    await stream.log.produce(TOPIC, 0, key, value[:-1] + b',"risk":{"score":3}}', headers)

    assert await stream.read(1) == [1]


async def test_a_topic_that_is_not_there_is_an_error(stream: Stream) -> None:
    """Waiting for it would look like there being no events."""
    with pytest.raises(TopicsMissing, match="events-invoice"):
        async with consume(
            stream.log.connection.servers, group="g", topics=[stream.name, "events-invoice"]
        ):
            raise AssertionError("not reached")


@pytest.mark.filterwarnings("ignore:Unclosed AIOKafka")
async def test_no_kafka_is_an_error_that_names_it() -> None:
    """Servers may be written as in Kafka's own tools."""
    servers = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    with pytest.raises(KafkaUnavailable, match=servers.replace(",", ", ")):
        async with consume(servers, group="g", topics=[TOPIC]):
            raise AssertionError("not reached")


async def test_the_security_options_are_the_clients_own(stream: Stream) -> None:
    """They reach it: this broker speaks no SASL."""
    security = {
        "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "billing", "sasl_plain_password": "x",
    }  # fmt: skip
    with pytest.raises(KafkaUnavailable):
        await stream.read(1, security=security)
