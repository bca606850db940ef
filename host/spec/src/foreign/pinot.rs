//! Apache Pinot's table config as a pipeline spec: its stream configs, in Pinot's own words.

use std::path::Path;

use super::{Imported, Original, Remark, map, text, yaml};
use crate::{
    document::{Node, Tree},
    error::{Error, Place},
    load,
};

const OLD: &str = "tableIndexConfig.streamConfigs";
const NEW: &str = "ingestionConfig.streamIngestionConfig.streamConfigMaps";

/// What a key of a table config means here.
const SAID: &[(&str, &str)] = &[
    ("segmentsConfig.timeColumnName", "is the event time: handlers that need it take `time: {column: …}`"),
    (
        "segmentsConfig.retentionTimeValue",
        "is how long data is kept: `spout update repo NAME --keep-for 30d`, then `spout gc`",
    ),
    ("segmentsConfig.retentionTimeUnit", "goes with the retention time"),
    ("segmentsConfig.replication", "is up to the store: a bucket replicates, a directory does not"),
    ("segmentsConfig.replicasPerPartition", "is up to the store: a bucket replicates, a directory does not"),
    (
        "segmentsConfig.schemaName",
        "names a schema that is a file of its own: write its columns as the decoder's `schema`",
    ),
    ("ingestionConfig.transformConfigs", "are expressions: write each as a column of a `map` handler, in SQL"),
    ("ingestionConfig.filterConfig", "drops the rows that match: write a `filter` handler, which keeps those that do"),
    ("ingestionConfig.complexTypeConfig", "unnests values: `unnest` in the decoder or a `sql` handler"),
    ("ingestionConfig.aggregationConfigs", "aggregates at ingestion: write a `window` or an `aggregate` handler"),
    (
        "ingestionConfig.continueOnError",
        "says what becomes of bad messages: `errors: {decode: dead-letter}` is the default",
    ),
    ("ingestionConfig.rowTimeValueCheck", "drops rows without a sound time: write a `filter` handler"),
    ("tableIndexConfig", "is about indexes: Parquet files have statistics for every column"),
    ("upsertConfig", "keeps the last row of a key: `lookup` reads a table that way; the repo keeps every row"),
    (
        "dedupConfig",
        "drops rows whose key was seen: every message is committed exactly once, equal ones sent twice stay",
    ),
    ("tenants", "is about where tables run: there are no tenants"),
    ("routing", "is about where queries run"),
    ("query", "is about queries"),
    ("quota", "is about queries and storage"),
    ("task", "runs in the background there: here `spout compact` and `spout gc`"),
    ("metadata", "is for people: `description` is its place"),
];

/// Makes a spec of a table config, bare or as Pinot's controller answers it (`{"REALTIME": {…}}`). Keys of the stream that
/// mean nothing here are left out, and named.
///
/// # Errors
/// It is no table that ingests a stream, or what is left of its stream configs cannot work.
pub fn pinot(source: &str, file: &Path) -> Result<Imported, Error> {
    let mut original = Original::read(source, file)?;
    if let Some(realtime) = original.at("REALTIME").cloned() {
        original.node = realtime;
    }
    let table = original.text("tableName")?.trim_end_matches("_REALTIME").to_owned();
    let mut streams = streams(&original)?;
    let mut said = SAID.to_vec();
    // What is said of a whole map must not hide the part of it that is used.
    said.retain(|(key, _)| *key != "tableIndexConfig" || original.at(OLD).is_none());
    let mut remarks = original.left(&["tableName", "tableType", OLD, NEW], &said);
    loop {
        let spec = spec(&table, &streams);
        let draft = yaml(&spec, "a draft", &[])?;
        match load::parse(&draft, file, Path::new("/")) {
            Err(Error::StreamConfigs { key, what, .. }) if take_out(&mut streams, &key, &what, &mut remarks) => {}
            Err(error @ Error::StreamConfigs { .. }) => return Err(at_original(error, file, &streams)),
            Ok(_) | Err(_) => {
                remarks.sort_by_key(|remark| remark.line);
                let from = format!("From {}, a table of Apache Pinot.", file.display());
                return Ok(Imported { spec: yaml(&spec, &from, &remarks)?, remarks });
            }
        }
    }
}

/// The stream configs of a table, of which newer ones may have several.
fn streams(original: &Original<'_>) -> Result<Vec<Node>, Error> {
    let several = match original.at(NEW) {
        Some(Node { tree: Tree::List(maps), .. }) => maps.clone(),
        _ => Vec::new(),
    };
    let all: Vec<Node> = original.at(OLD).cloned().into_iter().chain(several).collect();
    if all.is_empty() {
        Err(Error::Missing {
            at: Place::new(original.file, original.node.line),
            within: "the table".into(),
            missing: "stream configs".into(),
            advice: format!("only tables that ingest a stream can be imported; expected `{NEW}` or `{OLD}`"),
        })
    } else {
        Ok(all)
    }
}

fn spec(table: &str, streams: &[Node]) -> Node {
    let name = ("pipeline", map([("name", text(table))]));
    let producer = match streams {
        [only] => ("producer", map([("streamConfigs", only.clone())])),
        several => {
            let one = |(index, stream): (usize, &Node)| {
                map([("name", text(format!("stream-{index}"))), ("streamConfigs", stream.clone())])
            };
            let list = several.iter().enumerate().map(one).collect();
            ("producers", Node { line: 0, tree: Tree::List(list) })
        }
    };
    map([name, producer])
}

/// Takes `key`, which cannot be used, out of the first stream that has it; whether there was one.
fn take_out(streams: &mut [Node], key: &str, what: &str, remarks: &mut Vec<Remark>) -> bool {
    for stream in streams {
        let Tree::Map(entries) = &mut stream.tree else { continue };
        if let Some(at) = entries.iter().position(|entry| entry.key == key) {
            let entry = entries.remove(at);
            remarks.push(Remark { line: entry.line, key: format!("streamConfigs.{key}"), what: what.to_owned() });
            return true;
        }
    }
    false
}

/// The draft has lines of its own; what is wrong is within the stream configs of the original.
fn at_original(error: Error, file: &Path, streams: &[Node]) -> Error {
    let line = streams.first().map_or(0, |stream| stream.line);
    match error {
        Error::StreamConfigs { key, what, .. } => Error::StreamConfigs { at: Place::new(file, line), key, what },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{
  "tableName": "meetup_REALTIME",
  "tableType": "REALTIME",
  "segmentsConfig": {"timeColumnName": "mtime", "replication": "1"},
  "tenants": {},
  "tableIndexConfig": {
    "loadMode": "MMAP",
    "streamConfigs": {
      "streamType": "kafka",
      "stream.kafka.topic.name": "meetup",
      "stream.kafka.consumer.factory.class.name": "org.apache.pinot.plugin.stream.kafka30.KafkaConsumerFactory",
      "stream.kafka.decoder.class.name": "org.apache.pinot.plugin.stream.kafka.KafkaJSONMessageDecoder",
      "stream.kafka.broker.list": "localhost:9092",
      "realtime.segment.flush.threshold.rows": "0",
      "realtime.segment.flush.autotune.initialRows": "1000"
    }
  }
}"#;

    #[test]
    fn a_table_becomes_a_spec_and_what_it_lacks_is_named() {
        let Imported { spec, remarks } = pinot(TABLE, Path::new("table.json")).unwrap();
        let said: Vec<(usize, &str)> = remarks.iter().map(|remark| (remark.line, remark.key.as_str())).collect();
        let expected = [
            (4, "segmentsConfig.timeColumnName"),
            (4, "segmentsConfig.replication"),
            (5, "tenants"),
            (7, "tableIndexConfig.loadMode"),
            (15, "streamConfigs.realtime.segment.flush.autotune.initialRows"),
        ];
        assert_eq!(said, expected);
        let loaded = load::parse(&spec, Path::new("s.yaml"), Path::new("/")).unwrap().remove(0).spec;
        assert_eq!(loaded.pipeline.name, "meetup");
        assert_eq!(loaded.producer.stream.unwrap().plugin, "kafka");
        assert!(spec.contains("# line 7: tableIndexConfig.loadMode"), "{spec}");
    }

    #[test]
    fn what_the_controller_answers_and_tables_of_several_streams_are_read() {
        let stream = |topic: &str| {
            format!(
                r#"{{"streamType": "files", "stream.files.topic.name": "{topic}", "stream.files.decoder.class.name": "json"}}"#
            )
        };
        let (one, two) = (stream("a"), stream("b"));
        let table = format!(
            r#"{{"REALTIME": {{"tableName": "t", "ingestionConfig": {{"streamIngestionConfig": {{"streamConfigMaps": [{one}, {two}]}}}}}}}}"#
        );
        let spec = pinot(&table, Path::new("t.json")).unwrap().spec;
        let loaded = load::parse(&spec, Path::new("s.yaml"), Path::new("/")).unwrap().remove(0).spec;
        let topics: Vec<String> = loaded.producers.into_iter().map(|one| one.stream.unwrap().topic).collect();
        assert_eq!(topics, ["a", "b"]);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let check = |table: &str, expected: &str| {
            let error = pinot(table, Path::new("t.json")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(r#"{"tableName": "t", "tableType": "OFFLINE"}"#, "t.json:1: the table has no stream configs");
        check(r#"{"tableType": "REALTIME"}"#, "`tableName` is missing");
        check(r#"[{"tableName": "t"}, {"tableName": "u"}]"#, "one of several");
        check(r#"{"tableName": "t", "tableIndexConfig": {"streamConfigs": {"streamType": "kafka"}}}"#, "topic.name");
    }
}
