//! Files of a directory.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use spout_guest::{
    Error, Fetched,
    testing::{self, fetch},
};

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file as it was `age` seconds ago.
    fn put(&self, name: &str, age: u64, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        dated(&path, age);
    }

    fn reader(&self, prefix: &str, more: &[(&str, &str)]) -> Reader<Folder> {
        let settings: DirectorySettings = testing::settings(&[more, &[("every", "0")]].concat()).unwrap();
        settings.check().unwrap();
        let folder = Folder::open(self.0.path().to_str().unwrap(), prefix, &settings).unwrap();
        Reader::new(folder, settings.reading())
    }
}

fn dated(path: &Path, age: u64) {
    let time = SystemTime::now() - Duration::from_secs(age);
    File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn all(reader: &mut Reader<Folder>, start: &Position) -> (Vec<String>, Position) {
    testing::read_all(reader, start, 100).unwrap()
}

/// What was set aside, by file.
fn aside(fetched: &Fetched) -> Vec<String> {
    let said = |name: &str| {
        let of = fetched.messages.attributes().iter().filter(move |one| one.name == name);
        of.map(|one| String::from_utf8_lossy(&one.value).into_owned()).collect::<Vec<_>>()
    };
    let faults = said("fault").into_iter().filter(|fault| !fault.is_empty());
    said("file").into_iter().zip(faults).map(|(file, fault)| format!("{file} {fault}")).collect()
}

#[test]
fn files_are_read_once_in_their_order_wherever_they_are() {
    for (order, expected) in [("name", ["1", "2", "3", "4", "5"]), ("modified", ["4", "2", "3", "5", "1"])] {
        let place = Place::new();
        place.put("a", 20, b"1");
        place.put("b/x.gz", 80, &[gzip(b"2\r\n\n"), gzip(b"3\n")].concat());
        place.put("c/d/e", 90, b"4\n");
        place.put("e", 70, b"");
        place.put("f", 60, b"5\n");
        place.put(".g.part", 60, b"no\n");
        std::os::unix::fs::symlink("/etc", place.path("h")).unwrap();
        std::os::unix::fs::symlink("nowhere", place.path("i")).unwrap();
        let mut places = vec![Position::default()];
        let mut one = place.reader("", &[("order", order)]);
        for at in 0..5 {
            for (from, start) in places.iter().enumerate() {
                assert_eq!(all(&mut place.reader("", &[("order", order)]), start).0, expected[from..], "{order}");
            }
            places.push(fetch(&mut one, &places[at], 1).unwrap().next);
        }
        let end = all(&mut one, &places[5]).1;
        assert_eq!((all(&mut one, &end).0.len(), end.offset), (0, 5));
        // Those that are below the prefix alone, also if it is a part of a name.
        assert_eq!(all(&mut place.reader("c/d/", &[]), &Position::default()).0, ["4"]);
        assert_eq!(all(&mut place.reader("b/x", &[("suffix", "x.gz")]), &Position::default()).0, ["2", "3"]);
        assert_eq!(all(&mut place.reader("b/y", &[]), &Position::default()).0.len(), 0);
    }
}

#[test]
fn a_file_counts_when_it_was_not_written_for_a_while_or_at_once() {
    for order in ["name", "modified"] {
        let place = Place::new();
        place.put("a", 60, b"1\n");
        place.put("b", 0, b"2\n");
        place.put("c", 60, b"3\n");
        let mut patient = place.reader("", &[("order", order), ("settle", "30")]);
        // By name, one that is not complete keeps back those behind it. It is not over as long as there is one.
        let expected: &[&str] = if order == "name" { &["1"] } else { &["1", "3"] };
        let first = fetch(&mut patient, &Position::default(), 100).unwrap();
        let found: Vec<_> =
            first.messages.iter().map(|one| String::from_utf8_lossy(one.value()).into_owned()).collect();
        assert_eq!(
            (found.as_slice(), first.high_watermark),
            (&expected.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..], None)
        );
        let second = fetch(&mut patient, &first.next, 100).unwrap();
        assert_eq!((second.messages.len(), second.progress), (0, spout_guest::Progress::More));
        dated(&place.path("b"), 31);
        let left: &[&str] = if order == "name" { &["2", "3"] } else { &["2"] };
        assert_eq!(all(&mut patient, &second.next).0, left, "{order}");
        // One whose date is ahead of us counts when it stays as it is.
        let mut hasty = place.reader("", &[("order", order), ("settle", "0")]);
        File::options()
            .append(true)
            .open(place.path("c"))
            .unwrap()
            .set_modified(SystemTime::now() + Duration::from_secs(600))
            .unwrap();
        assert_eq!(all(&mut hasty, &Position::default()).0.len(), 3);
    }
}

#[test]
fn a_file_that_is_written_after_it_was_read_is_named_or_read_again() {
    for order in ["name", "modified"] {
        let place = Place::new();
        place.put("a", 60, b"1\n");
        place.put("b", 50, b"2\n");
        let settings = [("order", order)];
        let end = all(&mut place.reader("", &settings), &Position::default()).1;
        place.put("a", 20, b"1\n3\n");
        place.put("c", 10, b"4\n");
        let mut reader = place.reader("", &settings);
        let fetched = fetch(&mut reader, &end, 100).unwrap();
        let values: Vec<_> =
            fetched.messages.iter().map(|one| String::from_utf8_lossy(one.value()).into_owned()).collect();
        assert_eq!(values, ["", "4"], "{order}");
        let said = aside(&fetched);
        assert!(said.len() == 1 && said[0].starts_with("a objects.changed it "), "{order}: {said:?}");
        // Once for each time, whoever reads on.
        assert_eq!(all(&mut reader, &fetched.next).0.len(), 0);
        assert_eq!(all(&mut place.reader("", &settings), &fetched.next).0.len(), 0, "{order}");
        place.put("a", 9, b"5\n");
        place.put("b", 8, b"6\n");
        assert_eq!(all(&mut place.reader("", &settings), &fetched.next).0, ["", ""], "{order}");
        let again = [("order", order), ("changed", "again")];
        assert_eq!(all(&mut place.reader("", &again), &fetched.next).0, ["5", "6"], "{order}");
        assert_eq!(all(&mut place.reader("", &again), &end).0.len(), 3, "{order}");
    }
}

#[test]
fn by_time_whatever_comes_is_read_and_what_is_gone_is_forgotten_late() {
    let place = Place::new();
    place.put("m", 60, b"1\n");
    let end = all(&mut place.reader("", &[]), &Position::default()).1;
    // Moved in with an old date, and a name that sorts before.
    place.put("a", 9_000, b"2\n");
    let mut reader = place.reader("", &[]);
    let next = all(&mut reader, &end);
    assert_eq!(next.0, ["2"]);
    fs::rename(place.path("m"), place.path(".m")).unwrap();
    place.put("n", 50, b"3\n");
    let third = all(&mut reader, &next.1);
    assert_eq!(third.0, ["3"]);
    fs::rename(place.path(".m"), place.path("m")).unwrap();
    assert_eq!(all(&mut reader, &third.1).0.len(), 0);
}

#[test]
fn bytes_of_two_versions_never_mix() {
    let place = Place::new();
    place.put("a", 60, b"1\n2\n3\n");
    let mut one = place.reader("", &[]);
    let first = fetch(&mut one, &Position::default(), 1).unwrap();
    place.put("a", 50, b"4\n5\n6\n7\n");
    let gone = fetch(&mut place.reader("", &[]), &first.next, 1);
    let Err(Error::OutOfRange { earliest, latest }) = gone else { panic!("it goes on") };
    assert_eq!(all(&mut one, &earliest).0, ["4", "5", "6", "7"]);
    // It was read, and is another one: that is said.
    let behind = fetch(&mut one, &latest, 100).unwrap();
    assert_eq!(aside(&behind).len(), 1);
    fs::remove_file(place.path("a")).unwrap();
    assert!(matches!(fetch(&mut place.reader("", &[]), &first.next, 1), Err(Error::OutOfRange { .. })));
    // A file that grew since it was listed is not read as it was not listed.
    place.put("b", 40, &b"x\n".repeat(2 << 20));
    let mut reader = place.reader("", &[]);
    let begun = fetch(&mut reader, &Position::default(), 10).unwrap();
    place.put("b", 30, &b"x\n".repeat(3 << 20));
    let mut place_now = begun.next;
    let failed = loop {
        match reader_step(&mut reader, &place_now) {
            Ok(fetched) => place_now = fetched.next,
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, Error::OutOfRange { .. }), "{failed:?}");
}

fn reader_step(reader: &mut Reader<Folder>, at: &Position) -> Result<Fetched> {
    fetch(reader, at, 1_000_000)
}

#[test]
fn a_directory_that_is_not_granted_and_wrong_settings_are_refused() {
    let open = |topic: &str, settings: &[(&str, &str)]| {
        testing::settings(settings).and_then(|settings| Directory::open(topic, settings)).map(drop)
    };
    assert!(open("tmp/x", &[]).is_ok());
    for (topic, settings) in [
        ("none-of-this-name", &[][..]),
        ("tmp", &[("settle", "-1")]),
        ("tmp", &[("maxLine", "0")]),
        ("tmp", &[("endpoint", "http://a")]),
    ] {
        assert!(matches!(open(topic, settings), Err(Error::InvalidConfig { .. })), "{topic} {settings:?}");
    }
}
