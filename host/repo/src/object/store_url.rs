//! Where a store is: what its URL says, without a secret in it.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use crate::error::Error;

/// A place that can hold a store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Memory,
    Directory(PathBuf),
    Bucket(Bucket),
}

/// A bucket, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) cloud: Cloud,
    /// Name of the bucket or container.
    pub(crate) name: String,
    /// The storage account, where the URL names it.
    pub(crate) account: Option<String>,
    /// What all names in it start with.
    pub(crate) prefix: Path,
    /// The URL as it was given; it holds no secret.
    pub(crate) url: String,
}

/// Who keeps a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cloud {
    Amazon,
    Google,
    Azure,
}

impl StoreUrl {
    /// Reads a URL. One that carries a secret is refused, because it would be in logs, records and the list of processes.
    ///
    /// # Errors
    /// [`Error::StoreUrl`] with the URL without what may be secret.
    pub(crate) fn of(url: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::StoreUrl { url: harmless(url), reason: reason.to_owned() };
        let Some((scheme, _)) = url.split_once("://") else {
            return if url.is_empty() { Err(wrong("it is empty")) } else { Ok(Self::Directory(url.into())) };
        };
        let cloud = match scheme {
            "memory" => return Ok(Self::Memory),
            "file" => {
                let parsed = Url::parse(url).map_err(|source| wrong(&source.to_string()))?;
                let path = parsed.to_file_path().map_err(|()| wrong("it is not the URL of a local directory"))?;
                return Ok(Self::Directory(path));
            }
            "s3" | "s3a" => Cloud::Amazon,
            "gs" => Cloud::Google,
            "az" | "azure" | "abfs" | "abfss" => Cloud::Azure,
            other => return Err(wrong(&format!("the scheme `{other}` is not supported"))),
        };
        Bucket::of(url, cloud).map(Self::Bucket).map_err(wrong)
    }
}

impl Bucket {
    fn of(url: &str, cloud: Cloud) -> Result<Self, &'static str> {
        // The parser would resolve these, so that the store were somewhere else than the URL says.
        let dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if url.split('/').any(dots) {
            return Err("its path has a segment `.` or `..`");
        }
        let parsed = Url::parse(url).map_err(|_| "it is not a URL")?;
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or("it names no bucket")?;
        if parsed.query().is_some() || parsed.fragment().is_some() || parsed.password().is_some() {
            return Err("it contains a key or a setting; put those into the environment");
        }
        if parsed.port().is_some() {
            return Err("it contains a port; set the endpoint in the environment");
        }
        let (name, account) = match (parsed.username(), cloud) {
            ("", _) => (host, None),
            (container, Cloud::Azure) => (container, host.split('.').next().map(str::to_owned)),
            _ => return Err("it contains a user; put credentials into the environment"),
        };
        let prefix = Path::from_url_path(parsed.path()).map_err(|_| "its path has an empty or invalid segment")?;
        Ok(Self { cloud, name: name.to_owned(), account, prefix, url: url.trim_end_matches('/').to_owned() })
    }
}

impl Cloud {
    /// What names of its settings start with in the environment.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Amazon => "AWS_",
            Self::Google => "GOOGLE_",
            Self::Azure => "AZURE_",
        }
    }
}

/// The URL without whatever could be a secret.
fn harmless(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    match (plain.rsplit_once('@'), plain.len() < rest.len()) {
        (Some((_, place)), _) => format!("{scheme}://***@{place}"),
        (None, true) => format!("{scheme}://{plain}?***"),
        (None, false) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_place() {
        let check = |url: &str, cloud, name: &str, account: Option<&str>, prefix: &str| {
            let StoreUrl::Bucket(found) = StoreUrl::of(url).unwrap() else { panic!("{url} is no bucket") };
            let found = (found.cloud, found.name.as_str(), found.account.as_deref(), found.prefix.as_ref());
            assert_eq!(found, (cloud, name, account, prefix), "{url}");
        };
        check("s3://bucket", Cloud::Amazon, "bucket", None, "");
        check("s3://My_bucket.x/a/b%20c/", Cloud::Amazon, "My_bucket.x", None, "a/b c");
        check("gs://bucket/p", Cloud::Google, "bucket", None, "p");
        check("az://box/p", Cloud::Azure, "box", None, "p");
        check("abfss://box@acme.dfs.core.windows.net/p", Cloud::Azure, "box", Some("acme"), "p");
        assert_eq!(StoreUrl::of("memory://").unwrap(), StoreUrl::Memory);
        assert_eq!(StoreUrl::of("file:///a/b").unwrap(), StoreUrl::Directory("/a/b".into()));
        assert_eq!(StoreUrl::of("a/b").unwrap(), StoreUrl::Directory("a/b".into()));
    }

    #[test]
    fn a_url_that_is_not_one_is_refused_and_its_secrets_are_not_repeated() {
        let check = |url: &str| {
            let error = StoreUrl::of(url).unwrap_err();
            assert!(matches!(error, Error::StoreUrl { .. }), "{url}");
            assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
        };
        for url in [
            "",
            "s3://",
            "s3:///p",
            "ftp://x",
            "s3://a//b",
            "gs://a/b/%2E%2e/c",
            "gs://a/./c",
            "s3://a:9000/b",
            "https://a/b",
        ] {
            check(url);
        }
        for url in [
            "s3://user:geheim@bucket/p",
            "s3://geheim@bucket",
            "az://box:geheim@acme/p",
            "gs://bucket/p?key=geheim",
            "s3://bucket#geheim",
            "https://user:geheim@host/p",
            "s3://user:ge/heim geheim@bucket",
        ] {
            check(url);
        }
    }
}
