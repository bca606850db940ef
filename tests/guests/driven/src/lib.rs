//! A spout that drives itself; its settings say what it does with its commits.

use std::{io::Write as _, time::Duration};

use spout_guest::{Columns, Commit, Error, Mode, Pfs, Result, Spout, draining, pause, register};

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// What to do.
    task: Task,
    /// How many commits.
    #[serde(default)]
    commits: u64,
    /// Milliseconds between two of them.
    #[serde(default)]
    pause: u32,
}

#[derive(Clone, Copy, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// A line is put into one file, and another file is made, in each commit.
    Grow,
    /// The same, and a crash after each commit.
    Crash,
    /// The same, and an error that passes after each commit.
    Fail,
    /// Commits without anything, between two that have something.
    Empty,
    /// Several that are open at once.
    Several,
    /// A file larger than the plugin's memory.
    Large,
    /// Rows of the pipeline, and a file of rows.
    Rows,
    /// A commit that is never finished.
    Never,
    /// As many open commits as there may be.
    Many,
    /// Computes and never calls the host.
    Burn,
    /// Waits for the order to stop, and makes a last commit.
    Last,
    /// What is refused.
    Wrong,
    /// What the newest commit holds.
    Read,
}

struct Driven;

impl Spout for Driven {
    type Settings = Settings;

    fn run(settings: Settings, pfs: &Pfs) -> Result<()> {
        match settings.task {
            Task::Grow | Task::Crash | Task::Fail => grow(&settings, pfs),
            Task::Empty => empty(pfs),
            Task::Several => several(pfs),
            Task::Large => large(pfs, settings.commits),
            Task::Rows => rows(&settings, pfs),
            Task::Never => never(pfs),
            Task::Many => many(pfs),
            Task::Burn => burn(pfs),
            Task::Last => last(pfs),
            Task::Wrong => wrong(pfs),
            Task::Read => read(pfs),
        }
    }
}

/// Commits that the marker knows of.
fn done(pfs: &Pfs) -> Result<u64> {
    let Some(marker) = pfs.marker() else { return Ok(0) };
    let text = String::from_utf8(marker).map_err(|error| Error::fatal("marker", error.to_string()))?;
    text.parse().map_err(|_| Error::fatal("marker", text))
}

#[expect(clippy::panic, reason = "it is to crash")]
fn grow(settings: &Settings, pfs: &Pfs) -> Result<()> {
    for number in done(pfs)?..settings.commits {
        if draining() {
            return Ok(());
        }
        let mut commit = pfs.begin()?;
        commit.put("/log.txt", format!("{number}\n"))?;
        commit.put(&format!("/files/{number:06}"), format!("file {number}"))?;
        commit.set_marker((number + 1).to_string())?;
        commit.finish()?;
        assert_eq!(done(pfs)?, number + 1, "the marker is that of the commit");
        match settings.task {
            Task::Crash => panic!("after {number}"),
            Task::Fail => {
                return Err(Error::Retriable {
                    code: "feed.gone".into(),
                    message: "it comes back".into(),
                    after: Some(Duration::from_millis(1)),
                });
            }
            _ => {}
        }
        if settings.pause > 0 {
            pause(Duration::from_millis(u64::from(settings.pause)));
        }
    }
    Ok(())
}

fn put(commit: &mut Commit, path: &str, text: &str) -> Result<()> {
    commit.append(path, text)
}

fn empty(pfs: &Pfs) -> Result<()> {
    assert_eq!(pfs.begin()?.finish()?, "", "nothing was ever committed");
    let mut commit = pfs.begin()?;
    put(&mut commit, "/a", "a")?;
    let first = commit.finish()?;
    for _ in 0..5 {
        assert_eq!(pfs.begin()?.finish()?, first);
    }
    let mut commit = pfs.begin()?;
    commit.set_marker("alone")?;
    assert_ne!(commit.finish()?, first);
    let mut commit = pfs.begin()?;
    put(&mut commit, "/b", "b")?;
    commit.finish().map(drop)
}

fn several(pfs: &Pfs) -> Result<()> {
    let mut open = (0..4).map(|_| pfs.begin()).collect::<Result<Vec<_>>>()?;
    for round in 0..2 {
        for (number, commit) in open.iter_mut().enumerate() {
            put(commit, "/both.txt", &format!("{number}.{round} "))?;
            put(commit, &format!("/own/{number}"), "x")?;
        }
    }
    let [zero, mut one, two, three]: [Commit; 4] = open.try_into().map_err(|_| Error::fatal("test", "four"))?;
    one.set_marker("one")?;
    two.finish()?;
    zero.finish()?;
    one.finish()?;
    drop(three);
    Ok(())
}

/// A file of so many mebibytes.
fn large(pfs: &Pfs, mebibytes: u64) -> Result<()> {
    let mut commit = pfs.begin()?;
    let mut file = commit.open_file("/large.bin", Some(Mode::Overwrite))?;
    let mut small = commit.open_file("/small.bin", None)?;
    for number in 0..mebibytes * 16 {
        let byte = u8::try_from(number % 251).unwrap_or_default();
        file.write_all(&vec![byte; 64 << 10])?;
        small.write_all(&[byte])?;
    }
    drop(commit.open_file("/abandoned", None)?);
    assert_eq!(file.close()?, mebibytes << 20);
    small.close()?;
    commit.finish()?;
    let there = pfs.inspect("/large.bin")?.ok_or_else(|| Error::fatal("test", "no file"))?;
    assert_eq!(there.size, mebibytes << 20);
    let piece = pfs.read_at("/large.bin", (64 << 10) * 300 - 1, 2)?;
    assert_eq!(piece, [u8::try_from(299 % 251).unwrap_or_default(), u8::try_from(300 % 251).unwrap_or_default()]);
    Ok(())
}

/// In each commit ten rows, of which one cannot be divided, and the same as a file.
fn rows(settings: &Settings, pfs: &Pfs) -> Result<()> {
    for number in done(pfs)?..settings.commits {
        let ids = || (0..10).map(move |row| i64::try_from(number * 10 + row).unwrap_or(i64::MAX));
        let columns = || Columns::new().i64("id", ids()).i64("by", ids().map(|id| id % 10)).batch();
        let mut commit = pfs.begin()?;
        commit.put_rows(columns()?)?;
        commit.put_table("/copies.csv", Some(Mode::Append), columns()?)?;
        commit.set_marker((number + 1).to_string())?;
        commit.finish()?;
    }
    Ok(())
}

fn never(pfs: &Pfs) -> Result<()> {
    let mut finished = pfs.begin()?;
    put(&mut finished, "/finished", "yes")?;
    finished.finish()?;
    let mut open = pfs.begin()?;
    put(&mut open, "/never", "no")?;
    open.set_marker("never")?;
    while pause(Duration::from_secs(3600)) {}
    Ok(())
}

fn many(pfs: &Pfs) -> Result<()> {
    let mut all = Vec::new();
    let refused = loop {
        match pfs.begin() {
            Ok(commit) => all.push(commit),
            Err(error) => break error,
        }
    };
    let mut last = all.pop().ok_or_else(|| Error::fatal("test", "none"))?;
    put(&mut last, "/many.txt", &format!("{} {refused}", all.len() + 1))?;
    last.finish()?;
    pfs.begin().map(drop)
}

fn burn(pfs: &Pfs) -> Result<()> {
    if pfs.marker().is_none() {
        let mut commit = pfs.begin()?;
        commit.set_marker("burning")?;
        commit.finish()?;
    }
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
}

fn last(pfs: &Pfs) -> Result<()> {
    let mut commit = pfs.begin()?;
    put(&mut commit, "/first", "x")?;
    commit.finish()?;
    while pause(Duration::from_secs(3600)) {}
    let mut commit = pfs.begin()?;
    put(&mut commit, "/last", "x")?;
    commit.finish().map(drop)
}

fn wrong(pfs: &Pfs) -> Result<()> {
    let mut said = String::new();
    let mut refused = |what: &str, answer: Result<()>| {
        said += &match answer {
            Ok(()) => format!("{what}: taken\n"),
            Err(error) => format!("{what}: {error}\n"),
        };
    };
    let mut commit = pfs.begin()?;
    refused("outside", put(&mut commit, "../x", ""));
    refused("marker", put(&mut commit, "/place", ""));
    refused("dead letters", put(&mut commit, "/dead-letter/x", ""));
    refused("no format", commit.put_table("/x.txt", None, Columns::new().i64("n", [1]).batch()?));
    refused("large marker", commit.set_marker(vec![0; 2 << 20]));
    let open = commit.open_file("/open", None)?;
    refused("unclosed", commit.finish().map(drop));
    drop(open);
    let mut commit = pfs.begin()?;
    let writers = (0..16).map(|number| commit.open_file(&format!("/w/{number}"), None)).collect::<Result<Vec<_>>>()?;
    refused("many files", commit.open_file("/w/more", None).map(drop));
    drop(writers);
    put(&mut commit, "/lost", "x")?;
    commit.delete_file("/nowhere")?;
    refused("no such file", commit.finish().map(drop));
    refused("nothing to read", pfs.read("/nowhere").map(drop));
    let mut commit = pfs.begin()?;
    put(&mut commit, "/file", "x")?;
    commit.finish()?;
    let mut commit = pfs.begin()?;
    put(&mut commit, "/file/below", "x")?;
    refused("below a file", commit.finish().map(drop));
    let mut commit = pfs.begin()?;
    put(&mut commit, "/said.txt", &said)?;
    commit.finish().map(drop)
}

fn read(pfs: &Pfs) -> Result<()> {
    let files = pfs.list("/")?;
    let mut said = String::new();
    for file in files.iter().filter(|file| file.path != "/read.txt") {
        let bytes = pfs.read(&file.path)?;
        said += &format!("{} {} {} {}\n", file.path, file.size, bytes.len(), file.sha256.len());
    }
    said += &format!("{} below /files, {:?}\n", pfs.list("/files")?.len(), pfs.inspect("/nowhere")?);
    let mut commit = pfs.begin()?;
    commit.overwrite("/read.txt", said)?;
    commit.finish().map(drop)
}

register! { name: "driven", summary: "commits as its settings say", spout: Driven }
