//! Processes race for one branch: writers that are stopped past a takeover and wake up, writers that are killed, editors that
//! own nothing, a collector that removes whatever is not yet named. What was acknowledged is what can be seen.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use spout_repo::{Collect, CommitMeta, Depth, Finished, MASTER, PutMode, Store, fsck};
use spout_tests::life::{Life, text};

const WRITERS: usize = 5;
const EDITORS: usize = 2;
/// Takeovers, and how long they may take all together.
const ROUNDS: usize = 24;
const AT_MOST: Duration = Duration::from_secs(15);
/// Nothing that is waited for takes as long as this.
const LOST: Duration = Duration::from_secs(60);

/// A process that says line by line what it does; the lines are kept in a file.
struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    lines: Receiver<String>,
    told: PathBuf,
}

impl Worker {
    fn start(life: &Life, args: &[&str], told: PathBuf) -> Result<Self> {
        let mut command = life.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let from = BufReader::new(child.stdout.take().context("its output")?);
        let (to, lines) = channel();
        let mut file = File::create(&told)?;
        thread::spawn(move || {
            for line in from.lines().map_while(std::result::Result::ok) {
                if writeln!(file, "{line}").is_err() || to.send(line).is_err() {
                    break;
                }
            }
        });
        let orders = child.stdin.take();
        Ok(Self { child, orders, lines, told })
    }

    /// The next line that starts with one of `words`; an error if it ends before.
    fn wait_for(&mut self, words: &[&str]) -> Result<String> {
        loop {
            match self.lines.recv_timeout(LOST) {
                Ok(line) if words.iter().any(|word| line.starts_with(word)) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("waited too long for {words:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended before {words:?}: {}", self.complaint()),
            }
        }
    }

    fn complaint(&mut self) -> String {
        let errors = self.child.stderr.take().map(std::io::read_to_string);
        errors.and_then(std::result::Result::ok).unwrap_or_default()
    }

    fn order(&mut self, what: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("somebody who listens")?;
        Ok(writeln!(orders, "{what}")?)
    }

    fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        ensure!(sent.success(), "kill -{name} failed");
        Ok(())
    }

    /// Lets it end by itself, or by `kill -9`; the file of what it said.
    fn end(mut self, kill: bool) -> Result<PathBuf> {
        if kill {
            self.child.kill()?;
        }
        drop(self.orders.take());
        // What it still says is read to the end, and written down.
        while self.lines.recv_timeout(LOST).is_ok() {}
        let status = self.child.wait()?;
        ensure!(kill || status.success(), "a worker failed: {}", self.complaint());
        Ok(self.told)
    }
}

struct Race {
    life: Life,
    dir: tempfile::TempDir,
    dice: StdRng,
    started: usize,
    told: Vec<PathBuf>,
}

impl Race {
    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn start(&mut self, what: &str) -> Result<Worker> {
        let label = format!("{what}-{}", self.started);
        self.started += 1;
        let (store, told) = (self.store(), self.dir.path().join(&label));
        let args: Vec<&str> = match what {
            "collect" => vec![what, text(&store)?],
            _ => vec![what, text(&store)?, &label],
        };
        Worker::start(&self.life, &args, told)
    }

    /// `holder` has the branch: it is stopped in the middle, `next` takes the branch over, `holder` wakes up.
    fn stopped_past_a_takeover(&mut self, holder: &mut Worker, next: &mut Worker) -> Result<()> {
        for _ in 0..self.dice.random_range(1..6) {
            holder.wait_for(&["committed"])?;
        }
        holder.signal("STOP")?;
        next.order("go")?;
        next.wait_for(&["claimed"])?;
        next.wait_for(&["committed"])?;
        holder.signal("CONT")?;
        // Whatever it had in hand when it was stopped, its next commit is refused.
        let said = holder.wait_for(&["fenced", "lost"])?;
        ensure!(said.starts_with("fenced") && said.ends_with("E0530"), "it was overtaken and says {said}");
        Ok(())
    }
}

#[test]
fn what_was_acknowledged_is_what_can_be_seen() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let mut race = Race {
        life: Life::of(env!("CARGO_BIN_EXE_spout-life")),
        dir: tempfile::tempdir()?,
        dice: StdRng::seed_from_u64(seed),
        started: 0,
        told: Vec::new(),
    };
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        // Each claims the branch when it starts, so that the one before is fenced and waits.
        writers.push(race.start("write")?);
        writers.last_mut().context("a writer")?.wait_for(&["committed"])?;
        if let [.., before, _] = writers.as_mut_slice() {
            before.wait_for(&["fenced"])?;
        }
    }
    let mut beside = vec![race.start("collect")?];
    for _ in 0..EDITORS {
        beside.push(race.start("edit")?);
    }
    let begun = Instant::now();
    let (mut holder, mut rounds, mut kills) = (WRITERS - 1, 0, 0);
    while rounds < ROUNDS && begun.elapsed() < AT_MOST {
        rounds += 1;
        let others: Vec<usize> = (0..WRITERS).filter(|at| *at != holder).collect();
        let next = *others.choose(&mut race.dice).context("another")?;
        let [one, two] = writers.get_disjoint_mut([holder, next])?;
        if race.dice.random_ratio(1, 4) {
            one.wait_for(&["trying"])?;
            let fresh = race.start("write")?;
            race.told.push(std::mem::replace(one, fresh).end(true)?);
            kills += 1;
            one.wait_for(&["committed"])?;
        } else {
            race.stopped_past_a_takeover(one, two)?;
            holder = next;
        }
    }
    for worker in writers.into_iter().chain(beside) {
        race.told.push(worker.end(false)?);
    }
    let store = race.store();
    let told: Vec<&Path> = race.told.iter().map(PathBuf::as_path).collect();
    let mut args = vec!["verify", text(&store)?, "exact"];
    for told in told {
        args.push(text(told)?);
    }
    println!("{rounds} rounds, {kills} kills: {}", race.life.ok(&args)?.trim());
    ensure!(kills < rounds, "nobody was overtaken");
    Ok(())
}

/// A commit that was opened while the one before it was on its way has objects that no record names, and a collection may be after them. It
/// is the commit before that loses its slot to the announcement.
#[test]
fn a_commit_knows_of_a_collection_that_was_announced_while_the_one_before_it_was_published() -> Result<()> {
    let place = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let store = Store::open(text(place.path())?).await?;
        let repo = store.repo_or_create("raced", "").await?;
        let mut writer = repo.writer(MASTER, "raced").await?;
        let mut first = repo.open_commit();
        first.put_file("/first", PutMode::Append, "small".into()).await?;
        let mut second = repo.open_commit();
        second.put_file("/second", PutMode::Append, vec![7; 200 << 10].into()).await?;
        let gone = repo.collect(Collect { min_age_ms: 0, dry_run: false }).await?;
        ensure!(gone.objects > 0, "nothing was collected: {gone:?}");
        let meta = CommitMeta { pipeline: "raced".to_owned(), ..CommitMeta::default() };
        let committed = writer.finish(first, meta.clone()).await?;
        ensure!(matches!(committed, Finished::Committed(_)), "{committed:?}");
        let refused = match writer.finish(second, meta.clone()).await {
            Ok(finished) => bail!("it was published without its object: {finished:?}"),
            Err(refused) => refused,
        };
        ensure!(matches!(refused, spout_repo::Error::Swept { .. }), "{refused}");
        // What is opened from now on is not meant.
        let mut third = repo.open_commit();
        third.put_file("/third", PutMode::Append, vec![8; 200 << 10].into()).await?;
        let committed = writer.finish(third, meta).await?;
        ensure!(matches!(committed, Finished::Committed(_)), "{committed:?}");
        let report = fsck(&store, None, Depth::Everything).await?;
        ensure!(report.is_clean(), "{:#?}", report.findings);
        Ok(())
    })
}
