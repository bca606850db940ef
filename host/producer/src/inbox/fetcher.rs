//! Takes messages out of the queue and gives them their offsets.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use spout_codec::Attribute;
use spout_data::{Messages, Position, Span};
use spout_plugin::Progress;
use tokio::time::timeout;

use super::{
    answers::{Answers, KeyTaken, Waiter},
    letterbox::{Activity, Parcel, Parcels},
    recent::{Known, Recent},
};
use crate::{Error, Fetched, Fetcher, Found};

/// Longest wait of one fetch.
const WAIT: Duration = Duration::from_millis(250);
/// How soon to look again whether everything is durable before an error is reported.
const SOON: Duration = Duration::from_millis(20);
/// Messages and bytes of one fetch.
const MESSAGES: usize = 8192;
const BYTES: usize = 4 << 20;

/// Takes messages out of the queue and gives them their offsets.
#[derive(Debug)]
pub(super) struct InboxFetcher {
    pub(super) found: Found,
    pub(super) position: u64,
    pub(super) recent: Recent,
    pub(super) parcels: Parcels,
    /// What stops the pipeline when everything before it is durable.
    pub(super) failing: Option<Error>,
    pub(super) answers: Arc<Answers>,
    pub(super) activity: Arc<Activity>,
    pub(super) answer_within: Duration,
}

#[async_trait]
impl Fetcher for InboxFetcher {
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        if let Some(error) = self.failing.take_if(|_| self.answers.durable() >= self.position) {
            return Err(error);
        }
        let start = self.position;
        let most = MESSAGES.min(most as usize);
        let mut messages = Messages::default();
        let mut awaited = false;
        let first = match self.failing {
            Some(_) => timeout(SOON, std::future::pending()).await,
            None => timeout(WAIT, self.parcels.recv()).await,
        };
        let progress = match first {
            Ok(Some(parcel)) => {
                awaited |= self.take(parcel, &mut messages);
                while self.failing.is_none() && messages.len() < most && messages.bytes() < BYTES {
                    let Ok(parcel) = self.parcels.try_recv() else { break };
                    awaited |= self.take(parcel, &mut messages);
                }
                Progress::More
            }
            Ok(None) => Progress::Ended,
            Err(_) => Progress::Idle,
        };
        let next = Position { offset: self.position, token: self.recent.token() };
        let span = Span { partition: self.found.partition, start, next };
        let awaited = awaited.then_some(if self.failing.is_some() { Duration::ZERO } else { self.answer_within });
        self.answers.took(self.position);
        let expects = !self.activity.is_idle();
        Ok(Fetched { awaited, expects, ..Fetched::new(messages, span, progress) })
    }
}

impl InboxFetcher {
    /// Adds a parcel to `messages`; whether somebody waits for it.
    fn take(&mut self, parcel: Result<Parcel, Error>, messages: &mut Messages) -> bool {
        let Parcel { values, first, arrived_ms, key, answer, .. } = match parcel {
            Ok(parcel) => parcel,
            Err(error) => {
                self.failing = Some(error);
                return true;
            }
        };
        let known = key.map_or(Known::New, |key| self.recent.find(key));
        let (repeated, run) = match known {
            Known::New => (false, self.position..self.position + values.len() as u64),
            Known::Repeated(run) => (true, run),
            Known::Taken => {
                // Who has gone away does not need to know.
                drop(answer.map(|answer| answer.send(Err(KeyTaken))));
                return false;
            }
        };
        if !repeated {
            messages.offsets.extend(run.clone());
            messages.timestamps_ms.extend(std::iter::repeat_n(arrived_ms, values.len()));
            // Bodies that begin alike share it: a sender may send thousands between two fetches.
            let before = messages.attributes.last().map(|attribute| attribute.value.as_slice());
            if before.unwrap_or_default() != first.as_slice() {
                let begin = u32::try_from(messages.values.len()).unwrap_or(u32::MAX);
                messages.attributes.push(Attribute { first: begin, name: "first".into(), value: first });
            }
            if messages.values.is_empty() {
                messages.values = values
            } else {
                messages.values.append(&values)
            }
            self.position = run.end;
            if let Some(key) = key {
                self.recent.remember(key, run.clone());
            }
        }
        let awaited = answer.is_some();
        if let Some(answer) = answer {
            self.answers.wait(Waiter { run, repeated, answer });
        }
        awaited
    }
}
