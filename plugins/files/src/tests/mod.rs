//! Files as a host reads them: growing, ending, from any place on.

mod again;
mod blank;
mod cut;
mod many;
mod odd;
mod rotation;
mod torture;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use spout_guest::{Error, Fetched, Limits, Messages, Progress, SharedReader as _, pause, testing};

use super::*;
use crate::{
    log::Log,
    settings::{LastLine, Time},
};

const NOW: Limits = Limits { messages: 1000, bytes: 1 << 20, timeout: Duration::ZERO };
const PATIENT: Limits = Limits { timeout: Duration::from_secs(20), ..NOW };

/// Names that give the same number.
pub(crate) const TWINS: [&str; 2] = ["022051.ndjson", "049888.ndjson"];

/// Where a partition begins that no commit has seen.
fn beginning(source: &mut Files, partition: u32) -> Position {
    source.resolve(partition, Criteria::Earliest, Duration::ZERO).unwrap().unwrap()
}

/// A directory, and what a pipeline that reads it knows.
struct Place {
    dir: tempfile::TempDir,
    settings: Settings,
    known: Vec<Known>,
    read: Vec<String>,
}

impl Place {
    fn new(settings: Settings) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), settings, known: Vec::new(), read: Vec::new() }
    }

    /// One whose rotated files count at once.
    fn following(pattern: &str) -> Self {
        Self::new(Settings { pattern: pattern.into(), rotate_wait: Time(Duration::ZERO), ..Settings::default() })
    }

    fn ending(pattern: &str) -> Self {
        Self::new(Settings { pattern: pattern.into(), follow: false, ..Settings::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.path(name), text);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn topic(&self) -> String {
        self.dir.path().to_str().unwrap().trim_start_matches('/').to_owned()
    }

    fn log(&self, name: &str) -> Log {
        Directory::open(&self.topic(), &self.settings).unwrap().named(name)
    }

    /// What a host does that starts, reads until there is nothing, commits and stops.
    fn run(&mut self) -> Result<Vec<String>> {
        let mut source = Files::open(&self.topic(), self.settings.clone())?;
        let mut fresh = Vec::new();
        for Partition { id, label, .. } in source.partitions(&self.known, Duration::ZERO)? {
            let mut reader = Files::open(&self.topic(), self.settings.clone())?.into_reader()?;
            let known = self.known.iter().position(|one| one.id == id);
            let mut position = match known {
                Some(at) => self.known[at].position.clone(),
                None => beginning(&mut source, id),
            };
            loop {
                let fetched = one(&mut reader, id, position.clone())?;
                fresh.extend(texts(&fetched.messages));
                let done = !brings(&fetched, &position);
                position = fetched.next;
                if done {
                    break;
                }
            }
            match known {
                Some(at) => self.known[at].position = position,
                None => self.known.push(Known { id, label, position }),
            }
        }
        self.read.extend(fresh.iter().cloned());
        Ok(fresh)
    }
}

impl Log {
    /// The lines from `start` on; waits for them.
    pub(crate) fn fetch(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        let begun = spout_guest::now();
        loop {
            let fetched = self.read(start, limits)?;
            let over =
                fetched.progress == Progress::Ended || brings(&fetched, start) || begun.elapsed() >= limits.timeout;
            if over && !self.is_searching() {
                return Ok(fetched);
            }
            pause(Duration::from_millis(1));
        }
    }
}

/// Whether there are lines, or may be more at once.
fn brings(fetched: &Fetched, start: &Position) -> bool {
    fetched.progress == Progress::More && (!fetched.messages.is_empty() || fetched.next.offset != start.offset)
}

/// What one partition answers.
fn one(reader: &mut Lines, id: u32, start: Position) -> Result<Fetched> {
    // One that waits for a file that may be between two names is asked again.
    loop {
        let (partition, fetched) = reader.fetch(&[(id, start.clone())], NOW)?.pop().unwrap();
        assert_eq!(partition, id);
        match fetched {
            Ok(fetched) if fetched.high_watermark.is_none() => pause(Duration::from_millis(1)),
            fetched => return fetched,
        };
    }
}

fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

/// As `gzip` or `zstd --rm` does.
fn pack(place: &Place, from: &str, to: &str) {
    let text = fs::read_to_string(place.path(from)).unwrap();
    let packed = if to.ends_with(".gz") { gzip(&text) } else { zstd::encode_all(text.as_bytes(), 1).unwrap() };
    fs::write(place.path(to), packed).unwrap();
    let file = fs::File::open(place.path(to)).unwrap();
    file.set_modified(fs::metadata(place.path(from)).unwrap().modified().unwrap()).unwrap();
    fs::remove_file(place.path(from)).unwrap();
}

fn texts(messages: &Messages) -> Vec<String> {
    (0..messages.len()).map(|index| String::from_utf8_lossy(messages.value(index)).into_owned()).collect()
}

fn lines(messages: &Messages) -> Vec<(u64, String)> {
    messages.offsets().iter().copied().zip(texts(messages)).collect()
}

fn attribute(messages: &Messages, index: usize, name: &str) -> String {
    String::from_utf8_lossy(messages.input().attribute(index, name).unwrap_or_default()).into_owned()
}

/// Everything there is from `position` on, which moves there.
fn rest(log: &mut Log, position: &mut Position) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let fetched = log.fetch(position, NOW).unwrap();
        all.extend(texts(&fetched.messages));
        let done = !brings(&fetched, position);
        *position = fetched.next;
        if done {
            return all;
        }
    }
}

/// So many lines from `position` on, and what comes with them.
fn wait_for(log: &mut Log, position: &mut Position, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        read.extend(wait(log, position));
    }
    read
}

/// What comes from `position` on, as soon as something does.
fn wait(log: &mut Log, position: &mut Position) -> Vec<String> {
    let fetched = log.fetch(position, PATIENT).unwrap();
    assert_ne!(fetched.progress, Progress::Idle, "nothing comes");
    let mut all = texts(&fetched.messages);
    *position = fetched.next;
    all.extend(rest(log, position));
    all
}

fn logged() -> String {
    testing::take_log().into_iter().map(|(_, line)| line + "\n").collect()
}

#[test]
fn a_line_counts_when_it_has_its_end() {
    let place = Place::following("*");
    place.append("a", "one\ntwo\r\n\nthr");
    let mut log = place.log("a");
    let first = log.fetch(&Position::at(0), NOW).unwrap();
    assert_eq!(lines(&first.messages), [(0, "one".into()), (4, "two".into())]);
    assert_eq!((first.next.offset, first.high_watermark, first.progress), (10, Some(13), Progress::More));
    assert_eq!(attribute(&first.messages, 1, "file"), "a");
    assert!(attribute(&first.messages, 0, "modified").parse::<u64>().unwrap() > 1_700_000_000_000);
    let none = log.fetch(&first.next, NOW).unwrap();
    assert_eq!((none.messages.len(), none.next.offset, none.progress), (0, 10, Progress::Idle));
    place.append("a", "ee\nfour\n");
    let rest = log.fetch(&none.next, NOW).unwrap();
    assert_eq!(lines(&rest.messages), [(10, "three".into()), (16, "four".into())]);
    // Any earlier position gives the same lines again, also to a reader that has seen nothing.
    assert_eq!(lines(&place.log("a").fetch(&first.next, NOW).unwrap().messages), lines(&rest.messages));
}

#[test]
fn one_fetch_waits_for_growth() {
    let place = Place::following("*");
    place.append("a", "one\n");
    let (topic, settings) = (place.topic(), place.settings.clone());
    let (first, seen) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut log = Directory::open(&topic, &settings).unwrap().named("a");
            let mut position = Position::at(0);
            assert_eq!(rest(&mut log, &mut position), ["one"]);
            first.send(()).unwrap();
            wait(&mut log, &mut position)
        });
        seen.recv().unwrap();
        place.append("a", "two\n");
        assert_eq!(reading.join().unwrap(), ["two"]);
    });
}

#[test]
fn limits_cut_between_lines() {
    let place = Place::following("*");
    place.append("a", "aaaa\nbbbb\ncccc\n");
    let mut log = place.log("a");
    let one = log.fetch(&Position::at(0), Limits { messages: 1, ..NOW }).unwrap();
    assert_eq!((lines(&one.messages), one.next.offset), (vec![(0, "aaaa".into())], 5));
    let two = log.fetch(&one.next, Limits { bytes: 6, ..NOW }).unwrap();
    assert_eq!((lines(&two.messages), two.next.offset), (vec![(5, "bbbb".into())], 10));
}

#[test]
fn without_follow_a_file_ends() {
    let mut place = Place::ending("*");
    place.append("a", "one\ntwo");
    assert_eq!(place.run().unwrap(), ["one", "two"]);
    assert_eq!(place.known[0].position.offset, 7);
    let over = place.log("a").fetch(&place.known[0].position, NOW).unwrap();
    assert_eq!((over.messages.len(), over.progress), (0, Progress::Ended));
    place.append("a", "three\n");
    assert_eq!(place.run().unwrap(), ["three"]);
    assert!(place.run().unwrap().is_empty());
}

#[test]
fn a_last_line_counts_when_it_was_quiet() {
    let place = Place::new(Settings { last_line: LastLine(Some(Duration::from_millis(1))), ..Settings::default() });
    place.append("a", "one\ntwo");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    assert_eq!(rest(&mut log, &mut position), ["one"]);
    assert_eq!(wait(&mut log, &mut position), ["two"]);
    assert!(rest(&mut log, &mut position).is_empty());
    place.append("a", "rest\n");
    assert_eq!(wait(&mut log, &mut position), ["rest"]);
}

#[test]
fn places_to_start_are_starts_of_lines() {
    let place = Place::following("*");
    place.append("a", "one\ntwo\nthr");
    let end = |follow| {
        let settings = Settings { follow, ..Settings::default() };
        Directory::open(&place.topic(), &settings).unwrap().named("a").end().unwrap().offset
    };
    assert_eq!((end(true), end(false)), (8, 11));
    let check = |offset, expected| assert_eq!(place.log("a").at_or_after(offset).unwrap().offset, expected, "{offset}");
    check(0, 0);
    check(1, 4);
    check(4, 4);
    check(5, 8);
    check(9, 11);
    check(50, 8);
    let mut end = place.log("a").end().unwrap();
    place.append("a", "ee\n");
    assert_eq!(rest(&mut place.log("a"), &mut end), ["three"]);
    place.append("long", format!("a\n{}", "x".repeat(200_000)));
    assert_eq!(place.log("long").end().unwrap().offset, 2);
    // Without its token a position is an offset.
    assert_eq!(rest(&mut place.log("a"), &mut Position::at(4)), ["two", "three"]);
    assert!(matches!(place.log("a").fetch(&Position::at(99), NOW), Err(Error::OutOfRange { .. })));
}

#[test]
fn latest_means_what_comes_after() {
    let place = Place::following("a*");
    place.append("a.1", "old\n");
    place.append("a", "one\n");
    let mut position = place.log("a").end().unwrap();
    assert_eq!(position.offset, 4);
    let mut log = place.log("a");
    assert!(rest(&mut log, &mut position).is_empty());
    place.append("a", "two\n");
    assert_eq!(wait(&mut log, &mut position), ["two"]);
}
