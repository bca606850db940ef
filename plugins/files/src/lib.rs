//! `files`: the lines of the files in a granted directory, followed as they grow; or each file as one message.
//!
//! A file is a partition, an offset is a byte position, a message is a line without its end. New files become partitions;
//! a file that was truncated or replaced is noticed by its first bytes.

mod directory;
mod lines;
mod stream;

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Criteria, Fetched, Limits, Partition, Position, Reader, Result, Source, register};

pub use self::stream::Files as WholeDirectory;
use self::{directory::Directory, lines::Lines};

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Which files, by name: `*` stands for any run of characters, `?` for one. With `recursive`, the path below the
    /// directory is matched.
    pub pattern: String,
    /// Whether directories below are read too.
    pub recursive: bool,
    /// `true`: files grow; a last line without an end waits for it. `false`: a file ends where it ends.
    pub follow: bool,
    /// Longest line in bytes; a longer one stops the pipeline and says where it is.
    pub max_line: usize,
    /// Whether a file is one message, however many lines it has: for Avro, Arrow, or whole documents. Move such files
    /// into place when they are complete.
    pub whole: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pattern: "*".into(), recursive: false, follow: true, max_line: 16 << 20, whole: false }
    }
}

/// The partitions of a directory.
#[derive(Debug)]
pub struct Files {
    directory: Directory,
    settings: Settings,
}

/// The lines of one file.
#[derive(Debug)]
pub struct File(Lines);

/// Where a topic is: the directory granted under that name.
fn root(topic: &str) -> PathBuf {
    PathBuf::from(format!("/{topic}"))
}

impl Source for Files {
    type Settings = Settings;
    type Reader = File;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        Ok(Self { directory: Directory::open(root(topic), &settings)?, settings })
    }

    fn partitions(&mut self, _timeout: Duration) -> Result<Vec<Partition>> {
        let found = self.directory.files()?;
        Ok(found.into_iter().map(|(id, label)| Partition { id, label, ended: false }).collect())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, _timeout: Duration) -> Result<Option<Position>> {
        Ok(match at {
            Criteria::Earliest => Some(Position::at(0)),
            Criteria::AtOffset(offset) => {
                Some(Lines::new(self.directory.path(partition)?, &self.settings).at_or_after(offset)?)
            }
            Criteria::Latest => Some(Lines::new(self.directory.path(partition)?, &self.settings).end()?),
            Criteria::AtTimeMs(_) => None,
        })
    }

    fn read(topic: &str, partition: u32, settings: Settings) -> Result<File> {
        let directory = Directory::open(root(topic), &settings)?;
        Ok(File(Lines::new(directory.path(partition)?, &settings)))
    }
}

impl Reader for File {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        self.0.fetch(start, limits)
    }
}

register! {
    name: "files",
    summary: "lines of the files in a granted directory, followed as they grow",
    asks: ["{topic}"],
    source: Files,
    stream: WholeDirectory,
}

#[cfg(test)]
mod tests;
