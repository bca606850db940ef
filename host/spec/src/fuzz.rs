//! Texts that users and plugins give: specs, settings' schemas, specs of other programs.

use std::{collections::BTreeMap, path::Path};

use spout_fuzz::{Corpus, Counting, Random, Target, change_json};

use super::{EXAMPLE, document, documents, foreign, parse_every, settings_schema::SettingsSchema, shape::Shape};

#[global_allocator]
static MEMORY: Counting = Counting;

const ROOM: &str = env!("CARGO_MANIFEST_DIR");
const NOWHERE: &str = "/nowhere/spec.yaml";

/// The specs of `examples`.
fn examples() -> Vec<Vec<u8>> {
    let dir = Path::new(ROOM).join("../../examples");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "json"));
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// A spec is read or refused; what was read, and is written as one document of several, means the same.
#[test]
fn spec() {
    let words = [
        "&a ",
        "*a",
        "<<: *a",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\n  ",
        "\n---\n",
        "|\n",
        "!!binary ",
        "1e999",
        "0x10",
        "null",
        "~",
        "\"\\ud83d\\ude00\"",
        "9999999999999999999999",
        "64EiB",
        "grants",
        "tests",
        "producers",
        "dispatch",
    ];
    let corpus = Corpus::of_room(ROOM, "spec").and([EXAMPLE]).and(examples()).words(&words);
    Target::new("spec", 400).bytes(&corpus, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let (path, base) = (Path::new(NOWHERE), Path::new("/nowhere"));
        let (loaded, wrong) = parse_every(text, path, base);
        if loaded.is_empty() || !wrong.is_empty() {
            return false;
        }
        let parts = documents(text, path).unwrap();
        assert_eq!(parts.len(), loaded.len());
        for (part, whole) in parts.iter().zip(&loaded) {
            let (again, wrong) = parse_every(part, path, base);
            assert!(wrong.is_empty(), "{wrong:?} in {part}");
            assert_eq!(again[0].digest, whole.digest, "{part}");
        }
        true
    });
}

/// A plugin's schema of its settings is refused, or settings can be compared with it.
#[test]
fn settings_schema() {
    let words = [
        "#",
        "#/properties/a",
        "#/$defs/b",
        "#/anyOf/0",
        "$ref",
        "anyOf",
        "oneOf",
        "object",
        "array",
        "integer",
        "null",
        "string",
        "port",
    ];
    let schema = serde_json::json!({
        "type": "object", "additionalProperties": {"$ref": "#/$defs/b"}, "required": ["a"],
        "properties": {
            "a": {"type": ["string", "null"], "x-also": ["c"], "enum": ["x", "y"], "format": "port", "$ref": "#/$defs/b"},
            "b": {"anyOf": [{"$ref": "#/$defs/b"}, {"type": "null"}], "default": 5},
            "l": {"type": "array", "items": {"oneOf": [{"type": "integer", "minimum": 0}, {"const": "x"}]}},
        },
        "$defs": {"b": {"type": "object", "properties": {"a": {"type": "number"}}}, "c": {"$ref": "#/$defs/b"}},
        "$ref": "#/$defs/c",
    });
    let settings = ["{a: x, b: {a: 1}, l: [1, x]}", "{}", "{a: {a: {a: {a: b}}}, z: 5, l: [[[]]]}", "[1, 2]", "text"];
    Target::new("settings-schema", 4_000).seeds(|seed| {
        let (mut random, mut schema) = (Random::new(seed), schema.clone());
        for _ in 0..=random.below(8) {
            change_json(&mut random, &mut schema, &words);
        }
        let Ok(schema) = SettingsSchema::parse(&schema.to_string()) else { return false };
        let mut node = document::read(random.pick(&settings), Path::new(NOWHERE)).unwrap().remove(0);
        drop(Shape::new(schema.value(), Path::new(NOWHERE), true).fit(&mut node, "settings"));
        true
    });
}

/// The specs of other programs: what is made of one is a spec, or says what is wrong with it.
#[test]
fn foreign_spec() {
    let pinot = serde_json::json!({"tableName": "t", "tableType": "REALTIME", "tableIndexConfig": {"streamConfigs": {
        "streamType": "kafka", "stream.kafka.topic.name": "events", "stream.kafka.decoder.class.name": "org.apache.pinot.plugin.stream.kafka.KafkaJSONMessageDecoder",
        "realtime.segment.flush.threshold.rows": "1000", "realtime.segment.flush.threshold.time": "6h"}}});
    let pachyderm = serde_json::json!({"pipeline": {"name": "p"}, "spout": {"service": {"internalPort": 80, "externalPort": 30080}},
        "transform": {"image": "me/mine:1", "cmd": ["sh", "-c", "x"], "stdin": ["a"], "env": {"A": "b"}, "secrets": [{"name": "s", "mountPath": "/s"}]},
        "input": {"pfs": {"repo": "r", "glob": "/*", "branch": "b"}}, "parallelismSpec": {"constant": "2"}});
    let words =
        ["lowlevel", "highlevel", "spout", "pfs", "cross", "cron", "/pfs/out", "1000000d", "-5", "é", "a/b", ""];
    Target::new("foreign-spec", 500).seeds(|seed| {
        let mut random = Random::new(seed);
        let mut source = if random.one_in(2) { pinot.clone() } else { pachyderm.clone() };
        change_json(&mut random, &mut source, &words);
        let (text, path) = (source.to_string(), Path::new("/nowhere/source.json"));
        let made = match foreign::pinot(&text, path) {
            Ok(made) => Ok(made),
            Err(_) => foreign::pachyderm(&text, path, &BTreeMap::new()),
        };
        made.is_ok_and(|made| {
            drop(parse_every(&made.spec, Path::new(NOWHERE), Path::new("/nowhere")));
            true
        })
    });
}
