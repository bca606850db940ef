//! Logs are renamed, copied and cut, packed, deleted and made again while a host follows them and is killed: every line is
//! there once, or what rotation itself destroyed is said by name and place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::Site;

/// Seeds of one run; `just soak` asks for more.
const SEEDS: u64 = 20;

/// Hosts that run at once.
const AT_ONCE: usize = 3;

/// Longest wait for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

const SPEC: &str = r#"
pipeline: {name: rotation}
producer:
  stream:
    plugin: files
    topic: in
    settings: {pattern: "app.log*", rotateWait: 300ms}
    onOutOfRange: earliest
    metadata: [file, offset]
    discoverEvery: 200ms
  decoder: {type: json, schema: {n: int64}}
commit: {path: /t/, flush: {rows: 100000, time: 100ms}}
grants:
  files: {dirs: {in: ./in}}
"#;

/// A running host, and what it has said so far.
struct Host {
    child: Child,
    started: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    listening: thread::JoinHandle<()>,
}

impl Host {
    fn start(site: &Site) -> Result<Self> {
        let errors = OpenOptions::new().create(true).append(true).open(site.path().join("said"))?;
        let mut child = site.command(&["run", "spec.yaml", "--json"]).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("standard output")?).lines();
        let (started, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, counted) = (Arc::clone(&started), Arc::clone(&commits));
        let listening = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let update: Value = serde_json::from_str(&line).unwrap_or_default();
                match update.get("event").and_then(Value::as_str) {
                    Some("started") => told.store(true, Ordering::Release),
                    Some("committed") => drop(counted.fetch_add(1, Ordering::Release)),
                    _ => {}
                }
            }
        });
        let mut host = Self { child, started, commits, listening };
        host.wait(|host| host.started.load(Ordering::Acquire))?;
        Ok(host)
    }

    fn wait(&mut self, condition: impl Fn(&Self) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !condition(self) {
            ensure!(self.child.try_wait()?.is_none(), "the host ended");
            ensure!(begun.elapsed() < PATIENCE, "nothing happens");
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    fn end(mut self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        ensure!(sent.success(), "kill -{signal}");
        let status = self.child.wait()?;
        drop(self.listening.join());
        ensure!(signal == "KILL" || status.success(), "the host ended with {status}");
        Ok(())
    }
}

/// A writer with its log, and whoever rotates it.
struct Torture {
    site: Site,
    dice: StdRng,
    host: Option<Host>,
    /// The next number.
    next: u64,
    /// Numbers by file, as they lie in the directory.
    files: BTreeMap<String, Vec<u64>>,
    /// Numbers that stood in no file any more after a cut, with whether a host saw the cut, and the place where each stood.
    destroyed: BTreeMap<u64, (bool, u64)>,
    did: Vec<String>,
}

impl Torture {
    fn new(seed: u64) -> Result<Self> {
        let site = Site::new()?;
        site.write("spec.yaml", SPEC)?;
        fs::create_dir(site.path().join("in"))?;
        let dice = StdRng::seed_from_u64(seed);
        let files = BTreeMap::new();
        Ok(Self { site, dice, host: None, next: 0, files, destroyed: BTreeMap::new(), did: Vec::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path().join("in").join(name)
    }

    /// Writes some lines to the file of that name, at once or torn: their numbers and places.
    fn write(&mut self, name: &str, most: u64) -> Result<Vec<(u64, u64)>> {
        let count = self.dice.random_range(1..=most);
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name))?;
        let mut at = file.metadata()?.len();
        let mut numbers = Vec::new();
        for _ in 0..count {
            let pad = "x".repeat(self.dice.random_range(0..120));
            let line = format!("{{\"n\":{},\"pad\":\"{pad}\"}}\n", self.next);
            let torn = self.dice.random_range(0..line.len() * 8).min(line.len());
            file.write_all(line.as_bytes().get(..torn).unwrap_or_default())?;
            file.write_all(line.as_bytes().get(torn..).unwrap_or_default())?;
            numbers.push((self.next, at));
            at += line.len() as u64;
            self.next += 1;
        }
        Ok(numbers)
    }

    fn append(&mut self, name: &str, most: u64) -> Result<()> {
        let numbers = self.write(name, most)?;
        self.files.entry(name.to_owned()).or_default().extend(numbers.into_iter().map(|(number, _)| number));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.path(from), self.path(to))?;
        let numbers = self.files.remove(from).unwrap_or_default();
        self.files.insert(to.to_owned(), numbers);
        Ok(())
    }

    /// Makes room for `app.log.1`.
    fn shift(&mut self) -> Result<()> {
        for age in (1..20).rev() {
            for packed in ["", ".gz", ".zst"] {
                let name = format!("app.log.{age}{packed}");
                if self.files.contains_key(&name) {
                    self.rename(&name, &format!("app.log.{}{packed}", age + 1))?;
                }
            }
        }
        Ok(())
    }

    fn rotate_by_name(&mut self) -> Result<()> {
        if !self.files.contains_key("app.log") {
            return Ok(());
        }
        self.shift()?;
        self.rename("app.log", "app.log.1")?;
        // A writer that has not been told yet.
        if self.dice.random_bool(0.3) {
            self.append("app.log.1", 20)?;
        }
        if self.dice.random_bool(0.7) {
            self.append("app.log", 20)?;
        }
        Ok(())
    }

    fn rotate_by_copy(&mut self) -> Result<()> {
        let Some(numbers) = self.files.get("app.log").cloned() else { return Ok(()) };
        self.shift()?;
        fs::copy(self.path("app.log"), self.path("app.log.1"))?;
        let mut lost = Vec::new();
        if self.dice.random_bool(0.4) {
            lost = self.write("app.log", 10)?;
            self.pause();
        }
        // Of a file that no host has read nobody can say that it was cut.
        let watched = match numbers.first() {
            Some(first) if self.host.is_some() && !lost.is_empty() => self.committed()?.contains_key(first),
            _ => false,
        };
        let said = self.places()?.len();
        OpenOptions::new().write(true).open(self.path("app.log"))?.set_len(0)?;
        if watched {
            self.wait_for_word(said)?;
        }
        self.destroyed.extend(lost.into_iter().map(|(number, at)| (number, (watched, at))));
        self.files.remove("app.log");
        self.files.insert("app.log.1".into(), numbers);
        if self.dice.random_bool(0.5) {
            self.append("app.log", 400)?;
        }
        Ok(())
    }

    /// Packs a rotated file, as `gzip` and `zstd` do.
    fn pack(&mut self) -> Result<()> {
        let plain: Vec<String> = self
            .files
            .keys()
            .filter(|name| name.starts_with("app.log.") && !name.ends_with('z') && !name.ends_with("zst"))
            .cloned()
            .collect();
        if plain.is_empty() {
            return Ok(());
        }
        let name = plain.get(self.dice.random_range(0..plain.len())).context("a file")?.clone();
        let status = Command::new("gzip").arg("-f").arg(self.path(&name)).status()?;
        ensure!(status.success(), "gzip {name}");
        let numbers = self.files.remove(&name).unwrap_or_default();
        self.files.insert(format!("{name}.gz"), numbers);
        Ok(())
    }

    /// Deletes a file whose lines are committed, the log itself included.
    fn delete(&mut self) -> Result<()> {
        let names: Vec<String> = self.files.keys().cloned().collect();
        let Some(name) = names.get(self.dice.random_range(0..names.len().max(1))).cloned() else { return Ok(()) };
        let numbers = self.files.get(&name).cloned().unwrap_or_default();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(()) };
        let there = self.committed()?;
        if !numbers.iter().all(|number| there.contains_key(number)) {
            self.did.push(format!("({name} {first}..={last} is not committed)"));
            return Ok(());
        }
        fs::remove_file(self.path(&name))?;
        self.files.remove(&name);
        if name == "app.log" && self.dice.random_bool(0.7) {
            self.append("app.log", 50)?;
        }
        Ok(())
    }

    /// The bytes from which on something may be gone, as hosts have said so far.
    fn places(&self) -> Result<Vec<u64>> {
        Ok(places(&fs::read_to_string(self.site.path().join("said"))?))
    }

    /// Waits until a cut is said, besides those that were said before.
    fn wait_for_word(&self, before: usize) -> Result<()> {
        let begun = Instant::now();
        while self.places()?.len() <= before {
            ensure!(begun.elapsed() < PATIENCE, "a cut that a host has seen is not said");
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A moment that the dice draw, or until something is committed.
    fn pause(&mut self) {
        let until = Instant::now() + Duration::from_millis(self.dice.random_range(0..300));
        let before = self.host.as_ref().map(|host| host.commits.load(Ordering::Acquire));
        while Instant::now() < until && before == self.host.as_ref().map(|host| host.commits.load(Ordering::Acquire)) {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Each committed number, with how often it is there.
    fn committed(&self) -> Result<BTreeMap<u64, u64>> {
        let query = ["sql", "select n, count(*) as times from rotation_t group by n", "--format", "ndjson"];
        let output = self.site.run(&query)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(said.contains("rotation"), "{said}");
            return Ok(BTreeMap::new());
        }
        let row = |line: &str| {
            let row: Value = serde_json::from_str(line)?;
            let number = |name: &str| row.get(name).and_then(Value::as_u64).context("a number");
            Ok((number("n")?, number("times")?))
        };
        String::from_utf8_lossy(&output.stdout).lines().map(row).collect()
    }

    fn act(&mut self) -> Result<()> {
        let (name, done) = match self.dice.random_range(0..12) {
            0..=3 => ("append", self.append("app.log", 300)),
            4 | 5 => ("rename", self.rotate_by_name()),
            6 | 7 => ("copy and cut", self.rotate_by_copy()),
            8 => ("pack", self.pack()),
            9 => ("delete", self.delete()),
            _ => match self.host.take() {
                Some(host) if self.dice.random_bool(0.7) => ("kill", host.end("KILL")),
                Some(host) => ("stop", host.end("INT")),
                None => ("start", self.start()),
            },
        };
        self.did.push(name.to_owned());
        done.with_context(|| name)
    }

    fn start(&mut self) -> Result<()> {
        self.host = Some(Host::start(&self.site)?);
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        self.append("app.log", 50)?;
        self.start()?;
        for _ in 0..self.dice.random_range(10..25) {
            self.act()?;
            if self.dice.random_bool(0.5) {
                self.pause();
            }
        }
        if let Some(host) = self.host.take() {
            host.end("INT")?;
        }
        let errors = OpenOptions::new().append(true).open(self.site.path().join("said"))?;
        let status = self.site.command(&["run", "spec.yaml", "--until", "idle"]).stderr(errors).status()?;
        ensure!(status.success(), "the last run ended with {status}");
        self.check()
    }

    fn check(&self) -> Result<()> {
        let there = self.committed()?;
        let doubled: Vec<&u64> = there.iter().filter(|(_, times)| **times != 1).map(|(number, _)| number).collect();
        if let (Some(first), Some(last)) = (doubled.first(), doubled.last()) {
            let query = format!("select * from rotation_t where n = {first}");
            let rows = self.site.run(&["sql", &query, "--format", "ndjson"])?.stdout;
            let said = fs::read_to_string(self.site.path().join("said"))?;
            let cuts: Vec<&str> = said.lines().filter(|line| line.contains("app.log")).collect();
            bail!("{first}..={last} more than once: {}{}", String::from_utf8_lossy(&rows), cuts.join("\n"));
        }
        let missing: BTreeSet<u64> = (0..self.next).filter(|number| !there.contains_key(number)).collect();
        let unexplained: Vec<&u64> = missing.iter().filter(|number| !self.destroyed.contains_key(number)).collect();
        ensure!(unexplained.is_empty(), "lost, though in files: {unexplained:?} of {}", self.next);
        let places = self.places()?;
        for number in &missing {
            let (watched, at) = self.destroyed.get(number).copied().unwrap_or_default();
            let told = places.iter().any(|from| *from <= at);
            ensure!(told || !watched, "{number} stood at byte {at} of app.log and is gone, and nobody says so");
        }
        let gone = self.site.number("select count(*) from rotation_dead_letter", None);
        ensure!(gone.is_err() || gone.is_ok_and(|count| count == 0), "dead letters");
        self.site.ok(&["fsck"]).map(drop)
    }
}

/// The byte of `app.log` from which on, as each warning of a cut says, something may be gone.
fn places(said: &str) -> Vec<u64> {
    let place = |line: &str| {
        let from = line.split(" byte ").nth(1).or_else(|| line.split(" bytes ").nth(1))?;
        let digits: String = from.chars().take_while(char::is_ascii_digit).collect();
        // What was packed at once has no place of its own.
        Some(digits.parse().unwrap_or(0))
    };
    let cuts = said.lines().filter(|line| line.contains("app.log was") && line.contains(" gone"));
    cuts.map(|line| place(line).unwrap_or(0)).collect()
}

#[test]
fn rotation_loses_and_doubles_nothing() -> Result<()> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SPOUT_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let seeds = number("SPOUT_SEEDS").unwrap_or(if number("SPOUT_SEED").is_some() { 1 } else { SEEDS });
    println!("seeds {first}..{}; SPOUT_SEED={first} repeats the first", first + seeds);
    let next = AtomicU64::new(first);
    let work = || {
        let mut wrong = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return wrong;
            }
            let torture = Torture::new(seed);
            let lived = torture.and_then(|mut torture| {
                let lived = torture.live();
                lived.with_context(|| format!("after {}", torture.did.join(", ")))
            });
            wrong.extend(lived.err().map(|error| format!("SPOUT_SEED={seed}: {error:#}")));
        }
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let told = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| vec!["a worker died".into()]));
        told.flatten().collect()
    });
    if !wrong.is_empty() {
        bail!("{} of {seeds} seeds:\n{}", wrong.len(), wrong.join("\n\n"));
    }
    Ok(())
}

/// A spec that reads `in` to its end, with those settings, and its name.
fn ending(name: &str, settings: &str, more: &str) -> String {
    format!(
        r#"
pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{follow: false, {settings}}}, metadata: [file]{more}}}
  decoder: {{type: json, schema: {{id: int64}}}}
commit: {{path: /t/, flush: {{rows: 100000}}}}
errors: {{decode: dead-letter}}
grants:
  files: {{dirs: {{in: ./in}}}}
"#
    )
}

/// Runs `spec.yaml` to the end of its files; what it said.
fn run(site: &Site) -> Result<String> {
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

fn ids(site: &Site, name: &str) -> Result<Vec<String>> {
    site.rows(&format!("select id, __file as file from {name}_t order by id, __file"), None)
}

fn append(site: &Site, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
    let path = site.path().join("in").join(name);
    fs::create_dir_all(path.parent().context("a directory")?)?;
    Ok(OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_ref())?)
}

#[test]
fn rows_and_dead_letters_say_which_file_they_are_from() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", ending("named", r#"pattern: "*.log*", maxLine: 20"#, ""))?;
    append(&site, "a.log", "{\"id\":1}\nno json\n")?;
    append(&site, "b.log", format!("{{\"id\":2}}\n{}\n{{\"id\":3}}\n", "x".repeat(100)))?;
    append(&site, "wide.log", b"\xff\xfea\0\n\0")?;
    run(&site)?;
    ensure!(
        ids(&site, "named")?
            == [r#"{"id":1,"file":"a.log"}"#, r#"{"id":2,"file":"b.log"}"#, r#"{"id":3,"file":"b.log"}"#],
        "{:?}",
        ids(&site, "named")?
    );
    let dead = site.rows("select file, code from named_dead_letter order by file", None)?;
    let expected = ["a.log", "b.log", "wide.log"];
    ensure!(dead.len() == 3 && dead.iter().zip(expected).all(|(row, file)| row.contains(file)), "{dead:?}");
    ensure!(dead[1].contains("line.too-long"), "{dead:?}");
    let kept =
        site.rows("select cast(value as text) as kept from named_dead_letter where code = 'line.too-long'", None)?;
    ensure!(kept == [format!(r#"{{"kept":"{}"}}"#, "x".repeat(20))], "{kept:?}");
    ensure!(dead[2].contains("file.encoding"), "{dead:?}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn links_odd_names_and_patterns_without_a_match_are_said() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", ending("links", r#"pattern: "*.log""#, ""))?;
    site.write("outside.txt", "{\"id\":99}\n")?;
    append(&site, "run-1/one", "{\"id\":1}\n")?;
    append(&site, "run-1/two", "{\"id\":2}\n")?;
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, site.path().join("in").join(name));
    link("run-1/one", "current.log")?;
    link("../outside.txt", "escape.log")?;
    link("gone", "dangling.log")?;
    let odd = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"odd\xff.log");
    fs::write(site.path().join("in").join(odd), "{\"id\":98}\n")?;
    let said = run(&site)?;
    for part in [
        "escape.log is a symbolic link that leads out of",
        "dangling.log is a symbolic link that leads to nothing",
        "not UTF-8",
    ] {
        ensure!(said.matches(part).count() == 1, "{part:?} is not said once:\n{said}");
    }
    fs::remove_file(site.path().join("in/current.log"))?;
    link("run-1/two", "current.log")?;
    run(&site)?;
    ensure!(
        ids(&site, "links")? == [r#"{"id":1,"file":"current.log"}"#, r#"{"id":2,"file":"current.log"}"#],
        "{:?}",
        ids(&site, "links")?
    );
    site.write("spec.yaml", ending("nothing", r#"pattern: "*.lgo""#, ""))?;
    let output = site.run(&["run", "spec.yaml", "--until", "idle"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("matches the pattern `*.lgo`"), "{said}");
    Ok(())
}

#[test]
fn a_large_hole_is_passed_over() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", ending("hole", r#"pattern: "*.log""#, ""))?;
    fs::create_dir(site.path().join("in"))?;
    File::create(site.path().join("in/hole.log"))?.set_len(20 << 20)?;
    append(&site, "hole.log", "{\"id\":4}\n{\"id\":5}\n")?;
    let said = run(&site)?;
    ensure!(said.contains("20971520 NUL bytes"), "{said}");
    ensure!(ids(&site, "hole")?.len() == 2, "{:?}", ids(&site, "hole")?);
    Ok(())
}

#[test]
fn what_is_gone_stops_the_pipeline_or_is_passed_over_once() -> Result<()> {
    let site = Site::new()?;
    let spec = |more| ending("gone", r#"pattern: "*.log""#, more).replace("follow: false", "follow: true");
    site.write("spec.yaml", spec(""))?;
    append(&site, "a.log", "{\"id\":1}\n{\"id\":2}\n")?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    fs::write(site.path().join("in/a.log"), "{\"id\":10}\n{\"id\":11}\n{\"id\":12}\n")?;
    site.fails(
        &["run", "spec.yaml", "--until", "idle"],
        1,
        &["E0301", "a.log was cut, replaced or removed", "byte 18"],
    )?;
    site.write("spec.yaml", spec(", onOutOfRange: earliest"))?;
    for _ in 0..2 {
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        ensure!(ids(&site, "gone")?.len() == 5, "{:?}", ids(&site, "gone")?);
    }
    Ok(())
}
