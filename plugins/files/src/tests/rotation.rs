//! Files that are renamed, rewritten, packed, deleted and made again.

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
fn a_packed_file_that_has_the_number_of_the_log_is_not_the_log() {
    let lines: Vec<String> =
        (0..20_000_u64).map(|n| format!("{n} {}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for complete in [true, false] {
        let place = Place::following("app.log*");
        place.append("app.log", lines.join("\n") + "\n");
        let mut position = place.log("app.log").fetch(&Position::at(0), Limits { messages: 1, ..NOW }).unwrap().next;
        // It is replaced by a copy, which is moved; what is packed of that gets the number that is free.
        fs::copy(place.path("app.log"), place.path("app.log.1")).unwrap();
        let packed = gzip(&(lines.join("\n") + "\n"));
        let length = if complete { packed.len() } else { packed.len() / 2 };
        fs::write(place.path("app.log"), &packed[..length]).unwrap();
        place.rename("app.log", "app.log.1.gz");
        let mut log = place.log("app.log");
        let mut read = rest(&mut log, &mut position);
        log.scan_now();
        read.extend(rest(&mut log, &mut position));
        assert!(read == lines[1..], "{complete}: {} lines", read.len());
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
