"""Takes a stopped static member out of its group, so that others get its partitions at once.

A member with a stable name does not leave when it is stopped: it is expected back, and a restart
must move nothing. One that will not come back keeps its partitions until its session times out, or
until it is taken out here. aiokafka's LeaveGroup knows no instance ids (version 1); version 3 does:
https://kafka.apache.org/protocol (LeaveGroup), KIP-345.
"""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from hookmill.kafka.client import NETWORK_TIMEOUT_SECS, Connection, reachable

UNKNOWN_MEMBER = 25
_TEXT = String("utf-8")


class _Left(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", Array(("member_id", _TEXT), ("instance_id", _TEXT), ("error_code", Int16))),
    )


class _LeaveStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _Left
    SCHEMA = Schema(
        ("group", _TEXT), ("members", Array(("member_id", _TEXT), ("instance_id", _TEXT)))
    )


class _Leave(Request[_LeaveStruct]):  # type: ignore[misc]
    API_KEY = 13

    def __init__(self, group: str, instance_id: str) -> None:
        self._group = group
        self._instance_id = instance_id

    def build(self, request_struct_class: type[Any]) -> Any:
        return request_struct_class(self._group, [("", self._instance_id)])


async def take_out(connection: Connection, group: str, instance_id: str) -> bool:
    """Take that static member out of the group; False if the group knows none of that id.

    Raises KafkaUnavailable, and KafkaError for what the group refuses.
    """
    client = AIOKafkaAdminClient(**connection.arguments("hookmill-leave"))
    async with reachable(connection), asyncio.timeout(NETWORK_TIMEOUT_SECS):
        await client.start()
        try:
            coordinator = await client.find_coordinator(group)
            answer = await client._send_request_to_node(coordinator, _Leave(group, instance_id))
        finally:
            await client.close()
        codes = [answer.error_code, *(code for _, _, code in answer.members)]
        if UNKNOWN_MEMBER in codes:
            return False
        for code in codes:
            if code:
                raise for_code(code)(f"{group} did not let {instance_id} go")
    return True
