//! What every connector has to endure: the host and the server are killed at random while messages are written and read, and in the
//! end every message is there exactly once.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::{Site, daemon::Daemon};

/// Messages in CI, and how often host and server are killed meanwhile; those of `just soak`, which says `SPOUT_KILLS`.
const USUAL: Load = Load { messages: 200_000, kills: 10 };
const SOAK: Load = Load { messages: 1_000_000, kills: 10 };
/// How long a lag may take to go on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a connector has to endure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    /// How often each is killed.
    pub(crate) kills: u64,
}

impl Load {
    /// That of this run: `just soak` has ten times the messages, and a kill for each four that it asks for, ten at least.
    pub(crate) fn now() -> Self {
        if std::env::var_os("SPOUT_KILLS").is_none() {
            return USUAL;
        }
        Self { kills: SOAK.kills.max(u64::from(spout_tests::kills()) / 4), ..SOAK }
    }
}

/// Message number `n`: sizes differ, and no two are alike.
pub(crate) fn message(n: u64) -> String {
    format!("{{\"n\":{n},\"text\":\"{}\"}}", text(n))
}

fn text(n: u64) -> String {
    format!("{n:x}").repeat(usize::try_from(n % 17).unwrap_or(0))
}

/// A spec whose address is `broker`, with that as an endpoint at this address, and more grants.
pub(crate) fn through(spec: &str, address: &str, more: &str) -> String {
    let endpoint = format!("{{endpoints: {{broker: {{address: \"{address}\"}}}}{more}}}");
    spec.replace("{net: [\"broker\"]}", &endpoint)
}

/// Writes messages `from..to` to the server, or as many of them as it takes; how many the server has then, as it says itself.
pub(crate) type Write = dyn Fn(u64, u64) -> Result<u64> + Send + Sync;

/// Runs `spec.yaml`, whose pipeline is `lines`, over the messages of [`Load::now`], which `write` adds meanwhile. The host and the server are killed
/// in turn; afterwards nothing is missing, nothing is there twice, and there is no lag.
pub(crate) fn kills(site: &Site, server: Daemon, write: Arc<Write>) -> Result<()> {
    let load = Load::now();
    let total = load.messages;
    let _server = killed(site, server, load, write)?;
    complete(site, total)?;
    site.ok(&["fsck"]).map(drop)
}

/// The same with half as many for a source that is acknowledged; `left` is how many messages it has that were not acknowledged, as it says itself.
pub(crate) fn kills_acked(
    site: &Site,
    server: Daemon,
    write: Arc<Write>,
    left: impl Fn() -> Result<u64>,
) -> Result<()> {
    let load = Load { messages: Load::now().messages / 2, ..Load::now() };
    let total = load.messages;
    let _server = killed(site, server, load, write)?;
    caught_up(site)?;
    emptied(site, left)?;
    each_once(site, total)?;
    site.ok(&["fsck"]).map(drop)
}

/// Runs `spec.yaml` until the source has nothing `left`.
pub(crate) fn emptied(site: &Site, left: impl Fn() -> Result<u64>) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut rest = u64::MAX;
    while rest > 0 {
        ensure!(Instant::now() < until, "{rest} messages are not acknowledged");
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        rest = left()?;
    }
    Ok(())
}

/// Runs `spec.yaml` under `load`, and kills the host and the server in turn; the server, which runs then.
fn killed(site: &Site, mut server: Daemon, load: Load, write: Arc<Write>) -> Result<Daemon> {
    // The server may be down just now.
    let write = move |from, to| Ok(write(from, to).ok());
    paced(load, write, |_, dice| {
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("committed")?.context("a commit in this round")?;
        wait(dice, 100);
        server.kill()?;
        wait(dice, 100);
        server.again()?;
        wait(dice, 300);
        running.child.kill()?;
        running.end().map(drop)
    })?;
    partly(site, load.messages)?;
    Ok(server)
}

/// Has `write` add the messages of `load` as rounds go by, in each of which `round` kills whom it is to kill. It is given the numbers of the
/// messages, and says how many the server has then, or that it has to be tried again. Something is left to be written after the last round.
pub(crate) fn paced(
    load: Load,
    mut write: impl FnMut(u64, u64) -> Result<Option<u64>> + Send + 'static,
    mut round: impl FnMut(u64, &mut StdRng) -> Result<()>,
) -> Result<()> {
    let Load { messages: total, kills } = load;
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("{total} messages, {kills} kills; SPOUT_SEED={seed} repeats it");
    let mut dice = StdRng::seed_from_u64(seed);
    let (allowed, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = {
        let (allowed, stop) = (Arc::clone(&allowed), Arc::clone(&stop));
        thread::spawn(move || -> Result<u64> {
            let mut written = 0;
            while written < total && !stop.load(Ordering::SeqCst) {
                let to = allowed.load(Ordering::SeqCst).min(written + 1000);
                match write(written, to)? {
                    Some(now) => written = now,
                    None => thread::park_timeout(Duration::from_millis(5)),
                }
                if written >= to {
                    thread::park_timeout(Duration::from_millis(2));
                }
            }
            Ok(written)
        })
    };
    let killed = (1..=kills).try_for_each(|number| {
        allowed.store(total * number / (kills + 1), Ordering::SeqCst);
        round(number, &mut dice)
    });
    allowed.store(total, Ordering::SeqCst);
    stop.store(killed.is_err(), Ordering::SeqCst);
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    // Hosts wait in vain for what nobody writes any more.
    let written = written?;
    killed?;
    ensure!(written == total, "the server has {written} messages, not {total}");
    Ok(())
}

/// Some of `total` messages are there before the last run, and not all.
pub(crate) fn partly(site: &Site, total: u64) -> Result<()> {
    let before = site.number("select count(*) from lines", None)?;
    ensure!(before > 0 && before < total, "{before} rows before the last run: the kills proved nothing");
    Ok(())
}

/// Messages were sent again, and left out.
pub(crate) fn sent_again(site: &Site) -> Result<()> {
    let again = format!("{:?}", site.json(&["list", "commit", "lines"])?);
    ensure!(again.contains("dedupe"), "nothing was sent again: the test proves nothing");
    Ok(())
}

/// Not a wait for something to happen: the moment of death is what the test draws by lot.
pub(crate) fn wait(dice: &mut StdRng, most_ms: u64) {
    let until = Instant::now() + Duration::from_millis(dice.random_range(0..most_ms));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// Runs `spec.yaml` until there is nothing more, and compares what is in `lines` with messages `0..total`, byte for byte.
pub(crate) fn complete(site: &Site, total: u64) -> Result<()> {
    caught_up(site)?;
    each_once(site, total)
}

/// Compares what is in `lines` with messages `0..total`, byte for byte.
pub(crate) fn each_once(site: &Site, total: u64) -> Result<()> {
    let (mut found, mut count) = (BTreeMap::new(), 0);
    for row in site.rows("select n, text from lines", None)? {
        let row: Value = serde_json::from_str(&row)?;
        let n = row.get("n").and_then(Value::as_u64).context("a number")?;
        let said = row.get("text").and_then(Value::as_str).context("a text")?;
        ensure!(said == text(n), "message {n} says {said}");
        (*found.entry(n).or_insert(0), count) = (1, count + 1);
    }
    ensure!(count == total && found.len() as u64 == total, "{count} rows of {} messages, not {total}", found.len());
    ensure!(found.keys().next_back().is_none_or(|last| *last == total - 1), "a message that nobody wrote");
    Ok(())
}

/// Runs `spec.yaml`, for which there is something to read, until there is no lag.
pub(crate) fn caught_up(site: &Site) -> Result<()> {
    lag_becomes(site, 0)?;
    // What was fetched, but not taken at the stop, is left for the next run.
    site.ok(&["run", "spec.yaml", "--until", "idle"]).map(drop)
}

/// Runs `spec` of a source that waits for acknowledgments: as long as there is no commit, the lag is what it has besides, `rest`. In the end
/// there is none.
pub(crate) fn lags(site: &Site, spec: &str, rest: u64) -> Result<()> {
    site.write("spec.yaml", spec.replace("time: 50ms", "time: 1h"))?;
    lag_becomes(site, rest)?;
    site.write("spec.yaml", spec)?;
    caught_up(site)
}

/// Runs `spec.yaml`, for which there is something to read, until the lag is that.
pub(crate) fn lag_becomes(site: &Site, expected: u64) -> Result<()> {
    let mut running = site.start(&["run", "spec.yaml"])?;
    let (id, done) = (running.child.id().to_string(), Arc::new(AtomicBool::new(false)));
    let watched = Arc::clone(&done);
    // Updates come only while there is something to say: without this, a lag that stays would be waited for without an end.
    let watchdog = thread::spawn(move || {
        thread::park_timeout(PATIENCE);
        if !watched.load(Ordering::SeqCst) {
            drop(Command::new("kill").args(["-INT", &id]).status());
        }
    });
    let mut lag = None;
    while lag != Some(expected) {
        let Some(update) = running.wait_for("progress")? else { break };
        lag = update.get("lag").and_then(Value::as_u64);
    }
    done.store(true, Ordering::SeqCst);
    watchdog.thread().unpark();
    if lag == Some(expected) {
        running.signal("INT")?;
    }
    let (succeeded, said) = running.end()?;
    ensure!(succeeded && lag == Some(expected), "a lag of {lag:?} is left, not of {expected}\n{said}");
    Ok(())
}
