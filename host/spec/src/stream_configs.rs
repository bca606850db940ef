//! Apache Pinot's `streamConfigs`: a flat map of texts, translated to the host's own words.
//!
//! | Pinot | here |
//! |---|---|
//! | `streamType` | names the keys that belong to this stream; the plugin, if no factory is named |
//! | `stream.T.topic.name` | `producer.stream.topic` |
//! | `stream.T.consumer.type` | `producer.stream.consumerType` |
//! | `stream.T.consumer.factory.class.name` | `producer.stream.plugin` |
//! | `stream.T.consumer.prop.auto.offset.reset` | `producer.stream.start`, Pinot's default `largest` included |
//! | `stream.T.fetch.timeout.millis` | `producer.stream.fetch.timeout` |
//! | `stream.T.connection.timeout.millis` | `limits.call` |
//! | `stream.T.metadata.populate` | `producer.stream.metadata` |
//! | `stream.T.decoder.class.name`, `.decoder.prop.*` | `producer.decoder` and its settings |
//! | `realtime.segment.flush.threshold.{rows,time,segment.size}` | `commit.flush` |
//! | `shardIteratorType` of Kinesis | `producer.stream.start` |
//! | any other `stream.T.*` | `producer.stream.settings`, without the prefix; for Kafka in its own words (`pinot_words`) |
//! | what Kinesis has without a prefix | `producer.stream.settings`, in the words of the plugin (`pinot_words`) |

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use spout_data::{ByteSize, Period};
use spout_plugin::{Setting, Settings};
use spout_producer::{
    ConsumerType, DecoderSpec, FetchSpec, MetadataColumn, NativeDecoder, PluginDecoder, Start, StreamSpec,
};

use super::{
    Loaded, PipelineSpec, ProducerSpec,
    check::contradiction,
    error::Error,
    near,
    pinot_words::{self, Decoder},
};

const FLUSH: &str = "realtime.segment.flush.threshold.";
/// What Pinot flushes at by size, where rows are `0`: its default `realtime.segment.flush.threshold.segment.size`.
const SEGMENT_SIZE: ByteSize = ByteSize(200 << 20);

/// Translates `producer.streamConfigs`, if the spec has one, into `producer.stream`, the decoder and the rest.
///
/// # Errors
/// A key is unknown, has a value that cannot be used, or says what another part of the spec says too.
pub(super) fn apply(loaded: &mut Loaded) -> Result<(), Error> {
    one(loaded, "producer", |spec| &mut spec.producer)?;
    for index in 0..loaded.spec.producers.len() {
        one(loaded, &format!("producers[{index}]"), |spec| &mut spec.producers[index])?;
    }
    Ok(())
}

/// Translates that of the producer which is written at `at`.
fn one(loaded: &mut Loaded, at: &str, of: impl Fn(&mut PipelineSpec) -> &mut ProducerSpec) -> Result<(), Error> {
    let Some(configs) = of(&mut loaded.spec).stream_configs.take() else { return Ok(()) };
    let place = format!("{at}.streamConfigs");
    if of(&mut loaded.spec).stream.is_some() {
        let what = "producer has both `stream` and `streamConfigs`, which set the same things; keep one of them";
        return Err(contradiction(loaded, &place, what));
    }
    let mut spec = loaded.spec.clone();
    let mut producer = of(&mut spec).clone();
    let keys = configs.iter().map(|(k, v)| (k.as_str(), v.trim())).collect();
    let mut translation = Translation { loaded, at, keys };
    translation.stream(&mut producer, &mut spec)?;
    translation.flush(&mut spec)?;
    let settings = translation.rest(&mut producer)?;
    *of(&mut spec) = producer;
    loaded.spec = spec;
    for (name, key) in settings {
        loaded.note(&format!("{at}.stream.settings.{name}"), &format!("{place}.{key}"));
    }
    loaded.note(&format!("{at}.stream"), &place);
    Ok(())
}

/// Keys are taken out as they are translated; what is left in the end is a setting or a mistake.
struct Translation<'a> {
    loaded: &'a Loaded,
    /// Where the producer is written.
    at: &'a str,
    keys: BTreeMap<&'a str, &'a str>,
}

impl Translation<'_> {
    fn bad(&self, key: &str, what: impl Into<String>) -> Error {
        let at = self.loaded.place(&format!("{}.streamConfigs.{key}", self.at));
        Error::StreamConfigs { at, key: key.to_owned(), what: what.into() }
    }

    fn needed(&mut self, key: &str) -> Result<String, Error> {
        match self.keys.remove(key) {
            Some("") => Err(self.bad(key, "is empty")),
            Some(value) => Ok(value.to_owned()),
            None => Err(self.bad(key, "is missing; Pinot needs it too")),
        }
    }

    fn kind(&self) -> &str {
        self.keys.get("streamType").copied().unwrap_or_default()
    }

    fn stream(&mut self, producer: &mut ProducerSpec, spec: &mut PipelineSpec) -> Result<(), Error> {
        if self.kind().is_empty() {
            return Err(self.bad("streamType", "is missing or empty; it says which `stream.<type>.…` keys are meant"));
        }
        let prefix = format!("stream.{}.", self.kind());
        let factory = format!("{prefix}consumer.factory.class.name");
        let plugin = match self.keys.remove(factory.as_str()) {
            Some(name) => match pinot_words::factory(name) {
                Some(plugin) => plugin.to_owned(),
                None => plugin_name(name, &["ConsumerFactory", "StreamFactory", "Factory"])
                    .map_err(|what| self.bad(&factory, what))?,
            },
            None => self.kind().to_owned(),
        };
        let start = match self.shard_iterator(&plugin, &prefix)? {
            Some(start) => start,
            None => self.start(&format!("{prefix}consumer.prop.auto.offset.reset"))?,
        };
        producer.stream = Some(StreamSpec {
            plugin,
            topic: self.needed(&format!("{prefix}topic.name"))?,
            consumer_type: self.consumer_type(&format!("{prefix}consumer.type"))?,
            start,
            on_out_of_range: Default::default(),
            settings: Settings::default(),
            fetch: self.fetch(&format!("{prefix}fetch.timeout.millis"))?,
            dedupe: None,
            readers: None,
            discover_every: Period(Duration::from_secs(5)),
            metadata: self.metadata(&format!("{prefix}metadata.populate"))?,
        });
        let connect = format!("{prefix}connection.timeout.millis");
        if let Some(timeout) = self.millis(&connect)? {
            self.once(&connect, "limits.call")?;
            spec.limits.call = timeout;
        }
        if let Some(decoder) = self.decoder(&prefix)? {
            self.once(&format!("{prefix}decoder.class.name"), &format!("{}.decoder", self.at))?;
            producer.decoder = Some(decoder);
        }
        Ok(())
    }

    /// Refuses a key whose counterpart `path` the spec gives as well.
    fn once(&self, key: &str, path: &str) -> Result<(), Error> {
        if self.loaded.says(path) {
            Err(self.bad(key, format!("and `{path}` set the same thing; keep one of them")))
        } else {
            Ok(())
        }
    }

    fn consumer_type(&mut self, key: &str) -> Result<ConsumerType, Error> {
        match self.keys.remove(key).map(str::to_ascii_lowercase).as_deref() {
            None | Some("lowlevel" | "simple") => Ok(ConsumerType::Lowlevel),
            Some("highlevel") => Ok(ConsumerType::Highlevel),
            Some(other) => Err(self.bad(key, format!("is `{other}`; expected lowlevel or highlevel"))),
        }
    }

    fn start(&mut self, key: &str) -> Result<Start, Error> {
        let Some(text) = self.keys.remove(key) else { return Ok(Start::Latest) };
        match text.to_ascii_lowercase().as_str() {
            "smallest" | "earliest" => return Ok(Start::Earliest),
            "largest" | "latest" => return Ok(Start::Latest),
            _ => {}
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Start::Time(time));
        }
        periods(text).map(Start::Ago).ok_or_else(|| {
            let expected = "expected smallest, largest, a time like 2026-01-01T00:00:00Z, or a length of time like 2d";
            self.bad(key, format!("is `{text}`; {expected}"))
        })
    }

    /// Where Kinesis is read from, in its words, if they say so.
    fn shard_iterator(&mut self, plugin: &str, prefix: &str) -> Result<Option<Start>, Error> {
        if plugin != "kinesis" {
            return Ok(None);
        }
        let names = ["shardIteratorType".to_owned(), format!("{prefix}shardIteratorType")];
        let Some((key, text)) = self.one_of(&names)? else { return Ok(None) };
        let start = match text.as_str() {
            "TRIM_HORIZON" => Start::Earliest,
            "LATEST" => Start::Latest,
            // So Pinot goes on after what it has read, as is done here in any case.
            "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER" => return Ok(None),
            "AT_TIMESTAMP" => {
                let what =
                    format!("is AT_TIMESTAMP without a time; set `{prefix}consumer.prop.auto.offset.reset` to one");
                return Err(self.bad(&key, what));
            }
            _ => {
                return Err(
                    self.bad(&key, format!("is `{text}`; expected TRIM_HORIZON, LATEST or AFTER_SEQUENCE_NUMBER"))
                );
            }
        };
        let reset = format!("{prefix}consumer.prop.auto.offset.reset");
        if self.keys.contains_key(reset.as_str()) {
            return Err(self.bad(&reset, format!("and `{key}` set the same thing; keep one of them")));
        }
        Ok(Some(start))
    }

    fn millis(&mut self, key: &str) -> Result<Option<Period>, Error> {
        let Some(text) = self.keys.remove(key) else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(ms) if ms > 0 => Ok(Some(Period(Duration::from_millis(ms)))),
            _ => Err(self.bad(key, format!("is `{text}`; expected a whole number of milliseconds above 0"))),
        }
    }

    fn fetch(&mut self, key: &str) -> Result<FetchSpec, Error> {
        let fetch = FetchSpec::default();
        Ok(match self.millis(key)? {
            Some(timeout) => FetchSpec { timeout, ..fetch },
            None => fetch,
        })
    }

    fn metadata(&mut self, key: &str) -> Result<Vec<MetadataColumn>, Error> {
        use MetadataColumn::{Key, Offset, Partition, Timestamp};
        match self.keys.remove(key) {
            None | Some("false") => Ok(Vec::new()),
            Some("true") => Ok(vec![Partition, Offset, Timestamp, Key]),
            Some(other) => Err(self.bad(key, format!("is `{other}`; expected true or false"))),
        }
    }

    fn decoder(&mut self, prefix: &str) -> Result<Option<DecoderSpec>, Error> {
        let key = format!("{prefix}decoder.class.name");
        let settings = self.take_all(&format!("{prefix}decoder.prop."));
        let Some(class) = self.keys.remove(key.as_str()) else {
            return match settings.keys().next() {
                Some(first) => Err(self.bad(&format!("{prefix}decoder.prop.{first}"), format!("also needs `{key}`"))),
                None => Ok(None),
            };
        };
        match pinot_words::decoder(class, &settings).map_err(|what| self.bad(&key, what))? {
            Some(Decoder::Native(settings)) => {
                let kind = settings.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                let native = serde_json::from_value::<NativeDecoder>(Value::Object(settings));
                let wrong = |error| {
                    self.bad(&key, format!("is the native decoder {kind}, for which decoder.prop is wrong: {error}"))
                };
                return Ok(Some(native.map_err(wrong)?.into()));
            }
            Some(Decoder::Refused(why)) => return Err(self.bad(&key, why)),
            None => {}
        }
        let name = plugin_name(class, &["MessageDecoder", "Decoder"]).map_err(|what| self.bad(&key, what))?;
        let name = name.strip_prefix("kafka").filter(|rest| class.contains('.') && !rest.is_empty()).unwrap_or(&name);
        let text = |(key, setting): (&String, &Setting)| (key.clone(), Value::from(setting.to_string()));
        let typed = std::iter::once(("type".to_owned(), Value::from(name)));
        let native = settings.iter().map(text).chain(typed).collect();
        match (name, serde_json::from_value::<NativeDecoder>(Value::Object(native))) {
            ("json" | "raw", Ok(decoder)) => Ok(Some(decoder.into())),
            ("json" | "raw", Err(error)) => Err(self
                .bad(&key, format!("is the native decoder {name}, which does not take these decoder.prop: {error}"))),
            (name, _) => {
                let plugin = name.strip_prefix("plugin:").unwrap_or(name).to_owned();
                let settings = Settings(settings);
                Ok(Some(DecoderSpec::Plugin(PluginDecoder { plugin, settings })))
            }
        }
    }

    /// Takes out every key that starts with `prefix`, without it.
    fn take_all(&mut self, prefix: &str) -> BTreeMap<String, Setting> {
        let under: Vec<&str> = self.keys.keys().copied().filter(|key| key.starts_with(prefix)).collect();
        under
            .into_iter()
            .filter_map(|key| Some((key.strip_prefix(prefix)?.to_owned(), Setting::from(self.keys.remove(key)?))))
            .collect()
    }

    fn flush(&mut self, spec: &mut PipelineSpec) -> Result<(), Error> {
        let rows = [format!("{FLUSH}rows"), format!("{FLUSH}size"), format!("{FLUSH}segment.rows")];
        let size = [format!("{FLUSH}segment.size"), "realtime.segment.flush.desired.size".to_owned()];
        let time = [format!("{FLUSH}time")];
        let mut by_size = false;
        if let Some((key, text)) = self.one_of(&rows)? {
            self.once(&key, "commit.flush.rows")?;
            by_size = text == "0";
            spec.commit.flush.rows = match text.parse() {
                Ok(0) => u64::MAX,
                Ok(rows) => rows,
                Err(_) => return Err(self.bad(&key, format!("is `{text}`; expected a whole number of rows"))),
            };
        }
        match self.one_of(&size)? {
            Some((key, text)) => {
                self.once(&key, "commit.flush.bytes")?;
                let wrong = || self.bad(&key, format!("is `{text}`; expected a size like 200M"));
                spec.commit.flush.bytes = bytes(&text).ok_or_else(wrong)?;
            }
            None if by_size => spec.commit.flush.bytes = SEGMENT_SIZE,
            None => {}
        }
        if let Some((key, text)) = self.one_of(&time)? {
            self.once(&key, "commit.flush.time")?;
            let ms = text.parse().ok().map(|ms| Period(Duration::from_millis(ms)));
            let wrong =
                || self.bad(&key, format!("is `{text}`; expected a length of time like 6h or 30m, or milliseconds"));
            spec.commit.flush.time =
                ms.or_else(|| periods(&text)).filter(|time| !time.0.is_zero()).ok_or_else(wrong)?;
        }
        Ok(())
    }

    /// The one of several names for the same that is given.
    fn one_of(&mut self, names: &[String]) -> Result<Option<(String, String)>, Error> {
        let mut found: Option<(String, String)> = None;
        for name in names {
            let Some(value) = self.keys.remove(name.as_str()) else { continue };
            if let Some((first, _)) = &found {
                return Err(self.bad(name, format!("and `{first}` set the same thing; keep one of them")));
            }
            found = Some((name.clone(), value.to_owned()));
        }
        Ok(found)
    }

    /// Makes settings of what is left; the key of each.
    fn rest(&mut self, producer: &mut ProducerSpec) -> Result<Vec<(String, String)>, Error> {
        let kind = self.keys.remove("streamType").unwrap_or_default().to_owned();
        let prefix = format!("stream.{kind}.");
        let plugin = producer.stream.as_ref().map_or("", |stream| stream.plugin.as_str());
        let (is_kafka, is_kinesis) = (plugin == "kafka", plugin == "kinesis");
        let (mut settings, mut keys) = (BTreeMap::<String, Setting>::new(), Vec::new());
        for (&key, &value) in &self.keys {
            let own = if is_kinesis {
                let own = key.strip_prefix(&prefix).unwrap_or(key);
                pinot_words::kinesis(own).map_err(|why| self.bad(key, why))?
            } else {
                None
            };
            let Some(name) = own.or(key.strip_prefix(&prefix)) else { return Err(self.bad(key, stray(key, &kind))) };
            if let Some(why) = without_counterpart(name) {
                return Err(self.bad(key, why));
            }
            // Pinot hands `consumer.prop.x` to the client as `x`.
            let name = name.strip_prefix("consumer.prop.").unwrap_or(name);
            let name = if is_kafka { pinot_words::kafka(name).map_err(|why| self.bad(key, why))? } else { name };
            keys.push((name.to_owned(), key.to_owned()));
            if settings.insert(name.to_owned(), value.into()).is_some() {
                return Err(self.bad(key, format!("sets `{name}` a second time; keep one of them")));
            }
        }
        if let Some(stream) = &mut producer.stream {
            stream.settings = Settings(settings);
        }
        Ok(keys)
    }
}

/// Why a key that does not belong to this stream is refused.
fn stray(key: &str, kind: &str) -> String {
    match key {
        "realtime.segment.flush.autotune.initialRows" => {
            return "has nothing to tune here; set realtime.segment.flush.threshold.rows".into();
        }
        "realtime.segment.commit.timeoutSeconds" | "realtime.segment.flush.threshold.variance.fraction" => {
            return "has no counterpart here; leave it out".into();
        }
        _ => {}
    }
    if let Some(other) = key.strip_prefix("stream.").and_then(|rest| rest.split('.').next()) {
        return format!("belongs to the stream type `{other}`, but streamType is `{kind}`");
    }
    let known = ["rows", "time", "segment.size"].map(|name| format!("{FLUSH}{name}"));
    let known = known.iter().map(String::as_str).chain(["streamType"]);
    format!("is unknown; {}", near::advice(key, known))
}

fn without_counterpart(name: &str) -> Option<&'static str> {
    match name {
        "topic.consumption.rate.limit" | "partition.consumption.rate.limit" => {
            Some("has no counterpart yet: only commits hold back reading; leave it out")
        }
        "idle.timeout.millis" => Some("has no counterpart: an idle stream consumer costs nothing here; leave it out"),
        _ => None,
    }
}

/// A plugin's name as it stands, or the last part of a Java class name without its usual ending, in lower case.
fn plugin_name(text: &str, endings: &[&str]) -> Result<String, String> {
    let last = text.rsplit('.').next().unwrap_or(text);
    let is_class = text.contains('.') && last.starts_with(|first: char| first.is_ascii_uppercase());
    let name = if is_class {
        endings.iter().find_map(|ending| last.strip_suffix(ending)).unwrap_or(last).to_ascii_lowercase()
    } else {
        text.to_owned()
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':');
    if !name.is_empty() && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(format!(
            "is `{text}`, which names no plugin; write the plugin's name, or a Java class like \
             org.apache.pinot.plugin.stream.kafka30.KafkaConsumerFactory (the plugin `kafka`)"
        ))
    }
}

/// Pinot's lengths of time may have several parts, as in `1d12h`.
fn periods(text: &str) -> Option<Period> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest.get(number..)?.find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |unit| number + unit);
        let part: Period = rest.get(..unit)?.parse().ok()?;
        total = total.checked_add(part.0)?;
        rest = rest.get(unit..)?;
    }
    Some(Period(total))
}

/// Pinot's sizes: `200M` is 200 · 2²⁰.
fn bytes(text: &str) -> Option<ByteSize> {
    let upper = text.to_ascii_uppercase();
    let binary = match upper.strip_suffix('B').unwrap_or(&upper) {
        number if number.ends_with(['K', 'M', 'G', 'T']) => format!("{number}iB"),
        number => number.to_owned(),
    };
    binary.parse().ok().filter(|size: &ByteSize| size.0 > 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::parse;

    fn spec(configs: &str, more: &str) -> Result<PipelineSpec, String> {
        let lines: String = configs.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let text = format!("pipeline: {{name: p}}\nproducer:\n  streamConfigs:\n{lines}{more}");
        let all = parse(&text, Path::new("s.yaml"), Path::new("/")).map_err(|error| error.to_string())?;
        Ok(all.into_iter().next().unwrap().spec)
    }

    #[test]
    fn the_map_means_the_same_as_the_words() {
        let pinot = spec(
            "streamType: kafka
             stream.kafka.topic.name: meetup
             stream.kafka.consumer.type: lowLevel
             stream.kafka.consumer.factory.class.name: org.apache.pinot.plugin.stream.kafka30.KafkaConsumerFactory
             stream.kafka.consumer.prop.auto.offset.reset: smallest
             stream.kafka.consumer.prop.group.id: g
             stream.kafka.broker.list: localhost:9092
             stream.kafka.isolation.level: read_committed
             stream.kafka.decoder.class.name: org.apache.pinot.plugin.stream.kafka.KafkaJSONMessageDecoder
             stream.kafka.fetch.timeout.millis: 500
             stream.kafka.connection.timeout.millis: '30000'
             realtime.segment.flush.threshold.rows: 0
             realtime.segment.flush.threshold.time: 1h30m
             realtime.segment.flush.threshold.segment.size: 150M",
            "",
        )
        .unwrap();
        let ours = "
pipeline: {name: p}
producer:
  stream:
    plugin: kafka
    topic: meetup
    start: earliest
    settings: {group.id: g, bootstrap.servers: localhost:9092, isolation.level: read_committed}
    fetch: {timeout: 500ms}
  decoder: {type: json}
commit: {flush: {rows: 18446744073709551615, bytes: 150MiB, time: 90m}}
limits: {call: 30s}";
        let ours = parse(ours, Path::new("s.yaml"), Path::new("/")).unwrap().remove(0).spec;
        assert_eq!(pinot, ours);
    }

    #[test]
    fn every_factory_of_kafka_is_the_plugin() {
        for class in [
            "org.apache.pinot.plugin.stream.kafka20.KafkaConsumerFactory",
            "org.apache.pinot.plugin.stream.kafka30.KafkaConsumerFactory",
            "org.apache.pinot.plugin.stream.kafka40.KafkaConsumerFactory",
            "org.apache.pinot.plugin.stream.kafka09.KafkaConsumerFactory",
            "org.apache.pinot.core.realtime.impl.kafka2.KafkaConsumerFactory",
            "org.apache.pinot.core.realtime.impl.kafka.KafkaConsumerFactory",
            "com.linkedin.pinot.core.realtime.impl.kafka.SimpleConsumerFactory",
            "kafka30.KafkaConsumerFactory",
        ] {
            let configs = format!(
                "streamType: kafka\nstream.kafka.topic.name: t\nstream.kafka.consumer.factory.class.name: {class}\nstream.kafka.decoder.class.name: json"
            );
            assert_eq!(spec(&configs, "").unwrap().producer.stream.unwrap().plugin, "kafka", "{class}");
        }
        let kinesis = "streamType: kinesis\nstream.kinesis.topic.name: t\nstream.kinesis.consumer.factory.class.name: org.apache.pinot.plugin.stream.kinesis.KinesisConsumerFactory\nstream.kinesis.decoder.class.name: json";
        assert_eq!(spec(kinesis, "").unwrap().producer.stream.unwrap().plugin, "kinesis");
    }

    #[test]
    fn the_words_of_kinesis_have_no_prefix() {
        let base = "streamType: kinesis\nstream.kinesis.topic.name: t\nregion: eu-central-1\naccessKey: AKIA\nstream.kinesis.decoder.class.name: json\n";
        let stream = |more: &str| spec(&format!("{base}{more}"), "").map(|spec| spec.producer.stream.unwrap());
        let read = stream("endpoint: 'http://a:1'\nmaxRecordsToFetch: 50\nrequests_per_second_limit: 2").unwrap();
        let pairs = [
            ("endpoint", "http://a:1"),
            ("keyId", "AKIA"),
            ("maxRecordsToFetch", "50"),
            ("region", "eu-central-1"),
            ("requestsPerSecond", "2"),
        ];
        assert_eq!(read.settings.to_list(), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (more, start) in [
            ("", Start::Latest),
            ("shardIteratorType: TRIM_HORIZON", Start::Earliest),
            ("stream.kinesis.shardIteratorType: LATEST", Start::Latest),
            (
                "shardIteratorType: AFTER_SEQUENCE_NUMBER\nstream.kinesis.consumer.prop.auto.offset.reset: smallest",
                Start::Earliest,
            ),
        ] {
            assert_eq!(stream(more).unwrap().start, start, "{more}");
        }
        for (more, said) in [
            ("secretKey: hunter2", "grant it to `kinesis` as the secret `key`"),
            ("roleArn: x", "roles are not assumed"),
            ("shardIteratorType: AT_TIMESTAMP", "without a time"),
            ("shardIteratorType: NOW", "expected TRIM_HORIZON"),
            (
                "shardIteratorType: LATEST\nstream.kinesis.consumer.prop.auto.offset.reset: largest",
                "set the same thing",
            ),
            ("stream.kinesis.region: eu", "a second time"),
            ("regions: eu", "is unknown"),
        ] {
            let error = stream(more).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{more}: {error}");
        }
        let kafka = "streamType: kafka\nstream.kafka.topic.name: t\nregion: eu\nstream.kafka.decoder.class.name: json";
        assert!(spec(kafka, "").unwrap_err().contains("is unknown"));
    }

    #[test]
    fn defaults_are_those_of_pinot() {
        let spec = spec("streamType: files\nstream.files.topic.name: events\nstream.files.decoder.class.name: csv\nstream.files.decoder.prop.header: a,b", "").unwrap();
        let stream = spec.producer.stream.unwrap();
        assert_eq!((stream.plugin.as_str(), stream.start), ("files", Start::Latest));
        let Some(DecoderSpec::Plugin(decoder)) = spec.producer.decoder else { panic!("a plugin") };
        assert_eq!(
            (decoder.plugin.as_str(), decoder.settings.to_list()),
            ("csv", vec![("header".into(), "a,b".into())])
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let check = |line: &str, expected: &str| {
            let base = "streamType: kafka\nstream.kafka.topic.name: t\nstream.kafka.decoder.class.name: json\n";
            // What a decoder does not take is said of the decoder, a line above its settings.
            let at = if line.contains("decoder.prop") { 6 } else { 7 };
            assert_eq!(
                spec(&format!("{base}{line}"), "").unwrap_err(),
                format!("s.yaml:{at}: streamConfigs key {expected}")
            );
        };
        check(
            "realtime.segment.flush.threshold.row: 5",
            "`realtime.segment.flush.threshold.row` is unknown; did you mean `realtime.segment.flush.threshold.rows`?",
        );
        check(
            "stream.kafka.fetch.timeout.millis: soon",
            "`stream.kafka.fetch.timeout.millis` is `soon`; expected a whole number of milliseconds above 0",
        );
        check(
            "stream.kinesis.region: eu",
            "`stream.kinesis.region` belongs to the stream type `kinesis`, but streamType is `kafka`",
        );
        check(
            "realtime.segment.flush.threshold.rows: -1",
            "`realtime.segment.flush.threshold.rows` is `-1`; expected a whole number of rows",
        );
        check(
            "realtime.segment.flush.threshold.segment.size: big",
            "`realtime.segment.flush.threshold.segment.size` is `big`; expected a size like 200M",
        );
        check(
            "stream.kafka.consumer.type: highLevel,simple",
            "`stream.kafka.consumer.type` is `highlevel,simple`; expected lowlevel or highlevel",
        );
        check(
            "stream.kafka.consumer.prop.auto.offset.reset: 'now?'",
            "`stream.kafka.consumer.prop.auto.offset.reset` is `now?`; expected smallest, largest, a time like 2026-01-01T00:00:00Z, or a length of time like 2d",
        );
        check("stream.kafka.metadata.populate: 1", "`stream.kafka.metadata.populate` is `1`; expected true or false");
        check(
            "stream.kafka.idle.timeout.millis: 1",
            "`stream.kafka.idle.timeout.millis` has no counterpart: an idle stream consumer costs nothing here; leave it out",
        );
        check(
            "stream.kafka.zk.broker.url: localhost:2181",
            "`stream.kafka.zk.broker.url` has no counterpart: only brokers are asked; leave it out",
        );
        check(
            "stream.kafka.decoder.prop.shema: 1",
            "`stream.kafka.decoder.class.name` is the native decoder json, which does not take these decoder.prop: unknown field `shema`, expected one of `schema`, `unknown`, `unknownColumn`, `evolve`, `coerce`, `duplicates`, `depth`, `columns`",
        );
    }

    #[test]
    fn settings_keep_their_lines() {
        let text = "pipeline: {name: p}\nproducer:\n  streamConfigs:\n    streamType: k\n    stream.k.topic.name: t\n    stream.k.rate: 5\n    stream.k.decoder.class.name: raw\n";
        let loaded = parse(text, Path::new("s.yaml"), Path::new("/")).unwrap().remove(0);
        assert_eq!(loaded.place("producer.stream.settings.rate").line, 6);
        assert_eq!(loaded.place("producer.stream.plugin").line, 3);
    }

    #[test]
    fn saying_it_twice_is_refused() {
        let base = "streamType: kafka\nstream.kafka.topic.name: t\nstream.kafka.decoder.class.name: raw\nrealtime.segment.flush.threshold.rows: 5";
        let error = spec(base, "commit: {flush: {rows: 7}}\n").unwrap_err();
        assert_eq!(
            error,
            "s.yaml:7: streamConfigs key `realtime.segment.flush.threshold.rows` and `commit.flush.rows` set the same thing; keep one of them"
        );
        let error = spec(base, "  stream: {plugin: x}\n").unwrap_err();
        assert_eq!(
            error,
            "s.yaml:3: pipeline `p`: producer has both `stream` and `streamConfigs`, which set the same things; keep one of them"
        );
    }

    #[test]
    fn periods_may_have_parts() {
        let check =
            |text: &str, expected: Option<u64>| assert_eq!(periods(text).map(|p| p.0.as_secs()), expected, "{text}");
        check("2d", Some(172_800));
        check("1d12h", Some(129_600));
        check("5", None);
        check("", None);
        check("h", None);
    }
}
