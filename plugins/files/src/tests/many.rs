//! Many logs in one reader: one listing for all, few open files, and one look at a name that has nothing new.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, time::Instant};

use super::*;
use crate::names::number;

const FILES: usize = 2000;
/// Partitions that a host asks for together.
const ASKED: usize = 256;

/// A reader, and where its logs are.
struct Host {
    reader: Lines,
    next: BTreeMap<u32, Position>,
    labels: BTreeMap<u32, String>,
}

impl Host {
    fn new(place: &Place) -> Self {
        let mut source = Files::open(&place.topic(), place.settings.clone()).unwrap();
        let partitions = source.partitions(&[], Duration::ZERO).unwrap();
        let reader = Files::open(&place.topic(), place.settings.clone()).unwrap().into_reader().unwrap();
        let next = partitions.iter().map(|one| (one.id, beginning(&mut source, one.id))).collect();
        let labels = partitions.into_iter().map(|one| (one.id, one.label)).collect();
        Self { reader, next, labels }
    }

    /// Asks for all partitions once, some at a time; what they answer.
    fn round(&mut self, limits: Limits) -> Vec<(String, Result<Vec<String>>)> {
        let wanted: Vec<(u32, Position)> = self.next.iter().map(|(id, next)| (*id, next.clone())).collect();
        let mut all = Vec::new();
        for wanted in wanted.chunks(ASKED) {
            for (id, fetched) in self.reader.fetch(wanted, limits).unwrap() {
                let lines = fetched.map(|fetched| {
                    self.next.insert(id, fetched.next);
                    texts(&fetched.messages)
                });
                all.push((self.labels[&id].clone(), lines));
            }
        }
        all
    }

    /// Everything there is, by log.
    fn rest(&mut self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        loop {
            let round = self.round(NOW);
            let before: usize = all.values().map(Vec::len).sum();
            for (label, lines) in round {
                all.entry(label).or_default().extend(lines.unwrap());
            }
            if all.values().map(Vec::len).sum::<usize>() == before {
                return all;
            }
        }
    }

    /// Times that the directory was listed, a name was looked at, and a file was opened, since the last call.
    fn asked(&self) -> (usize, usize, usize) {
        let asked = &self.reader.directory.catalog.disk.asked;
        (asked.lists.take(), asked.stats.take(), asked.opens.take())
    }

    fn most_open(&self) -> usize {
        self.reader.directory.catalog.disk.asked.most.get()
    }
}

fn lines_of(n: usize) -> Vec<String> {
    (0..10).map(|line| format!("file {n} line {line}")).collect()
}

/// Listings that time alone asks for since `begun`, however many files there are.
fn in_time(begun: Instant) -> usize {
    usize::try_from(begun.elapsed().as_millis() / 100).unwrap()
}

/// A directory of so many files of ten lines, written a while ago.
fn full(files: usize) -> Place {
    let place = Place::following("*");
    for n in 0..files {
        let name = format!("f{n}.log");
        place.append(&name, lines_of(n).join("\n") + "\n");
        let file = fs::File::open(place.path(&name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
    place
}

#[test]
fn many_logs_share_one_listing_and_few_open_files() {
    let place = full(FILES);
    let mut host = Host::new(&place);
    let begun = Instant::now();
    let read = host.rest();
    println!("{FILES} files: {:?}, {:?}, {} open at once", begun.elapsed(), host.asked(), host.most_open());
    assert_eq!(read.len(), FILES);
    for n in 0..FILES {
        assert_eq!(read[&format!("f{n}.log")], lines_of(n));
    }
    assert!(host.most_open() < 300, "{} files were open at once", host.most_open());

    // What is read on says the same, and costs one look each.
    let (before, _) = (host.next.clone(), host.asked());
    let begun = Instant::now();
    assert!(host.round(NOW).into_iter().all(|(_, lines)| lines.unwrap().is_empty()));
    let (lists, stats, opens) = host.asked();
    println!("idle: {:?}, {lists} listings, {stats} looks, {opens} opened", begun.elapsed());
    assert!(lists <= in_time(begun) && opens == 0, "{lists} {opens}");
    assert_eq!(stats, FILES);
    assert!(host.next == before);

    // Two of them grow.
    place.append("f7.log", "more\n");
    place.append("f1999.log", "and more\n");
    let grown: BTreeMap<String, Vec<String>> = host.rest().into_iter().filter(|(_, lines)| !lines.is_empty()).collect();
    assert_eq!(grown, [("f1999.log".into(), vec!["and more".into()]), ("f7.log".into(), vec!["more".into()])].into());
}

#[test]
fn listings_do_not_grow_with_the_number_of_files() {
    let count = |files| {
        let place = full(files);
        let mut host = Host::new(&place);
        host.asked();
        let begun = Instant::now();
        host.rest();
        let (lists, stats, opens) = host.asked();
        (lists.saturating_sub(in_time(begun)), stats, opens)
    };
    let ((few, ..), (many, stats, opens)) = (count(200), count(2 * ASKED));
    assert!(many <= few + 4, "{few} listings for 200 files, {many} for {}", 2 * ASKED);
    assert!(stats < 10 * 2 * ASKED && opens < 3 * 2 * ASKED, "{stats} {opens}");
}

#[test]
fn all_logs_that_are_rotated_at_once_share_listings() {
    let place = full(ASKED);
    let mut host = Host::new(&place);
    host.rest();
    for n in 0..ASKED {
        place.append(&format!("f{n}.log"), "last\n");
        place.rename(&format!("f{n}.log"), &format!("f{n}.log.1"));
        place.append(&format!("f{n}.log"), "first\n");
    }
    host.reader.logs.values_mut().for_each(|log| log.tempo.look = Duration::ZERO);
    host.asked();
    let begun = Instant::now();
    let read = host.rest();
    assert!(read.values().all(|lines| *lines == ["last", "first"]), "{read:?}");
    let (lists, ..) = host.asked();
    assert!(lists < 20 + in_time(begun), "{lists} listings for {ASKED} logs");
}

#[test]
fn one_bad_log_leaves_its_neighbours_alone() {
    let place = full(3);
    let mut host = Host::new(&place);
    // Nobody knows that number, and nobody can read that position.
    host.next.insert(1, Position::at(0));
    host.labels.insert(1, "nobody".into());
    host.next.insert(number("f1.log"), Position { offset: 3, token: Some(vec![99]) });
    let answers: BTreeMap<String, Result<Vec<String>>> = host.round(NOW).into_iter().collect();
    assert_eq!(answers.len(), 4);
    assert!(answers["nobody"].is_err() && answers["f1.log"].is_err());
    assert_eq!(answers["f0.log"].as_ref().unwrap(), &lines_of(0));
    assert_eq!(answers["f2.log"].as_ref().unwrap(), &lines_of(2));
    fs::set_permissions(place.path("f0.log"), fs::Permissions::from_mode(0o000)).unwrap();
    place.append("f2.log", "more\n");
    host.next.remove(&1);
    let answers: BTreeMap<String, Result<Vec<String>>> = host.round(NOW).into_iter().collect();
    assert_eq!(answers["f2.log"].as_ref().unwrap(), &["more"]);
}

#[test]
fn limits_are_for_all_logs_together() {
    let place = full(5);
    let mut host = Host::new(&place);
    let limits = Limits { messages: 25, ..NOW };
    let first: Vec<usize> = host.round(limits).into_iter().map(|(_, lines)| lines.unwrap().len()).collect();
    assert_eq!(first, [10, 10, 5]);
    let rest: usize = host.rest().values().map(Vec::len).sum();
    assert_eq!(rest, 25);
}

#[test]
fn a_log_whose_file_is_closed_goes_on_as_if_it_were_open() {
    for all in [false, true] {
        let place = full(6);
        let mut host = Host::new(&place);
        host.rest();
        let close = |host: &mut Host| {
            host.reader.logs.values_mut().for_each(|log| log.rest(all));
            assert_eq!(host.reader.directory.catalog.disk.open_files(), 0);
            for log in host.reader.logs.values_mut() {
                log.tempo.look = Duration::ZERO;
            }
        };
        close(&mut host);
        place.append("f0.log", "grown\n");
        // Rotated, with more in it.
        place.append("f1.log", "end\n");
        place.rename("f1.log", "f1.log.1");
        place.append("f1.log", "new\n");
        // Deleted, and made again.
        fs::remove_file(place.path("f2.log")).unwrap();
        place.append("f2.log", "again\n");
        // Cut.
        fs::write(place.path("f3.log"), "cut\n").unwrap();
        // Moved away.
        fs::create_dir(place.path("old")).unwrap();
        place.append("f4.log", "late\n");
        place.rename("f4.log", "old/f4.log");
        place.append("f4.log", "new\n");
        let mut read = BTreeMap::new();
        let expected: BTreeMap<String, Vec<String>> = [
            ("f0.log", vec!["grown"]),
            ("f1.log", vec!["end", "new"]),
            ("f2.log", vec!["again"]),
            ("f3.log", vec!["cut"]),
            ("f4.log", vec!["late", "new"]),
            ("f5.log", vec![]),
        ]
        .into_iter()
        .map(|(name, lines)| (name.to_owned(), lines.into_iter().map(str::to_owned).collect()))
        .collect();
        let begun = Instant::now();
        while read != expected && begun.elapsed() < Duration::from_secs(20) {
            for (label, lines) in host.rest() {
                read.entry(label).or_insert_with(Vec::new).extend(lines);
            }
            close(&mut host);
        }
        assert_eq!(read, expected);
        assert!(host.rest().values().all(Vec::is_empty));
    }
}

#[test]
fn logs_are_listed_again_without_asking_about_each() {
    let place = full(FILES + 1);
    let mut source = Files::open(&place.topic(), place.settings.clone()).unwrap();
    let partitions = source.partitions(&[], Duration::ZERO).unwrap();
    let mut host = Host::new(&place);
    host.rest();
    let known = |id: u32, label: &str| Known { id, label: label.into(), position: host.next[&id].clone() };
    let known: Vec<Known> = partitions.iter().map(|one| known(one.id, &one.label)).collect();
    let mut again = Files::open(&place.topic(), place.settings.clone()).unwrap();
    let begun = Instant::now();
    assert_eq!(again.partitions(&known, Duration::ZERO).unwrap(), partitions);
    println!("{} known logs: {:?}", known.len(), begun.elapsed());
    let catalog = std::rc::Rc::clone(&again.0.catalog);
    let asked = &catalog.disk.asked;
    assert_eq!((asked.lists.take(), asked.opens.take()), (1, 0));
    // One is new, one was renamed: that goes on in its old log.
    place.append("new.log", "1\n2\n");
    place.rename("f3.log", "moved.log");
    let begun = Instant::now();
    let logs: Vec<String> =
        again.partitions(&known, Duration::ZERO).unwrap().into_iter().map(|one| one.label).collect();
    println!("with new ones: {:?}, {} opened", begun.elapsed(), asked.opens.get());
    assert_eq!(logs.len(), FILES + 2);
    assert!(logs.iter().any(|log| log == "new.log") && !logs.iter().any(|log| log == "moved.log"));
}

#[test]
fn logs_whose_names_give_the_same_number_are_both_read() {
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines
    };
    for [first, later] in [TWINS, [TWINS[1], TWINS[0]]] {
        let mut place = Place::following("*.ndjson");
        place.append(first, "a\n");
        assert_eq!(place.run().unwrap(), ["a"]);
        place.append(later, "b\n");
        place.append(first, "c\n");
        assert_eq!(sorted(place.run().unwrap()), ["b", "c"]);
        place.append(later, "d\n");
        place.append(first, "e\n");
        assert_eq!(sorted(place.run().unwrap()), ["d", "e"]);
        // The one that stays keeps its number, and that it has read.
        fs::remove_file(place.path(first)).unwrap();
        place.append(later, "f\n");
        assert_eq!(place.run().unwrap(), ["f"]);
        assert_eq!(place.known.len(), 2);
        assert!(place.known.iter().all(|one| (one.id == number(first)) == (one.label == first)), "{:?}", place.known);
    }
    // Both at once, empty at first, in one reader.
    let place = Place::following("*.ndjson");
    TWINS.iter().for_each(|name| place.append(name, ""));
    let mut host = Host::new(&place);
    assert!(host.rest().values().all(Vec::is_empty));
    TWINS.iter().for_each(|name| place.append(name, format!("{name}\n")));
    let (begun, mut all) = (Instant::now(), BTreeMap::<String, Vec<String>>::new());
    while all.values().map(Vec::len).sum::<usize>() < 2 {
        assert!(begun.elapsed() < PATIENT.timeout, "{all:?}");
        host.rest().into_iter().for_each(|(log, lines)| all.entry(log).or_default().extend(lines));
    }
    assert!(all.iter().all(|(log, lines)| *lines == [log.as_str()]), "{all:?}");
    // A position of before they were told apart does not say which is meant, and nothing is guessed.
    let error = one(&mut host.reader, number("a"), Position::at(0)).unwrap_err().to_string();
    assert!(error.contains("any more"), "{error}");
    let mut reader = Files::open(&place.topic(), place.settings.clone()).unwrap().into_reader().unwrap();
    let error = one(&mut reader, number(TWINS[0]), Position::at(0)).unwrap_err().to_string();
    assert!(error.contains("have the same number"), "{error}");
}

#[test]
fn a_log_that_has_ended_is_not_kept() {
    let place = Place::ending("*");
    (0..20).for_each(|n| place.append(&format!("f{n}.log"), lines_of(n).join("\n") + "\n"));
    let mut host = Host::new(&place);
    assert_eq!(host.rest().len(), 20);
    assert!(host.reader.logs.is_empty(), "{} are kept", host.reader.logs.len());
}
