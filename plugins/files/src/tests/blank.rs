//! Logs that were empty when they were seen, or had no whole line; and what is not decided yet.

use super::*;

fn create(place: &Place, name: &str) {
    fs::File::create(place.path(name)).unwrap();
}

fn gzip(place: &Place, name: &str, packed: &str) {
    let modified = fs::metadata(place.path(name)).unwrap().modified().unwrap();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&fs::read(place.path(name)).unwrap()).unwrap();
    fs::write(place.path(packed), packer.finish().unwrap()).unwrap();
    fs::File::open(place.path(packed)).unwrap().set_modified(modified).unwrap();
    fs::remove_file(place.path(name)).unwrap();
}

/// Until a file that is written now has a later date than those before it.
fn tick(place: &Place) {
    let date = || {
        fs::write(place.path("tick"), "").unwrap();
        fs::metadata(place.path("tick")).unwrap().modified().unwrap()
    };
    let before = date();
    while date() == before {
        pause(Duration::from_millis(1));
    }
    fs::remove_file(place.path("tick")).unwrap();
}

#[test]
fn a_log_that_was_empty_before_a_restart_is_read_wherever_it_is() {
    for pattern in ["a.ndjson*", "a.ndjson"] {
        for (follow, packed) in [(true, false), (true, true), (false, false), (false, true)] {
            let mut place = Place::following(pattern);
            place.settings.follow = follow;
            create(&place, "a.ndjson");
            assert!(place.run().unwrap().is_empty());
            tick(&place);
            place.append("a.ndjson", "1\n");
            place.rename("a.ndjson", "a.ndjson.1");
            place.append("a.ndjson", "2\n");
            if packed {
                gzip(&place, "a.ndjson.1", "a.ndjson.1.gz");
            }
            assert_eq!(place.run().unwrap(), ["1", "2"], "{pattern} {follow} {packed}");
            assert!(place.run().unwrap().is_empty());
            place.append("a.ndjson", "3\n");
            assert_eq!(place.run().unwrap(), ["3"], "{pattern} {follow} {packed}");
        }
    }
}

#[test]
fn what_was_rotated_before_an_empty_log_was_seen_is_not_read() {
    let mut place = Place::following("a.ndjson");
    create(&place, "a.ndjson");
    place.append("a.ndjson.2", "older\n");
    place.append("a.ndjson.1", "old\n");
    assert!(place.run().unwrap().is_empty());
    assert!(place.run().unwrap().is_empty());
    place.rename("a.ndjson.2", "a.ndjson.3");
    place.rename("a.ndjson.1", "a.ndjson.2");
    gzip(&place, "a.ndjson.3", "a.ndjson.3.gz");
    place.append("a.ndjson", "1\n");
    place.rename("a.ndjson", "a.ndjson.1");
    create(&place, "a.ndjson");
    assert_eq!(place.run().unwrap(), ["1"]);
    assert!(place.run().unwrap().is_empty());
    place.append("a.ndjson", "2\n");
    assert_eq!(place.run().unwrap(), ["2"]);
}

#[test]
fn a_log_that_had_a_part_of_a_line_is_read_wherever_it_is() {
    let mut place = Place::following("a.ndjson");
    place.append("a.ndjson", "1");
    assert!(place.run().unwrap().is_empty());
    place.append("a.ndjson", "2\n");
    place.rename("a.ndjson", "a.ndjson.1");
    place.append("a.ndjson", "3\n");
    assert_eq!(place.run().unwrap(), ["12", "3"]);
    assert!(place.run().unwrap().is_empty());

    let mut place = Place::following("a.ndjson");
    place.append("a.ndjson", "1");
    assert!(place.run().unwrap().is_empty());
    create(&place, "b");
    place.rename("b", "a.ndjson");
    logged();
    assert!(place.run().unwrap().is_empty());
    assert!(logged().contains("a.ndjson was replaced or removed; it had 1 bytes, of which none was read"));
}

#[test]
fn the_end_of_an_empty_log_is_a_place() {
    let place = Place::following("a.ndjson");
    create(&place, "a.ndjson");
    let mut position = place.log("a.ndjson").end().unwrap();
    place.append("a.ndjson", "1\n");
    place.rename("a.ndjson", "a.ndjson.1");
    place.append("a.ndjson", "2\n");
    assert_eq!(wait_for(&mut place.log("a.ndjson"), &mut position, 2), ["1", "2"]);
}

#[test]
fn logs_that_were_empty_are_read_while_the_host_runs() {
    for pattern in ["a.ndjson*", "a.ndjson"] {
        for whole_minute in [false, true] {
            let place = Place::following(pattern);
            create(&place, "a.ndjson");
            let (mut log, mut position) = (place.log("a.ndjson"), Position::at(0));
            let close = |log: &mut Log, position: &mut Position| {
                let read = rest(log, position);
                log.rest(true);
                log.tempo.look = Duration::ZERO;
                read
            };
            assert!(close(&mut log, &mut position).is_empty());
            place.append("a.ndjson", "1\n");
            place.rename("a.ndjson", "a.ndjson.1");
            create(&place, "a.ndjson");
            assert_eq!(wait_for(&mut log, &mut position, 1), ["1"], "{pattern}");
            close(&mut log, &mut position);
            // The second one was empty, too. Nobody looks until it is the third.
            tick(&place);
            place.append("a.ndjson", "2\n");
            gzip(&place, "a.ndjson.1", "a.ndjson.2.gz");
            place.rename("a.ndjson", "a.ndjson.1");
            create(&place, "a.ndjson");
            if whole_minute {
                place.append("a.ndjson", "3\n");
                place.rename("a.ndjson.1", "a.ndjson.3");
                gzip(&place, "a.ndjson.3", "a.ndjson.3.gz");
            }
            let expected: &[&str] = if whole_minute { &["2", "3"] } else { &["2"] };
            assert_eq!(wait_for(&mut log, &mut position, expected.len()), expected, "{pattern} {whole_minute}");
            log.tempo.scan = Duration::ZERO;
            assert!(close(&mut log, &mut position).is_empty());
            assert!(rest(&mut place.log("a.ndjson"), &mut position).is_empty(), "{pattern} {whole_minute}");
        }
    }
}

#[test]
fn what_is_undecided_is_not_idle() {
    let place = Place::following("a*");
    place.append("a", "1\n");
    let (mut log, mut position) = (place.log("a"), Position::at(0));
    assert_eq!(rest(&mut log, &mut position), ["1"]);
    assert_eq!(log.read(&position, NOW).unwrap().progress, Progress::Idle);
    // Being written, or broken: that shows later.
    log.tempo.look = Duration::ZERO;
    log.tempo.scan = Duration::ZERO;
    log.tempo.settled = Duration::from_secs(3600);
    log.scan_now();
    fs::write(place.path("a.1.gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    let fetched = log.read(&position, NOW).unwrap();
    assert_eq!((fetched.progress, fetched.messages.len()), (Progress::More, 0));
    log.tempo.settled = Duration::ZERO;
    let decided = |log: &mut Log, position: &mut Position| {
        let fetched = log.read(position, NOW).unwrap();
        *position = fetched.next;
        fetched.progress == Progress::Idle
    };
    while !decided(&mut log, &mut position) {}
}

#[test]
fn a_file_that_is_looked_for_is_not_idle() {
    for restarted in [false, true] {
        let place = Place::following("a");
        place.append("a", "1\n2\n");
        let (mut log, mut position) = (place.log("a"), Position::at(0));
        assert_eq!(rest(&mut log, &mut position), ["1", "2"]);
        log.rest(true);
        fs::remove_file(place.path("a")).unwrap();
        if restarted {
            log = place.log("a");
        }
        let mut looked = 0;
        while let Ok(fetched) = log.read(&position, NOW) {
            if fetched.progress == Progress::Idle {
                break;
            }
            assert_eq!((fetched.progress, fetched.messages.len()), (Progress::More, 0));
            looked += 1;
            pause(Duration::from_millis(1));
        }
        assert!(looked > 0, "{restarted}");
    }
}
