package billing;

import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Reads a normalized topic: read_committed, each value checked, committed after the work. */
public final class Billing {
    /** No number loses a digit: metadata may hold any that the provider sent. */
    private static final JsonMapper JSON =
            JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS).build();

    private final Map<String, Schema> schemas;

    /**
     * A real service keeps the ids in its database, under a unique key, in the transaction of the
     * effect: what is remembered here is forgotten at a restart.
     */
    private final Set<String> seen = new HashSet<>();

    private Billing(Map<String, Schema> schemas) {
        this.schemas = schemas;
    }

    /** Settings come from the environment; a signal or COUNT handled events end it. */
    public static void main(String[] arguments) throws IOException {
        int count = Integer.parseInt(setting("COUNT", "0"));
        Billing billing = new Billing(readSchemas(Path.of(setting("SCHEMAS", "../../../schemas"))));
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties());
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                closed.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            billing.run(consumer, setting("TOPIC", "events-payment"), count);
        } catch (WakeupException asked) {
            // the hook waits; what was done is committed
        } finally {
            consumer.close();
            closed.countDown();
        }
    }

    private static Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", setting("KAFKA_SERVERS", "localhost:9092"));
        properties.put("group.id", setting("GROUP", "billing"));
        properties.put("isolation.level", "read_committed");
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("key.deserializer", ByteArrayDeserializer.class);
        properties.put("value.deserializer", ByteArrayDeserializer.class);
        properties.put("max.poll.records", "100");
        return properties;
    }

    private void run(KafkaConsumer<byte[], byte[]> consumer, String topic, int count) {
        consumer.subscribe(List.of(topic));
        for (int handled = 0; count == 0 || handled < count; ) {
            Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                if (count != 0 && handled == count) {
                    break;
                }
                if (handle(record)) {
                    handled++;
                }
                TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                done.put(partition, new OffsetAndMetadata(record.offset() + 1));
            }
            commit(consumer, done);
        }
    }

    /** A wake-up that comes in the middle must not keep what was done from being committed. */
    private static void commit(
            KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, OffsetAndMetadata> done) {
        if (done.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(done);
        } catch (WakeupException asked) {
            consumer.commitSync(done);
            throw asked;
        }
    }

    /** Does the work for one record; false if there was none to do. */
    private boolean handle(ConsumerRecord<byte[], byte[]> record) {
        JsonNode event;
        try {
            event = checked(record);
        } catch (Refused | JacksonException refused) {
            // your service would keep it somewhere, for a person
            String why = refused.getMessage().replaceAll("\\s+", " ");
            String where = record.topic() + "/" + record.partition() + "@" + record.offset();
            System.err.println("refused " + where + ": " + why);
            return false;
        }
        if (!seen.add(event.get("id").stringValue())) {
            System.err.println("seen before: " + event.get("id").stringValue());
            return false;
        }
        ObjectNode said = JSON.createObjectNode();
        said.set("id", event.get("id"));
        said.set("type", event.get("type"));
        said.set("subject", event.get("subject"));
        said.put("amount", inWords(event.get("amount")));
        said.put("partition", record.partition());
        said.put("offset", record.offset());
        System.out.println(said);
        return true;
    }

    /** The event in the record; throws Refused if it is not what its headers and schema say. */
    private JsonNode checked(ConsumerRecord<byte[], byte[]> record) throws Refused {
        Schema schema = schemas.get(header(record, "ce_dataschema"));
        if (schema == null) {
            throw new Refused("no schema here is called " + header(record, "ce_dataschema"));
        }
        if (record.value() == null) {
            throw new Refused("no value");
        }
        JsonNode event = JSON.readTree(record.value());
        var errors = schema.validate(event);
        if (!errors.isEmpty()) {
            throw new Refused(errors.get(0).toString());
        }
        String id = event.get("id").stringValue();
        String type = "hookmill." + event.get("type").stringValue();
        if (!id.equals(header(record, "ce_id")) || !type.equals(header(record, "ce_type"))) {
            throw new Refused("ce_id and ce_type are not those of the value");
        }
        return event;
    }

    private static String header(ConsumerRecord<byte[], byte[]> record, String name) {
        Header header = record.headers().lastHeader(name);
        return header == null ? "" : new String(header.value(), StandardCharsets.UTF_8);
    }

    /** The schemas in {@code event.*.schema.json}, by their {@code $id}. */
    private static Map<String, Schema> readSchemas(Path folder) throws IOException {
        SchemaRegistry registry =
                SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
        Map<String, Schema> schemas = new HashMap<>();
        try (var paths = Files.newDirectoryStream(folder, "event.*.schema.json")) {
            for (Path path : paths) {
                Schema schema = registry.getSchema(Files.readString(path), InputFormat.JSON);
                schemas.put(schema.getId(), schema);
            }
        }
        return schemas;
    }

    /** "9.00 ZAR" for 900 cents: whole numbers of any size, never a double. */
    private static String inWords(JsonNode money) {
        if (money.isNull()) {
            return null;
        }
        String currency = money.get("currency").stringValue();
        BigInteger minor = new BigInteger(money.get("minor").stringValue());
        if (money.get("exponent").isNull()) {
            return minor + " minor units of " + currency;
        }
        int exponent = money.get("exponent").intValue();
        BigInteger[] parts = minor.abs().divideAndRemainder(BigInteger.TEN.pow(exponent));
        String rest = parts[1].toString();
        String decimals = exponent > 0 ? "." + "0".repeat(exponent - rest.length()) + rest : "";
        return (minor.signum() < 0 ? "-" : "") + parts[0] + decimals + " " + currency;
    }

    private static String setting(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        Refused(String why) {
            super(why);
        }
    }
}
