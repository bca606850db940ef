//! Clients of S3, GCS and Azure, configured by the environment alone.

use std::{sync::Once, time::Duration};

use object_store::{
    BackoffConfig, ObjectStore, Result, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::ClientConfigKey,
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    prefix::PrefixStore,
};
use spout_format::sha256;

use super::store_url::{Bucket, Cloud};
use super::{Objects, answer};
use crate::error::Error;

/// After this no request is repeated. With the client's own time-out of 30 s, a dead endpoint is an error within a minute.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

impl Objects {
    /// A bucket, not asked for anything yet, and a name for where it is: another endpoint or account is another place.
    pub(crate) fn bucket(bucket: &Bucket) -> std::result::Result<(Self, String), Error> {
        static RING: Once = Once::new();
        RING.call_once(|| {
            // Only fails where somebody else has chosen a provider, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let wrong = |reason: String| Error::StoreUrl { url: bucket.url.clone(), reason };
        let unusable = |source: object_store::Error| {
            let said = answer::scrubbed(&source.to_string());
            wrong(format!("the settings in the environment ({}*) are invalid: {said}", bucket.cloud.settings()))
        };
        let client = match bucket.cloud {
            Cloud::Amazon => amazon(bucket),
            Cloud::Google => google(bucket),
            Cloud::Azure => azure(bucket),
        };
        let (inner, endpoint, plain) = client.map_err(unusable)?;
        if endpoint.starts_with("http://") && !plain {
            let setting = bucket.cloud.settings();
            return Err(wrong(format!("its endpoint is http://, which needs {setting}ALLOW_HTTP=true")));
        }
        let place = sha256(format!("{:?} {endpoint} {}", bucket.cloud, bucket.name).as_bytes());
        Ok((Self::over(inner, &bucket.url, false), place))
    }
}

/// A client, its endpoint if the environment names one, and whether that may be without encryption.
type Client = (std::sync::Arc<dyn ObjectStore>, String, bool);

fn amazon(bucket: &Bucket) -> Result<Client> {
    let builder = AmazonS3Builder::from_env().with_bucket_name(&bucket.name).with_retry(retry());
    let get = |key| builder.get_config_value(&key);
    let endpoint = get(AmazonS3ConfigKey::S3Endpoint).or_else(|| get(AmazonS3ConfigKey::Endpoint));
    let plain = get(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    Ok(below(builder.build()?, bucket, endpoint, plain))
}

fn google(bucket: &Bucket) -> Result<Client> {
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&bucket.name).with_retry(retry());
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let plain = builder.get_config_value(&GoogleConfigKey::Client(ClientConfigKey::AllowHttp));
    Ok(below(builder.build()?, bucket, endpoint, plain))
}

fn azure(bucket: &Bucket) -> Result<Client> {
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(&bucket.name).with_retry(retry());
    if let Some(account) = &bucket.account {
        builder = builder.with_account(account);
    }
    let get = |key| builder.get_config_value(&key);
    let endpoint = get(AzureConfigKey::Endpoint).or_else(|| get(AzureConfigKey::AccountName));
    let plain = get(AzureConfigKey::Client(ClientConfigKey::AllowHttp));
    Ok(below(builder.build()?, bucket, endpoint, plain))
}

fn below(inner: impl ObjectStore, bucket: &Bucket, endpoint: Option<String>, plain: Option<String>) -> Client {
    let inner = PrefixStore::new(inner, bucket.prefix.clone());
    let plain = plain.is_some_and(|plain| plain.eq_ignore_ascii_case("true"));
    (std::sync::Arc::new(inner), endpoint.unwrap_or_default(), plain)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() };
    RetryConfig { backoff, retry_timeout: PATIENCE, ..RetryConfig::default() }
}
