//! The files of a run of commits, as rows or as messages.

use std::iter::Peekable;

use arrow::array::RecordBatch;
use spout_codec::Attribute;
use spout_data::{Blobs, Messages, Provenance};
use spout_format::Batches;
use spout_repo::{AddedFile, Follower};

use super::{RepoMode, branch::Branch, letters, token::Place};
use crate::{Error, Framer};

/// Messages and bytes of one fetch.
const MESSAGES: usize = 8192;
const BYTES: usize = 4 << 20;
/// A first line that is longer does not go with the others of its file.
const FIRST: usize = 64 << 10;

/// What is read at once.
pub(super) enum Content {
    Rows(RecordBatch),
    Messages(Messages),
}

/// A run of commits that is being read.
pub(super) struct Reading {
    pub(super) provenance: Provenance,
    at_ms: i64,
    /// `None` for those that are not read.
    files: Vec<Option<AddedFile>>,
    pub(super) part: Place,
    /// Whether something of it was handed over.
    pub(super) begun: bool,
    open: Option<Open>,
}

impl Reading {
    /// The run whose `files` are read from `part` on.
    pub(super) fn new(provenance: Provenance, at_ms: i64, files: Vec<Option<AddedFile>>, part: Place) -> Self {
        let mut reading = Self { provenance, at_ms, files, part, begun: false, open: None };
        reading.pass_over();
        reading
    }

    /// Whether nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.part.file >= self.files.len()
    }

    /// The next rows or messages of a run, `most` at once; `None` if it has no more. The part says afterwards what follows them.
    pub(super) async fn next(
        &mut self,
        branch: &Branch,
        follower: &Follower,
        most: usize,
    ) -> Result<Option<Content>, Error> {
        while let Some(Some(file)) = self.files.get(self.part.file) {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(opened(branch, follower, file, self.part.done).await?),
            };
            let (content, more) = match open {
                Open::Rows(batches, rest) => {
                    let batch = match rest.take() {
                        Some(rest) => Some(rest),
                        None => batches.next().transpose().map_err(|error| branch.failed("reading", error.into()))?,
                    };
                    let (batch, later) = batch.map(|batch| cut(batch, most)).unzip();
                    *rest = later.flatten();
                    let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
                    self.part.done += rows as u64;
                    (batch.filter(|_| rows > 0).map(Content::Rows), rest.is_some() || batches.peek().is_some())
                }
                Open::Letters(batches) => {
                    let batch = batches.next().transpose().map_err(|error| branch.failed("reading", error.into()))?;
                    let batch = batch.map(|batch| cut(batch, most.min(MESSAGES)));
                    let producer = branch.spec.producer.as_deref();
                    let (messages, later) = match batch {
                        Some((batch, later)) => {
                            self.part.done += batch.num_rows() as u64;
                            (letters::messages(&batch, producer, branch.spec.own), later)
                        }
                        None => Default::default(),
                    };
                    if let Some(later) = later {
                        let rest = std::mem::replace(batches, nothing());
                        *batches = (Box::new(std::iter::once(Ok(later)).chain(rest)) as Batches).peekable();
                    }
                    let more = batches.peek().is_some();
                    ((!messages.is_empty()).then_some(Content::Messages(messages)), more)
                }
                Open::Messages(values) => {
                    let first = usize::try_from(self.part.done).unwrap_or(usize::MAX);
                    let mut messages = some(values, first, most, &file.path, self.at_ms);
                    if branch.spec.mode == RepoMode::Lines && !messages.is_empty() && values.get(0).len() <= FIRST {
                        let value = values.get(0).to_vec();
                        messages.attributes.push(Attribute { first: 0, name: "first".into(), value });
                    }
                    self.part.done += messages.len() as u64;
                    let more = (self.part.done as usize) < values.len();
                    ((!messages.is_empty()).then_some(Content::Messages(messages)), more)
                }
            };
            if !more {
                (self.part.file, self.part.done, self.open) = (self.part.file + 1, 0, None);
                self.pass_over();
            }
            if content.is_some() {
                return Ok(content);
            }
        }
        Ok(None)
    }

    fn pass_over(&mut self) {
        while matches!(self.files.get(self.part.file), Some(None)) {
            self.part.file += 1;
        }
    }
}

/// The file that is being read.
enum Open {
    /// And the rest of a batch that was more than what was wanted at once.
    Rows(Peekable<Batches>, Option<RecordBatch>),
    /// Rows that are dead letters.
    Letters(Peekable<Batches>),
    Messages(Blobs),
}

fn nothing() -> Peekable<Batches> {
    (Box::new(std::iter::empty()) as Batches).peekable()
}

/// Opens a file behind the `done` rows or messages that were read.
async fn opened(branch: &Branch, follower: &Follower, file: &AddedFile, done: u64) -> Result<Open, Error> {
    let failed = |error| branch.failed("reading", error);
    let mut values = Blobs::default();
    match branch.spec.mode {
        RepoMode::Rows | RepoMode::DeadLetters => {
            let rows = follower.rows(file, None).await.map_err(failed)?;
            let rows = rows.unwrap_or_else(|| Box::new(std::iter::empty()));
            let rows = skipping(rows, done).peekable();
            let letters = branch.spec.mode == RepoMode::DeadLetters;
            return Ok(if letters { Open::Letters(rows) } else { Open::Rows(rows, None) });
        }
        RepoMode::Files => values.push(&follower.read(file).await.map_err(failed)?),
        RepoMode::Lines => {
            let bytes = follower.read(file).await.map_err(failed)?;
            let mut framer = Framer::new(&branch.spec.framing)?;
            framer.push(&bytes, &mut values)?;
            framer.finish(&mut values)?;
        }
    }
    Ok(Open::Messages(values))
}

/// The batches behind the first `done` rows.
fn skipping(batches: Batches, done: u64) -> Batches {
    let mut left = usize::try_from(done).unwrap_or(usize::MAX);
    Box::new(batches.filter_map(move |batch| {
        let batch = match batch {
            Ok(batch) => batch,
            error => return Some(error),
        };
        let skipped = left.min(batch.num_rows());
        left -= skipped;
        let rest = batch.num_rows() - skipped;
        (rest > 0).then(|| Ok(batch.slice(skipped, rest)))
    }))
}

/// The first `most` rows, and the others if there are any.
fn cut(batch: RecordBatch, most: usize) -> (RecordBatch, Option<RecordBatch>) {
    if batch.num_rows() > most {
        (batch.slice(0, most), Some(batch.slice(most, batch.num_rows() - most)))
    } else {
        (batch, None)
    }
}

/// Some messages from the one at `first` on, no more than `most`.
fn some(values: &Blobs, first: usize, most: usize, path: &str, at_ms: i64) -> Messages {
    let mut messages = Messages::default();
    let mut keys = Blobs::default();
    for index in first..values.len().min(first.saturating_add(MESSAGES.min(most))) {
        if messages.values.bytes.len() >= BYTES {
            break;
        }
        messages.values.push(values.get(index));
        keys.push(path.as_bytes());
        messages.timestamps_ms.push(at_ms);
    }
    messages.keys = Some(keys);
    messages
}
