"""`hookmill trace`: everything known of one delivery, event, resource or normalized id."""

from collections.abc import Iterator

import msgspec

from hookmill import pipeline
from hookmill.cli.find import Finder
from hookmill.cli.kept_view import positions_in
from hookmill.cli.letterbox import sent_again_to
from hookmill.cli.letters import said
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import Setup, now_us
from hookmill.cli.times import moment_us
from hookmill.cli.trace_handlers import HandlerTracer
from hookmill.cli.trace_steps import Step, note, same_delivery, sent_again, set_aside, step
from hookmill.core.event import Event, decode
from hookmill.core.record import Record
from hookmill.core.times import from_epoch_us
from hookmill.kafka.desk import Desk
from hookmill.kafka.reader import Reader, reader
from hookmill.kafka.redrive import read_decisions
from hookmill.kafka.topics import admin
from hookmill.stages import headers
from hookmill.stages.letters import Letter, Place, place_of
from hookmill.telemetry.logs import say


class Journey(msgspec.Struct, frozen=True):
    """One delivery's way through hookmill; `trace` is its trace id, where it is traced."""

    delivery: str
    endpoint: str | None
    provider: str | None
    event_id: str | None
    key: str
    normalized_id: str | None
    steps: list[Step]
    trace: str | None = None


async def run(setup: Setup, id: str, *, since: str, as_json: bool) -> bool:
    """Print every journey that the id names; False if there is none."""
    since_ms = moment_us(since, now_us(), option="--since") // 1000
    async with admin(setup.connection()) as client:
        there = await client.names()
    async with reader(setup.connection()) as source:
        handlers = HandlerTracer(setup, source, there, now_us() // 1000)
        tracer = _Tracer(setup, source, handlers, since_ms)
        found = await Finder(setup.names, source, since_ms).deliveries(id)
        journeys = [await tracer.journey(record) for record in found]
    if as_json:
        print_json([msgspec.to_builtins(each) for each in journeys])
    else:
        for journey in journeys:
            _print(journey)
    if not journeys:
        err.print(f"nothing is known of '{id}' since {from_epoch_us(since_ms * 1000)}; "
                  "look further back with --since 7d", markup=False)  # fmt: skip
    return bool(journeys)


class _Tracer:
    """Finds the records of a journey topic by topic in flow order."""

    def __init__(
        self, setup: Setup, source: Reader, handlers: HandlerTracer, since_ms: int
    ) -> None:
        self._setup = setup
        self._source = source
        self._handlers = handlers
        self._since_ms = since_ms
        self._offsets: dict[str, dict[tuple[str, int], int]] = {}

    async def journey(self, first: Record) -> Journey:
        """Follow one delivery's records through its partition."""
        delivery = first.header(headers.DELIVERY) or ""
        steps = [step(first, first, _meaning(first, self._setup))]
        event: Event | None = None
        if first.header(headers.REASON) is None:
            await self._look_up_positions(first.partition)
            records = await self._follow(first)
            steps += [step(first, each, _meaning(each, self._setup)) for each in records
                      if not self._is_queued_again(each, records)]  # fmt: skip
            event = next((e for each in records if (e := _event(each)) is not None), None)
            steps += await self._missing(first, records)
            handled, letters = await self._handled(first, records)
            steps += handled
            steps += await self._decided([*records, *letters])
        return Journey(
            delivery,
            first.header(headers.ENDPOINT),
            first.header(headers.PROVIDER),
            first.header(headers.EVENT_ID),
            first.key.decode("utf-8", "replace"),
            event.id if event else None,
            steps,
            trace=headers.trace(first.header(headers.TRACEPARENT)).get("trace"),
        )

    async def _follow(self, first: Record) -> list[Record]:
        return [
            record
            for topic in self._downstream()
            async for record in same_delivery(self._source, self._setup.names.topic(topic), first)
        ]

    def _downstream(self) -> Iterator[str]:
        """The topics from the first stage to the queues of handlers; theirs are told of apart."""
        skipped = {pipeline.RAW, pipeline.DELIVERIES, pipeline.REJECTED, pipeline.SEEN,
                   pipeline.RESOURCES, pipeline.POSITIONS}  # fmt: skip
        return (each.name for each in self._setup.topics()
                if each.written_by in pipeline.STAGES and each.name not in skipped)  # fmt: skip

    def _is_queued_again(self, record: Record, records: list[Record]) -> bool:
        """Whether it lies in a handler's queue a second time: that comes later in the story."""
        queues = {self._setup.names.topic(pipeline.HandlerTopics(name).queue)
                  for name in self._setup.config.handlers}  # fmt: skip
        return record.topic in queues and record is not _in_topic(records, record.topic)

    async def _missing(self, first: Record, records: list[Record]) -> list[Step]:
        """Why the chain ends where it ends: a duplicate, or not processed yet."""
        topics = {record.topic for record in records}
        for stage in pipeline.STAGES.values():
            source = self._setup.names.topic(stage.reads)
            entered = first if stage is pipeline.DEDUP else _in_topic(records, source)
            if entered is None:
                return []
            outputs = {self._setup.names.topic(each.name) for each in self._setup.topics()
                       if each.written_by == stage.name}  # fmt: skip
            if topics & outputs:
                continue
            group = self._setup.names.group(stage.name)
            if not self._is_past(group, entered):
                return [note(entered, group, "waits to be processed")]
            return [await self._duplicate(first, group)] if stage is pipeline.DEDUP else []
        return []

    async def _duplicate(self, first: Record, group: str) -> Step:
        """The delivery that was forwarded instead of this one."""
        key = headers.dedup_key(first)
        ranges = await self._source.since(first.topic, self._since_ms)
        before = {first.partition: (ranges[first.partition][0], first.offset)}
        async for records in self._source.read(first.topic, before):
            for record in records:
                if headers.dedup_key(record) == key:
                    original = record.header(headers.DELIVERY)
                    return note(first, group, f"dropped: duplicate of delivery {original}")
        return note(first, group, "dropped: duplicate of an earlier delivery")

    async def _handled(
        self, first: Record, records: list[Record]
    ) -> tuple[list[Step], list[Record]]:
        """What became of it at each handler, and its dead letters there."""
        steps: list[Step] = []
        letters: list[Record] = []
        for name in self._setup.config.handlers:
            its = pipeline.HandlerTopics(name)
            queue = self._setup.names.topic(its.queue)
            queued = [record for record in records if record.topic == queue]
            if queued:
                steps += await self._handlers.steps(its, first, queued)
                letters += await self._handlers.letters(its, first)
        return steps, letters

    async def _decided(self, records: list[Record]) -> list[Step]:
        """What was decided of its dead letters."""
        topics = {self._setup.names.topic(each): each for each in sent_again_to(self._setup)}
        letters = [Letter(Place(topics[each.topic], each.partition, each.offset), each)
                   for each in records if each.topic in topics]  # fmt: skip
        if not letters:
            return []
        names = self._setup.names
        decisions = await read_decisions(Desk(names, letters=self._source, decisions=self._source))
        return [
            note(each.record, names.topic(pipeline.DECISIONS), said(decision))
            for each in letters
            if (decision := decisions.of(each)) is not None
        ]

    async def _look_up_positions(self, partition: int) -> None:
        """Before the records are read: what comes meanwhile must not look like dropped."""
        for stage in pipeline.STAGES.values():
            group = self._setup.names.group(stage.name)
            place = (self._setup.names.topic(stage.reads), partition)
            offsets = await self._source.committed(group)
            if offsets.get(place, -1) < 0:
                changelog = self._setup.names.topic(stage.changelog)
                told = await positions_in(self._source, changelog, [partition])
                offsets[place] = told.get(partition, -1)
            self._offsets[group] = offsets

    def _is_past(self, group: str, record: Record) -> bool:
        return self._offsets[group].get((record.topic, record.partition), -1) > record.offset


def _in_topic(records: list[Record], topic: str) -> Record | None:
    return next((record for record in records if record.topic == topic), None)


def _meaning(record: Record, setup: Setup) -> str:
    if record.header(headers.ERROR_REASON):
        return set_aside(record)
    if reason := record.header(headers.REASON):
        return f"refused: {reason}"
    letter = place_of(record.header(headers.REDRIVEN_FROM) or "")
    if letter and record.topic == setup.names.topic(sent_again_to(setup).get(letter.topic, "")):
        return sent_again(record)
    if record.topic == setup.names.topic(pipeline.RAW):
        return f"kept; signed with secret '{record.header(headers.SECRET)}'"
    if record.topic == setup.names.topic(pipeline.UNIQUE):
        return "first of its kind"
    event = _event(record)
    if event is None:
        return ""
    if record.topic == setup.names.topic(pipeline.NORMALIZED):
        return event.type + (" (late)" if event.late else "")
    if place := record.header(headers.REPLAYED_FROM):
        return f"given again from {place}"
    return f"routed as {event.type}"


def _event(record: Record) -> Event | None:
    if record.header("ce_id") is None:
        return None
    try:
        return decode(record.value)
    except msgspec.MsgspecError as error:
        say("library", message=f"{record.topic} {record.offset}: {error}")
        return None


def _print(journey: Journey) -> None:
    title = f"delivery {journey.delivery}  {journey.provider or ''} at {journey.endpoint}"
    rows = [
        (each.at, "" if each.at is None else f"+{each.after_ms} ms", each.topic, each.position,
         each.outcome)
        for each in journey.steps
    ]  # fmt: skip
    print_table(("time", "after", "topic or group", "at", "what became of it"), rows, title)
    traced = f"   trace {journey.trace}" if journey.trace else ""
    print(f"event {journey.event_id}   normalized {journey.normalized_id}   ", end="")
    print(f"key {journey.key}{traced}\n")
