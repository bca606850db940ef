//! Files that come back, grow late, break off, or cannot be read.

use std::{
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    time::{Instant, SystemTime},
};

use super::*;

/// As if nobody had written to it for long.
fn settle(place: &Place, name: &str, seconds: u64) {
    let file = fs::File::open(place.path(name)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)).unwrap();
}

/// What a run reads of one log: lines and faults.
fn run(place: &mut Place, log: &str) -> (Vec<String>, Vec<String>) {
    let mut reader = place.log(log);
    let at = place.known.iter().position(|one| one.label == log).unwrap_or_else(|| {
        place.known.push(Known { id: 1, label: log.into(), position: Position::at(0) });
        place.known.len() - 1
    });
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    loop {
        let fetched = reader.fetch(&place.known[at].position, NOW).unwrap();
        for index in 0..fetched.messages.len() {
            let fault = attribute(&fetched.messages, index, "fault");
            if fault.is_empty() {
                lines.push(String::from_utf8_lossy(fetched.messages.value(index)).into_owned());
            } else {
                faults.push(fault);
            }
        }
        let done = !brings(&fetched, &place.known[at].position);
        place.known[at].position = fetched.next;
        if done {
            return (lines, faults);
        }
    }
}

#[test]
fn a_log_that_is_renamed_to_a_name_of_the_pattern_goes_on() {
    for follow in [true, false] {
        let mut place = Place::following("*.log");
        place.settings.follow = follow;
        place.append("a.log", "1\n2\n");
        place.run().unwrap();
        place.rename("a.log", "b.log");
        place.append("b.log", "3\n");
        assert_eq!(place.run().unwrap(), ["3"], "{follow}");
        assert!(place.run().unwrap().is_empty());
        place.append("b.log", "4\n");
        assert_eq!(place.run().unwrap(), ["4"], "{follow}");
        place.append("a.log", "5\n");
        assert_eq!(place.run().unwrap(), ["5"], "{follow}");
        place.rename("b.log", "c.log");
        place.append("c.log", "6\n");
        place.append("a.log", "7\n");
        let mut read = place.run().unwrap();
        read.sort();
        assert_eq!(read, ["6", "7"], "{follow}");
        assert_eq!(place.known.len(), 1);
    }
}

#[test]
fn a_log_that_is_renamed_while_it_is_read_goes_on() {
    let place = Place::following("*.log");
    place.append("a.log", "1\n");
    let (mut log, mut position) = (place.log("a.log"), Position::at(0));
    log.tempo.scan = Duration::from_millis(1);
    assert_eq!(rest(&mut log, &mut position), ["1"]);
    place.rename("a.log", "b.log");
    place.append("b.log", "2\n");
    assert_eq!(wait(&mut log, &mut position), ["2"]);
    for line in ["3", "4"] {
        // It is over meanwhile.
        std::thread::sleep(Duration::from_millis(600));
        assert!(rest(&mut log, &mut position).is_empty());
        place.append("b.log", format!("{line}\n"));
        assert_eq!(wait(&mut log, &mut position), [line]);
    }
    place.append("a.log", "5\n");
    assert_eq!(wait(&mut log, &mut position), ["5"]);
}

#[test]
fn all_files_of_several_rotations_are_read() {
    for times in 1..5 {
        let mut place = Place::following("app.log");
        place.append("app.log.3", "never\n");
        settle(&place, "app.log.3", 0);
        place.append("app.log", "0\n");
        settle(&place, "app.log", 1);
        assert_eq!(place.run().unwrap(), ["0"]);
        place.append("app.log", "more\n");
        fs::remove_file(place.path("app.log.3")).unwrap();
        for time in 0..times {
            for age in (1..=time).rev() {
                place.rename(&format!("app.log.{age}"), &format!("app.log.{}", age + 1));
            }
            place.rename("app.log", "app.log.1");
            place.append("app.log", format!("{time}\n"));
            settle(&place, "app.log", 2 + time);
        }
        let expected: Vec<String> = std::iter::once("more".into()).chain((0..times).map(|n| n.to_string())).collect();
        assert_eq!(place.run().unwrap(), expected);
        assert!(place.run().unwrap().is_empty());
    }
}

#[test]
fn a_packed_file_that_grows_is_read_on() {
    for extension in ["gz", "zst"] {
        let pack = |text: &str| match extension {
            "gz" => gzip(text),
            _ => zstd::encode_all(text.as_bytes(), 1).unwrap(),
        };
        let mut place = Place::following("*");
        let name = format!("a.{extension}");
        place.append(&name, pack("1\n2\n"));
        assert_eq!(place.run().unwrap(), ["1", "2"]);
        place.append(&name, pack("3\n"));
        assert_eq!(place.run().unwrap(), ["3"], "{extension}");
        let (mut log, mut position) = (place.log("a"), place.known[0].position.clone());
        log.tempo.scan = Duration::from_millis(1);
        assert!(rest(&mut log, &mut position).is_empty());
        place.append(&name, pack("4\n"));
        assert_eq!(wait(&mut log, &mut position), ["4"], "{extension}");
    }
}

#[test]
fn a_packed_file_is_read_up_to_the_damage_and_then_on() {
    let lines: Vec<String> =
        (0..50_000_u64).map(|n| format!("{n} {}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let all = lines.join("\n") + "\n";
    for (extension, packed) in [("gz", gzip(&all)), ("zst", zstd::encode_all(all.as_bytes(), 3).unwrap())] {
        let mut place = Place::following("*");
        let name = format!("a.{extension}");
        let half = &packed[..packed.len() / 2];
        fs::write(place.path(&name), half).unwrap();
        settle(&place, &name, 0);
        let mut there = Vec::new();
        if extension == "gz" {
            drop(flate2::read::GzDecoder::new(half).read_to_end(&mut there));
        }
        let least = if extension == "gz" { memchr::memchr_iter(b'\n', &there).count() } else { 20_000 };
        let (mut read, faults) = run(&mut place, "a");
        assert!(read.len() >= least && least >= 20_000, "{extension}: {} of {least}", read.len());
        assert!(faults.len() == 1 && faults[0].starts_with("file.damaged a."), "{faults:?}");
        assert_eq!(run(&mut place, "a"), (Vec::new(), Vec::new()), "said once");
        fs::write(place.path(&name), &packed).unwrap();
        let (more, faults) = run(&mut place, "a");
        read.extend(more);
        assert!(read == lines && faults.is_empty(), "{extension}: {} {faults:?}", read.len());
    }
}

#[test]
fn what_stands_behind_a_gzip_member() {
    for (behind, expected) in [(vec![0; 1000], 0), (b"garbage".to_vec(), 1), ([vec![0; 9], gzip("4\n")].concat(), 0)] {
        let mut place = Place::following("*");
        place.append("a.gz", [gzip("1\n2\n3\n"), behind.clone()].concat());
        settle(&place, "a.gz", 0);
        let (read, faults) = run(&mut place, "a");
        assert_eq!(faults.len(), expected, "{faults:?}");
        assert_eq!(read[..3], ["1", "2", "3"]);
        assert_eq!(read.len(), if behind.ends_with(&[0; 100]) || expected > 0 { 3 } else { 4 });
        assert_eq!(run(&mut place, "a"), (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_damaged_file_is_no_whole_one() {
    let mut place = Place::new(Settings { whole: true, ..Settings::default() });
    let packed = gzip(&"line\n".repeat(100_000));
    place.append("a.gz", &packed[..packed.len() / 2]);
    settle(&place, "a.gz", 0);
    let (read, faults) = run(&mut place, "a.gz");
    assert!(read.is_empty() && faults.len() == 1, "{} {faults:?}", read.len());
}

#[test]
fn many_files_that_are_there_are_not_forgotten() {
    let mut place = Place::ending("a*");
    for n in 0..2100 {
        place.append(&format!("a.{n}"), format!("{n}\n"));
    }
    place.append("a", "last\n");
    assert_eq!(place.run().unwrap().len(), 2101);
    assert!(place.run().unwrap().is_empty());
    for n in 0..2099 {
        fs::remove_file(place.path(&format!("a.{n}"))).unwrap();
    }
    assert!(place.run().unwrap().is_empty());
    let said = logged();
    assert!(said.contains("more than 2000 files of a that were read are gone"), "{said}");
    place.append("a", "more\n");
    assert_eq!(place.run().unwrap(), ["more"]);
    assert!(place.known[0].position.token.as_ref().unwrap().len() < 2003 * 60);
    assert!(crate::log::Tempo::default().forget >= Duration::from_secs(24 * 60 * 60));
}

#[test]
fn a_file_that_comes_back_is_known() {
    let place = Place::following("*");
    fs::create_dir(place.path("elsewhere")).unwrap();
    place.append("a", "1\n2\n");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    (log.tempo.scan, log.tempo.look) = (Duration::from_millis(1), Duration::from_millis(1));
    assert_eq!(rest(&mut log, &mut position), ["1", "2"]);
    let outside = tempfile::tempdir_in(place.dir.path().parent().unwrap()).unwrap();
    for _ in 0..2 {
        fs::rename(place.path("a"), outside.path().join("a")).unwrap();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(5));
            assert!(rest(&mut log, &mut position).is_empty());
        }
        fs::rename(outside.path().join("a"), place.path("a")).unwrap();
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(5));
            assert!(rest(&mut log, &mut position).is_empty());
        }
    }
    place.append("a", "3\n");
    assert_eq!(wait(&mut log, &mut position), ["3"]);
}

#[test]
fn a_file_that_must_not_be_read_stops_no_other() {
    let lock = |place: &Place, name: &str, mode| {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for follow in [true, false] {
        for first in [true, false] {
            let mut place = Place::following("*");
            place.settings.follow = follow;
            place.append("a", "1\n");
            if !first {
                assert_eq!(place.run().unwrap(), ["1"]);
            }
            place.append("b", "2\n");
            place.append("c", "3\n");
            lock(&place, "b", 0);
            logged();
            let read = place.run().unwrap();
            assert_eq!(read.last().unwrap(), "3", "{follow} {first}");
            let said = logged();
            assert_eq!(said.matches("cannot read b: ").count(), 1, "{said}");
            lock(&place, "b", 0o644);
            assert_eq!(place.run().unwrap(), ["2"], "{follow} {first}");
            // One that was read before.
            place.append("b", "4\n");
            place.append("c", "5\n");
            lock(&place, "b", 0);
            assert_eq!(place.run().unwrap(), ["5"], "{follow} {first}");
            lock(&place, "b", 0o644);
            assert_eq!(place.run().unwrap(), ["4"], "{follow} {first}");
            assert!(place.run().unwrap().is_empty());
        }
    }
}

#[test]
fn nothing_stands_behind_a_whole_file_or_a_rotated_one() {
    let mut place = Place::new(Settings { whole: true, follow: false, ..Settings::default() });
    place.append("a", "one");
    assert_eq!(place.run().unwrap(), ["one"]);
    fs::remove_file(place.path("a")).unwrap();
    place.append("a", "another");
    assert_eq!(place.run().unwrap(), ["another"]);

    let place = Place::new(Settings { pattern: "app.log".into(), ..Settings::default() });
    place.append("app.log", "1\n");
    let (mut log, mut position) = (place.log("app.log"), Position::at(0));
    log.tempo.look = Duration::ZERO;
    assert_eq!(rest(&mut log, &mut position), ["1"]);
    place.rename("app.log", "app.log.1");
    assert!(rest(&mut log, &mut position).is_empty());
    fs::remove_file(place.path("app.log.1")).unwrap();
    place.append("app.log", "2\n");
    assert_eq!(rest(&mut place.log("app.log"), &mut position), ["2"]);
}

#[test]
fn names_of_one_file_are_one_log_among_many() {
    let place = Place::ending("*");
    for n in 0..2100 {
        place.append(&format!("f{n}.log"), format!("{n}\n"));
    }
    fs::hard_link(place.path("f7.log"), place.path("again.log")).unwrap();
    std::os::unix::fs::symlink("f8.log", place.path("link.log")).unwrap();
    let mut directory = Directory::open(&place.topic(), &place.settings).unwrap();
    let logs = directory.logs(&[]).unwrap();
    assert_eq!(logs.len(), 2100);
    fs::hard_link(place.path("f9.log"), place.path("third.log")).unwrap();
    assert_eq!(directory.logs(&[]).unwrap(), logs);
}

#[test]
fn many_rotated_files_are_opened_a_few_times_each() {
    let place = Place::new(Settings { pattern: "app.log*".into(), ..Settings::default() });
    for n in 1..=800 {
        place.append(&format!("app.log.{n}"), format!("{{\"id\":{n},\"text\":\"{}\"}}\n", "x".repeat(100)));
    }
    place.append("app.log", "live\n");
    let begun = Instant::now();
    let (mut log, mut position) = (place.log("app.log"), Position::at(0));
    let limits = Limits { messages: 100_000, bytes: 4 << 20, timeout: Duration::ZERO };
    let (mut count, mut fetches) = (0, 0);
    while count < 801 {
        let fetched = log.fetch(&position, limits).unwrap();
        (count, position, fetches) = (count + fetched.messages.len(), fetched.next, fetches + 1);
    }
    println!("{:?}, {fetches} fetches", begun.elapsed());
    let first = log.family.catalog.disk.asked.opens.get();
    assert!(fetches < 20, "{fetches}");
    let (again, mut log) = (Instant::now(), place.log("app.log"));
    assert!(rest(&mut log, &mut position).is_empty());
    println!("again {:?}, {:?}", again.elapsed(), log.family.catalog.disk.asked);
    for asked in [first, log.family.catalog.disk.asked.opens.get()] {
        assert!(asked < 5 * 800, "{asked} opens of 800 files");
    }
}

#[test]
fn a_file_that_is_packed_and_kept_is_read_once() {
    for pattern in ["a*", "a"] {
        for follow in [true, false] {
            for first in [true, false] {
                let mut place = Place::following(pattern);
                place.settings.follow = follow;
                let all: String = (0..100).map(|n| format!("{n}\n")).collect();
                place.append("a", &all);
                if !first {
                    assert_eq!(place.run().unwrap().len(), 100);
                    place.append("a", "100\n");
                }
                place.append("a.gz", gzip(&fs::read_to_string(place.path("a")).unwrap()));
                place.append("a", "101\n");
                assert_eq!(place.run().unwrap().len(), if first { 101 } else { 2 }, "{pattern} {follow}");
                place.append("a", "102\n");
                assert_eq!(place.run().unwrap(), ["102"], "{pattern} {follow} {first}");
                // Its log goes on elsewhere.
                place.rename("a", "a.1");
                place.append("a", "103\n");
                assert_eq!(place.run().unwrap(), ["103"], "{pattern} {follow} {first}");
            }
        }
    }
}
