/** Reads a normalized topic: read_committed, each value checked, committed after the work. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { Kafka, logLevel, type IHeaders, type KafkaMessage } from "kafkajs";

/** Minor units in digits: 10^18 wei survives neither a JSON number nor a `number`. */
interface Money {
  minor: string;
  currency: string;
  exponent: number | null;
}

/** What this service needs of an event; keys that it does not name are passed over. */
interface Event {
  id: string;
  type: string;
  subject: string | null;
  amount: Money | null;
}

class Refused extends Error {}

const topic = process.env.TOPIC ?? "events-payment";
const count = Number(process.env.COUNT ?? "0");
const validators = readSchemas(process.env.SCHEMAS ?? "../../../schemas");

// A real service keeps the ids in its database, under a unique key, in the transaction of the
// effect: what is remembered here is forgotten at a restart.
const seen = new Set<string>();

/** The validators of `event.*.schema.json`, by their `$id`. `format` is an annotation. */
function readSchemas(folder: string): Map<string, ValidateFunction<Event>> {
  const ajv = new Ajv2020({ validateFormats: false });
  const schemas = readdirSync(folder)
    .filter((name) => /^event\..+\.schema\.json$/.test(name))
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as { $id: string });
  return new Map(schemas.map((schema) => [schema.$id, ajv.compile<Event>(schema)]));
}

/** The event in the record; throws Refused if it is not what its headers and schema say. */
function checked(message: KafkaMessage): Event {
  const headers = message.headers ?? {};
  const validate = validators.get(text(headers, "ce_dataschema"));
  if (validate === undefined) {
    throw new Refused(`no schema here is called ${text(headers, "ce_dataschema")}`);
  }
  const event = parsed(message.value);
  if (!validate(event)) {
    const first = validate.errors?.[0];
    throw new Refused(`${first?.instancePath || "/"} ${first?.message}`);
  }
  if (text(headers, "ce_id") !== event.id || text(headers, "ce_type") !== `hookmill.${event.type}`) {
    throw new Refused("ce_id and ce_type are not those of the value");
  }
  return event;
}

/** JSON numbers become `number`: amounts are text for that reason, metadata is as it is. */
function parsed(value: Buffer | null): unknown {
  try {
    return JSON.parse(value?.toString("utf8") ?? "");
  } catch (error) {
    throw new Refused(String(error));
  }
}

function text(headers: IHeaders, name: string): string {
  return String(headers[name] ?? "");
}

/** Do the work for one record; false if there was none to do. */
function handle(partition: number, message: KafkaMessage): boolean {
  let event: Event;
  try {
    event = checked(message);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // your service would keep it somewhere, for a person
    console.error(`refused ${topic}/${partition}@${message.offset}: ${error.message}`);
    return false;
  }
  if (seen.has(event.id)) {
    console.error(`seen before: ${event.id}`);
    return false;
  }
  const { id, type, subject } = event;
  const offset = Number(message.offset);
  console.log(JSON.stringify({ id, type, subject, amount: inWords(event.amount), partition, offset }));
  seen.add(id);
  return true;
}

/** "9.00 ZAR" for 900 cents: whole numbers of any size, never a float. */
function inWords(money: Money | null): string | null {
  if (money === null) return null;
  if (money.exponent === null) return `${money.minor} minor units of ${money.currency}`;
  const minor = BigInt(money.minor);
  const unit = 10n ** BigInt(money.exponent);
  const size = minor < 0n ? -minor : minor;
  const rest = String(size % unit).padStart(money.exponent, "0");
  const decimals = money.exponent > 0 ? `.${rest}` : "";
  return `${minor < 0n ? "-" : ""}${size / unit}${decimals} ${money.currency}`;
}

const kafka = new Kafka({
  clientId: "billing",
  brokers: (process.env.KAFKA_SERVERS ?? "localhost:9092").split(","),
  logLevel: logLevel.ERROR,
});
const consumer = kafka.consumer({
  groupId: process.env.GROUP ?? "billing",
  readUncommitted: false, // read_committed
  maxWaitTimeInMs: 500,
});

let handled = 0;
let stop = (): void => {};
const stopped = new Promise<void>((resolve) => (stop = resolve));
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);
// an error that kafkajs does not get over by itself ends the process: whoever runs it starts it anew
consumer.on(consumer.events.CRASH, ({ payload }) => {
  if (payload.restart) return;
  console.error(payload.error);
  process.exit(1);
});

await consumer.connect();
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ partition, message }) => {
    if (count > 0 && handled === count) return;
    if (handle(partition, message)) handled += 1;
    const next = (BigInt(message.offset) + 1n).toString();
    await consumer.commitOffsets([{ topic, partition, offset: next }]);
    if (handled === count) stop();
  },
});
await stopped;
await consumer.disconnect();
