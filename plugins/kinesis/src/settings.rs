//! What a spec says about a service and its stream.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{
    Error, Result,
    secret::{Aws, Secret},
};

/// Most records that one request may ask for.
const MOST_RECORDS: u32 = 10_000;

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The region that has the stream, as in `eu-central-1`.
    pub region: String,
    /// Where the service listens, as in `http://kinesis:4567`; `https://kinesis.REGION.amazonaws.com` unless it is said. With https
    /// the spec has to grant its host as an endpoint with `tls`.
    pub endpoint: Option<String>,
    /// The id of the key that requests are signed with; the key is the secret `key`.
    pub key_id: String,
    /// Most records of one request, from 1 to 10000.
    #[serde(default = "max_records")]
    pub max_records_to_fetch: u32,
    /// Most requests a second for the records of one shard. The service allows 5, shared by all who read the shard.
    #[serde(default = "requests")]
    pub requests_per_second: f64,
}

fn max_records() -> u32 {
    MOST_RECORDS
}

fn requests() -> f64 {
    5.0
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let url = self.endpoint.as_deref().and_then(|url| url.split_once("://"));
        let host = |(scheme, host): (&str, &str)| {
            let host = host.strip_suffix('/').unwrap_or(host);
            matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', '?', '#', '@'])
        };
        let wrong = if !plain(&self.region) {
            "`region` is a region like eu-central-1"
        } else if !plain(&self.key_id) {
            "`keyId` is the id of a key like AKIAEXAMPLE"
        } else if self.endpoint.is_some() && !url.is_some_and(host) {
            "`endpoint` is an address like https://kinesis.eu-central-1.amazonaws.com, without a path"
        } else if !(1..=MOST_RECORDS).contains(&self.max_records_to_fetch) {
            "`maxRecordsToFetch` is from 1 to 10000"
        } else if !(0.01..=1000.0).contains(&self.requests_per_second) {
            "`requestsPerSecond` is from 0.01 to 1000"
        } else {
            return Ok(());
        };
        Err(Error::invalid_config(wrong))
    }

    /// Where the service listens.
    pub(crate) fn url(&self) -> String {
        let own = || format!("https://kinesis.{}.amazonaws.com", self.region);
        self.endpoint.clone().map_or_else(own, |url| url.trim_end_matches('/').to_owned())
    }

    /// Who signs.
    pub(crate) fn signer<'a>(&'a self, key: &'a Secret, session_token: Option<&'a str>) -> Aws<'a> {
        Aws { key_id: &self.key_id, key, session_token, region: &self.region, service: "kinesis" }
    }

    /// The time between two requests for the records of a shard.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.requests_per_second)
    }
}
