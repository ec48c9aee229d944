"""hookmill's topics and a record on the official image of Apache Kafka, as compose runs it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from hookmill import pipeline
from hookmill.config.options import Configuration
from hookmill.kafka.client import Connection
from hookmill.kafka.topics import admin, compare, wanted
from support.brokers import BrokerLog, until
from support.ports import free_port

pytestmark = [
    pytest.mark.containers,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # docker's client leaves sockets open
]

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
START_SECS_MAX = 90
PARTITIONS = 3


class KafkaContainer(DockerContainer):
    """The broker of docker-compose.yml, advertised at a port of this machine."""

    def __init__(self) -> None:
        service = COMPOSE["services"]["kafka"]
        super().__init__(service["image"], hostname=service["hostname"])
        self._port = free_port()
        self.with_envs(**service["environment"])
        self.with_bind_ports(9092, self._port)

    @property
    def server(self) -> str:
        """Where a client on this machine finds it."""
        return f"{self.get_docker_client().host()}:{self._port}"

    def start(self) -> "KafkaContainer":
        """Start it; it answers a little later."""
        self.with_env("KAFKA_ADVERTISED_LISTENERS", f"INSIDE://kafka:19092,HOST://{self.server}")
        super().start()
        return self


@pytest.fixture(scope="module")
def kafka(engine: None) -> Iterator[KafkaContainer]:
    """The broker in its container, removed at the end without a helper container."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testcontainers_config, "ryuk_disabled", True)
        with KafkaContainer() as container:
            yield container


async def is_up(connection: Connection) -> bool:
    """Whether the broker answers; any error of the client means not yet."""
    try:
        async with admin(connection) as client:
            return await client.brokers() == 1
    except Exception:
        return False


@pytest.fixture
async def log(kafka: KafkaContainer, namespace: str) -> AsyncIterator[BrokerLog]:
    """The container as a log in a namespace of its own, with every topic made."""
    found = BrokerLog([kafka.server], namespace)
    await until(lambda: is_up(found.connection), timeout_secs=START_SECS_MAX, every_secs=0.5)
    await found.start(pipeline.topics(Configuration(), {}), partitions=PARTITIONS)
    yield found
    await found.stop()


async def test_the_official_image_takes_our_topics(log: BrokerLog) -> None:
    """Made once, every topic is as it must be."""
    wants = [
        wanted(each, log.names, partitions=PARTITIONS, replication_factor=1)
        for each in pipeline.topics(Configuration(), {})
    ]

    async with admin(log.connection) as client:
        left: Any = compare(wants, await client.find(want.name for want in wants))
    assert left == []


async def test_a_record_comes_back_from_it_byte_for_byte(log: BrokerLog) -> None:
    """Key, value and headers are what was sent."""
    headers = (("hm-delivery", b"a delivery"),)

    await log.produce(pipeline.RAW, 1, b"subject", b'{"odd": "\xff"}', headers)

    (record,) = await log.read(pipeline.RAW, 1)
    assert (record.key, record.value) == (b"subject", b'{"odd": "\xff"}')
    assert headers == record.headers
