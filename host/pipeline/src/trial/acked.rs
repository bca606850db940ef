//! What a source that is acknowledged promises: what was acknowledged is gone, and nothing else is.

use std::{collections::BTreeMap, time::Duration};

use spout_base::clock;
use spout_data::Messages;
use spout_plugin::{Checkpoint, Error, FetchLimits, StreamConsumer, StreamStart};

use super::{Finding, Trial, Verdict, payload};

const GROUP: &str = "trial";
/// The header that says which message one is.
const ID: &str = "message-id";
const TIMEOUT: Duration = Duration::from_millis(200);
/// How long a source may take to hand out again what was not acknowledged.
const PATIENCE: Duration = Duration::from_secs(90);
/// Messages that are read, and how many calls without one are the end.
const MOST: usize = 200;
const EMPTY: usize = 3;

/// What was read: payloads by the id of their message.
#[derive(Default)]
struct Read {
    messages: BTreeMap<Vec<u8>, Vec<u8>>,
    /// In the order in which they came.
    order: Vec<Vec<u8>>,
    /// How many messages there were after each call, and its checkpoint.
    stops: Vec<(usize, Checkpoint)>,
}

impl Trial {
    /// Tries the stream of the topic, of which the first half of some messages is acknowledged.
    pub async fn acked(&self) -> Vec<Finding> {
        match self.try_acked().await {
            Ok(findings) => findings,
            Err(error) => vec![Finding::of("the stream has messages", Err(error.to_string()))],
        }
    }

    async fn try_acked(&self) -> Result<Vec<Finding>, Error> {
        let mut one = self.joined(StreamStart::Earliest).await?;
        let read = self.some(&mut one, 8, |read, empty| read.order.len() < MOST && empty < EMPTY).await?;
        let enough = if read.stops.len() < 2 {
            Err("it has fewer than two messages, or hands them out all at once; nothing else is tried".into())
        } else {
            Ok(format!("{} messages", read.order.len()))
        };
        let mut findings = vec![Finding::of("the stream has messages", enough)];
        let middle = read.stops.len().saturating_sub(1) / 2;
        let (Some((count, half)), Some((_, end))) = (read.stops.get(middle), read.stops.last()) else {
            return Ok(findings);
        };
        if read.stops.len() < 2 {
            return Ok(findings);
        }
        findings.push(Finding::of("each message has an id of its own", distinct(&read)));
        let told = async {
            one.committed(half).await?;
            one.committed(half).await
        };
        let told = told.await.map(|()| format!("{count} messages")).map_err(|error| error.to_string());
        findings.push(Finding::of("what is committed is acknowledged, and that may be said twice", told));
        drop(one);
        let (gone, left) = read.order.split_at((*count).min(read.order.len()));
        let mut again = Ok(String::new());
        let mut stays = Ok(String::new());
        for _ in 0..2 {
            let mut other = self.joined(StreamStart::Checkpoint(half.clone())).await?;
            // What another instance returned is not this one's to acknowledge.
            drop(other.committed(end).await);
            let since = clock::now();
            let waits =
                |read: &Read, _| since.elapsed() < PATIENCE && left.iter().any(|id| !read.messages.contains_key(id));
            let next = self.some(&mut other, 100, waits).await?;
            again = again.and_then(|_| came_again(&read, &next, left));
            stays = stays.and_then(|_| stayed(&next, gone));
        }
        findings.push(Finding::of("what was not acknowledged comes again to the next instance, as it was", again));
        findings.push(Finding::of("what was acknowledged does not come again", stays));
        Ok(findings)
    }

    async fn joined(&self, start: StreamStart) -> Result<StreamConsumer, Error> {
        StreamConsumer::open(self.task.clone(), &self.topic, GROUP, start).await
    }

    /// Reads on while `more` says so of what was read and how many calls had nothing.
    async fn some(
        &self,
        consumer: &mut StreamConsumer,
        most: u32,
        more: impl Fn(&Read, usize) -> bool,
    ) -> Result<Read, Error> {
        let limits = FetchLimits { messages: most, bytes: 1 << 20, timeout: TIMEOUT };
        let (mut read, mut empty) = (Read::default(), 0);
        while more(&read, empty) {
            let (messages, _) = match consumer.next(&limits).await {
                Err(Error::Retriable { retry_after, .. }) => {
                    tokio::time::sleep(retry_after.unwrap_or(TIMEOUT)).await;
                    empty += 1;
                    continue;
                }
                came => came?,
            };
            empty = if messages.is_empty() { empty + 1 } else { 0 };
            for at in 0..messages.len() {
                let id = id(&messages, at);
                read.messages.insert(id.clone(), messages.values.get(at).to_vec());
                read.order.push(id);
            }
            if !messages.is_empty() {
                read.stops.push((read.order.len(), consumer.checkpoint().await?));
            }
        }
        Ok(read)
    }
}

fn id(messages: &Messages, at: usize) -> Vec<u8> {
    let said = messages.headers_of(at).iter().find(|header| header.name == ID);
    said.map(|header| header.value.clone()).unwrap_or_default()
}

fn distinct(read: &Read) -> Verdict {
    if read.messages.contains_key(&Vec::new()) {
        return Err("a message has none; `id` says which it is".into());
    }
    match read.order.len() - read.messages.len() {
        0 => Ok(format!("{} ids", read.messages.len())),
        more => Err(format!("{more} of {} messages have the id of another one, or came twice", read.order.len())),
    }
}

fn came_again(read: &Read, next: &Read, left: &[Vec<u8>]) -> Verdict {
    for id in left {
        let before = read.messages.get(id).map(Vec::as_slice).unwrap_or_default();
        match next.messages.get(id) {
            None => return Err(format!("the message {} does not come again", payload(id))),
            Some(now) if now != before => {
                return Err(format!("the message {} was {}, and then {}", payload(id), payload(before), payload(now)));
            }
            Some(_) => {}
        }
    }
    Ok(format!("{} messages", left.len()))
}

fn stayed(next: &Read, gone: &[Vec<u8>]) -> Verdict {
    match gone.iter().find(|id| next.messages.contains_key(*id)) {
        Some(id) => Err(format!("the message {} was acknowledged, and comes again", payload(id))),
        None => Ok(format!("{} messages", gone.len())),
    }
}
