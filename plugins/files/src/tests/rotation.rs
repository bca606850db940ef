//! Files that are renamed, copied and cut, rewritten, packed, deleted and made again.

use super::*;

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
fn a_file_that_is_replaced_and_moved_before_anybody_looks_is_read_on() {
    let place = Place::following("a*");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    log.tempo.look = Duration::ZERO;
    place.append("a", "1\n");
    assert_eq!(rest(&mut log, &mut position), ["1"]);
    place.append("tmp", "1\n2\n");
    place.rename("tmp", "a");
    place.rename("a", "a.1");
    let mut read = Vec::new();
    for _ in 0..3 {
        read.extend(rest(&mut log, &mut position));
    }
    log.scan_now();
    read.extend(rest(&mut log, &mut position));
    assert_eq!(read, ["2"]);
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
