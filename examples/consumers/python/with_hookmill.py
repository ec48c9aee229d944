"""The same in ten lines, for a service that installs hookmill: `hookmill.consume`."""

import asyncio
import os

from hookmill.consume import UnreadableRecord, consume


async def main() -> None:
    """Print each event; `id` is what your own table has its unique key on."""
    servers, group = os.environ["KAFKA_SERVERS"], os.environ["GROUP"]
    async with consume(servers, group=group, topics=[os.environ["TOPIC"]], on_bad=tell) as events:
        async for event in events:  # asking for the next one says that this one is done
            print(event.id, event.type, event.amount.minor if event.amount else None, flush=True)


async def tell(bad: UnreadableRecord) -> None:
    """Your service would keep it somewhere, for a person."""
    print(bad, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
