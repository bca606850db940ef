//! Asks, takes what is new of the answer, and goes on to the next.

use std::{collections::VecDeque, time::Duration};

use spout_guest::{
    Backoff, Error, Every, Fetched, Fnv, Limits, Messages, Position, Progress, Result,
    net::{Client, HttpError, Request, Response},
};

use crate::{
    address::{followed, next, with},
    page::{compare, hashed, items, word},
    place::Place,
    settings::{Mode, Settings},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most items with one value: the hash of each is in the position.
const TIES: usize = 1000;
/// Longest time that a server may say to wait.
const WAIT: Duration = Duration::from_secs(300);

/// The value of an item, its hash, and the item.
type Item = (String, u64, String);

/// Reads the source.
#[derive(Debug)]
pub struct Reader {
    url: String,
    settings: Settings,
    client: Client,
    page: Option<Page>,
    /// Items that are new and were not taken yet, and the place before them.
    rest: Option<(Place, VecDeque<Item>)>,
    every: Every,
    backoff: Backoff,
}

/// An answer.
#[derive(Debug)]
struct Page {
    /// The place that it answers to, without what was read of it.
    of: Option<String>,
    items: Vec<String>,
    /// What the next request says, if there is one.
    next: Option<String>,
}

impl Reader {
    pub(crate) fn new(url: &str, settings: Settings) -> Result<Self> {
        let client = settings.authorized(Client::new().timeout(PATIENCE).max_body(settings.max_body))?;
        let (every, backoff) = (Every::seconds(settings.every), Backoff::default());
        Ok(Self { url: url.to_owned(), settings, client, page: None, rest: None, every, backoff })
    }

    fn url(&self, at: Option<&str>) -> String {
        match (self.settings.mode, at) {
            (Mode::Etag, _) | (Mode::Cursor | Mode::Since | Mode::Link, None) => self.url.clone(),
            (Mode::Link, Some(url)) => url.to_owned(),
            (Mode::Page, at) => with(&self.url, self.settings.parameter(), at.unwrap_or("1")),
            (Mode::Cursor | Mode::Since, Some(at)) => with(&self.url, self.settings.parameter(), at),
        }
    }

    /// What the first request says.
    fn first(&self) -> Option<String> {
        self.settings.first.clone().filter(|_| self.settings.mode != Mode::Etag)
    }

    /// The response to a request; one that says that there is nothing only if it may be `absent`.
    fn get(&mut self, url: &str, version: Option<&str>, absent: bool) -> Result<Response> {
        let mut headers: Vec<(&str, &str)> =
            self.settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend(version.map(|version| ("If-None-Match", version)));
        let request = Request { method: "GET", url, headers: &headers, body: &[] };
        let response = match self.client.send(&request) {
            Ok(response) => response,
            Err(error @ (HttpError::Io(_) | HttpError::Protocol(_))) => {
                return Err(self.backoff.again(Error::from(error).of(url)));
            }
            Err(error) => return Err(Error::from(error).of(url)),
        };
        match response.status {
            200..=299 | 304 => Ok(response),
            404 if absent => Ok(response),
            300..=399 => {
                let to = response.header("location").unwrap_or("nowhere");
                Err(Error::fatal("http.moved", format!("{url} has moved to {to}; name that in the topic")))
            }
            status @ (408 | 425 | 429 | 500..) => {
                let said = response.header("retry-after").and_then(|text| text.trim().parse().ok());
                let error = Error::retriable("http.status", format!("{url} answers with status {status}"));
                Err(match (self.backoff.again(error), said.map(Duration::from_secs)) {
                    (Error::Retriable { code, message, .. }, Some(said)) => {
                        Error::Retriable { code, message, after: Some(said.min(WAIT)) }
                    }
                    (error, _) => error,
                })
            }
            status => Err(Error::fatal("http.status", format!("{url} answers with status {status}"))),
        }
    }

    /// Asks for the page at `at`.
    fn ask(&mut self, at: Option<&str>) -> Result<()> {
        let url = self.url(at);
        let of = at.map(str::to_owned);
        // Many APIs have no page after the last one that is complete.
        let absent = self.settings.mode == Mode::Page && of != self.first();
        let response = self.get(&url, None, absent)?;
        if response.status == 404 {
            self.page = Some(Page { of, items: Vec::new(), next: None });
            return Ok(());
        }
        let wrong = |what: &str| Error::fatal("http.answer", format!("the answer of {url} {what}"));
        let body = String::from_utf8(response.body.clone()).map_err(|_| wrong("is not text"))?;
        let found = items(&body, &self.settings.items).ok_or_else(|| {
            let at = if self.settings.items.is_empty() { "is not" } else { "does not have" };
            wrong(&format!(
                "{at} a list of items{}",
                if at == "is not" { String::new() } else { format!(" at `{}`", self.settings.items) }
            ))
        })?;
        let next = match self.settings.mode {
            Mode::Cursor => word(&body, &self.settings.field).filter(|cursor| Some(cursor.as_str()) != at),
            Mode::Page => {
                let number: u64 = at.unwrap_or("1").parse().map_err(|_| wrong("has a page without a number"))?;
                (found.len() >= self.settings.size).then(|| number.saturating_add(1).to_string())
            }
            Mode::Link => {
                let links = response.headers.iter().filter(|(name, _)| name == "link").map(|(_, value)| value.as_str());
                match next(links) {
                    None => None,
                    Some(link) => {
                        Some(followed(&url, &link).ok_or_else(|| wrong(&format!("leads to another server: {link}")))?)
                    }
                }
            }
            Mode::Since | Mode::Etag => None,
        };
        self.page = Some(Page { of, items: found, next });
        self.backoff.reset();
        Ok(())
    }

    /// The items of pages, each followed by the next.
    fn paged(&mut self, start: &Position, place: Place, limits: Limits) -> Result<Fetched> {
        let at = place.at.clone().or_else(|| self.first());
        let held = self.page.as_ref().is_some_and(|page| {
            page.of == at && (page.items.len() > place.read || (page.next.is_some() && page.items.len() == place.read))
        });
        if !held {
            if !self.every.due(limits.timeout) {
                return Ok(nothing(start));
            }
            self.ask(at.as_deref())?;
        }
        let Some(page) = &self.page else { return Ok(nothing(start)) };
        let hash = page.items.iter().take(place.read).fold(Fnv::default(), |hash, item| hashed(hash, item));
        if page.items.len() < place.read || (place.read > 0 && hash.0 != place.hash) {
            let (all, end) = (Place { read: 0, hash: 0, ..place.clone() }, page.items.len());
            let hash = page.items.iter().fold(Fnv::default(), |hash, item| hashed(hash, item));
            let last = Place { read: end, hash: if end == 0 { 0 } else { hash.0 }, ..place };
            self.page = None;
            return Err(Error::OutOfRange {
                earliest: Position::of(&all, start.offset),
                latest: Position::of(&last, start.offset),
            });
        }
        let (mut messages, mut now_at) = (Messages::default(), Place { hash: hash.0, ..place.clone() });
        let mut hash = hash;
        for item in page.items.iter().skip(place.read) {
            if full(&messages, item, limits) {
                break;
            }
            messages.push(start.offset.saturating_add(count(&messages)), item.as_bytes());
            hash = hashed(hash, item);
            now_at.read += 1;
        }
        now_at.hash = if now_at.read == 0 { 0 } else { hash.0 };
        let (whole, mut progress) = (now_at.read == page.items.len(), Progress::More);
        let offset = start.offset.saturating_add(count(&messages));
        let mut high_watermark = None;
        if whole {
            match &page.next {
                Some(next) => now_at = Place { at: Some(next.clone()), ..Place::default() },
                None => {
                    progress = if self.settings.follow { Progress::Idle } else { Progress::Ended };
                    high_watermark = Some(offset);
                    self.every.set_idle(true);
                }
            }
        } else {
            high_watermark = Some(offset.saturating_add(len(page.items.len() - now_at.read)));
        }
        if progress == Progress::Idle && !messages.is_empty() {
            progress = Progress::More;
        }
        let next = if messages.is_empty() && now_at == place { start.clone() } else { Position::of(&now_at, offset) };
        Ok(Fetched { messages, next, high_watermark, progress })
    }

    /// Items from a value on, of which those with that very value may have been read.
    fn since(&mut self, start: &Position, place: Place, limits: Limits) -> Result<Fetched> {
        let held = self.rest.take().filter(|(of, rest)| *of == place && !rest.is_empty());
        let mut new = match held {
            Some((_, rest)) => rest,
            None if self.every.due(limits.timeout) => self.new_since(&place)?,
            None => return Ok(nothing(start)),
        };
        let (mut messages, mut next) = (Messages::default(), place);
        while let Some((value, hash, item)) = new.pop_front() {
            if full(&messages, &item, limits) {
                new.push_front((value, hash, item));
                break;
            }
            messages.push(start.offset.saturating_add(count(&messages)), item.as_bytes());
            if next.at.as_ref().is_none_or(|at| compare(at, &value).is_ne()) {
                next = Place { at: Some(value), ..Place::default() };
            }
            next.seen.push(hash);
            if next.seen.len() > TIES {
                let (value, field) = (next.at.unwrap_or_default(), &self.settings.field);
                return Err(Error::fatal(
                    "http.ties",
                    format!("more than {TIES} items have the value {value} at `{field}`"),
                ));
            }
        }
        if messages.is_empty() {
            self.every.set_idle(true);
            return Ok(nothing(start));
        }
        let offset = start.offset.saturating_add(count(&messages));
        let (high_watermark, position) = (Some(offset.saturating_add(len(new.len()))), Position::of(&next, offset));
        self.every.set_idle(false);
        self.rest = Some((next, new));
        Ok(Fetched { next: position, messages, high_watermark, progress: Progress::More })
    }

    /// Asks for the items at and after a place that were not read, and puts them in their order.
    fn new_since(&mut self, place: &Place) -> Result<VecDeque<(String, u64, String)>> {
        let at = place.at.clone().or_else(|| self.first());
        self.ask(at.as_deref())?;
        let mut new = Vec::new();
        for item in self.page.take().map(|page| page.items).unwrap_or_default() {
            let value = word(&item, &self.settings.field).ok_or_else(|| {
                Error::fatal("http.value", format!("an item has no text or number at `{}`", self.settings.field))
            })?;
            let hash = hashed(Fnv::default(), &item).0;
            let order = place.at.as_ref().map(|at| compare(&value, at));
            if !order.is_some_and(|order| order.is_lt() || (order.is_eq() && place.seen.contains(&hash))) {
                new.push((value, hash, item));
            }
        }
        // Whatever order an answer has, the values of what was read rise.
        new.sort_by(|one, other| compare(&one.0, &other.0));
        Ok(new.into())
    }

    /// Versions of one document.
    fn versions(&mut self, start: &Position, place: Place, limits: Limits) -> Result<Fetched> {
        if !self.every.due(limits.timeout) {
            return Ok(nothing(start));
        }
        let url = self.url.clone();
        let tag = place.at.as_deref().filter(|version| !version.starts_with("hash:"));
        let response = self.get(&url, tag, false)?;
        self.backoff.reset();
        self.every.set_idle(true);
        let version = response.header("etag").map_or_else(
            || format!("hash:{:016x}", hashed(Fnv::default(), &String::from_utf8_lossy(&response.body)).0),
            str::to_owned,
        );
        if response.status == 304 || Some(&version) == place.at.as_ref() {
            return Ok(nothing(start));
        }
        let mut messages = Messages::default();
        messages.add(start.offset, &response.body).header("etag", version.as_bytes());
        let offset = start.offset.saturating_add(1);
        let next = Position::of(&Place { at: Some(version), ..Place::default() }, offset);
        Ok(Fetched { messages, next, high_watermark: Some(offset), progress: Progress::More })
    }
}

impl spout_guest::Reader for Reader {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let Some(place) = start.place("http.token", "this source")? else { return Err(Position::nowhere()) };
        match self.settings.mode {
            Mode::Cursor | Mode::Page | Mode::Link => self.paged(&start, place, limits),
            Mode::Since => self.since(&start, place, limits),
            Mode::Etag => self.versions(&start, place, limits),
        }
    }
}

fn nothing(start: &Position) -> Fetched {
    let high_watermark = Some(start.offset);
    Fetched { messages: Messages::default(), next: start.clone(), high_watermark, progress: Progress::Idle }
}

/// Whether there is no room for an item more; one alone is always taken.
fn full(messages: &Messages, item: &str, limits: Limits) -> bool {
    messages.len() >= limits.messages || (!messages.is_empty() && messages.bytes() + item.len() > limits.bytes)
}

fn count(messages: &Messages) -> u64 {
    len(messages.len())
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
