//! What a source that is acknowledged promises: what was not acknowledged comes again and is recognized, and nothing else does.

use std::{collections::BTreeMap, time::Duration};

use spout_base::clock;
use spout_data::Messages;
use spout_plugin::{Checkpoint, Error, FetchLimits, Progress, StreamConsumer, StreamStart};

use super::{Finding, MOST, Trial, Verdict, payload};

const GROUP: &str = "trial";
const TIMEOUT: Duration = Duration::from_millis(200);
/// How long a source may take to send again what another instance had.
const PATIENCE: Duration = Duration::from_secs(10);
/// The header that the id of a message is in.
const ID: &str = "message-id";

type Id = Vec<u8>;

/// What one instance was sent, and where it was after each answer.
#[derive(Default)]
struct Sent {
    messages: BTreeMap<Id, Vec<u8>>,
    /// Ids in their order, and how many there were at each checkpoint.
    order: Vec<Id>,
    stops: Vec<(usize, Checkpoint)>,
}

impl Trial {
    /// Tries the queue that the topic names. Half of what it sends is acknowledged.
    pub async fn queue(&self) -> Vec<Finding> {
        let promise = "the source has messages";
        let first = match self.sent(StreamStart::Earliest, None).await {
            Ok((_, sent)) if !sent.order.is_empty() => sent,
            Ok(_) => return vec![Finding::of(promise, Err("it has none; nothing else is tried".into()))],
            Err(error) => return vec![Finding::of(promise, Err(error.to_string()))],
        };
        let mut findings = vec![Finding::of(promise, Ok(format!("{} messages", first.order.len())))];
        let again = self.again(&first, None).await;
        let ended = again.is_err();
        findings.push(Finding::of("what was not acknowledged comes again, with the same ids", again));
        if ended {
            return findings;
        }
        let again = self.again(&first, first.last()).await;
        let ended = again.is_err();
        findings.push(Finding::of("a checkpoint of another instance acknowledges nothing", again));
        if ended {
            return findings;
        }
        findings.push(Finding::of("what is acknowledged does not come again, the rest does", self.half(&first).await));
        findings
    }

    /// Whether a new instance is sent all of `before` once more, after another one was told of `committed`.
    async fn again(&self, before: &Sent, committed: Option<&Checkpoint>) -> Verdict {
        let told = |error: Error| error.to_string();
        if let Some(upto) = committed {
            let (mut consumer, _) = self.sent(before.resumed(), Some(before.order.len())).await.map_err(told)?;
            consumer.committed(upto).await.map_err(told)?;
        }
        let (_, sent) = self.sent(before.resumed(), Some(before.order.len())).await.map_err(told)?;
        before.order.iter().try_for_each(|id| before.compare(id, &sent))?;
        Ok(String::new())
    }

    /// Acknowledges half of what comes, twice.
    async fn half(&self, before: &Sent) -> Verdict {
        let told = |error: Error| error.to_string();
        let (mut consumer, sent) = self.sent(before.resumed(), Some(before.order.len())).await.map_err(told)?;
        let half = sent.stops.iter().find(|(count, _)| count * 2 >= sent.order.len());
        let Some((count, checkpoint)) = half.cloned() else {
            return Err("it was sent nothing".into());
        };
        for _ in 0..2 {
            consumer.committed(&checkpoint).await.map_err(told)?;
        }
        drop(consumer);
        let (taken, left) = sent.order.split_at_checked(count).unwrap_or((&sent.order, &[]));
        let (_, rest) = self.sent(sent.resumed(), Some(left.len())).await.map_err(told)?;
        if let Some(id) = taken.iter().find(|id| rest.messages.contains_key(*id)) {
            return Err(format!("{} came again after it was acknowledged", payload(id)));
        }
        left.iter().try_for_each(|id| sent.compare(id, &rest))?;
        Ok(format!("{} of {}", taken.len(), sent.order.len()))
    }

    /// What a new instance is sent: so many different messages, or until no more comes.
    async fn sent(&self, start: StreamStart, wanted: Option<usize>) -> Result<(StreamConsumer, Sent), Error> {
        let mut consumer = StreamConsumer::open(self.task.clone(), &self.topic, GROUP, start).await?;
        let limits = FetchLimits { messages: 50, bytes: 1 << 20, timeout: TIMEOUT };
        let (mut sent, deadline, mut quiet) = (Sent::default(), clock::now() + PATIENCE, clock::now());
        loop {
            let enough = sent.order.len() >= wanted.unwrap_or(MOST);
            let now = clock::now();
            // Once there is enough, nothing more may come for a while.
            let silent = now.duration_since(quiet) > TIMEOUT * 3;
            if now > deadline || (silent && (enough || wanted.is_none())) || sent.order.len() >= MOST {
                return Ok((consumer, sent));
            }
            let (messages, progress) = match consumer.next(&limits).await {
                Err(Error::Retriable { .. }) => {
                    tokio::time::sleep(TIMEOUT / 10).await;
                    continue;
                }
                answer => answer?,
            };
            if !messages.is_empty() {
                quiet = clock::now();
            }
            sent.add(&messages);
            sent.stops.push((sent.order.len(), consumer.checkpoint().await?));
            if progress == Progress::Ended {
                return Ok((consumer, sent));
            }
        }
    }
}

impl Sent {
    fn add(&mut self, messages: &Messages) {
        for at in 0..messages.len() {
            let said = messages.headers_of(at).iter().find(|header| header.name == ID);
            let place = || format!("{:?}/{:?}", messages.partitions.get(at), messages.offsets.get(at)).into_bytes();
            let id = said.map_or_else(place, |header| header.value.clone());
            if self.messages.insert(id.clone(), messages.values.get(at).to_vec()).is_none() {
                self.order.push(id);
            }
        }
    }

    fn last(&self) -> Option<&Checkpoint> {
        self.stops.last().map(|(_, checkpoint)| checkpoint)
    }

    /// As the host opens the next instance.
    fn resumed(&self) -> StreamStart {
        self.last().map_or(StreamStart::Earliest, |checkpoint| StreamStart::Checkpoint(checkpoint.clone()))
    }

    /// Whether `again` has the message that this has by that id.
    fn compare(&self, id: &Id, again: &Self) -> Result<(), String> {
        let before = self.messages.get(id).map(Vec::as_slice).unwrap_or_default();
        match again.messages.get(id) {
            Some(now) if now == before => Ok(()),
            Some(now) => Err(format!("{} was {}, and then {}", payload(id), payload(before), payload(now))),
            None => Err(format!("the message {} with the id {} did not come", payload(before), payload(id))),
        }
    }
}
