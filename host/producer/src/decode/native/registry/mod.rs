//! `registry`: Avro, Protobuf and JSON messages whose schemas are in a schema registry, in Confluent's framing.
//!
//! A message names the schema that it was written with by an id; [`Shelf`] fetches it once and keeps it. Each message is read with
//! its writer's schema, and its row has the settled columns: those of the subject's latest schema, unless the spec says others.
//!
//! ```text
//! 0 | id, 4 bytes | message indexes (Protobuf only) | what was encoded
//! header __value_schema_id: 1 | GUID, 16 bytes | message indexes (Protobuf only)
//! ```
//!
//! **Invariant**: only a registry that says that it has no such schema makes a message a dead letter for want of it; one that says
//! nothing is asked again.

mod avro;
mod client;
mod error;
mod frame;
#[cfg(test)]
mod fuzz;
mod json;
mod keep;
mod protobuf;
mod reader;
mod running;
mod schemas;
mod shelf;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{reach::Reach, secret::SecretSpec};
use spout_codec::Evolve;

pub(in crate::decode) use self::shelf::{Patience, Shelf};
pub use self::{error::RegistryError, shelf::Schemas};
use self::{reader::AvroReader, running::Registered, schemas::Format};
use super::{DecoderKind, Opening};
use crate::{SchemaText, UnknownFields, decode::Native};

/// Settings of the native `registry` decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistrySpec {
    /// Address of the registry, as in `https://registry:8081`, or a list of addresses of one registry, which are asked in turn.
    pub url: Addresses,
    /// What messages have to be: `avro`, `protobuf` or `json`. Without it the registry says it of each schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SchemaFormat>,
    /// Subject whose latest schema says the columns. Without it `strategy` says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How the producer names subjects: `topicName` (the default), `recordName` or `topicRecordName`; the last two need `record`.
    #[serde(default)]
    pub strategy: Strategy,
    /// Full name of the record or message whose columns are meant, as in `shop.Order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// User name, where the registry asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the password of `user` is, as in `{env: REGISTRY_PASSWORD}` or `{file: /run/secrets/registry}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSpec>,
    /// Where a bearer token is, as in `{env: REGISTRY_TOKEN}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSpec>,
    /// PEM file of the authorities to trust instead of this machine's, from the spec's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Directory, from the spec's, where fetched schemas are kept, so that a restart or a replay needs no registry for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<PathBuf>,
    /// The Avro schema that messages are read with, whatever they were written with: `latest`, the subject's latest one when the pipeline
    /// starts; a file from the spec's directory, as in `{file: order.avsc}`; or the schema itself. Fields that a message does not have get
    /// their defaults. Without it each message is read with the schema that it was written with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<AvroReader>,
    /// Columns and their types, as in `{id: int64, name: utf8}`. Without it: those of the subject's latest schema, or else of the
    /// first message, from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaText>,
    /// What a field outside the columns does to its message.
    #[serde(default)]
    pub unknown: UnknownFields,
    /// `add-columns`: fields of later schemas become columns while the pipeline runs. Without it they do at its next start.
    #[serde(default, skip_serializing_if = "Evolve::is_none")]
    pub evolve: Evolve,
}

/// One address or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Addresses {
    /// One.
    One(String),
    /// Several of one registry.
    Several(Vec<String>),
}

impl Addresses {
    fn all(&self) -> &[String] {
        match self {
            Self::One(url) => std::slice::from_ref(url),
            Self::Several(urls) => urls,
        }
    }
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchemaFormat {
    /// Avro records.
    Avro,
    /// Protobuf messages.
    Protobuf,
    /// JSON objects.
    Json,
}

impl SchemaFormat {
    fn is(self, format: Format) -> bool {
        matches!(
            (self, format),
            (Self::Avro, Format::Avro) | (Self::Protobuf, Format::Protobuf) | (Self::Json, Format::Json)
        )
    }
}

/// How a producer names the subject of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// `TOPIC-value`.
    #[default]
    #[serde(rename = "topicName")]
    Topic,
    /// The record's full name.
    #[serde(rename = "recordName")]
    Record,
    /// `TOPIC-` and the record's full name.
    #[serde(rename = "topicRecordName")]
    TopicRecord,
}

impl RegistrySpec {
    /// What of the machine it reaches.
    fn reach(&self) -> Vec<Reach> {
        let secrets = self.password.iter().chain(&self.token).map(SecretSpec::reach);
        let reader = self.reader.as_ref().and_then(AvroReader::file);
        let files = self.ca.iter().chain(&self.keep).chain(reader).map(|_| Reach::Files);
        [Reach::Network].into_iter().chain(secrets).chain(files).collect()
    }

    /// Subject whose latest schema says the columns.
    fn subject(&self, topic: &str) -> Option<String> {
        let record = self.record.as_deref();
        match (&self.subject, self.strategy) {
            (Some(subject), _) => Some(subject.clone()),
            (None, Strategy::Topic) => Some(format!("{topic}-value")).filter(|_| !topic.is_empty()),
            (None, Strategy::Record) => record.map(str::to_owned),
            (None, Strategy::TopicRecord) => record.map(|record| format!("{topic}-{record}")),
        }
    }

    /// The addresses.
    ///
    /// # Errors
    /// One that is none, and what to do.
    fn addresses(&self) -> Result<Vec<Url>, String> {
        let address = |text: &String| match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                Err(format!("`url` is `{text}`; it starts with https:// or http://"))
            }
            Ok(url) if url.password().is_some() || !url.username().is_empty() => {
                Err("`url` has a user or password, which would end up in logs; use `user` and `password`".to_owned())
            }
            Ok(url) => Ok(url),
            Err(_) => Err(format!("`url` is `{text}`, which is no web address; write it like https://registry:8081")),
        };
        match self.url.all() {
            [] => Err("`url` is empty; name the registry, as in https://registry:8081".into()),
            urls => urls.iter().map(address).collect(),
        }
    }

    /// Whether what lets us in leaves this machine without TLS.
    fn in_the_clear(&self, urls: &[Url]) -> bool {
        let here = |url: &Url| match url.host_str().unwrap_or_default().trim_matches(['[', ']']) {
            "localhost" => true,
            host => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        };
        (self.password.is_some() || self.token.is_some()) && urls.iter().any(|url| url.scheme() == "http" && !here(url))
    }

    /// What is wrong with the settings, and what to do.
    fn check(&self) -> Result<(), String> {
        self.addresses()?;
        match (&self.user, &self.password, &self.token) {
            (None, Some(_), _) => return Err("`password` needs `user`".into()),
            (Some(_), None, _) => return Err("`user` needs `password`, as in `{env: REGISTRY_PASSWORD}`".into()),
            (Some(_), _, Some(_)) => return Err("set `token`, or `user` and `password`, not both".into()),
            _ => {}
        }
        if self.strategy != Strategy::Topic && self.subject.is_none() && self.record.is_none() {
            return Err(
                "this `strategy` names subjects by their records; name the record with `record`, or set `subject`"
                    .into(),
            );
        }
        if self.reader.is_some() && self.format.is_some_and(|format| format != SchemaFormat::Avro) {
            return Err("`reader` is an Avro schema, and `format` says another; remove one of them".into());
        }
        if self.evolve.adds() && self.reader.is_some() {
            return Err("`reader` says the columns, so that none can be added; remove `evolve`".into());
        }
        if self.evolve.adds() && self.unknown == UnknownFields::Fail {
            return Err("`evolve: add-columns` and `unknown: fail` contradict each other; keep one of them".into());
        }
        Ok(())
    }
}

impl DecoderKind for RegistrySpec {
    fn declared(&self) -> Option<&SchemaText> {
        self.schema.as_ref()
    }

    fn evolves(&self) -> bool {
        self.evolve.adds()
    }

    fn registry(&self) -> Option<&RegistrySpec> {
        Some(self)
    }

    fn reach(&self) -> Vec<Reach> {
        self.reach()
    }

    fn keeps(&self) -> Option<&Path> {
        self.keep.as_deref()
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Native>, String> {
        self.check()?;
        Ok(Box::new(Registered::new(self, opening)))
    }
}
