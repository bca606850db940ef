//! Requests to the service.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use spout_guest::{
    Backoff, Error, Result,
    net::{Client, HttpError, Request, Response, escaped},
    now,
    secret::{Aws, Secret, Unsigned},
};

use crate::{
    listing::{Listing, New, Object, parse},
    place::Place,
    settings::{Order, Settings},
    store::{CHUNK, Failed, LISTING, Store},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer: a list of a thousand long names, or a chunk.
const ANSWER: usize = 8 << 20;

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    endpoint: String,
    name: String,
    prefix: String,
    region: String,
    /// The id of the key and the key itself, which the host has.
    key: Option<(String, Secret)>,
    /// That of a temporary key.
    token: Option<String>,
    client: Client,
    backoff: Backoff,
    /// When the fetch has to be over.
    until: Instant,
    order: Order,
    /// Milliseconds that an object may appear late.
    window: u64,
    suffix: String,
}

impl Bucket {
    pub(crate) fn new(settings: &Settings, topic: &str) -> Result<Self> {
        let (name, prefix) = topic.split_once('/').unwrap_or((topic, ""));
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(letters) {
            return Err(Error::invalid_config(format!(
                "the topic `{topic}` does not begin with a bucket: BUCKET/PREFIX"
            )));
        }
        let key = match &settings.key_id {
            None => None,
            Some(id) => {
                let wanted = |_| Error::invalid_config("`keyId` needs the secret `key`; grant it under `secrets`");
                Some((id.clone(), Secret::named("key").map_err(wanted)?))
            }
        };
        Ok(Self {
            endpoint: settings.endpoint.trim_end_matches('/').to_owned(),
            region: settings.region.clone(),
            key,
            token: Aws::session_token("sessionToken")?,
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            client: Client::new().max_body(ANSWER),
            backoff: Backoff::default(),
            until: now(),
            order: settings.order,
            window: settings.window * 1000,
            suffix: settings.suffix.clone(),
        })
    }

    /// Gets what is at a path of the bucket, which is escaped; the query is not.
    fn get(&mut self, path: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Response> {
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", escaped(name, b""), escaped(value, b""))).collect();
        let begin = if pairs.is_empty() { "" } else { "?" };
        let path = format!("/{}{path}", self.name);
        let url = format!("{}{path}{begin}{}", self.endpoint, pairs.join("&"));
        let signed = self.sign(&path, query, headers);
        let mut all = headers.to_vec();
        all.extend(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let left = PATIENCE.min(self.until.saturating_duration_since(now()));
        match self.client.clone().timeout(left).send(&Request { method: "GET", url: &url, headers: &all, body: &[] }) {
            Ok(response) => Ok(response),
            Err(error @ (HttpError::Io(_) | HttpError::Protocol(_))) => {
                Err(self.backoff.again(Error::from(error).of(&self.endpoint)))
            }
            Err(error) => Err(Error::from(error).of(&self.endpoint)),
        }
    }

    /// The headers that sign a request, if there is a key.
    fn sign(&self, path: &str, query: &[(&str, &str)], headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let Some((key_id, key)) = &self.key else { return Vec::new() };
        let host = self.endpoint.split_once("://").map_or("", |(_, host)| host);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let session_token = self.token.as_deref();
        let aws = Aws { key_id, key, session_token, region: &self.region, service: "s3" };
        aws.sign(&Unsigned { method: "GET", host, path, query, headers, body: b"", at })
    }

    /// What a status means that is none of those hoped for.
    fn refused(&mut self, response: &Response) -> Error {
        let said = String::from_utf8_lossy(&response.body);
        let between =
            |tag: &str| said.split_once(&format!("<{tag}>"))?.1.split_once(&format!("</{tag}>")).map(|one| one.0);
        let code = between("Code").unwrap_or("no reason").chars().take(80).collect::<String>();
        let message = format!("{}/{}: status {}, {code}", self.endpoint, self.name, response.status);
        match response.status {
            408 | 429 | 500.. => self.backoff.again(Error::retriable("objects.status", message)),
            401 | 403 => Error::fatal("objects.denied", message),
            _ => Error::fatal("objects.status", message),
        }
    }

    /// A part of the objects below the prefix, in the order of their names: those after `after`, or what `more` leads to.
    fn list(&mut self, after: Option<&str>, more: Option<&str>) -> Result<Listing> {
        let prefix = self.prefix.clone();
        let mut query =
            vec![("list-type", "2"), ("encoding-type", "url"), ("max-keys", "1000"), ("prefix", prefix.as_str())];
        query.extend(more.map(|more| ("continuation-token", more)));
        query.extend(after.filter(|_| more.is_none()).map(|after| ("start-after", after)));
        let response = self.get("", &query, &[])?;
        if response.status != 200 {
            return Err(self.refused(&response));
        }
        let listing = parse(&String::from_utf8_lossy(&response.body));
        let listing = listing.map_err(|what| {
            let message = format!("{}/{}: the answer is no list of objects: {what}", self.endpoint, self.name);
            self.backoff.again(Error::retriable("objects.protocol", message))
        })?;
        self.backoff.reset();
        Ok(listing)
    }

    /// All objects below the prefix; an error if that takes longer than `time`.
    fn list_all(&mut self, time: Duration) -> Result<Vec<Object>> {
        let until = now() + time;
        let (mut all, mut more) = (Vec::new(), None);
        loop {
            let listing = self.list(None, more.as_deref())?;
            all.extend(listing.objects);
            more = listing.more;
            if more.is_none() {
                return Ok(all);
            }
            if now() >= until {
                let what =
                    format!("`{}` has too many objects to list them again and again; use `order: name`", self.prefix);
                return Err(Error::fatal("objects.many", what));
            }
        }
    }

    fn counts(&self, object: &Object) -> bool {
        object.size > 0 && object.key.ends_with(&self.suffix)
    }
}

impl Store for Bucket {
    fn begin(&mut self, time: Duration) {
        self.until = now() + time;
    }

    fn look(&mut self, place: &mut Place) -> Result<VecDeque<New>> {
        match self.order {
            Order::Name => loop {
                let listing = self.list(place.after.as_deref(), None)?;
                let last = listing.objects.last().map(|object| object.key.clone());
                let new: VecDeque<New> =
                    listing.objects.into_iter().filter(|object| self.counts(object)).map(New::from).collect();
                if !new.is_empty() || listing.more.is_none() || last.is_none() {
                    return Ok(new);
                }
                place.after = last;
            },
            Order::Modified => {
                let mut new = self.list_all(LISTING)?;
                new.retain(|object| self.counts(object) && place.is_new(object, self.window));
                new.sort_by(|one, other| (one.modified, &one.key).cmp(&(other.modified, &other.key)));
                Ok(new.into_iter().map(New::from).collect())
            }
        }
    }

    fn passed(&self, place: Place, object: &Object) -> Place {
        match self.order {
            Order::Name => place.after(object),
            Order::Modified => place.marked(object, self.window),
        }
    }

    fn read(&mut self, object: &Object, from: u64) -> std::result::Result<Vec<u8>, Failed> {
        let length = CHUNK.min(object.size.saturating_sub(from));
        let range = format!("bytes={from}-{}", from.saturating_add(length).saturating_sub(1));
        let headers = [("Range", range.as_str()), ("If-Match", object.etag.as_str())];
        let headers = headers.get(..if object.etag.is_empty() { 1 } else { 2 }).unwrap_or_default();
        let response = self.get(&format!("/{}", escaped(&object.key, b"/")), &[], headers).map_err(Failed::Other)?;
        let whole = u64::try_from(response.body.len()).unwrap_or(u64::MAX);
        match response.status {
            206 if whole == length => {}
            // A service without ranges gives all of it.
            200 if from == 0 && whole == object.size => {}
            404 | 412 | 416 => return Err(Failed::Gone),
            200 | 206 => {
                let message = format!("`{}`: {whole} bytes came of {length} that were asked for", object.key);
                return Err(Failed::Other(self.backoff.again(Error::retriable("objects.protocol", message))));
            }
            _ => return Err(Failed::Other(self.refused(&response))),
        }
        let other = |tag: &str| !object.etag.is_empty() && tag != object.etag;
        if response.header("etag").is_some_and(other) {
            return Err(Failed::Gone);
        }
        self.backoff.reset();
        Ok(response.body)
    }
}
