//! `files`: the lines of the files in a granted directory, followed as they grow; or CSV records, or each file as one message.
//!
//! # What is read
//!
//! A partition is a *log*: a name under which lines are written, and the files that these lines are moved to when the log is
//! rotated (`app.log`, then `app.log.1`, `app.log-20260131`, `app.log.2.gz`). Its label is that name, and its number depends on
//! it ([`numbers`]). Its offset counts the bytes that were read of all its files, the oldest first; as long as there is one file, an
//! offset is a place in it.
//!
//! # How a file is known
//!
//! Names, inodes, sizes and dates all change hands, so a file is known by its content: a [`mark`] holds what it had up to the
//! place where it was read, and grows with it. The token of a position holds a mark of each file that is read, and of each
//! that was read to its end and is still there. Hints (inode, date) say where to look first, and tell apart files that say the
//! same. Every read is followed by a look at what stood before it: had the file been cut in between, that would be gone. So
//! no byte is given before it is known to belong to the file it is counted for.
//!
//! | Found | Outcome |
//! |---|---|
//! | the live name means another file, the old one has another name or none | the old one is read to its end (if it is open, or found), then the new one from its start |
//! | what was read is in another file of the log (after a restart: of the directory) | goes on there, at the same place |
//! | a file is shorter than was read, or has other bytes before the place (cut, rewritten) | the rest of what was read is looked for as above, then the file is new |
//! | … a copy has less than was read | nothing of it is read again; the file is new |
//! | … no file has it | a warning names file and place; where bytes are known to be lost, or nobody looked meanwhile, it is out of range, and the spec decides |
//! | the beginning of the live file, in a file beside it | a copy in the making: waits until the file is cut, or the copy 10 s old; then it has lines of its own |
//! | what was read to its end, under another name or packed | known: nothing is read again |
//! | … and more behind it, in the same file | the rest is read |
//! | the live file replaced by one with the same beginning (`rsync`) | goes on at the same place |
//! | any other file that the pattern matches | new: read from its start |
//! | any other file of the log, younger than what was read | the log was there while nobody looked: read from its start |
//! | a log's name that is new, and a file that another log has read and does not have any more | it was moved: its old log goes on with it, also with what is written there later; the name is no partition |
//!
//! Two files that say the same at different names are two files, unless one of the rows above applies.
//!
//! # Many logs
//!
//! One reader reads thousands of logs ([`lines`]). They share one [`listing`] of the directory: an old one is enough to see that
//! nothing changed, and whoever decides something asks for one that is younger than what was noticed. A look at a log that has
//! nothing costs one look at its name. A few hundred files are open ([`open_files`]); the others are closed where they end, or
//! where they are, and found again by name and number if their content says so, else as after a restart. For a while a closed
//! file keeps its last bytes, which tell what a copy is that was made of it.
//!
//! What finds out ([`mark`], [`names`]) and what frames ([`framing`]) does no IO; [`disk`] alone does.

mod directory;
mod disk;
mod family;
mod framing;
mod lines;
mod listing;
mod log;
mod mark;
mod names;
mod numbers;
mod open_files;
mod read;
mod reading;
mod settings;
mod stream;
mod text;
mod trail;

use std::time::Duration;

use spout_guest::{Criteria, Known, Partition, Position, Result, SharedSource, register};

use self::directory::Directory;
pub use self::{lines::Lines, settings::Settings, stream::WholeDirectory};

/// The partitions of a directory.
#[derive(Debug)]
pub struct Files(Directory);

impl SharedSource for Files {
    type Settings = Settings;
    type Reader = Lines;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        Directory::open(topic, &settings).map(Self)
    }

    fn partitions(&mut self, known: &[Known], _timeout: Duration) -> Result<Vec<Partition>> {
        let found = self.0.logs(known)?;
        Ok(found.into_iter().map(|(id, label)| Partition { id, label, ended: false }).collect())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, _timeout: Duration) -> Result<Option<Position>> {
        Ok(match at {
            Criteria::Earliest => Some(self.0.start(partition)),
            Criteria::AtOffset(offset) => Some(self.0.log(partition)?.at_or_after(offset)?),
            Criteria::Latest => Some(self.0.log(partition)?.end()?),
            Criteria::AtTimeMs(_) => None,
        })
    }

    fn into_reader(self) -> Result<Lines> {
        Ok(Lines::new(self.0))
    }
}

register! {
    name: "files",
    summary: "lines of the files in a granted directory, followed as they grow and rotate",
    asks: ["{topic}"],
    source: Files,
    stream: WholeDirectory,
}

#[cfg(test)]
mod tests;
