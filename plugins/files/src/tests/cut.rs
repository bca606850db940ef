//! Files that are copied and then cut.

use super::*;

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
fn a_copy_that_has_the_number_of_the_log_is_not_the_log() {
    let place = Place::following("app.log*");
    place.append("app.log", "1\n2\n3\n");
    let mut position = place.log("app.log").fetch(&Position::at(0), Limits { messages: 1, ..NOW }).unwrap().next;
    // It is replaced by a file with more lines, and a copy of that gets the number that is free.
    place.append("app.log", "4\n");
    fs::copy(place.path("app.log"), place.path("tmp")).unwrap();
    place.rename("app.log", "app.log.1");
    place.rename("tmp", "app.log");
    place.append("app.log", "5\n");
    let mut log = place.log("app.log");
    assert_eq!(rest(&mut log, &mut position), ["2", "3", "4", "5"]);
    log.scan_now();
    assert!(rest(&mut log, &mut position).is_empty());
    assert_eq!(logged(), "");
    fs::write(place.path("app.log"), "6\n").unwrap();
    assert_eq!(wait(&mut log, &mut position), ["6"]);
    assert!(logged().contains("app.log was cut after it was copied"));
}

#[test]
fn a_cut_after_the_log_was_replaced_is_said() {
    for closed in [false, true] {
        let place = Place::following("app.log*");
        let (mut log, mut position) = (place.log("app.log"), Position::at(0));
        place.append("app.log", "1\n");
        assert_eq!(rest(&mut log, &mut position), ["1"]);
        if closed {
            log.rest(true);
        }
        // Its number is not given again.
        let _kept = fs::File::open(place.path("app.log")).unwrap();
        place.append("tmp", "1\n2\n");
        place.rename("tmp", "app.log");
        fs::copy(place.path("app.log"), place.path("app.log.1")).unwrap();
        place.append("app.log", "gone\n");
        fs::write(place.path("app.log"), "3\n").unwrap();
        log.scan_now();
        assert_eq!(wait_for(&mut log, &mut position, 2), ["2", "3"], "{closed}");
        assert!(logged().contains("app.log was copied to app.log.1 and cut"), "{closed}");
    }
}

#[test]
fn a_copy_before_a_cut_is_known_although_the_log_was_renamed_after_the_cut() {
    let line = |n: u32| format!("{n} {}", "x".repeat(90));
    for banner in ["", &format!("{}\n", "#".repeat(5000))] {
        // As many bytes stand between the copy and the cut.
        for between in [1, 20, 40] {
            for (restarted, packed) in [(false, false), (true, false), (true, true)] {
                let place = Place::following("app.log*");
                let (mut log, mut position) = (place.log("app.log"), Position::at(0));
                place.append("app.log", format!("{banner}{}\n", line(1)));
                rest(&mut log, &mut position);
                fs::copy(place.path("app.log"), place.path("app.log.2")).unwrap();
                (0..between).for_each(|n| place.append("app.log", format!("{}\n", line(n))));
                assert_eq!(rest(&mut log, &mut position).len(), between as usize);
                log.rest(true);
                fs::write(place.path("app.log"), format!("{banner}{}\n", line(100))).unwrap();
                place.rename("app.log", "app.log.1");
                place.append("app.log", "live\n");
                // No file has what was read, and the one that had it may be between two names for an hour.
                log.tempo.look = Duration::from_secs(3600);
                log.scan_now();
                assert_eq!(rest(&mut log, &mut position), ["live"]);
                if packed {
                    pack(&place, "app.log.1", "app.log.1.gz");
                }
                if restarted {
                    log = place.log("app.log");
                }
                log.tempo.look = Duration::ZERO;
                let read = wait(&mut log, &mut position);
                let case = format!("{} {between} {restarted} {packed}", banner.len());
                assert_eq!(
                    read.into_iter().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(),
                    [line(100)],
                    "{case}"
                );
                assert!(logged().contains("app.log was cut after it was copied"), "{case}");
                assert!(rest(&mut place.log("app.log"), &mut position).is_empty(), "{case}");
            }
        }
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
