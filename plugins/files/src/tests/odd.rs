//! Files that are out of the ordinary: long lines, holes, encodings, records, links, names.

use super::*;

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
        assert_eq!(attribute(messages, 0, "first"), "");
    }
    let mut position = Position::at(0);
    assert_eq!(rest(&mut place.log("b.csv"), &mut position), ["w,3"]);
    place.append("c.csv", "id,\"open\n1,2\n");
    let refused = place.log("c.csv").fetch(&Position::at(0), NOW).unwrap();
    assert!(attribute(&refused.messages, 0, "fault").starts_with("csv.header the header of c.csv"));
    assert!(rest(&mut place.log("c.csv"), &mut refused.next.clone()).is_empty());
    // What is taken for a header and holds more is not gone without a word.
    place.append("d.csv", "id,name\r1,Ann\r2,Bob\r");
    let refused = place.log("d.csv").fetch(&Position::at(0), NOW).unwrap();
    assert!(attribute(&refused.messages, 0, "fault").starts_with("csv.syntax the header of d.csv"));
    assert_eq!((texts(&refused.messages), refused.next.offset), (vec!["id,name\r1,Ann\r2,Bob\r".into()], 20));
    place.append("e.csv", "\n1,Ann");
    let only = place.log("e.csv").fetch(&Position::at(0), NOW).unwrap();
    assert_eq!(lines(&only.messages), [(1, "1,Ann".into())]);
    assert_eq!(attribute(&only.messages, 0, "header"), "1,Ann");
    assert!(rest(&mut place.log("e.csv"), &mut only.next.clone()).is_empty());
    place.append("f.csv", "\"i\r\nd\",name\n");
    assert!(rest(&mut place.log("f.csv"), &mut Position::at(0)).is_empty());
}

#[test]
fn the_first_line_goes_with_all_lines_of_its_file() {
    let check = |settings: &[(&str, &str)], text: &str, expected: &str| {
        let place = Place::new(testing::settings(settings).unwrap());
        place.append("a", text);
        let mut at = Position::at(0);
        for message in 0..3 {
            // Each time somebody else goes on.
            let fetched = place.log("a").fetch(&at, Limits { messages: 1, ..NOW }).unwrap();
            assert_eq!(fetched.messages.len(), 1, "{text}");
            assert_eq!(attribute(&fetched.messages, 0, "first"), expected, "message {message} of {text}");
            at = fetched.next;
        }
    };
    check(&[], "\u{feff}\r\nb,a\r\nB1,A1\r\nB2,A2\r\n", "b,a");
    check(&[("framing", "csv")], "b,\"a\n\"\nB1,A1\nB2,A2\n", "b,\"a\n\"");
    check(&[], "\0\0a,b\n1,2\n3,4\n", "a,b");
    let long = "x".repeat(5000);
    check(&[], &format!("{long}\n1\n2\n"), &long);
    check(&[], "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", "");
    check(&[], &format!("{}\n1\n2\n", "x".repeat(70_000)), "");
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
