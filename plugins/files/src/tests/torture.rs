//! A log that is written, rotated in every way, read in pieces and gone on with from earlier positions, by lot: every line
//! once, or what rotation itself destroyed.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use spout_guest::{Error, Limits, Position, Progress, now, testing};

use crate::{
    Settings,
    disk::Disk,
    listing::Catalog,
    log::{Log, Tempo},
    settings::Time,
};

fn catalog(topic: &str) -> Rc<Catalog> {
    Rc::new(Catalog::new(Disk::open(topic).unwrap(), false))
}

/// Small, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end.max(1)
    }
}

struct Torture {
    dir: tempfile::TempDir,
    dice: Dice,
    settings: Settings,
    banner: String,
    log: Option<Log>,
    position: Position,
    committed: Position,
    /// Read and committed, and read since.
    safe: Vec<u64>,
    fresh: Vec<u64>,
    next: u64,
    files: BTreeMap<String, Vec<u64>>,
    destroyed: BTreeMap<u64, bool>,
    /// Where each line came from.
    came: BTreeMap<u64, Vec<String>>,
    did: Vec<String>,
    /// Files are closed whenever there is a chance.
    closing: bool,
    tempo: Tempo,
}

/// As in life, what happens to files takes less time than one takes to settle, and what was read is remembered for longer,
/// however slow the machine is.
const BUSY: Tempo = Tempo {
    look: Duration::from_millis(1),
    scan: Duration::from_millis(5),
    settled: Duration::from_secs(60 * 60),
    away: Duration::from_millis(20),
    forget: Duration::from_secs(24 * 60 * 60),
};

impl Torture {
    fn new(seed: u64, closing: bool) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..10 {
            dice.below(2);
        }
        let follow = dice.below(4) > 0;
        let settings = Settings {
            pattern: "app.log*".into(),
            rotate_wait: Time(Duration::from_millis(dice.below(20))),
            follow,
            ..Settings::default()
        };
        let banner = match dice.below(3) {
            0 => String::new(),
            1 => "start\n".into(),
            _ => format!("# {}\n", "banner".repeat(900)),
        };
        // A number that is given to a copy of what had it before says nothing about a file that was closed, nor does the
        // content. On a file system in memory numbers are not given twice.
        let memory = Some(Path::new("/dev/shm")).filter(|memory| closing && memory.is_dir());
        Self {
            dir: memory.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap(),
            dice,
            settings,
            banner,
            log: None,
            position: Position::at(0),
            committed: Position::at(0),
            safe: Vec::new(),
            fresh: Vec::new(),
            next: 0,
            files: BTreeMap::new(),
            destroyed: BTreeMap::new(),
            came: BTreeMap::new(),
            did: Vec::new(),
            closing,
            tempo: BUSY,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&mut self, name: &str) -> Vec<u64> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        if file.metadata().unwrap().len() == 0 {
            file.write_all(self.banner.as_bytes()).unwrap();
        }
        let count = 1 + self.dice.below(30);
        let mut numbers = Vec::new();
        for _ in 0..count {
            let pad = "x".repeat(self.dice.below(100) as usize);
            writeln!(file, "{} {pad}", self.next).unwrap();
            numbers.push(self.next);
            self.next += 1;
        }
        numbers
    }

    fn append(&mut self, name: &str) {
        let numbers = self.write(name);
        self.files.entry(name.into()).or_default().extend(numbers);
    }

    fn rename(&mut self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
        let numbers = self.files.remove(from).unwrap_or_default();
        self.files.insert(to.into(), numbers);
    }

    fn shift(&mut self) {
        let names: Vec<String> = self.files.keys().cloned().collect();
        for age in (1..60).rev() {
            for packed in ["", ".gz", ".zst"] {
                let name = format!("app.log.{age}{packed}");
                if names.contains(&name) {
                    self.rename(&name, &format!("app.log.{}{packed}", age + 1));
                }
            }
        }
    }

    fn rotate_by_name(&mut self) {
        self.shift();
        self.rename("app.log", "app.log.1");
        self.maybe_read(3);
        if self.dice.below(3) == 0 {
            self.append("app.log.1");
        }
        if self.dice.below(3) > 0 {
            self.append("app.log");
        }
    }

    fn rotate_by_copy(&mut self) {
        self.shift();
        fs::copy(self.path("app.log"), self.path("app.log.1")).unwrap();
        self.maybe_read(3);
        if self.dice.below(2) == 0 {
            let lost = self.write("app.log");
            // Of a file that nobody has seen, nobody can say that it was cut.
            let first = self.files.get("app.log").and_then(|numbers| numbers.first());
            let watched = first.is_some_and(|first| self.safe.contains(first));
            self.destroyed.extend(lost.into_iter().map(|number| (number, watched)));
            self.maybe_read(2);
        }
        OpenOptions::new().write(true).open(self.path("app.log")).unwrap().set_len(0).unwrap();
        let numbers = self.files.remove("app.log").unwrap_or_default();
        self.files.insert("app.log.1".into(), numbers);
        self.maybe_read(3);
        if self.dice.below(3) > 0 {
            self.append("app.log");
        }
    }

    fn pack(&mut self) {
        let plain: Vec<String> = self
            .files
            .keys()
            .filter(|name| name.starts_with("app.log.") && !name.ends_with(['z', 't']))
            .cloned()
            .collect();
        let Some(name) = plain.get(self.dice.below(plain.len() as u64) as usize) else { return };
        let bytes = fs::read(self.path(name)).unwrap();
        let (packed, extension) = if self.dice.below(2) == 0 {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(&bytes).unwrap();
            (packer.finish().unwrap(), "gz")
        } else {
            (zstd::encode_all(&bytes[..], 1).unwrap(), "zst")
        };
        let to = format!("{name}.{extension}");
        // In two pieces, with the original beside it.
        fs::write(self.path(&to), &packed[..packed.len() / 2]).unwrap();
        self.maybe_read(2);
        fs::write(self.path(&to), packed).unwrap();
        let modified = fs::metadata(self.path(name)).unwrap().modified().unwrap();
        fs::File::open(self.path(&to)).unwrap().set_modified(modified).unwrap();
        self.maybe_read(2);
        fs::remove_file(self.path(name)).unwrap();
        let numbers = self.files.remove(name).unwrap_or_default();
        self.files.insert(to, numbers);
    }

    fn delete(&mut self) {
        let safe = |numbers: &Vec<u64>| numbers.iter().all(|number| self.safe.contains(number));
        let names: Vec<String> =
            self.files.iter().filter(|(_, numbers)| safe(numbers)).map(|(name, _)| name.clone()).collect();
        let Some(name) = names.get(self.dice.below(names.len() as u64) as usize) else { return };
        fs::remove_file(self.path(name)).unwrap();
        self.files.remove(name);
    }

    /// Replaced by a longer copy, as `rsync` does.
    fn replace(&mut self) {
        fs::copy(self.path("app.log"), self.path("tmp")).unwrap();
        let numbers = self.write("tmp");
        self.files.entry("app.log".into()).or_default().extend(numbers);
        fs::rename(self.path("tmp"), self.path("app.log")).unwrap();
    }

    fn maybe_read(&mut self, times: u64) {
        for _ in 0..self.dice.below(times + 1) {
            self.read(Duration::ZERO);
        }
    }

    /// One fetch; whether something came.
    fn read(&mut self, timeout: Duration) -> bool {
        let limits =
            Limits { messages: 1 + self.dice.below(50) as usize, bytes: 200 + self.dice.below(5000) as usize, timeout };
        let mut log = self.log.take().unwrap_or_else(|| {
            let topic = self.dir.path().to_str().unwrap().trim_start_matches('/').to_owned();
            let catalog = catalog(&topic);
            if self.closing {
                catalog.room.set(1);
            }
            Log::new(catalog, "app.log".into(), &Rc::new(self.settings.clone()))
        });
        log.tempo = self.tempo;
        let fetched = match log.fetch(&self.position, limits) {
            Ok(fetched) => fetched,
            Err(Error::OutOfRange { earliest, .. }) => {
                self.did.push("(out of range)".into());
                self.position = earliest;
                self.log = Some(log);
                return true;
            }
            Err(error) => panic!("{error}"),
        };
        if self.closing {
            match self.dice.below(4) {
                0 => log.free(),
                _ => log.rest(false),
            }
        }
        self.log = Some(log);
        for index in 0..fetched.messages.len() {
            let line = String::from_utf8_lossy(fetched.messages.value(index)).into_owned();
            assert!(fetched.messages.offsets()[index] >= self.position.offset);
            assert!(fetched.messages.input().attribute(index, "fault").is_none(), "{line}");
            if self.banner.trim_end() != line {
                let number = line.split(' ').next().and_then(|number| number.parse().ok());
                let number = number.unwrap_or_else(|| panic!("half a line: {line}"));
                let file = fetched.messages.input().attribute(index, "file").map(String::from_utf8_lossy);
                let place =
                    format!("{}@{}#{}", file.unwrap_or_default(), fetched.messages.offsets()[index], self.did.len());
                self.came.entry(number).or_default().push(place);
                self.fresh.push(number);
            }
        }
        assert!(fetched.next.offset >= self.position.offset);
        let more = super::brings(&fetched, &self.position);
        self.position = fetched.next;
        if fetched.progress == Progress::Ended {
            self.log = None;
        }
        more
    }

    fn act(&mut self) {
        let there = self.files.contains_key("app.log");
        let name = match self.dice.below(20) {
            0..=3 => {
                self.append("app.log");
                "append"
            }
            4..=8 => {
                self.maybe_read(8);
                "read"
            }
            9 | 10 => {
                self.committed = self.position.clone();
                self.safe.append(&mut self.fresh);
                "commit"
            }
            11 => {
                (self.log, self.position) = (None, self.committed.clone());
                self.fresh.clear();
                "kill"
            }
            12 | 13 if there => {
                self.rotate_by_name();
                "rename"
            }
            14 | 15 if there => {
                self.rotate_by_copy();
                "copy and cut"
            }
            16 => {
                self.pack();
                "pack"
            }
            17 => {
                self.delete();
                "delete"
            }
            18 if there && self.settings.follow => {
                self.replace();
                "replace"
            }
            _ => {
                std::thread::sleep(Duration::from_millis(self.dice.below(12)));
                "wait"
            }
        };
        self.did.push(format!("{name}{}", self.next));
    }

    fn live(&mut self) {
        for _ in 0..20 + self.dice.below(60) {
            self.act();
        }
        // Nothing happens any more, and all files are settled.
        self.tempo.settled = Duration::ZERO;
        // What a file system cannot date is looked at again after half a second.
        let (mut quiet, mut nothing) = (now(), 0);
        while nothing < 50 || quiet.elapsed() < Duration::from_millis(700) {
            nothing += 1;
            if self.read(Duration::from_millis(5)) {
                (quiet, nothing) = (now(), 0);
            }
        }
        self.safe.append(&mut self.fresh);
        let mut counts = BTreeMap::new();
        for number in &self.safe {
            *counts.entry(*number).or_insert(0) += 1;
        }
        let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).map(|(number, _)| number).collect();
        let lost: Vec<u64> = (0..self.next)
            .filter(|number| !counts.contains_key(number) && !self.destroyed.contains_key(number))
            .collect();
        let gone = self.destroyed.iter().any(|(number, watched)| *watched && !counts.contains_key(number));
        let said: String = testing::take_log().into_iter().map(|(_, line)| line + "\n").collect();
        assert!(
            doubled.is_empty() && lost.is_empty(),
            "doubled {doubled:?} {:?}, lost {lost:?}, files {:?}\n{said}",
            doubled.first().and_then(|number| self.came.get(number)),
            self.files.keys()
        );
        let told = said.contains("gone") || said.contains("cannot be read any more");
        assert!(!gone || told, "lines are gone, and nobody says so");
    }
}

#[test]
fn every_line_comes_once_however_its_file_is_rotated() {
    check(false);
}

#[test]
fn every_line_comes_once_where_files_are_closed_all_the_time() {
    check(true);
}

/// Seeds from `SPOUT_SEED` on, `SPOUT_SEEDS` of them.
fn check(closing: bool) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = (number("SPOUT_SEED").unwrap_or(1), number("SPOUT_SEEDS").unwrap_or(48));
    let next = std::sync::atomic::AtomicU64::new(first);
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let mut torture = Torture::new(seed, closing);
                    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| torture.live()));
                    if let Err(panic) = lived {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text
                            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                            .unwrap_or_default();
                        wrong.lock().unwrap().push(format!(
                            "SPOUT_SEED={seed} SPOUT_SEEDS=1: {text}\nfollow {} banner {} after {}",
                            torture.settings.follow,
                            torture.banner.len(),
                            torture.did.join(" ")
                        ));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n\n"));
}
