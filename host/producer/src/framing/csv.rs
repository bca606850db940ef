//! `csv`: one record a message; line ends within quotes belong to it.

use std::ops::Range;

use spout_codec::csv::{RecordFinder, Style};

use super::{
    Cut, FramingSpec, Step, cut_short,
    lines::{line, without_return},
};

/// Records as the `csv` decoder finds them.
#[derive(Debug)]
pub(super) struct Records {
    finder: RecordFinder,
    max: usize,
    /// Bytes of the frame that the finder has seen.
    seen: usize,
}

impl Records {
    pub(super) fn new(spec: &FramingSpec, max: usize) -> Result<Self, String> {
        let style = Style::new(spec.delimiter.unwrap_or(','), spec.quote.unwrap_or('"'));
        let finder = RecordFinder::new(style.map_err(|error| error.to_string())?);
        Ok(Self { finder, max, seen: 0 })
    }
}

impl Cut for Records {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        match self.finder.find(bytes.get(self.seen..).unwrap_or_default()) {
            Some(found) => {
                let next = self.seen + found;
                self.seen = 0;
                let record = without_return(bytes.get(..next - 1).unwrap_or_default());
                Ok(Step::Frame(line(record, self.max)?, next))
            }
            None => {
                self.seen = bytes.len();
                // A line feed may follow.
                line(without_return(bytes), self.max)?;
                Ok(Step::More)
            }
        }
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, String> {
        if self.finder.is_quoted() { Err(cut_short()) } else { line(bytes, self.max) }
    }
}
