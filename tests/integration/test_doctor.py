"""`hookmill doctor` on a real broker: all is well, then something is weakened and found."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from hookmill.cli.doctor import command
from hookmill.cli.setup import load_setup
from hookmill.cli.topics import apply_all
from hookmill.kafka.client import Connection
from hookmill.kafka.topics import admin
from support.brokers import until

pytestmark = pytest.mark.broker

CONFIG = """
[kafka]
bootstrap_servers = ["{servers}"]
partitions = 2
namespace = "{namespace}"

[local]
dir = "{folder}"

[ingress]
port = 0
admin_port = 0

[endpoints.shop]
provider = "yoco"
secrets = [{{ file = "{folder}/yoco" }}]
"""


@pytest.fixture
def config(tmp_path: Path, broker_servers: list[str], namespace: str) -> Path:
    """A good configuration whose topics are made."""
    path = tmp_path / "hookmill.toml"
    path.write_text(CONFIG.format(servers=broker_servers[0], namespace=namespace, folder=tmp_path))
    (tmp_path / "yoco").write_text("whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==\n")
    (tmp_path / "yoco").chmod(0o400)
    asyncio.run(apply_all(load_setup(path)))
    return path


def test_the_doctor_finds_what_was_weakened(
    config: Path, broker_servers: list[str], namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Warnings alone leave the status 0; a weakened topic makes it 1 and says how to mend it."""

    def examined() -> tuple[int, list[dict[str, Any]]]:
        status = command.run(config, wanted_roles=(), as_json=True)
        return status, json.loads(capsys.readouterr().out)["findings"]

    status, well = examined()
    topic = f"{namespace}-webhooks-raw"
    asyncio.run(alter(broker_servers, topic, {"message.timestamp.type": "CreateTime"}))
    weak_status, weak = examined()
    asyncio.run(apply_all(load_setup(config)))
    mended_status, mended = examined()

    checks = {each["check"] for each in well if each["state"] == "ok"}
    assert {"kafka.version", "kafka.broker", "kafka.topic", "kafka.replicas", "clock"} <= checks
    assert (status, weak_status, mended_status) == (0, 1, 0)
    new = [each for each in weak if each["state"] == "failure"]
    assert {each["check"] for each in new} == {"kafka.topic"}
    assert f"{topic}: message.timestamp.type: CreateTime → LogAppendTime" in [
        each["what"] for each in new
    ]
    assert all(each["do"].startswith("hookmill topics apply") for each in new)
    assert [each["state"] for each in mended] == [each["state"] for each in well]


async def alter(servers: list[str], name: str, settings: dict[str, str]) -> None:
    """As an operator would by hand: every other setting falls back to its default."""
    client = AIOKafkaAdminClient(bootstrap_servers=servers, client_id="operator")
    await client.start()
    try:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, settings)])
    finally:
        await client.close()

    async def known() -> bool:
        async with admin(Connection(tuple(servers), {"security_protocol": "PLAINTEXT"})) as looking:
            have = (await looking.find([name]))[name].settings
        return settings.items() <= have.items()

    await until(known, timeout_secs=20)
