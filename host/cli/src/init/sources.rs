//! The sources that a spec can begin with: each is an example of this tree, which has tests of its own.

/// A spec to start from.
#[derive(Debug)]
pub(super) struct Start {
    /// What it is asked for by.
    pub(super) source: &'static str,
    /// What it reads, in a few words.
    pub(super) reads: &'static str,
    pub(super) example: &'static str,
}

macro_rules! starts {
    ($($source:literal, $file:literal, $reads:literal;)*) => {
        /// All of them.
        pub(super) const SOURCES: &[Start] = &[
            $(Start { source: $source, reads: $reads, example: include_str!(concat!("../../../../examples/", $file)) },)*
        ];
    };
}

starts! {
    "files", "files.yaml", "files of a directory, line by line, as they grow";
    "csv", "csv.yaml", "CSV files with a header";
    "directory", "directory.yaml", "whole files of a directory";
    "objects", "objects.yaml", "objects of a bucket: S3 and what speaks like it";
    "kafka", "kafka.yaml", "a topic of Kafka, by partition";
    "registry", "registry.yaml", "a topic of Kafka whose schemas are in a registry";
    "kinesis", "kinesis.yaml", "a Kinesis data stream, by shard";
    "nats", "nats.yaml", "a JetStream stream, from any offset";
    "nats-consumer", "nats-consumer.yaml", "a durable consumer of JetStream, acknowledged after each commit";
    "redis-streams", "redis-streams.yaml", "Redis streams, from any entry";
    "redis-group", "redis-group.yaml", "a consumer group of a Redis stream, acknowledged after each commit";
    "postgres", "postgres.yaml", "changes of PostgreSQL tables, after the rows that are there";
    "mqtt", "mqtt.yaml", "MQTT topics, acknowledged after each commit";
    "amqp", "amqp.yaml", "a queue of RabbitMQ, acknowledged after each commit";
    "amqp-streams", "amqp-streams.yaml", "a stream of RabbitMQ, from any offset";
    "http-poll", "http-poll.yaml", "an HTTP API, page by page";
    "http", "http.yaml", "what is posted to an HTTP port";
    "tcp", "tcp.yaml", "lines that are sent to a TCP port";
    "stdin", "stdin.yaml", "standard input, to its end";
    "subscribe", "subscribe.yaml", "a ZeroMQ publisher";
    "repo", "repo.yaml", "the commits of another pipeline";
    "nexmark", "nexmark.yaml", "events of an auction, made up: to try things out";
}
