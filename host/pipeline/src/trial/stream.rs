//! What a source that is read as a whole promises: a checkpoint covers exactly what came before it.

use std::time::Duration;

use spout_plugin::{Checkpoint, Error, FetchLimits, Progress, StreamConsumer, StreamStart};

use super::{Finding, MOST, Message, Trial, Verdict, differs, pairs};

const GROUP: &str = "trial";
const PATIENCE: usize = 3;
const TIMEOUT: Duration = Duration::from_millis(200);

/// A checkpoint, and how many messages came before it.
type Stop = (usize, Checkpoint);

impl Trial {
    /// Tries the stream of the topic.
    pub async fn stream(&self) -> Vec<Finding> {
        let read = self.streamed(StreamStart::Earliest, 100, MOST).await;
        let (messages, stops) = match read {
            Ok((messages, stops)) if !messages.is_empty() => (messages, stops),
            Ok(_) => {
                return vec![Finding::of("the stream has messages", Err("it has none; nothing else is tried".into()))];
            }
            Err(error) => return vec![Finding::of("the stream has messages", Err(error.to_string()))],
        };
        let seen = format!("{} messages", messages.len());
        let mut findings = vec![Finding::of("the stream has messages", Ok(seen))];
        let small = self.streamed(StreamStart::Earliest, 7, messages.len()).await;
        let verdict = small.map_err(|error| error.to_string());
        let verdict = verdict.and_then(|(mut again, _)| {
            again.truncate(messages.len());
            differs(&messages, &again)
        });
        findings.push(Finding::of("fetched seven at a time, it has the same messages", verdict));
        let step = stops.len().div_ceil(4).max(1);
        let mut verdict = Ok(format!("{} checkpoints", stops.iter().step_by(step).count()));
        for (before, checkpoint) in stops.into_iter().step_by(step) {
            if let Err(what) = self.resumed(messages.get(before..).unwrap_or_default(), checkpoint).await {
                verdict = Err(format!("after {before} messages: {what}"));
                break;
            }
        }
        findings.push(Finding::of("a restart from a checkpoint goes on with exactly the rest", verdict));
        findings
    }

    async fn resumed(&self, rest: &[Message], checkpoint: Checkpoint) -> Verdict {
        let resumed = self.streamed(StreamStart::Checkpoint(checkpoint), 100, rest.len()).await;
        let (mut again, _) = resumed.map_err(|error| error.to_string())?;
        again.truncate(rest.len());
        differs(rest, &again)
    }

    /// Reads until `enough` messages are there or no more come, with the checkpoints after each call.
    async fn streamed(&self, start: StreamStart, most: u32, enough: usize) -> Result<(Vec<Message>, Vec<Stop>), Error> {
        let mut consumer = StreamConsumer::open(self.task.clone(), &self.topic, GROUP, start).await?;
        let limits = FetchLimits { messages: most, bytes: 1 << 20, timeout: TIMEOUT };
        let (mut messages, mut stops, mut empty) = (Vec::new(), vec![], 0);
        while messages.len() < enough && empty < PATIENCE {
            let (next, progress) = consumer.next(&limits).await?;
            empty = if next.is_empty() { empty + 1 } else { 0 };
            messages.extend(pairs(&next));
            stops.push((messages.len(), consumer.checkpoint().await?));
            if progress == Progress::Ended {
                break;
            }
        }
        Ok((messages, stops))
    }
}
