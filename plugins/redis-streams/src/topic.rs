//! Which streams a topic names.

use std::{collections::BTreeSet, time::Instant};

use spout_guest::{Error, Result};

use crate::{client::Client, resp::Value};

/// Most streams of a topic, and most keys that are looked at for them.
const STREAMS: usize = 10_000;
const STEPS: usize = 100_000;

/// Streams by name, or by a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Names(Vec<String>),
    Pattern(String),
}

impl Topic {
    pub(crate) fn parse(topic: &str) -> Result<Self> {
        let topic = topic.trim();
        if topic.contains(['*', '?', '[']) {
            return Ok(Self::Pattern(topic.to_owned()));
        }
        let names: BTreeSet<&str> = topic.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Err(Error::invalid_config(
                "the topic names no stream; write its key, several with commas, or a pattern",
            ));
        }
        Ok(Self::Names(names.into_iter().map(str::to_owned).collect()))
    }

    /// The keys of the streams there are.
    pub(crate) fn keys(&self, client: &mut Client, until: Instant) -> Result<Vec<String>> {
        let pattern = match self {
            Self::Names(names) => return Ok(names.clone()),
            Self::Pattern(pattern) => pattern,
        };
        let (mut cursor, mut keys) = ("0".to_owned(), BTreeSet::new());
        for _ in 0..STEPS {
            let scan = ["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000", "TYPE", "stream"];
            let reply = client.ask(&scan, until)?;
            let (next, found) = parse(&reply)
                .ok_or_else(|| Error::retriable("redis.protocol", "the reply to SCAN is no list of keys"))?;
            for key in found {
                let key = std::str::from_utf8(&key).map(str::to_owned).map_err(|_| {
                    let key = key.escape_ascii();
                    Error::fatal(
                        "redis.key",
                        format!("the pattern `{pattern}` matches the key `{key}`, which is not UTF-8"),
                    )
                })?;
                keys.insert(key);
            }
            if keys.len() > STREAMS {
                return Err(Error::fatal("redis.many", format!("`{pattern}` matches more than {STREAMS} streams")));
            }
            if next == "0" {
                return Ok(keys.into_iter().collect());
            }
            cursor = next;
        }
        Err(Error::retriable("redis.protocol", "SCAN does not come to an end"))
    }
}

fn parse(reply: &Value) -> Option<(String, Vec<bytes::Bytes>)> {
    let [cursor, keys] = reply.items()? else { return None };
    let keys = keys.items()?.iter().map(|key| key.bytes().cloned());
    Some((cursor.text()?.to_owned(), keys.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_names_or_a_pattern() {
        let names = |names: &[&str]| Topic::Names(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(Topic::parse("orders"), Ok(names(&["orders"])));
        assert_eq!(Topic::parse(" b, a ,a"), Ok(names(&["a", "b"])));
        assert_eq!(Topic::parse("orders:*"), Ok(Topic::Pattern("orders:*".into())));
        assert!(Topic::parse(" , ").is_err());
    }
}
