//! A file at a URL of somebody else, read while it comes.

use std::time::Duration;

use futures::stream;
use reqwest::{Client, redirect::Policy};
use spout_api::{Body, Error, Result};
use tokio_util::io::StreamReader;
use url::Url;

use crate::link::{self, said};

/// A server that is not reached, or is silent, for so long is not there.
const CONNECT: Duration = Duration::from_secs(10);
const SILENT: Duration = Duration::from_secs(60);
/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// Whether `text` is the address of a file that can be downloaded.
#[must_use]
pub fn is_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// The name that the file at `url` has, as it stands there.
#[must_use]
pub fn name_of_url(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    url.path_segments()?.next_back().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The address without what lets its user in.
#[must_use]
pub fn shown_url(url: &str) -> String {
    match url.parse::<Url>() {
        Ok(mut whole) if !whole.username().is_empty() || whole.password().is_some() => {
            let taken = whole.set_username("").and_then(|()| whole.set_password(None));
            taken.map_or_else(|()| "a URL".to_owned(), |()| whole.to_string())
        }
        _ => url.to_owned(),
    }
}

/// Gets the file at `url`. A body that is cut off ends with an error, so that half of it is never taken for the whole.
///
/// # Errors
/// [`Error::Download`] where it cannot be had; any status but success is an error.
pub async fn download(url: &str) -> Result<Body<'static>> {
    link::use_ring();
    let shown = shown_url(url);
    let failed = |what: String| Error::Download { url: shown.clone(), what };
    let client = Client::builder()
        .user_agent(concat!("spout/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(|attempt| match attempt.url().scheme() {
            "http" | "https" if attempt.previous().len() <= REDIRECTS => attempt.follow(),
            "http" | "https" => attempt.error("it is redirected again and again"),
            _ => attempt.error("it is redirected to what is neither http:// nor https://"),
        }))
        .connect_timeout(CONNECT)
        .read_timeout(SILENT)
        .build()
        .map_err(|error| failed(said(&error)))?;
    let answer = client.get(url).send().await.map_err(|error| failed(said(&error.without_url())))?;
    if !answer.status().is_success() {
        return Err(failed(format!("the answer is {}", answer.status())));
    }
    let bytes = stream::try_unfold(answer, |mut answer| async move {
        let next = answer.chunk().await.map_err(|error| std::io::Error::other(said(&error.without_url())))?;
        Ok::<_, std::io::Error>(next.map(|bytes| (bytes, answer)))
    });
    Ok(Box::new(StreamReader::new(Box::pin(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_name_and_keeps_its_password() {
        let check = |url: &str, name: Option<&str>, shown: &str| {
            assert_eq!((name_of_url(url).as_deref(), shown_url(url).as_str()), (name, shown));
        };
        check("https://h/a/b.csv?x=/y", Some("b.csv"), "https://h/a/b.csv?x=/y");
        check("https://h/", None, "https://h/");
        check("https://h", None, "https://h");
        check("https://ada:secret@h/a", Some("a"), "https://h/a");
        assert!(is_url("HTTPS://h/a") && !is_url("https.txt") && !is_url("-"));
    }
}
