//! Makes the requests of `http`: one after the other, again while it may help, and not again where it was refused.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{
    Client, StatusCode,
    header::{HeaderMap, LOCATION, RETRY_AFTER},
};
use spout_base::{clock, error::chain, terminal::plain};
use spout_data::Period;

use crate::{
    Error,
    outbox::{Deliver, Room},
    retry::Retry,
};

/// One request to make.
#[derive(Debug)]
pub(super) struct Request {
    /// Its name: the same request has the same one.
    pub(super) key: String,
    pub(super) offsets: Option<String>,
    pub(super) body: Bytes,
    pub(super) rows: usize,
}

/// Posts one request after the other.
pub(super) struct Poster {
    client: Client,
    url: String,
    headers: HeaderMap,
    retry_for: Duration,
    drops: bool,
    dropped: u64,
    retry: Retry,
}

/// What became of a request.
enum Answer {
    Taken,
    Refused(StatusCode, String),
    Redirected(StatusCode, String),
    Later(String, Option<Duration>),
}

impl Poster {
    /// Posts to `url`; `drops` leaves out what is refused, instead of failing.
    pub(super) fn new(client: Client, url: String, headers: HeaderMap, retry_for: Duration, drops: bool) -> Self {
        Self { client, url, headers, retry_for, drops, dropped: 0, retry: Retry::default() }
    }

    async fn post(&self, request: &Request) -> Answer {
        let mut post =
            self.client.post(&self.url).headers(self.headers.clone()).header("idempotency-key", &request.key);
        if let Some(offsets) = &request.offsets {
            post = post.header("spout-offsets", offsets);
        }
        let response = match post.body(request.body.clone()).send().await {
            Ok(response) => response,
            Err(error) => return Answer::Later(chain(&error), None),
        };
        let status = response.status();
        if status.is_success() {
            return Answer::Taken;
        }
        if status.is_redirection() {
            let to =
                response.headers().get(LOCATION).map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
            return Answer::Redirected(status, plain(&to).into_owned());
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY];
        if status.is_server_error() || busy.contains(&status) {
            return Answer::Later(format!("it answered {status}"), after);
        }
        Answer::Refused(status, said(response).await)
    }
}

#[async_trait]
impl Deliver for Poster {
    type Parcel = Request;

    async fn deliver(&mut self, request: Request, _room: Room) -> Result<(), Error> {
        let since = clock::now();
        loop {
            let (what, after) = match self.post(&request).await {
                Answer::Taken => {
                    self.retry.worked();
                    return Ok(());
                }
                Answer::Refused(status, said) if self.drops => {
                    self.dropped += request.rows as u64;
                    let (url, dropped) = (&self.url, self.dropped);
                    tracing::warn!(url, %status, said, dropped, "the receiver rejected rows; dropping them, as `onError` says");
                    return Ok(());
                }
                Answer::Redirected(status, to) => {
                    return Err(Error::Redirected { url: self.url.clone(), status: status.as_u16(), to });
                }
                Answer::Refused(status, said) => {
                    return Err(Error::Refused { url: self.url.clone(), status: status.as_u16(), said });
                }
                Answer::Later(what, after) => (what, after),
            };
            let tried = since.elapsed();
            if tried >= self.retry_for {
                return Err(Error::Unanswered {
                    url: self.url.clone(),
                    what,
                    tried: Period(Duration::from_secs(tried.as_secs())),
                });
            }
            tracing::debug!(url = self.url, what, "request failed; retrying");
            // A receiver may ask for more patience than the spec allows.
            let most = self.retry_for.saturating_sub(tried).max(Duration::from_millis(100));
            self.retry.pause(after.map(|after| after.min(most))).await;
        }
    }

    async fn close(self, _patience: Duration) -> Result<(), Error> {
        Ok(())
    }
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    u64::try_from(at.saturating_sub(clock::wall_ms())).ok().map(Duration::from_millis)
}

/// The beginning of a body, on one line.
async fn said(mut response: reqwest::Response) -> String {
    const MOST: usize = 300;
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= MOST {
            break;
        }
    }
    let text = String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(&bytes)).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_when_in_seconds_or_as_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert!(retry_after("Wed, 21 Oct 2099 07:28:00 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(retry_after("soon"), None);
    }
}
