//! Requests to the service.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use spout_guest::{
    Backoff, Error, Result,
    net::{Client, HttpError, Request, Response},
    now,
    secret::{Aws, Secret, Unsigned},
};

use crate::{
    api::{Page, Refusal, Shard, ShardIterator, ShardList},
    place::Sequence,
    settings::Settings,
};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer: ten megabytes of records in base64, and what is said of them.
const ANSWER: usize = 24 << 20;
/// Most parts of a list of shards.
const LISTS: usize = 100;

/// A stream of the service.
#[derive(Debug)]
pub(crate) struct Service {
    settings: Settings,
    url: String,
    stream: String,
    key: Secret,
    /// That of a temporary key.
    token: Option<String>,
    client: Client,
    backoff: Backoff,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The iterator is too old.
    Expired,
    /// There is no such stream, shard or record.
    Gone(String),
    /// What was asked for cannot be: a record of another stream, a time to come.
    Invalid(String),
    Other(Error),
}

/// Where an iterator begins.
#[derive(Clone, Debug)]
pub(crate) enum Begin {
    Oldest,
    Newest,
    At(Sequence),
    After(Sequence),
    Since(u64),
}

impl Service {
    pub(crate) fn new(settings: &Settings, stream: &str) -> Result<Self> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if stream.is_empty() || stream.len() > 128 || !stream.bytes().all(sound) {
            return Err(Error::invalid_config(format!("the topic `{stream}` is not the name of a stream")));
        }
        let wanted = |_| Error::invalid_config("requests are signed with the secret `key`; grant it under `secrets`");
        Ok(Self {
            url: settings.url(),
            settings: settings.clone(),
            stream: stream.to_owned(),
            key: Secret::named("key").map_err(wanted)?,
            token: Aws::session_token("sessionToken")?,
            client: Client::new().max_body(ANSWER),
            backoff: Backoff::default(),
        })
    }

    /// The shards of the stream, as the service has them now.
    pub(crate) fn shards(&mut self, until: Instant) -> Result<Vec<Shard>> {
        let (mut all, mut asked) = (Vec::new(), json!({"StreamName": self.stream}));
        for _ in 0..LISTS {
            let list: ShardList = self.call("ListShards", &asked, until).map_err(|failed| self.refused(failed))?;
            all.extend(list.shards);
            match list.next_token {
                Some(token) => asked = json!({"NextToken": token}),
                None => return Ok(all),
            }
        }
        Err(self.again("kinesis.protocol", "the list of shards does not end".into()))
    }

    /// An iterator of a shard.
    pub(crate) fn iterator(
        &mut self,
        shard: &str,
        begin: &Begin,
        until: Instant,
    ) -> std::result::Result<String, Failed> {
        let (kind, name, value) = match begin {
            Begin::Oldest => ("TRIM_HORIZON", None, Value::Null),
            Begin::Newest => ("LATEST", None, Value::Null),
            Begin::At(number) => ("AT_SEQUENCE_NUMBER", Some("StartingSequenceNumber"), json!(number)),
            Begin::After(number) => ("AFTER_SEQUENCE_NUMBER", Some("StartingSequenceNumber"), json!(number)),
            Begin::Since(ms) => ("AT_TIMESTAMP", Some("Timestamp"), json!(*ms as f64 / 1000.0)),
        };
        let own = [("StreamName", json!(self.stream)), ("ShardId", json!(shard)), ("ShardIteratorType", json!(kind))];
        let asked = own.into_iter().chain(name.map(|name| (name, value)));
        let asked = asked.map(|(name, value)| (name.to_owned(), value)).collect();
        let answer: ShardIterator = self.call("GetShardIterator", &asked, until)?;
        Ok(answer.shard_iterator)
    }

    /// The records that an iterator leads to.
    pub(crate) fn records(
        &mut self,
        iterator: &str,
        limit: usize,
        until: Instant,
    ) -> std::result::Result<Page, Failed> {
        self.call("GetRecords", &json!({"ShardIterator": iterator, "Limit": limit}), until)
    }

    fn call<T: DeserializeOwned>(
        &mut self,
        action: &str,
        asked: &Value,
        until: Instant,
    ) -> std::result::Result<T, Failed> {
        let response = self.send(action, asked, until)?;
        if response.status != 200 {
            return Err(self.failure(action, &response));
        }
        let answer = serde_json::from_slice(&response.body).map_err(|error| {
            let what = format!("{}: what {action} says is no answer to it: {error}", self.url);
            Failed::Other(self.again("kinesis.protocol", what))
        })?;
        self.backoff.reset();
        Ok(answer)
    }

    fn send(&mut self, action: &str, asked: &Value, until: Instant) -> std::result::Result<Response, Failed> {
        let body = asked.to_string();
        let target = format!("Kinesis_20131202.{action}");
        let headers = [("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", target.as_str())];
        let host = self.url.split_once("://").map_or("", |(_, host)| host);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unsigned =
            Unsigned { method: "POST", host, path: "/", query: &[], headers: &headers, body: body.as_bytes(), at };
        let signed = self.settings.signer(&self.key, self.token.as_deref()).sign(&unsigned);
        let mut all = headers.to_vec();
        all.extend(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let url = format!("{}/", self.url);
        let request = Request { method: "POST", url: &url, headers: &all, body: body.as_bytes() };
        let left = PATIENCE.min(until.saturating_duration_since(now()));
        self.client.clone().timeout(left).send(&request).map_err(|error| {
            let passes = matches!(error, HttpError::Io(_) | HttpError::Protocol(_));
            Failed::Other(match Error::from(error) {
                Error::Retriable { code, message, .. } if passes => {
                    self.again(&code, format!("{}: {message}", self.url))
                }
                error => error.of(&self.url),
            })
        })
    }

    /// What an answer means that is none.
    fn failure(&mut self, action: &str, response: &Response) -> Failed {
        let refusal: Refusal = serde_json::from_slice(&response.body).unwrap_or_default();
        let kind: String = refusal.kind().chars().take(80).collect();
        let said: String = refusal.message.chars().take(300).collect();
        let message = format!("{} {}: {action}: status {}, {kind}: {said}", self.url, self.stream, response.status);
        let kind = kind.strip_suffix("Exception").unwrap_or(&kind);
        match (kind, response.status) {
            ("ExpiredIterator", _) => Failed::Expired,
            ("ResourceNotFound", _) => Failed::Gone(message),
            ("InvalidArgument" | "Validation", _) => Failed::Invalid(message),
            (
                "ProvisionedThroughputExceeded"
                | "LimitExceeded"
                | "KMSThrottling"
                | "Throttling"
                | "ThrottledException"
                | "RequestLimitExceeded",
                _,
            )
            | (_, 429) => Failed::Other(self.again("kinesis.throttled", message)),
            ("ResourceInUse" | "InternalFailure" | "ServiceUnavailable", _) | (_, 408 | 500..) => {
                Failed::Other(self.again("kinesis.status", message))
            }
            (
                "AccessDenied"
                | "UnrecognizedClient"
                | "InvalidSignature"
                | "IncompleteSignature"
                | "SignatureDoesNotMatch"
                | "MissingAuthenticationToken"
                | "InvalidClientTokenId"
                | "ExpiredToken"
                | "NotAuthorized"
                | "KMSAccessDenied"
                | "KMSDisabled"
                | "KMSInvalidState"
                | "KMSNotFound"
                | "KMSOptInRequired",
                _,
            )
            | (_, 401 | 403) => Failed::Other(Error::fatal("kinesis.denied", message)),
            _ => Failed::Other(Error::fatal("kinesis.status", message)),
        }
    }

    /// What a failure is that nobody makes up for.
    pub(crate) fn refused(&mut self, failed: Failed) -> Error {
        match failed {
            Failed::Expired => self.again("kinesis.expired", format!("{}: an iterator expired at once", self.url)),
            Failed::Gone(message) => Error::fatal("kinesis.stream", message),
            Failed::Invalid(message) => Error::fatal("kinesis.status", message),
            Failed::Other(error) => error,
        }
    }

    /// Trouble that passes is waited out a little longer each time.
    pub(crate) fn again(&mut self, code: &str, message: String) -> Error {
        Error::Retriable { code: code.to_owned(), message, after: Some(self.backoff.delay()) }
    }
}
