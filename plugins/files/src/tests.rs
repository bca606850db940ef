//! Files that grow, end, shrink, are replaced and appear.

use std::{fs, io::Write as _};

use spout_guest::{Error, Messages, Progress, testing};

use super::*;

const NOW: Limits = Limits { messages: 1000, bytes: 1 << 20, timeout: Duration::ZERO };

fn lines(messages: &Messages) -> Vec<(u64, String)> {
    let text = |index| String::from_utf8_lossy(messages.value(index)).into_owned();
    messages.offsets().iter().enumerate().map(|(index, &offset)| (offset, text(index))).collect()
}

fn append(path: &std::path::Path, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_line_counts_when_it_has_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "one\ntwo\r\n\nthr");
    let mut file = Lines::new(path.clone(), &Settings::default());
    let first = file.fetch(Position::at(0), NOW).unwrap();
    assert_eq!(lines(&first.messages), [(0, "one".into()), (4, "two".into())]);
    assert_eq!((first.next.offset, first.high_watermark, first.progress), (10, Some(13), Progress::More));
    let none = file.fetch(first.next.clone(), NOW).unwrap();
    assert_eq!((none.messages.len(), none.next.offset, none.progress), (0, 10, Progress::Idle));
    append(&path, "ee\nfour\n");
    let rest = file.fetch(none.next, NOW).unwrap();
    assert_eq!(lines(&rest.messages), [(10, "three".into()), (16, "four".into())]);
    // Any earlier position gives the same lines again, also to a reader that has seen nothing.
    let mut other = Lines::new(path, &Settings::default());
    assert_eq!(lines(&other.fetch(first.next, NOW).unwrap().messages), lines(&rest.messages));
}

#[test]
fn one_fetch_waits_for_growth() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "one\n");
    let mut file = Lines::new(path.clone(), &Settings::default());
    let first = file.fetch(Position::at(0), NOW).unwrap();
    let patient = Limits { timeout: Duration::from_secs(20), ..NOW };
    let grown = std::thread::scope(|scope| {
        let reading = scope.spawn(|| file.fetch(first.next, patient).unwrap());
        append(&path, "\ntwo\n");
        reading.join().unwrap()
    });
    assert_ne!(grown.progress, Progress::Idle);
    let after = if grown.messages.is_empty() { file.fetch(grown.next, patient).unwrap() } else { grown };
    assert_eq!(lines(&after.messages), [(5, "two".into())]);
}

#[test]
fn limits_cut_between_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "aaaa\nbbbb\ncccc\n");
    let mut file = Lines::new(path, &Settings::default());
    let one = file.fetch(Position::at(0), Limits { messages: 1, ..NOW }).unwrap();
    assert_eq!((lines(&one.messages), one.next.offset), (vec![(0, "aaaa".into())], 5));
    let two = file.fetch(one.next, Limits { bytes: 6, ..NOW }).unwrap();
    assert_eq!((lines(&two.messages), two.next.offset), (vec![(5, "bbbb".into())], 10));
}

#[test]
fn without_follow_a_file_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "one\ntwo");
    let mut file = Lines::new(path, &Settings { follow: false, ..Settings::default() });
    let first = file.fetch(Position::at(0), NOW).unwrap();
    let rest = file.fetch(first.next.clone(), NOW).unwrap();
    let all: Vec<_> = lines(&first.messages).into_iter().chain(lines(&rest.messages)).collect();
    assert_eq!(all, [(0, "one".into()), (4, "two".into())]);
    assert_eq!((rest.next.offset, rest.progress), (7, Progress::Ended));
    let over = file.fetch(rest.next, NOW).unwrap();
    assert_eq!((over.messages.len(), over.progress), (0, Progress::Ended));
}

#[test]
fn a_file_that_shrank_or_was_replaced_is_noticed() {
    let check = |content: &str, latest: u64| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        append(&path, "one\ntwo\n");
        let mut file = Lines::new(path.clone(), &Settings::default());
        let read = file.fetch(Position::at(0), NOW).unwrap();
        fs::remove_file(&path).unwrap();
        append(&path, content);
        let same = Limits { timeout: Duration::from_millis(50), ..NOW };
        assert_eq!(file.fetch(read.next.clone(), same), Err(Error::OutOfRange { earliest: 0, latest }), "{content}");
        let mut other = Lines::new(path, &Settings::default());
        assert_eq!(other.fetch(read.next, NOW), Err(Error::OutOfRange { earliest: 0, latest }), "{content}");
        let anew = file.fetch(Position::at(0), NOW).unwrap();
        assert_eq!(anew.next.offset, latest);
    };
    check("1\n", 2);
    check("three\nfour\nfive\n", 16);
    // Where to go on is the start of a line.
    check("three\nfou", 6);
}

#[test]
fn a_copy_with_more_lines_is_read_on() {
    for begin in ["", "one\n", "one\ntw"] {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("a"), dir.path().join("b"));
        append(&path, begin);
        let mut file = Lines::new(path.clone(), &Settings::default());
        let first = file.fetch(Position::at(0), NOW).unwrap();
        append(&copy, "one\ntwo\n");
        fs::rename(&copy, &path).unwrap();
        let patient = Limits { timeout: Duration::from_secs(20), ..NOW };
        let rest = file.fetch(first.next, patient).unwrap();
        let all: Vec<_> = lines(&first.messages).into_iter().chain(lines(&rest.messages)).collect();
        assert_eq!(all, [(0, "one".into()), (4, "two".into())], "{begin:?}");
    }
}

#[test]
fn places_to_start_are_starts_of_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "one\ntwo\nthr");
    let file = |follow| Lines::new(path.clone(), &Settings { follow, ..Settings::default() });
    assert_eq!((file(true).end().unwrap().offset, file(false).end().unwrap().offset), (8, 11));
    let check = |offset, expected| assert_eq!(file(true).at_or_after(offset).unwrap().offset, expected, "{offset}");
    check(0, 0);
    check(1, 4);
    check(4, 4);
    check(5, 8);
    check(9, 11);
    check(50, 50);
    let end = file(true).end().unwrap();
    append(&path, "ee\n");
    assert_eq!(lines(&file(true).fetch(end, NOW).unwrap().messages), [(8, "three".into())]);
    let long = dir.path().join("long");
    append(&long, &format!("a\n{}", "x".repeat(200_000)));
    assert_eq!(Lines::new(long, &Settings::default()).end().unwrap().offset, 2);
}

#[test]
fn a_line_without_end_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    append(&path, &"x".repeat(200_000));
    let mut file = Lines::new(path, &Settings { max_line: 100_000, ..Settings::default() });
    let error = file.fetch(Position::at(0), NOW).unwrap_err().to_string();
    assert!(error.contains("long") && error.contains("byte 0") && error.contains("maxLine"), "{error}");
}

#[test]
fn numbers_stay_when_files_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    append(&dir.path().join("b.log"), "");
    append(&dir.path().join("c.txt"), "");
    let settings = Settings { pattern: "*.log".into(), ..Settings::default() };
    let directory = Directory::open(dir.path().into(), &settings).unwrap();
    let before = directory.files().unwrap();
    append(&dir.path().join("a.log"), "");
    let after = directory.files().unwrap();
    assert_eq!(before.values().collect::<Vec<_>>(), ["b.log"]);
    assert!(after.len() == 2 && before.iter().all(|(id, name)| after.get(id) == Some(name)));
}

#[test]
fn settings_are_read_from_texts() {
    let settings: Settings = testing::settings(&[("pattern", "*.x"), ("follow", "false"), ("maxLine", "10")]).unwrap();
    assert!(!settings.follow && settings.max_line == 10);
    assert!(testing::settings::<Settings>(&[("patern", "*")]).is_err());
}

#[test]
fn a_file_can_be_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    append(&path, "one\n\ntwo");
    let settings = Settings { whole: true, ..Settings::default() };
    let mut file = Lines::new(path.clone(), &settings);
    let first = file.fetch(Position::at(0), NOW).unwrap();
    assert_eq!(lines(&first.messages), [(0, "one\n\ntwo".into())]);
    assert_eq!((first.next.offset, first.progress), (8, Progress::More));
    let mut other = Lines::new(path.clone(), &settings);
    assert!(other.fetch(first.next.clone(), NOW).unwrap().messages.is_empty());
    assert_eq!((other.end().unwrap().offset, other.at_or_after(3).unwrap().offset), (8, 8));
    let mut ending = Lines::new(path.clone(), &Settings { follow: false, ..settings.clone() });
    assert_eq!(ending.fetch(Position::at(0), NOW).unwrap().progress, Progress::Ended);
    append(&path, "more");
    let error = file.fetch(first.next, NOW).unwrap_err().to_string();
    assert!(error.contains("grew"), "{error}");
    let mut small = Lines::new(path, &Settings { max_line: 10, ..settings });
    assert!(small.fetch(Position::at(0), NOW).is_err());
}
