//! Queries over many commits against DuckDB over the same files; and what one row out of very many commits takes.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use arrow::json::ArrayWriter;
use serde_json::{Value, json};
use spout_repo::Store;
use spout_tests::Site;

use crate::{
    grown::{Grown, USERS, files},
    peer::{Peer, Took, middle},
    process::own_cpu,
    timing::median,
};

const EVENTS: Grown = Grown { repo: "events", commits: 100, rows: 50_000 };
const TABLE: Grown = Grown { repo: "users", commits: 10, rows: USERS / 10 };
/// Of which one row is wanted.
const MANY: Grown = Grown { repo: "events", commits: 10_000, rows: 20 };
/// Medians of so many, each of which runs the query so often: processor time is told to a hundredth of a second.
const RUNS: usize = 5;
const TIMES: u32 = 5;
const AIM: f64 = 0.8;
const POINT: Duration = Duration::from_millis(100);

const QUERIES: [(&str, &str); 5] = [
    (
        "filter, few groups",
        "select kind, count(*) as n, cast(sum(amount) as bigint) as total, max(id) as last from events where amount > 500000 group by kind order by kind",
    ),
    (
        "filter, many groups",
        "select name, count(*) as n, cast(sum(amount) as bigint) as total from events where paid group by name order by total desc, name limit 20",
    ),
    ("top-n", "select id, name, note, amount from events order by amount desc, id limit 100"),
    (
        "join of two repos",
        "select country, count(*) as n, cast(sum(amount) as bigint) as total from events join users on events.name = users.name where level < 5 group by country order by country",
    ),
    ("a range of ids", "select count(*) as n, min(note) as least from events where id between 1234567 and 1250000"),
];

pub(crate) async fn run() -> Result<()> {
    let dir = spout_tests::root().join("target/bench-store-sql");
    over_commits(&dir).await?;
    point(&dir)
}

async fn over_commits(dir: &Path) -> Result<()> {
    Grown::make(dir, &[EVENTS, TABLE])?;
    println!("sql: {} commits of {} events each, medians of {RUNS} in turn; aim {AIM}x", EVENTS.commits, EVENTS.rows);
    let Some(mut peer) = Peer::start()? else { return Ok(()) };
    let mut tables = BTreeMap::new();
    for repo in [EVENTS.repo, TABLE.repo] {
        tables.insert(repo, files(dir, repo).await?);
    }
    println!("                          ours ms (CPU)    DuckDB ms (CPU)    by the clock, by processor time");
    for (name, query) in QUERIES {
        let asked = |times: u32| json!({"do": "sql", "tables": tables, "query": query, "times": times});
        let (ours, theirs) = (answer(dir, query).await?, peer.ask(&asked(1))?.0);
        ensure!(ours == theirs, "{name}: {} and {}", Value::from(ours), Value::from(theirs));
        let (mut us, mut them) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            us.push(timed(dir, query).await?);
            them.push(peer.ask(&asked(TIMES))?.1);
        }
        let (us, them) = (middle(&us), middle(&them));
        let each = |seconds: f64| seconds * 1e3 / f64::from(TIMES);
        println!(
            "  {name:20} {:8.1} ({:6.1})   {:8.1} ({:6.1})   {:5.2}x   {:5.2}x",
            each(us.wall),
            each(us.cpu),
            each(them.wall),
            each(them.cpu),
            them.wall / us.wall,
            them.cpu / us.cpu,
        );
    }
    Ok(())
}

/// The rows of `query`, as JSON has them; the store is opened for it.
async fn answer(dir: &Path, query: &str) -> Result<Vec<Value>> {
    let store = Store::open_existing(dir.to_str().context("a path that is text")?).await?;
    let rows = spout_sql::query(&store, query, &BTreeMap::new()).await?.collect().await?;
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write_batches(&rows.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    Ok(serde_json::from_slice(&writer.into_inner())?)
}

async fn timed(dir: &Path, query: &str) -> Result<Took> {
    let (begun, cpu) = (Instant::now(), own_cpu());
    for _ in 0..TIMES {
        ensure!(!answer(dir, query).await?.is_empty(), "no rows");
    }
    Ok(Took { wall: begun.elapsed().as_secs_f64(), cpu: own_cpu() - cpu })
}

/// One row, asked for by a process that starts for it.
fn point(dir: &Path) -> Result<()> {
    Grown::make(dir, &[MANY])?;
    let mut site = Site::new()?;
    site.store = dir.display().to_string();
    let mut times = Vec::new();
    for run in 0..RUNS as u64 {
        let id = 123_456 + run * 7919;
        let query = format!("select * from events where id = {id}");
        let begun = Instant::now();
        let rows = site.rows(&query, None)?;
        times.push(begun.elapsed());
        ensure!(rows.len() == 1 && rows.concat().contains(&format!("\"id\":{id},")), "{rows:?}");
    }
    println!(
        "sql: one row by its id, {} commits of {} rows, `spout sql` from start to end: {:.0} ms (aim {POINT:?})",
        MANY.commits,
        MANY.rows,
        median(&mut times).as_secs_f64() * 1e3
    );
    Ok(())
}
