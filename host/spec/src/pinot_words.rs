//! Pinot's class names and the keys of its Kafka and Kinesis consumers, in the host's own words. `docs/pinot.md` has them as tables, which a
//! test compares with these.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use spout_plugin::Setting;

/// Classes that are named after something else than what they read.
const FACTORIES: &[(&str, &str)] = &[("SimpleConsumerFactory", "kafka")];

/// The plugin that a factory class stands for, where its name does not say so.
pub(super) fn factory(class: &str) -> Option<&'static str> {
    let last = class.rsplit('.').next().unwrap_or(class);
    let known = |(name, _): &&(&str, &str)| class.contains('.') && *name == last;
    FACTORIES.iter().find(known).map(|(_, plugin)| *plugin)
}

/// What a decoder class becomes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decoder {
    /// A decoder of the host, with settings.
    Native(Map<String, Value>),
    /// It cannot be had yet.
    Refused(&'static str),
}

const AVRO: &str = "reads schemas from a repository of Pinot's own kind; write `decoder: {type: registry, url: …}` for a schema \
                    registry, or `decoder: {type: avro, encoding: record, writer: {file: SCHEMA.avsc}}`";

/// `decoder.prop`s of the classes that read a schema registry, and the settings of the decoder `registry` that they are.
pub(super) const REGISTRY: &[(&str, &str)] = &[
    ("schema.registry.rest.url", "url"),
    ("schema.registry.url", "url"),
    ("schema.registry.basic.auth.credentials.source", "user"),
    ("schema.registry.basic.auth.user.info", "password"),
    ("schema.registry.bearer.auth.token", "token"),
    ("schema.registry.ssl.truststore.location", "ca"),
    ("cached.schema.map.capacity", "none"),
];

/// The decoder `registry` for schemas of `format`.
///
/// # Errors
/// Which of `props` is missing, or has to be said otherwise.
fn registry(format: &str, props: &BTreeMap<String, Setting>) -> Result<Decoder, String> {
    let mut url = None;
    for (name, value) in props {
        let ours = REGISTRY.iter().find(|(theirs, _)| theirs == name).map(|(_, ours)| *ours);
        match ours {
            Some("url") => {
                let text = value.to_string();
                let urls: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
                url = Some(match urls.as_slice() {
                    [one] => Value::from(*one),
                    several => json!(several),
                });
            }
            // Every schema is kept.
            Some("none") => {}
            Some(ours) => {
                return Err(format!(
                    "has `decoder.prop.{name}`, which is `{ours}` here; write `decoder: {{type: registry, url: …, user: …, password: {{env: NAME}}, ca: FILE}}` instead of the class and its properties: a spec has no secrets, and certificates are in PEM"
                ));
            }
            None => return Err(format!("has no counterpart for `decoder.prop.{name}`; leave it out")),
        }
    }
    let url = url.ok_or("needs `decoder.prop.schema.registry.rest.url`, as in Pinot")?;
    let settings = [("type", "registry".into()), ("url", url), ("format", format.into())];
    Ok(Decoder::Native(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}

/// The decoder that `class` stands for with these `decoder.prop`s, if it is not simply named like it.
///
/// # Errors
/// Which of them is missing or unknown.
pub(super) fn decoder(class: &str, props: &BTreeMap<String, Setting>) -> Result<Option<Decoder>, String> {
    let native = |kind: &str, more: Value, names: &[(&str, &str)]| -> Result<Option<Decoder>, String> {
        let mut settings = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        settings.extend(more.as_object().cloned().unwrap_or_default());
        for (name, value) in props {
            let known = names.iter().find(|(theirs, _)| theirs == name);
            let (_, ours) =
                known.ok_or_else(|| format!("has no counterpart for `decoder.prop.{name}`; leave it out"))?;
            settings.insert((*ours).to_owned(), value.to_string().into());
        }
        Ok(Some(Decoder::Native(settings)))
    };
    match class.rsplit('.').next().unwrap_or(class) {
        _ if !class.contains('.') => Ok(None),
        "SimpleAvroMessageDecoder" => {
            let found = native("avro", json!({"encoding": "record"}), &[("schema", "writer")])?;
            Ok(found.map(|found| match found {
                Decoder::Native(mut settings) => {
                    // Pinot has it as text.
                    if let Some(schema) =
                        settings.get("writer").and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok())
                    {
                        settings.insert("writer".into(), schema);
                    }
                    Decoder::Native(settings)
                }
                refused @ Decoder::Refused(_) => refused,
            }))
        }
        "ProtoBufMessageDecoder" => {
            native("protobuf", json!({}), &[("descriptorFile", "descriptor"), ("protoClassName", "message")])
        }
        "ArrowMessageDecoder" => native("arrow", json!({}), &[]),
        "KafkaAvroMessageDecoder" => Ok(Some(Decoder::Refused(AVRO))),
        "KafkaConfluentSchemaRegistryAvroMessageDecoder" => registry("avro", props).map(Some),
        "KafkaConfluentSchemaRegistryJsonMessageDecoder" => registry("json", props).map(Some),
        "KafkaConfluentSchemaRegistryProtoBufMessageDecoder" => registry("protobuf", props).map(Some),
        "ProtoBufCodeGenMessageDecoder" => Ok(Some(Decoder::Refused(
            "runs Java code of its own; write a descriptor set with protoc and `decoder: {type: protobuf, descriptor: FILE, message: NAME}`",
        ))),
        _ => Ok(None),
    }
}

/// Keys of Pinot's Kafka consumers, and the settings of the plugin `kafka` that they are.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("broker.list", "bootstrap.servers"),
    ("hlc.bootstrap.server", "bootstrap.servers"),
    ("hlc.group.id", "group.id"),
    ("kafka.isolation.level", "isolation.level"),
    ("kafka.partition.ids", "partition.ids"),
    ("fetcher.size", "max.partition.fetch.bytes"),
    ("fetcher.minBytes", "fetch.min.bytes"),
    ("socket.timeout", "request.timeout.ms"),
];

/// Keys that mean nothing here, and why.
pub(super) const WITHOUT: &[(&str, &str)] = &[
    ("zk.broker.url", "has no counterpart: only brokers are asked; leave it out"),
    ("hlc.zk.connect.string", "has no counterpart: only brokers are asked; leave it out"),
    ("buffer.size", "has no counterpart; leave it out"),
    ("enable.auto.commit", "has no counterpart: positions are in the commits; leave it out"),
    ("auto.commit.interval.ms", "has no counterpart: positions are in the commits; leave it out"),
    ("key.deserializer", "has no counterpart: keys are bytes; leave it out"),
    ("value.deserializer", "has no counterpart: the decoder reads values; leave it out"),
    ("max.poll.records", "has no counterpart of its own; set `fetch.messages` of the stream"),
    ("sasl.jaas.config", "has no counterpart: set `sasl.username`, and grant the password as the secret `password`"),
    ("ssl.truststore.location", "has no counterpart: grant brokers as `endpoints` with `tls: {ca: FILE}`, in PEM"),
    (
        "ssl.keystore.location",
        "has no counterpart: grant brokers as `endpoints` with `tls: {cert: FILE, key: FILE}`, in PEM",
    ),
    ("schema.registry.url", "has no counterpart here: it is `decoder.prop.schema.registry.rest.url` of the decoder"),
];

/// A key of Pinot's Kafka consumers as a setting of the plugin `kafka`.
///
/// # Errors
/// Why there is none.
pub(super) fn kafka(name: &str) -> Result<&str, &'static str> {
    if let Some((_, why)) = WITHOUT.iter().find(|(theirs, _)| *theirs == name) {
        return Err(why);
    }
    Ok(KEYS.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| *ours))
}

/// Keys of Pinot's Kinesis consumers, which Pinot has without a prefix, and the settings of the plugin `kinesis` that they are.
pub(super) const KINESIS: &[(&str, &str)] = &[
    ("region", "region"),
    ("endpoint", "endpoint"),
    ("accessKey", "keyId"),
    ("maxRecordsToFetch", "maxRecordsToFetch"),
    ("requests_per_second_limit", "requestsPerSecond"),
];

/// Those that mean nothing here, and why.
pub(super) const KINESIS_WITHOUT: &[(&str, &str)] = &[
    ("secretKey", "is a secret, and specs are stored and shown; grant it to `kinesis` as the secret `key`"),
    ("iamRoleBasedAccessEnabled", ROLE),
    ("roleArn", ROLE),
    ("roleSessionName", ROLE),
    ("externalId", ROLE),
    ("sessionDurationSeconds", ROLE),
    ("asyncSessionUpdateEnabled", ROLE),
];

const ROLE: &str =
    "has no counterpart yet: roles are not assumed; set `accessKey`, and grant its key as the secret `key`";

/// A key of Pinot's Kinesis consumers as a setting of the plugin `kinesis`; `None` if it is none.
///
/// # Errors
/// Why there is no such setting.
pub(super) fn kinesis(name: &str) -> Result<Option<&str>, &'static str> {
    if let Some((_, why)) = KINESIS_WITHOUT.iter().find(|(theirs, _)| *theirs == name) {
        return Err(why);
    }
    Ok(KINESIS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/pinot.md");

    #[test]
    fn the_tables_of_the_docs_are_these() {
        for (theirs, ours) in KEYS.iter().chain(FACTORIES).chain(KINESIS).chain(REGISTRY) {
            assert!(
                DOCS.contains(&format!("| `{theirs}` | `{ours}` |")),
                "docs/pinot.md lacks `{theirs}` for `{ours}`"
            );
        }
        for (theirs, why) in WITHOUT.iter().chain(KINESIS_WITHOUT) {
            assert!(DOCS.contains(&format!("| `{theirs}` | none |")), "docs/pinot.md lacks `{theirs}`, which {why}");
        }
    }

    #[test]
    fn classes_become_decoders() {
        let check = |class: &str, props: &[(&str, &str)], expected: Value| {
            let props = props.iter().map(|(name, value)| ((*name).to_owned(), Setting::from(*value))).collect();
            let found = match decoder(class, &props) {
                Ok(None) => Value::Null,
                Ok(Some(Decoder::Native(settings))) => settings.into(),
                Ok(Some(Decoder::Refused(why))) => why.into(),
                Err(what) => what.into(),
            };
            assert!(
                found == expected
                    || expected.as_str().is_some_and(|part| found.as_str().is_some_and(|said| said.contains(part))),
                "{class}: {found}"
            );
        };
        let avro = "org.apache.pinot.plugin.inputformat.avro";
        check(
            &format!("{avro}.SimpleAvroMessageDecoder"),
            &[("schema", "{\"type\":\"record\"}")],
            json!({"type": "avro", "encoding": "record", "writer": {"type": "record"}}),
        );
        let confluent = format!("{avro}.confluent.KafkaConfluentSchemaRegistryAvroMessageDecoder");
        let url = ("schema.registry.rest.url", "http://a:8081");
        check(
            &confluent,
            &[url, ("cached.schema.map.capacity", "9")],
            json!({"type": "registry", "url": "http://a:8081", "format": "avro"}),
        );
        check(
            &confluent,
            &[("schema.registry.rest.url", "http://a, http://b")],
            json!({"type": "registry", "url": ["http://a", "http://b"], "format": "avro"}),
        );
        check(&confluent, &[], json!("needs `decoder.prop.schema.registry.rest.url`"));
        check(&confluent, &[url, ("schema.registry.basic.auth.user.info", "a:b")], json!("password: {env: NAME}"));
        check(&confluent, &[url, ("schema.registry.ssl.truststore.location", "x")], json!("ca: FILE"));
        check(&confluent, &[url, ("subject", "x")], json!("no counterpart for `decoder.prop.subject`"));
        let json = "org.apache.pinot.plugin.inputformat.json.confluent.KafkaConfluentSchemaRegistryJsonMessageDecoder";
        check(json, &[url], json!({"type": "registry", "url": "http://a:8081", "format": "json"}));
        check(&format!("{avro}.KafkaAvroMessageDecoder"), &[], json!("registry"));
        let protobuf = "org.apache.pinot.plugin.inputformat.protobuf";
        check(
            &format!("{protobuf}.ProtoBufMessageDecoder"),
            &[("descriptorFile", "a.desc"), ("protoClassName", "shop.Order")],
            json!({"type": "protobuf", "descriptor": "a.desc", "message": "shop.Order"}),
        );
        check(
            &format!("{protobuf}.ProtoBufMessageDecoder"),
            &[("jar", "x")],
            json!("no counterpart for `decoder.prop.jar`"),
        );
        check(
            &format!("{protobuf}.KafkaConfluentSchemaRegistryProtoBufMessageDecoder"),
            &[url],
            json!({"type": "registry", "url": "http://a:8081", "format": "protobuf"}),
        );
        check("org.apache.pinot.plugin.inputformat.arrow.ArrowMessageDecoder", &[], json!({"type": "arrow"}));
        check("org.apache.pinot.plugin.inputformat.json.JSONMessageDecoder", &[], Value::Null);
        check("ArrowMessageDecoder", &[], Value::Null);
    }
}
