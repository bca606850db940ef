//! What one entry of a spec's `consumers` list can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Consumer, ConsumerContext, Error, FileConsumer, FileSpec, HttpConsumer, HttpSpec, OnRefusal, PrintConsumer,
    PrintSpec, PublishConsumer, PublishSpec, QueueSpec, TcpConsumer, TcpSpec, WhenFull,
};

/// Where batches go besides the repo. All of these are at least once or less; only the repo is exactly once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ConsumerSpec {
    /// Prints rows as a table.
    Print(PrintSpec),
    /// Writes rows to files outside the repo.
    File(FileSpec),
    /// Sends rows to a port.
    Tcp(TcpSpec),
    /// Publishes rows over ZeroMQ.
    Publish(PublishSpec),
    /// Posts rows to a web address.
    Http(HttpSpec),
}

impl ConsumerSpec {
    /// What cannot be, as the key and what to do about it.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let problem = match self {
            Self::Print(_) => None,
            Self::File(file) => file.problem(),
            Self::Tcp(tcp) => tcp.problem(),
            Self::Publish(publish) => publish.problem().map(|(key, what)| (key, what.to_owned())),
            Self::Http(http) => http.problem(),
        };
        problem.or_else(|| {
            let queue = self.queue()?;
            let zero = queue.bytes.0 == 0 || queue.timeout.0.is_zero();
            zero.then(|| {
                ("queue", "its `bytes` and `timeout` must be more than 0; leave them out for the defaults".into())
            })
        })
    }

    /// The running consumer.
    ///
    /// # Errors
    /// What it cannot be opened for: a file, a port, a secret.
    pub async fn open(&self, around: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        Ok(match self {
            Self::Print(spec) => Box::new(PrintConsumer::new(spec, around)),
            Self::File(spec) => Box::new(FileConsumer::open(spec, around).await?),
            Self::Tcp(spec) => Box::new(TcpConsumer::open(spec, around)),
            Self::Publish(spec) => Box::new(PublishConsumer::open(spec, around, None).await?),
            Self::Http(spec) => Box::new(HttpConsumer::open(spec, around)?),
        })
    }

    /// What it does, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Print(print) => print.describe(),
            Self::File(file) => file.describe(),
            Self::Tcp(tcp) => tcp.describe(),
            Self::Publish(publish) => publish.describe(),
            Self::Http(http) => http.describe(),
        }
    }

    /// How often whoever gets the rows sees each of them.
    #[must_use]
    pub fn guarantee(&self) -> &'static str {
        if self.queue().is_some_and(|queue| queue.when_full == WhenFull::Drop) {
            return "none: rows that do not fit into the queue are counted and dropped";
        }
        match self {
            Self::Print(_) => "at least once: after a crash some rows are printed again",
            Self::File(_) => "at least once: after a crash some rows are written again",
            Self::Tcp(_) => {
                "at least once, up to the operating system's buffer: rows are sent again after a crash or a lost connection, but what the other side had not read when its machine died is lost"
            }
            Self::Publish(publish) if publish.sync.is_none() => {
                "at least once for subscribers that are connected, none for others: after a crash some rows are sent again"
            }
            Self::Publish(_) => {
                "at least once after the handshake, while a subscriber stays connected: after a crash some rows are sent again"
            }
            Self::Http(http) if http.on_error == OnRefusal::Drop => {
                "at least once for rows that are not rejected: after a crash some rows are sent again, with the same Idempotency-Key where they are the same rows; rejected rows are counted and dropped"
            }
            Self::Http(_) => {
                "at least once: after a crash some rows are sent again, with the same Idempotency-Key where they are the same rows"
            }
        }
    }

    fn queue(&self) -> Option<&QueueSpec> {
        match self {
            Self::Print(_) | Self::File(_) => None,
            Self::Tcp(tcp) => Some(&tcp.queue),
            Self::Publish(publish) => Some(&publish.queue),
            Self::Http(http) => Some(&http.queue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{file, http, print, publish, tcp};

    #[test]
    fn every_example_can_be_read_and_has_no_problem() {
        for example in [print::EXAMPLE, file::EXAMPLE, tcp::EXAMPLE, publish::EXAMPLE, http::EXAMPLE] {
            let spec: ConsumerSpec = serde_json::from_str(example).unwrap();
            assert_eq!(spec.problem(), None, "{example}");
            assert!(!spec.describe().is_empty() && !spec.guarantee().is_empty());
            let again: ConsumerSpec = serde_json::from_value(serde_json::to_value(&spec).unwrap()).unwrap();
            assert_eq!(again, spec);
        }
    }

    #[test]
    fn a_queue_holds_something_for_some_time() {
        for queue in [r#"{"bytes": "0B"}"#, r#"{"timeout": "0s"}"#] {
            let text = format!(r#"{{"type": "tcp", "address": "h:1", "queue": {queue}}}"#);
            let spec: ConsumerSpec = serde_json::from_str(&text).unwrap();
            assert_eq!(spec.problem().map(|(key, _)| key), Some("queue"));
        }
    }
}
