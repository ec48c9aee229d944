"""Everything that talks to Apache Kafka."""
