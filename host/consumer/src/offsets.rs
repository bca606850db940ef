//! Which offsets the rows of a request came from, as a name that a receiver can tell doubles by.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use spout_data::{PartitionId, Span};

/// Longest text that is sent as a header as it is.
const LONGEST: usize = 1000;

/// The runs of offsets of one request, and how many requests there were for them.
#[derive(Debug)]
pub(super) struct Offsets {
    pipeline: String,
    runs: BTreeMap<PartitionId, (u64, u64)>,
    /// Start of the last run, and how many batches began there: handlers may make several of one.
    last: Option<(PartitionId, u64)>,
    again: u32,
    part: u32,
}

impl Offsets {
    pub(super) fn new(pipeline: &str) -> Self {
        Self { pipeline: pipeline.to_owned(), runs: BTreeMap::new(), last: None, again: 0, part: 0 }
    }

    /// Takes in the offsets of a batch.
    pub(super) fn add(&mut self, span: &Span) {
        let begins = (span.partition, span.start);
        self.again = if self.last == Some(begins) { self.again + 1 } else { 0 };
        self.last = Some(begins);
        let run = self.runs.entry(span.partition).or_insert((span.start, span.next.offset));
        run.1 = run.1.max(span.next.offset);
    }

    /// The rows to come belong to another request.
    pub(super) fn begin(&mut self) {
        self.runs.clear();
        self.part = 0;
    }

    /// `0:10-20,1:5-9`, unless that would be very long.
    pub(super) fn text(&self) -> Option<String> {
        let text = self.whole();
        (text.len() <= LONGEST).then_some(text)
    }

    /// A name for the next request, whose rows are `body`: the same pipeline, offsets and part give the same name.
    pub(super) fn key(&mut self, body: &[u8]) -> String {
        let (part, again) = (self.part, self.again);
        self.part += 1;
        let mut whole = self.whole();
        if self.runs.values().all(|(start, next)| start == next) {
            // Rows that handlers held back have no offsets of their own.
            whole = format!("{whole}-{:.16}", format!("{:x}", Sha256::digest(body)));
        }
        if whole.len() > 200 {
            whole = format!("{:x}", Sha256::digest(whole.as_bytes()));
        }
        format!("{}/{whole}/{again}.{part}", self.pipeline)
    }

    fn whole(&self) -> String {
        let runs = self.runs.iter().map(|(partition, (start, next))| format!("{partition}:{start}-{next}"));
        runs.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spout_data::Position;

    fn span(partition: PartitionId, start: u64, next: u64) -> Span {
        Span { partition, start, next: Position::at(next) }
    }

    #[test]
    fn the_same_offsets_have_the_same_name_and_others_have_another() {
        let names = || {
            let mut offsets = Offsets::new("p");
            let mut names = Vec::new();
            for span in [span(0.into(), 10, 20), span(1.into(), 5, 5), span(1.into(), 5, 9), span(0.into(), 0, 0)] {
                offsets.add(&span);
                names.push(offsets.key(b"x"));
                names.push(offsets.key(b"y"));
                offsets.begin();
            }
            offsets.add(&span(0.into(), 20, 30));
            offsets.add(&span(1.into(), 9, 12));
            offsets.add(&span(0.into(), 30, 31));
            assert_eq!(offsets.text().as_deref(), Some("0:20-31,1:9-12"));
            names.push(offsets.key(b""));
            names
        };
        let mut first = names();
        assert_eq!(first, names());
        assert_eq!(first[0], "p/0:10-20/0.0");
        assert_eq!(first[8], "p/0:20-31,1:9-12/0.0");
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 9, "{first:?}");
    }

    #[test]
    fn a_very_long_name_is_a_hash() {
        let mut offsets = Offsets::new("p");
        (0..500).for_each(|partition| offsets.add(&span(partition.into(), 0, 1)));
        assert!(offsets.text().is_none());
        assert!(offsets.key(b"").len() < 100);
    }
}
