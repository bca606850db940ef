//! The settings, in Kafka's own words.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// What a spec says about how to read a topic.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Brokers to ask first, `HOST:PORT` separated by commas. The others are learned from them, and each needs a grant.
    #[serde(rename = "bootstrap.servers")]
    pub bootstrap_servers: String,
    /// Whether messages of transactions are read that are not committed (`read_uncommitted`), or those of committed ones only
    /// (`read_committed`).
    #[serde(rename = "isolation.level", default)]
    pub isolation_level: Isolation,
    /// A consumer group that is told how far commits have come, for tools that show its lag. Nothing is read from it: the
    /// position is in the commits.
    #[serde(rename = "group.id", default)]
    pub group_id: Option<String>,
    /// The name by which brokers know this client in their logs and quotas.
    #[serde(rename = "client.id", default = "client_id")]
    pub client_id: String,
    /// Bytes of one answer of a broker; a batch that is larger comes alone.
    #[serde(rename = "fetch.max.bytes", default = "fetch_max_bytes")]
    pub fetch_max_bytes: u32,
    /// Bytes of one partition in one answer of a broker; a batch that is larger comes alone.
    #[serde(rename = "max.partition.fetch.bytes", default = "max_partition_fetch_bytes")]
    pub max_partition_fetch_bytes: u32,
    /// Bytes that a broker waits for before it answers.
    #[serde(rename = "fetch.min.bytes", default = "one")]
    pub fetch_min_bytes: u32,
    /// Milliseconds that a broker waits for them.
    #[serde(rename = "fetch.max.wait.ms", default = "fetch_max_wait")]
    pub fetch_max_wait_ms: u32,
    /// Milliseconds that a broker may take to answer, and to be connected to. `limits.call` must be longer.
    #[serde(rename = "request.timeout.ms", default = "request_timeout")]
    pub request_timeout_ms: u32,
    /// Milliseconds after which the brokers, partitions and leaders are asked for anew, if nothing goes wrong before.
    #[serde(rename = "metadata.max.age.ms", default = "metadata_max_age")]
    pub metadata_max_age_ms: u32,
    /// Whether the checksums of record batches are checked.
    #[serde(rename = "check.crcs", default = "yes")]
    pub check_crcs: bool,
    /// How brokers are to be reached: with `SSL` or `SASL_SSL`, one that the spec gives no TLS is refused. The spec's
    /// `endpoints` make TLS, whatever stands here.
    #[serde(rename = "security.protocol", default)]
    pub security_protocol: Option<Protocol>,
    /// How to authenticate; the spec grants the password as the secret `password`.
    #[serde(rename = "sasl.mechanism", default)]
    pub sasl_mechanism: Option<Mechanism>,
    /// As whom.
    #[serde(rename = "sasl.username", default)]
    pub sasl_username: Option<String>,
    /// The partitions to read, by number; all of them if it is not said.
    #[serde(rename = "partition.ids", default)]
    pub partition_ids: Vec<u32>,
}

/// What is read of transactions.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
pub enum Isolation {
    /// Everything, also of transactions that are open or were aborted.
    #[default]
    #[serde(rename = "read_uncommitted", alias = "readUncommitted")]
    ReadUncommitted,
    /// What was committed, up to the first transaction that is open.
    #[serde(rename = "read_committed", alias = "readCommitted")]
    ReadCommitted,
}

/// How brokers are reached.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Protocol {
    /// In the clear.
    Plaintext,
    /// By TLS.
    Ssl,
    /// In the clear, as a user.
    SaslPlaintext,
    /// By TLS, as a user.
    SaslSsl,
}

/// How to authenticate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, JsonSchema)]
pub enum Mechanism {
    /// The password itself, which the host sends.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of it, with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of it, with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Shortest request time-out that makes sense, in milliseconds.
const LEAST_TIMEOUT: u32 = 100;
/// Most bytes of an answer that may be asked for: it has to fit the plugin's memory, several times over.
const MOST_BYTES: u32 = 48 << 20;

impl Settings {
    /// The settings, if they make sense.
    ///
    /// # Errors
    /// Which does not.
    pub fn checked(self) -> Result<Self> {
        let wrong = |what: String| Err(Error::invalid_config(what));
        if self.servers().next().is_none() {
            return wrong("setting `bootstrap.servers` names no broker; write HOST:PORT".into());
        }
        let bad = |server: &&str| {
            !server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(server) = self.servers().find(bad) {
            return wrong(format!("setting `bootstrap.servers` has `{server}`; write HOST:PORT, as in broker:9092"));
        }
        if self.request_timeout_ms < LEAST_TIMEOUT {
            return wrong(format!("setting `request.timeout.ms` must be at least {LEAST_TIMEOUT}"));
        }
        for (name, bytes) in
            [("fetch.max.bytes", self.fetch_max_bytes), ("max.partition.fetch.bytes", self.max_partition_fetch_bytes)]
        {
            if bytes == 0 || bytes > MOST_BYTES {
                return wrong(format!("setting `{name}` must be between 1 and {MOST_BYTES}"));
            }
        }
        let sasl = matches!(self.security_protocol, Some(Protocol::SaslPlaintext | Protocol::SaslSsl));
        if self.sasl_mechanism.is_none() && (sasl || self.sasl_username.is_some()) {
            return wrong("setting `sasl.mechanism` is missing: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512".into());
        }
        if self.sasl_mechanism.is_some() && self.sasl_username.as_deref().is_none_or(str::is_empty) {
            return wrong("setting `sasl.username` is missing".into());
        }
        if self.sasl_mechanism.is_some() && self.security_protocol.is_some() && !sasl {
            return wrong("setting `sasl.mechanism` needs `security.protocol` to be SASL_SSL or SASL_PLAINTEXT, or to be left out".into());
        }
        if self.group_id.as_deref() == Some("") {
            return wrong("setting `group.id` is empty; leave it out to have no group".into());
        }
        Ok(self)
    }

    /// The brokers to ask first.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        self.bootstrap_servers.split(',').map(str::trim).filter(|server| !server.is_empty())
    }

    /// Whether `partition` is to be read.
    pub(crate) fn reads(&self, partition: u32) -> bool {
        self.partition_ids.is_empty() || self.partition_ids.contains(&partition)
    }

    /// Whether brokers may be talked to by TLS only.
    pub(crate) fn wants_tls(&self) -> bool {
        matches!(self.security_protocol, Some(Protocol::Ssl | Protocol::SaslSsl))
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.into())
    }

    pub(crate) fn metadata_max_age(&self) -> Duration {
        Duration::from_millis(self.metadata_max_age_ms.into())
    }

    pub(crate) fn fetch_max_wait(&self) -> Duration {
        Duration::from_millis(self.fetch_max_wait_ms.into())
    }
}

fn client_id() -> String {
    "spout".to_owned()
}

fn fetch_max_bytes() -> u32 {
    8 << 20
}

fn max_partition_fetch_bytes() -> u32 {
    1 << 20
}

fn one() -> u32 {
    1
}

fn fetch_max_wait() -> u32 {
    500
}

fn request_timeout() -> u32 {
    5_000
}

fn metadata_max_age() -> u32 {
    60_000
}

fn yes() -> bool {
    true
}
