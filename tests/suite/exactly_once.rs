//! Kill it anywhere: the rows, the state and the marker are those of a run that nobody killed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_plugin::KeyedState;
use spout_repo::Store;
use spout_tests::Site;

/// State by handler and part.
pub(crate) type State = BTreeMap<String, Vec<u8>>;

const KILLS: usize = 50;

/// Nexmark through a filter, a map and a handler with state, in three partitions.
fn nexmark(total: u64, rate: u64) -> String {
    format!(
        r#"
pipeline: {{name: bids}}
producer:
  stream:
    plugin: nexmark
    topic: bids
    settings: {{total: {total}, partitions: 3, rate: {rate}}}
    metadata: [partition, offset]
  decoder:
    plugin: json
    settings: {{schema: '{{"event": "utf8", "bid": {{"auction": "int64", "bidder": "int64", "price": "int64"}}}}'}}
node:
  - {{id: bids, type: filter, where: "event = 'bid'"}}
  - {{id: euro, type: map, columns: {{euro: "bid['price'] * 0.9"}}, select: [__partition, __offset, bid, euro]}}
  - {{id: flat, type: map, columns: {{auction: "bid['auction']"}}, drop: [bid]}}
  - {{id: seen, type: plugin, plugin: count, settings: {{keys: [__partition, auction]}}}}
commit: {{path: /bids/, flush: {{rows: 3000, time: 150ms}}}}
"#
    )
}

/// What has to be the same whether or not somebody pulled the plug: rows, state, marker.
pub(crate) fn outcome(site: &Site, repo: &str) -> Result<(Vec<String>, State, Value)> {
    let mut rows = site.rows(&format!("select * from {repo}"), None)?;
    rows.sort_unstable();
    let commit = site.json(&["inspect", "commit", &format!("{repo}@master")])?.remove(0);
    let state = tokio::runtime::Runtime::new()?.block_on(state(site, repo))?;
    ensure!(
        state.keys().any(|part| part.starts_with("seen/keyed-")),
        "the handler has no keyed state: {:?}",
        state.keys()
    );
    Ok((rows, state, places(commit.get("marker").context("a marker")?)))
}

/// The state of the newest commit, by handler and part; keyed state as a whole, because its parts are cut where commits were.
async fn state(site: &Site, repo: &str) -> Result<State> {
    let store = Store::open_existing(&site.store).await?;
    let (repo, commit) = store.resolve(&format!("{repo}@master").parse()?).await?;
    let (mut state, mut keyed) = (State::new(), BTreeMap::new());
    for key in commit.state.keys() {
        let bytes = repo.state_part(&commit, key).await?.context("a part of the state")?;
        match key.strip_prefix("seen/").filter(|part| part.starts_with("keyed-")) {
            Some(part) => drop(keyed.insert(part.to_owned(), bytes)),
            None => drop(state.insert(key.clone(), bytes.to_vec())),
        }
    }
    let keyed = KeyedState::restore(&mut keyed).map_err(anyhow::Error::msg)?;
    let whole = keyed.whole()?.into_iter().map(|(part, bytes)| (format!("seen/{part}"), bytes.to_vec()));
    state.extend(whole);
    Ok(state)
}

/// A marker without its tokens, which say where on the disk a file was found.
fn places(marker: &Value) -> Value {
    let mut marker = marker.clone();
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("token");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut marker);
    marker
}

pub(crate) fn same(killed: &(Vec<String>, State, Value), whole: &(Vec<String>, State, Value)) -> Result<()> {
    ensure!(killed.0.len() == whole.0.len(), "{} rows, but {} without kills", killed.0.len(), whole.0.len());
    let differing = killed.0.iter().zip(&whole.0).find(|(killed, whole)| killed != whole);
    ensure!(differing.is_none(), "rows differ: {differing:?}");
    ensure!(
        killed.1.keys().eq(whole.1.keys()),
        "states have other parts: {:?} and {:?}",
        killed.1.keys(),
        whole.1.keys()
    );
    let differing = killed.1.iter().zip(&whole.1).find(|(killed, whole)| killed != whole).map(|(part, _)| part.0);
    ensure!(killed.1 == whole.1, "states differ, first in {differing:?}");
    ensure!(killed.2 == whole.2, "markers differ: {} and {}", killed.2, whole.2);
    Ok(())
}

/// Starts `spout run`, lets it live for a random while, and kills it as `kill -9` does; whether it was still alive.
fn live_and_die(site: &Site, dice: &mut StdRng, spec: &str) -> Result<bool> {
    let mut running = site.start(&["run", spec, "--until", "ended"])?;
    running.wait_for("started")?;
    let until = Instant::now() + Duration::from_millis(dice.random_range(0..400));
    // Not a wait for something to happen: the moment of death is what the test draws by lot.
    while Instant::now() < until && running.child.try_wait()?.is_none() {
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let alive = running.child.try_wait()?.is_none();
    running.child.kill()?;
    running.end()?;
    Ok(alive)
}

fn counts_by_commit(site: &Site, repo: &str, known: &mut BTreeMap<String, u64>) -> Result<()> {
    for commit in site.json(&["list", "commit", &format!("{repo}@master")])? {
        let id = commit.get("id").and_then(Value::as_str).context("an id")?.to_owned();
        let count = site.number(&format!("select count(*) from {repo}"), Some(&format!("{repo}@{id}")))?;
        if let Some(before) = known.insert(id.clone(), count) {
            ensure!(before == count, "commit {id} had {before} rows and has {count} now");
        }
    }
    Ok(())
}

#[test]
fn fifty_kills_change_nothing() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let mut dice = StdRng::seed_from_u64(seed);
    let total = 90_000;
    let whole = Site::new()?;
    whole.write("spec.yaml", nexmark(total, 0))?;
    whole.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let expected = outcome(&whole, "bids")?;
    ensure!(expected.0.len() > 50_000, "only {} rows: the test would prove nothing", expected.0.len());

    let site = Site::new()?;
    site.write("spec.yaml", nexmark(total, 9_000))?;
    let mut counts = BTreeMap::new();
    let mut kills = 0;
    while kills < KILLS && live_and_die(&site, &mut dice, "spec.yaml")? {
        kills += 1;
        if kills == KILLS / 2 {
            counts_by_commit(&site, "bids", &mut counts)?;
        }
    }
    ensure!(kills >= KILLS, "the pipeline was done after {kills} kills: make it longer");
    ensure!(!counts.is_empty(), "no commit before kill {}: the kills come too fast", KILLS / 2);
    site.write("spec.yaml", nexmark(total, 0))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    same(&outcome(&site, "bids")?, &expected)?;
    let before = counts.len();
    counts_by_commit(&site, "bids", &mut counts)?;
    println!("{kills} kills, {before} commits before the middle, {} in the end", counts.len());
    site.ok(&["fsck"])?;
    Ok(())
}

const FILES: &str = r#"
pipeline: {name: lines}
producer:
  stream:
    plugin: files
    topic: in
    discoverEvery: 50ms
    fetch: {timeout: 50ms, messages: 500}
    settings: {pattern: "*.ndjson"}
  decoder: {type: json, schema: {file: int64, line: int64, key: int64}}
node:
  - {id: seen, type: plugin, plugin: count, settings: {keys: [file, key]}}
commit: {path: /lines/, flush: {rows: 700, time: 50ms}}
grants:
  files: {dirs: {in: ./in}}
"#;

fn lines(file: u64) -> String {
    (0..900).map(|line| format!("{{\"file\":{file},\"line\":{line},\"key\":{}}}\n", line % 7)).collect()
}

#[test]
fn kills_while_partitions_are_added_change_nothing() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let mut dice = StdRng::seed_from_u64(seed);
    let files = 12;
    let whole = Site::new()?;
    whole.write("spec.yaml", FILES)?;
    for file in 0..files {
        whole.write(&format!("in/{file:02}.ndjson"), lines(file))?;
    }
    whole.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let expected = outcome(&whole, "lines")?;
    ensure!(expected.0.len() == 900 * 12, "{} rows", expected.0.len());

    let site = Site::new()?;
    site.write("spec.yaml", FILES)?;
    for file in 0..files {
        // Half of the file, a kill, the other half (cut within a line), a kill.
        let text = lines(file);
        let (path, half) = (format!("in/{file:02}.ndjson"), dice.random_range(1..text.len()));
        site.write(&path, &text[..half])?;
        live_and_die(&site, &mut dice, "spec.yaml")?;
        site.write(&path, &text)?;
        live_and_die(&site, &mut dice, "spec.yaml")?;
    }
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    same(&outcome(&site, "lines")?, &expected)?;
    site.ok(&["fsck"])?;
    Ok(())
}
