//! Files that grow, end, shrink, are replaced, renamed, copied, packed and appear.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use spout_guest::{Error, Messages, Progress, testing};

use super::*;
use crate::settings::{LastLine, Time};

const NOW: Limits = Limits { messages: 1000, bytes: 1 << 20, timeout: Duration::ZERO };
const PATIENT: Limits = Limits { timeout: Duration::from_secs(20), ..NOW };

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
            let mut reader = Files::read(&self.topic(), id, self.settings.clone())?;
            let known = self.known.iter().position(|one| one.id == id);
            let mut position = known.map_or(Position::at(0), |at| self.known[at].position.clone());
            loop {
                let fetched = reader.fetch(position, NOW)?;
                fresh.extend(texts(&fetched.messages));
                position = fetched.next;
                if fetched.progress != Progress::More {
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

fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
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
        *position = fetched.next;
        if fetched.progress != Progress::More {
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
fn rename_rotation_loses_and_doubles_nothing() {
    for pattern in ["app.log*", "app.log"] {
        for follow in [true, false] {
            let mut place = Place::following(pattern);
            place.settings.follow = follow;
            place.append("app.log", "1\n2\n");
            place.run().unwrap();
            place.append("app.log", "3\n");
            place.rename("app.log", "app.log.1");
            place.append("app.log", "4\n");
            assert_eq!(place.run().unwrap(), ["3", "4"], "{pattern} {follow}");
            // Twice while nobody looks, the second time without a file that is new.
            place.append("app.log", "5\n");
            place.rename("app.log.1", "app.log.2");
            place.rename("app.log", "app.log.1");
            place.append("app.log", "6\n");
            age(&place, "app.log");
            place.rename("app.log.2", "app.log.3");
            place.rename("app.log.1", "app.log.2");
            place.rename("app.log", "app.log.1");
            assert_eq!(place.run().unwrap().len(), 2, "{pattern} {follow}");
            place.append("app.log", "7\n");
            place.run().unwrap();
            assert_eq!(place.read, ["1", "2", "3", "4", "5", "6", "7"], "{pattern} {follow}");
            assert_eq!(place.known.len(), 1);
        }
    }
}

/// As if the file were written a while after those before it.
fn age(place: &Place, name: &str) {
    let file = fs::File::open(place.path(name)).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_millis(50)).unwrap();
}

#[test]
fn live_rotation_reads_the_old_file_to_its_end() {
    for pattern in ["app.log*", "app.log"] {
        for away in ["app.log.1", "archive/app.log"] {
            let place = Place::following(pattern);
            fs::create_dir(place.path("archive")).unwrap();
            place.append("app.log", "1\n");
            let (mut log, mut position) = (place.log("app.log"), Position::at(0));
            assert_eq!(rest(&mut log, &mut position), ["1"]);
            place.append("app.log", "2\n");
            place.rename("app.log", away);
            place.append("app.log", "3\n");
            place.append(away, "late\n");
            assert_eq!(wait_for(&mut log, &mut position, 3), ["2", "late", "3"], "{pattern} {away}");
        }
    }
}

#[test]
fn a_copy_before_a_cut_is_not_read_twice() {
    let place = Place::following("app.log*");
    let (mut log, mut position) = (place.log("app.log"), Position::at(0));
    place.append("app.log", "1\n2\n");
    assert_eq!(rest(&mut log, &mut position), ["1", "2"]);
    place.append("app.log", "3\n");
    fs::copy(place.path("app.log"), place.path("app.log.1")).unwrap();
    let read = rest(&mut log, &mut position);
    // Written between copy and cut, read before the cut.
    place.append("app.log", "4\n");
    let read = [read, rest(&mut log, &mut position)].concat();
    assert_eq!(read, ["3", "4"]);
    fs::File::create(place.path("app.log")).unwrap();
    place.append("app.log", "5\n6\n7\n8\n9\n");
    assert_eq!(wait(&mut log, &mut position), ["5", "6", "7", "8", "9"]);
    assert!(logged().contains("app.log was cut after it was copied"));
    assert!(rest(&mut place.log("app.log"), &mut position).is_empty());
}

#[test]
fn what_was_not_read_before_the_cut_is_read_from_the_copy() {
    for restarted in [false, true] {
        let place = Place::following("app.log*");
        let (mut log, mut position) = (place.log("app.log"), Position::at(0));
        place.append("app.log", "1\n2\n");
        assert_eq!(rest(&mut log, &mut position), ["1", "2"]);
        place.append("app.log", "3\n");
        fs::copy(place.path("app.log"), place.path("app.log.1")).unwrap();
        fs::File::create(place.path("app.log")).unwrap();
        place.append("app.log", "4\n5\n6\n7\n");
        if restarted {
            log = place.log("app.log");
        }
        assert_eq!(wait(&mut log, &mut position), ["3", "4", "5", "6", "7"], "{restarted}");
    }
}

#[test]
fn a_copy_before_a_cut_is_known_where_files_end() {
    let mut place = Place::ending("app.log*");
    let long = "x".repeat(100);
    place.append("app.log", format!("1 {long}\n2\n"));
    place.run().unwrap();
    for rest in ["", "3\n"] {
        place.append("app.log", rest);
        fs::copy(place.path("app.log"), place.path("app.log.1")).unwrap();
        fs::write(place.path("app.log"), format!("4 {rest}{long}\n")).unwrap();
        let expected = if rest.is_empty() { 1 } else { 2 + 1 };
        assert_eq!(place.run().unwrap().len(), expected, "{rest:?}");
        assert!(place.run().unwrap().is_empty());
        place.append("app.log", "5\n");
        assert_eq!(place.run().unwrap(), ["5"]);
    }
}

#[test]
fn a_cut_without_a_copy_is_said() {
    let place = Place::following("*");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    place.append("a", "one\ntwo\n");
    rest(&mut log, &mut position);
    for (content, expected) in [("1\n", vec!["1"]), ("three\nfour\nfive\n", vec!["three", "four", "five"])] {
        let before = position.clone();
        fs::File::create(place.path("a")).unwrap();
        place.append("a", content);
        assert_eq!(wait(&mut log, &mut position), expected);
        let said = logged();
        assert!(said.contains("a was cut or rewritten; it was read up to byte"), "{said}");
        assert_eq!(position.offset, before.offset + content.len() as u64);
        // Who was not there cannot know what is missing.
        let (earliest, latest) = match place.log("a").fetch(&before, NOW) {
            Err(Error::OutOfRange { earliest, latest }) => (earliest, latest),
            other => panic!("{other:?}"),
        };
        assert!(logged().contains("a was cut, replaced or removed; what followed byte"));
        let mut anew = earliest;
        assert_eq!(rest(&mut place.log("a"), &mut anew), expected);
        assert_eq!(anew.offset, position.offset, "offsets go on");
        let mut after = latest;
        assert!(rest(&mut place.log("a"), &mut after).is_empty());
    }
}

#[test]
fn bytes_that_were_seen_and_are_gone_are_out_of_range() {
    let place = Place::following("*");
    let mut log = place.log("a");
    place.append("a", "one\nunfinished");
    let first = log.fetch(&Position::at(0), NOW).unwrap();
    let next = log.fetch(&first.next, NOW).unwrap().next;
    fs::File::create(place.path("a")).unwrap();
    place.append("a", "new\n");
    let error = log.fetch(&next, PATIENT).unwrap_err();
    let Error::OutOfRange { mut earliest, .. } = error else { panic!("{error}") };
    assert!(logged().contains("bytes 4..14 of it cannot be read any more"));
    assert_eq!(wait(&mut log, &mut earliest), ["new"]);
}

#[test]
fn a_file_rewritten_in_place_loses_no_line() {
    // The same beginning, far beyond the first KiB, and longer than what was read.
    for banner in [0, 10, 1_100, 300_000] {
        for growth in [0, 1, 5] {
            let place = Place::following("*");
            let banner = format!("{}\n", "#".repeat(banner));
            let (mut log, mut position) = (place.log("a"), Position::at(0));
            place.append("a", format!("{banner}1\n2\n"));
            rest(&mut log, &mut position);
            let mut lines = vec!["10".to_owned()];
            lines.extend((0..growth).map(|n| format!("{}", 11 + n)));
            fs::write(place.path("a"), format!("{banner}{}\n", lines.join("\n"))).unwrap();
            let read: Vec<String> =
                wait(&mut log, &mut position).into_iter().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(read, lines);
        }
    }
}

#[test]
fn a_rewritten_file_of_the_same_size_is_noticed_live() {
    let place = Place::following("*");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    for n in 0..5 {
        fs::write(place.path("a"), format!("{{\"id\":{n}}}\n")).unwrap();
        assert_eq!(wait(&mut log, &mut position), [format!("{{\"id\":{n}}}")]);
    }
}

#[test]
fn a_file_that_is_put_in_place_with_more_lines_is_read_on() {
    for begin in ["one\n", "one\ntw"] {
        let place = Place::following("*");
        place.append("a", begin);
        let (mut log, mut position) = (place.log("a"), Position::at(0));
        assert_eq!(rest(&mut log, &mut position), ["one"]);
        place.append("b.tmp", "one\ntwo\n");
        place.rename("b.tmp", "a");
        assert_eq!(wait(&mut log, &mut position), ["two"], "{begin:?}");
    }
}

#[test]
fn deleted_and_made_again_with_the_same_beginning() {
    let place = Place::following("a*");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    place.append("a", "start\n1\n");
    assert_eq!(rest(&mut log, &mut position), ["start", "1"]);
    place.append("a", "2\n");
    fs::remove_file(place.path("a")).unwrap();
    place.append("a", "start\n3\n4\n5\n");
    assert_eq!(wait_for(&mut log, &mut position, 5), ["2", "start", "3", "4", "5"]);
    // Files that say the same are two, as long as both are there.
    place.rename("a", "a.1");
    place.append("a", "start\n3\n4\n5\n");
    assert_eq!(wait(&mut log, &mut position), ["start", "3", "4", "5"]);
}

#[test]
fn files_that_say_the_same_are_all_read() {
    let mut place = Place::ending("*");
    for name in ["a", "b", "a.1", "a.2"] {
        place.append(name, "start\n");
        fs::File::open(place.path(name))
            .unwrap()
            .set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
            .unwrap();
    }
    assert_eq!(place.run().unwrap(), ["start"; 4]);
    assert!(place.run().unwrap().is_empty());
    // The oldest goes, its number may be taken by the new one.
    fs::remove_file(place.path("a.2")).unwrap();
    place.rename("a.1", "a.2");
    place.rename("a", "a.1");
    place.append("a", "start\n");
    assert_eq!(place.run().unwrap(), ["start"]);
}

fn pack(place: &Place, from: &str, to: &str) {
    let bytes = fs::read(place.path(from)).unwrap();
    let packed = if to.ends_with(".gz") {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&bytes).unwrap();
        packer.finish().unwrap()
    } else {
        zstd::encode_all(&bytes[..], 1).unwrap()
    };
    fs::write(place.path(to), packed).unwrap();
    let file = fs::File::open(place.path(to)).unwrap();
    file.set_modified(fs::metadata(place.path(from)).unwrap().modified().unwrap()).unwrap();
    fs::remove_file(place.path(from)).unwrap();
}

#[test]
fn packed_files_are_read_once() {
    for extension in ["gz", "zst"] {
        for follow in [true, false] {
            let mut place = Place::following("app.log*");
            place.settings.follow = follow;
            let line = |n: u32| format!("{n} {}\n", "x".repeat(100));
            let all = |range: std::ops::Range<u32>| range.map(line).collect::<String>();
            place.append("app.log", all(0..2000));
            assert_eq!(place.run().unwrap().len(), 2000);
            place.append("app.log", all(2000..3000));
            place.rename("app.log", "app.log.1");
            place.append("app.log", all(3000..3100));
            // Packed before its rest was read.
            pack(&place, "app.log.1", &format!("app.log.1.{extension}"));
            assert_eq!(place.run().unwrap().len(), 1100, "{extension} {follow}");
            place.rename(&format!("app.log.1.{extension}"), &format!("app.log.2.{extension}"));
            pack(&place, "app.log", &format!("app.log.1.{extension}"));
            assert!(place.run().unwrap().is_empty(), "{extension} {follow}");
            // One that was never seen before.
            place.append("app.log", all(3100..3200));
            pack(&place, "app.log", &format!("app.log-20260131.{extension}"));
            assert_eq!(place.run().unwrap().len(), 100, "{extension} {follow}");
            let expected: Vec<String> = (0..3200).map(|n| line(n).trim_end().to_owned()).collect();
            assert!(place.read == expected);
        }
    }
}

#[test]
fn a_packed_file_that_is_damaged_is_said() {
    let mut place = Place::ending("*");
    place.append("a", "one\ntwo\n".repeat(10_000));
    pack(&place, "a", "a.1.gz");
    let bytes = fs::read(place.path("a.1.gz")).unwrap();
    fs::write(place.path("a.1.gz"), &bytes[..bytes.len() - 10]).unwrap();
    let file = fs::File::open(place.path("a.1.gz")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    let mut log = place.log("a");
    let (mut position, mut fault) = (Position::at(0), String::new());
    loop {
        let fetched = log.fetch(&position, NOW).unwrap();
        if let Some(last) = fetched.messages.len().checked_sub(1) {
            fault = attribute(&fetched.messages, last, "fault");
        }
        position = fetched.next;
        if fetched.progress == Progress::Ended {
            break;
        }
    }
    assert!(fault.starts_with("file.damaged a.1.gz cannot be unpacked behind byte"), "{fault}");
    place.run().unwrap();
    assert!(place.run().unwrap().is_empty());
}

#[test]
fn a_log_that_is_renamed_goes_on() {
    for follow in [true, false] {
        let mut place = Place::following("*.log");
        place.settings.follow = follow;
        place.append("app.log", "1\n2\n");
        place.run().unwrap();
        place.append("app.log", "3\n");
        place.rename("app.log", "app-20260131.log");
        place.append("app.log", "4\n");
        assert_eq!(place.run().unwrap(), ["3", "4"], "{follow}");
        assert!(place.run().unwrap().is_empty());
        place.append("app-20260131.log", "5\n");
        place.run().unwrap();
        // A copy is a file of its own.
        fs::copy(place.path("app.log"), place.path("copy.log")).unwrap();
        assert_eq!(place.run().unwrap(), ["4"], "{follow}");
        assert_eq!(place.known.len(), 2);
    }
}

#[test]
fn a_log_that_is_renamed_before_it_is_committed_is_read_once() {
    let place = Place::following("*.log");
    let mut source = Files::open(&place.topic(), place.settings.clone()).unwrap();
    place.append("app.log", "1\n");
    assert_eq!(source.partitions(&[], Duration::ZERO).unwrap().len(), 1);
    place.rename("app.log", "app-20260131.log");
    assert!(source.partitions(&[], Duration::ZERO).unwrap().is_empty());
    place.append("app.log", "2\n");
    let labels: Vec<String> =
        source.partitions(&[], Duration::ZERO).unwrap().into_iter().map(|one| one.label).collect();
    assert_eq!(labels, ["app.log"]);
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

#[test]
fn a_line_that_is_too_long_is_set_aside() {
    let place = Place::new(Settings { max_line: 100_000, ..Settings::default() });
    place.append("long", format!("{}\nnext\n", "x".repeat(200_000)));
    let fetched = place.log("long").fetch(&Position::at(0), Limits { bytes: 1 << 16, ..NOW }).unwrap();
    let fault = attribute(&fetched.messages, 0, "fault");
    assert!(fault.starts_with("line.too-long ") && fault.contains("maxLine"), "{fault}");
    assert_eq!(fetched.messages.value(0).len(), 64 << 10);
    // The place is in the middle of the line, also for somebody else.
    let mut position = fetched.next;
    assert_eq!(rest(&mut place.log("long"), &mut position), ["next"]);
}

#[test]
fn a_hole_is_passed_over() {
    for size in [100, 3 << 20] {
        let place = Place::new(Settings { max_line: 1 << 20, ..Settings::default() });
        let (mut log, mut position) = (place.log("hole"), Position::at(0));
        let file = fs::File::create(place.path("hole")).unwrap();
        file.set_len(size).unwrap();
        assert!(rest(&mut log, &mut position).is_empty());
        assert_eq!(position.offset, 0, "what has no line yet is not passed over");
        place.append("hole", "1\n2\n");
        let fetched = log.fetch(&position, PATIENT).unwrap();
        assert_eq!(lines(&fetched.messages), [(size, "1".into()), (size + 2, "2".into())]);
        assert!(logged().contains(&format!("{size} NUL bytes")));
        assert!(rest(&mut place.log("hole"), &mut fetched.next.clone()).is_empty());
    }
}

#[test]
fn a_cut_under_a_writer_that_keeps_its_place() {
    let place = Place::following("a*");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    place.append("a", "1\n2\n");
    rest(&mut log, &mut position);
    fs::copy(place.path("a"), place.path("a.1")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(place.path("a")).unwrap();
    file.set_len(0).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"3\n4\n", 4).unwrap();
    assert_eq!(wait(&mut log, &mut position), ["3", "4"]);
}

#[test]
fn files_of_other_encodings_are_refused_by_name() {
    let place = Place::following("*");
    place.append("wide.txt", b"\xff\xfea\0\n\0b\0\n\0");
    let mut log = place.log("wide.txt");
    let fetched = log.fetch(&Position::at(0), NOW).unwrap();
    let fault = attribute(&fetched.messages, 0, "fault");
    assert!(fault.starts_with("file.encoding wide.txt is UTF-16"), "{fault}");
    place.append("wide.txt", b"c\0\n\0");
    assert!(rest(&mut place.log("wide.txt"), &mut fetched.next.clone()).is_empty());
}

#[test]
fn records_have_the_header_of_their_file() {
    let settings = || testing::settings(&[("framing", "csv"), ("header", "true"), ("follow", "false")]).unwrap();
    let place = Place::new(settings());
    place.append("a.csv", "\u{feff}\"id\",note\r\n1,\"x\ny\"\r\n2,z\r\n");
    place.append("b.csv", "note,id\nw,3\n");
    let mut log = place.log("a.csv");
    let header = log.fetch(&Position::at(0), NOW).unwrap();
    assert_eq!((header.messages.len(), header.next.offset), (0, 14));
    let first = log.fetch(&header.next, Limits { messages: 1, ..NOW }).unwrap();
    assert_eq!(lines(&first.messages), [(14, "1,\"x\ny\"".into())]);
    // Also where somebody goes on in the middle.
    let second = place.log("a.csv").fetch(&first.next, NOW).unwrap();
    assert_eq!(texts(&second.messages), ["2,z"]);
    for messages in [&first.messages, &second.messages] {
        assert_eq!(attribute(messages, 0, "header"), "\"id\",note");
    }
    let mut position = Position::at(0);
    assert_eq!(rest(&mut place.log("b.csv"), &mut position), ["w,3"]);
    place.append("c.csv", "id,\"open\n1,2\n");
    let refused = place.log("c.csv").fetch(&Position::at(0), NOW).unwrap();
    assert!(attribute(&refused.messages, 0, "fault").starts_with("csv.header the header of c.csv"));
    assert!(rest(&mut place.log("c.csv"), &mut refused.next.clone()).is_empty());
}

#[test]
fn a_file_can_be_one_message() {
    let place = Place::new(Settings { whole: true, ..Settings::default() });
    place.append("a.1", "one\n\ntwo");
    let (mut log, mut position) = (place.log("a.1"), Position::at(0));
    assert_eq!(rest(&mut log, &mut position), ["one\n\ntwo"]);
    assert_eq!(position.offset, 8);
    assert!(rest(&mut place.log("a.1"), &mut position.clone()).is_empty());
    fs::write(place.path("a.1"), "another").unwrap();
    assert_eq!(wait(&mut log, &mut position), ["another"]);
    let mut ending = place.settings.clone();
    (ending.follow, ending.max_line) = (false, 5);
    let error =
        Directory::open(&place.topic(), &ending).unwrap().named("a.1").fetch(&Position::at(0), NOW).unwrap_err();
    assert!(error.to_string().contains("maxLine"), "{error}");
    place.append("a.1", "more");
    let error = place.log("a.1").fetch(&position, PATIENT).unwrap_err().to_string();
    assert!(error.contains("grew"), "{error}");
}

#[test]
fn links_are_followed_within_the_directory() {
    use std::os::unix::fs::symlink;
    let mut place = Place::ending("*.log");
    fs::create_dir(place.path("run")).unwrap();
    place.append("run/1", "a\n");
    place.append("run/2", "b\n");
    symlink("run/1", place.path("current.log")).unwrap();
    symlink("gone/nothing", place.path("dangling.log")).unwrap();
    assert_eq!(place.run().unwrap(), ["a"]);
    let said = logged();
    assert!(said.contains("dangling.log is a symbolic link that leads to nothing"), "{said}");
    fs::remove_file(place.path("current.log")).unwrap();
    symlink("run/2", place.path("current.log")).unwrap();
    assert_eq!(place.run().unwrap(), ["b"]);
    // Two names of one file are one log.
    symlink("current.log", place.path("again.log")).unwrap();
    fs::hard_link(place.path("run/2"), place.path("third.log")).unwrap();
    assert!(place.run().unwrap().is_empty());
}

#[test]
fn what_is_not_read_is_named() {
    let mut place = Place::ending("*.lgo");
    place.append("a.log", "a\n");
    place.run().unwrap();
    let said = logged();
    assert!(said.contains("matches the pattern `*.lgo`: it has a.log"), "{said}");
    let name = std::ffi::OsStr::new("b\u{fffd}.lgo").to_os_string();
    drop(name);
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"b\xff.lgo");
    append(&place.dir.path().join(odd), "b\n");
    place.append("c.lgo", "c\n");
    assert_eq!(place.run().unwrap(), ["c"]);
    let said = logged();
    assert!(said.contains("not UTF-8") && said.contains("b\\u{fffd}.lgo"), "{said}");
}

#[test]
fn numbers_stay_when_files_come_and_go() {
    let place = Place::following("*.log*");
    place.append("b.log", "");
    place.append("c.txt", "");
    let mut directory = Directory::open(&place.topic(), &place.settings).unwrap();
    let before = directory.logs(&[]).unwrap();
    place.append("a.log", "");
    place.append("b.log.1", "");
    let after = directory.logs(&[]).unwrap();
    assert_eq!(before.values().collect::<Vec<_>>(), ["b.log"]);
    assert!(after.len() == 2 && before.iter().all(|(id, name)| after.get(id) == Some(name)));
}

/// `cargo test --release -p plugin-files -- --ignored --nocapture throughput`
#[test]
#[ignore = "measures"]
fn throughput() {
    let place = Place::ending("*");
    let line = format!("{{\"id\":12345678,\"text\":\"{}\"}}\n", "x".repeat(100));
    place.append("a", line.repeat((100 << 20) / line.len()));
    for _ in 0..3 {
        let (mut log, mut position, mut count) = (place.log("a"), Position::at(0), 0);
        let begun = spout_guest::now();
        let limits = Limits { messages: 8192, bytes: 4 << 20, timeout: Duration::ZERO };
        loop {
            let fetched = log.fetch(&position, limits).unwrap();
            count += fetched.messages.len();
            position = fetched.next;
            if fetched.progress == Progress::Ended {
                break;
            }
        }
        let took = begun.elapsed();
        println!("{count} lines, {:.0} MB/s", position.offset as f64 / 1e6 / took.as_secs_f64());
    }
}
