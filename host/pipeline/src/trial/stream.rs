//! What a source that is read as a whole promises: a checkpoint covers exactly what came before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use spout_plugin::{Checkpoint, Error, FetchLimits, Progress, StreamConsumer, StreamStart};

use super::{Finding, MOST, Message, Trial, Verdict, differs, pairs};

const GROUP: &str = "trial";
const PATIENCE: usize = 3;
const TIMEOUT: Duration = Duration::from_millis(200);

/// What was read of a stream. The order between partitions is chance, that within each is not.
#[derive(Clone, Default)]
struct Read {
    partitions: BTreeMap<u32, Vec<Message>>,
    count: usize,
    /// After each call, how many messages each partition had, and the checkpoint.
    stops: Vec<(BTreeMap<u32, usize>, Checkpoint)>,
}

impl Trial {
    /// Tries the stream of the topic.
    pub async fn stream(&self) -> Vec<Finding> {
        let promise = "the stream has messages";
        let read = match self.streamed(StreamStart::Earliest, 100, Read::default()).await {
            Ok(read) if read.count > 0 => read,
            Ok(_) => return vec![Finding::of(promise, Err("it has none; nothing else is tried".into()))],
            Err(error) => return vec![Finding::of(promise, Err(error.to_string()))],
        };
        let mut findings = vec![Finding::of(promise, Ok(format!("{} messages", read.count)))];
        let small = self.streamed(StreamStart::Earliest, 7, Read::default()).await;
        let verdict = small.map_err(|error| error.to_string()).and_then(|again| same(&read, &again));
        findings.push(Finding::of("fetched seven at a time, it has the same messages", verdict));
        let step = read.stops.len().div_ceil(4).max(1);
        let mut verdict = Ok(format!("{} checkpoints", read.stops.iter().step_by(step).count()));
        for (counts, checkpoint) in read.stops.iter().step_by(step) {
            let resumed = self.streamed(StreamStart::Checkpoint(checkpoint.clone()), 100, read.until(counts)).await;
            let same = resumed.map_err(|error| error.to_string()).and_then(|again| same(&read, &again));
            if let Err(what) = same {
                verdict = Err(format!("after {} messages: {what}", counts.values().sum::<usize>()));
                break;
            }
        }
        findings.push(Finding::of("a restart from a checkpoint goes on with exactly the rest", verdict));
        findings
    }

    /// Reads on until there is enough, or no more comes.
    async fn streamed(&self, start: StreamStart, most: u32, mut read: Read) -> Result<Read, Error> {
        let mut consumer = StreamConsumer::open(self.task.clone(), &self.topic, GROUP, start).await?;
        let limits = FetchLimits { messages: most, bytes: 1 << 20, timeout: TIMEOUT };
        let mut empty = 0;
        while read.count < MOST && empty < PATIENCE {
            let (messages, progress) = consumer.next(&limits).await?;
            empty = if messages.is_empty() { empty + 1 } else { 0 };
            for (message, partition) in pairs(&messages).zip(&messages.partitions) {
                read.partitions.entry(*partition).or_default().push(message);
                read.count += 1;
            }
            read.stops.push((read.counts(), consumer.checkpoint().await?));
            if progress == Progress::Ended {
                break;
            }
        }
        Ok(read)
    }
}

impl Read {
    fn counts(&self) -> BTreeMap<u32, usize> {
        self.partitions.iter().map(|(partition, messages)| (*partition, messages.len())).collect()
    }

    /// What was read up to a checkpoint.
    fn until(&self, counts: &BTreeMap<u32, usize>) -> Self {
        let head = |(partition, count): (&u32, &usize)| {
            let messages = self.partitions.get(partition).map(|all| all.iter().take(*count).cloned().collect());
            (*partition, messages.unwrap_or_default())
        };
        Self { partitions: counts.iter().map(head).collect(), count: counts.values().sum(), stops: Vec::new() }
    }
}

/// Whether both read the same. Where there is more than was read, they stopped at different places.
fn same(once: &Read, again: &Read) -> Verdict {
    let more = once.count >= MOST || again.count >= MOST;
    let all: BTreeSet<&u32> = once.partitions.keys().chain(again.partitions.keys()).collect();
    for partition in all {
        let of = |read: &Read| read.partitions.get(partition).cloned().unwrap_or_default();
        let (mut one, mut other) = (of(once), of(again));
        if more {
            let both = one.len().min(other.len());
            one.truncate(both);
            other.truncate(both);
        }
        differs(&one, &other).map_err(|what| format!("partition {partition}: {what}"))?;
    }
    Ok(String::new())
}
