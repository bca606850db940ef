//! What a source by partition promises: any position that it ever returned gives the same messages again.

use std::time::Duration;

use spout_data::{Marker, Position};
use spout_plugin::{Criteria, Error, FetchLimits, PartitionConsumer, Progress, Provider};

use super::{Finding, MOST, Message, Trial, Verdict, at, differs, pairs};

/// Partitions that are read.
const READ: usize = 4;
/// Empty answers in a row after which a partition is taken to have nothing more.
const PATIENCE: usize = 3;
const TIMEOUT: Duration = Duration::from_millis(200);
const BYTES: u32 = 1 << 20;

/// What was read of one partition.
struct Read {
    id: u32,
    label: String,
    start: Position,
    messages: Vec<Message>,
    /// Where fetches ended.
    stops: Vec<Position>,
}

impl Trial {
    /// Tries the source of the topic.
    pub async fn source(&self) -> Vec<Finding> {
        let (mut findings, mut found) = (Vec::new(), Vec::new());
        let listed = self.listed().await.map(|partitions| found = partitions);
        let seen = format!("{} partitions", found.len());
        findings.push(Finding::of("its partitions are the same when asked again", listed.map(|()| seen)));
        let mut reads = Vec::new();
        for (id, label) in found.into_iter().take(READ) {
            match self.read(id, label).await {
                Ok(read) => reads.push(read),
                Err(error) => findings.push(Finding::of("each partition can be read", Err(error.to_string()))),
            }
        }
        let messages: usize = reads.iter().map(|read| read.messages.len()).sum();
        let seen = format!("{messages} messages of {} partitions", reads.len());
        let verdict =
            if messages > 0 { Ok(seen) } else { Err("no partition has a message; nothing else is tried".into()) };
        findings.push(Finding::of("partitions have messages", verdict));
        if messages == 0 {
            return findings;
        }
        let limits = [(1, "fetched one message at a time"), (7, "fetched seven at a time")];
        for (most, how) in limits {
            let verdict = self.each(&reads, most, |read| vec![read.start.clone()]).await;
            findings.push(Finding::of(format!("{how}, a partition has the same messages"), verdict));
        }
        let some = |read: &Read| spread(&read.stops);
        findings
            .push(Finding::of("a position from before gives the same messages", self.each(&reads, 1000, some).await));
        let bare = |read: &Read| spread(&read.stops).into_iter().map(|stop| at(stop.offset)).collect();
        let verdict = self.each(&reads, 1000, bare).await;
        findings.push(Finding::of("an offset without its token gives the same messages, or is out of range", verdict));
        findings.push(Finding::of("partitions fetched together have the same messages", self.together(&reads).await));
        findings
    }

    /// The partitions, asked twice.
    async fn listed(&self) -> Result<Vec<(u32, String)>, String> {
        let mut lists = Vec::new();
        for _ in 0..2 {
            let mut provider = Provider::new(self.task.clone(), &self.topic);
            let told = provider.partitions(&Marker::default(), TIMEOUT).await.map_err(|error| error.to_string())?;
            let mut list: Vec<(u32, String)> = told.into_iter().map(|info| (info.id, info.label)).collect();
            list.sort();
            lists.push(list);
        }
        match (lists.pop(), lists.pop()) {
            (Some(again), Some(once)) if once != again => Err(format!("first {once:?}, then {again:?}")),
            (Some(again), _) => Ok(again),
            _ => Ok(Vec::new()),
        }
    }

    /// Reads a partition from its beginning.
    async fn read(&self, id: u32, label: String) -> Result<Read, Error> {
        let mut provider = Provider::new(self.task.clone(), &self.topic);
        let start = provider.resolve(id, Criteria::Earliest, TIMEOUT).await?.unwrap_or_else(|| at(0));
        let mut consumer = PartitionConsumer::new(self.task.clone(), &self.topic);
        let mut read = Read { id, label, start: start.clone(), messages: Vec::new(), stops: vec![start.clone()] };
        let stops = fetch(&mut consumer, id, start, 100, MOST, &mut read.messages).await?;
        read.stops.extend(stops);
        Ok(read)
    }

    /// Reads each partition again, in another instance, from positions that `starts` names, `most` messages a fetch.
    async fn each(&self, reads: &[Read], most: u32, starts: impl Fn(&Read) -> Vec<Position>) -> Verdict {
        for read in reads {
            for start in starts(read) {
                let mut consumer = PartitionConsumer::new(self.task.clone(), &self.topic);
                let expected: Vec<Message> =
                    read.messages.iter().filter(|(offset, _)| *offset >= start.offset).cloned().collect();
                let (mut again, offset) = (Vec::new(), start.offset);
                let fetched = fetch(&mut consumer, read.id, start, most, expected.len(), &mut again).await;
                match fetched {
                    Err(Error::OutOfRange { .. }) if offset > 0 => continue,
                    Err(error) => return Err(format!("`{}` from {offset} on: {error}", read.label)),
                    Ok(_) => again.truncate(expected.len()),
                }
                differs(&expected, &again).map_err(|what| format!("`{}` from {offset} on: {what}", read.label))?;
            }
        }
        Ok(String::new())
    }

    /// Reads all partitions with calls for all of them.
    async fn together(&self, reads: &[Read]) -> Verdict {
        let mut consumer = PartitionConsumer::new(self.task.clone(), &self.topic);
        let limits = FetchLimits { messages: 50, bytes: BYTES, timeout: TIMEOUT };
        let mut places: Vec<(u32, Position)> = reads.iter().map(|read| (read.id, read.start.clone())).collect();
        let mut again: Vec<Vec<Message>> = vec![Vec::new(); reads.len()];
        let mut empty = 0;
        while empty < PATIENCE && !places.is_empty() {
            let answers = consumer.fetch(places.clone(), limits).await.map_err(|error| error.to_string())?;
            let before: usize = again.iter().map(Vec::len).sum();
            for (id, answer) in answers {
                let fetched = answer.map_err(|error| format!("partition {id}: {error}"))?;
                let Some(index) = reads.iter().position(|read| read.id == id) else { continue };
                again[index].extend(pairs(&fetched.messages));
                let done = fetched.progress == Progress::Ended || again[index].len() >= reads[index].messages.len();
                places.retain_mut(|(wanted, position)| {
                    if *wanted == id {
                        *position = fetched.next.clone();
                    }
                    *wanted != id || !done
                });
            }
            empty = if again.iter().map(Vec::len).sum::<usize>() == before { empty + 1 } else { 0 };
        }
        for (read, mut again) in reads.iter().zip(again) {
            again.truncate(read.messages.len());
            differs(&read.messages, &again).map_err(|what| format!("`{}`: {what}", read.label))?;
        }
        Ok(String::new())
    }
}

/// Fetches from `start` on until `enough` messages are there or no more come; where each fetch ended.
async fn fetch(
    consumer: &mut PartitionConsumer,
    id: u32,
    start: Position,
    most: u32,
    enough: usize,
    messages: &mut Vec<Message>,
) -> Result<Vec<Position>, Error> {
    let limits = FetchLimits { messages: most, bytes: BYTES, timeout: TIMEOUT };
    let (mut place, mut stops, mut empty) = (start, Vec::new(), 0);
    while messages.len() < enough && empty < PATIENCE {
        let answers = consumer.fetch(vec![(id, place.clone())], limits).await?;
        let Some((_, answer)) = answers.into_iter().next() else {
            empty += 1;
            continue;
        };
        let fetched = answer?;
        empty = if fetched.messages.is_empty() { empty + 1 } else { 0 };
        messages.extend(pairs(&fetched.messages));
        place = fetched.next;
        stops.push(place.clone());
        if fetched.progress == Progress::Ended {
            break;
        }
    }
    Ok(stops)
}

/// Some of the positions: the first, the last, and some between.
fn spread(stops: &[Position]) -> Vec<Position> {
    let step = stops.len().div_ceil(4).max(1);
    stops.iter().step_by(step).chain(stops.last()).cloned().collect()
}
