//! Pipelines spread over members of a fleet in this process, over a store that they share.

mod fleet;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{Builds, Error, Host, Leading, Links, Parts, RunOptions, Until, Update};
use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{UInt32Type, UInt64Type},
};
use futures::future::BoxFuture;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_base::error::Coded as _;
use spout_plugin::Plugins;
use spout_repo::{Commit, Leader, Repo, Store};

use self::fleet::LocalFleet;

const PARTITIONS: u32 = 16;

/// Builds pipelines with the plugins of this repository.
#[derive(Debug)]
struct TestBuilds;

fn plugins() -> &'static Plugins {
    static PLUGINS: OnceLock<Plugins> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let cache = root.join("target/test-cache");
        Plugins::open(&root.join("plugins"), Some(&cache)).unwrap()
    })
}

async fn parts(text: &str) -> Parts {
    let loaded = spout_spec::parse(text, Path::new("spec.yaml"), Path::new(".")).unwrap();
    let links = Links::between(&loaded).unwrap();
    Parts::build(loaded.first().unwrap(), plugins(), &links).await.unwrap()
}

impl Builds for TestBuilds {
    fn build<'a>(
        &'a self,
        text: &'a str,
        _base: &'a Path,
        _plugins: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Parts, String>> {
        Box::pin(async move { Ok(parts(text).await) })
    }
}

/// A process that has not what the spec asks for.
#[derive(Debug)]
struct BuildsNothing;

impl Builds for BuildsNothing {
    fn build<'a>(
        &'a self,
        _text: &'a str,
        _base: &'a Path,
        _plugins: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Parts, String>> {
        Box::pin(async { Err("a directory is missing".to_owned()) })
    }
}

/// A pipeline over events of Nexmark, with the place of each message, whose node is `node`.
fn spec(total: u64, rate: u64, node: &str, flush: &str) -> String {
    format!(
        "pipeline: {{name: e}}
producer:
  stream:
    plugin: nexmark
    topic: events
    settings: {{total: {total}, partitions: {PARTITIONS}, rate: {rate}}}
    metadata: [partition, offset]
    fetch: {{messages: 50}}
  decoder: {{type: json, schema: {{event: utf8}}, unknown: drop}}
node: [{node}]
commit: {{flush: {{{flush}}}}}
"
    )
}

struct Place {
    _dir: tempfile::TempDir,
    url: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = dir.path().display().to_string();
        Self { _dir: dir, url }
    }

    async fn store(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    async fn repo(&self) -> Repo {
        self.store().await.repo("e").await.unwrap()
    }
}

fn leading(fleet: &LocalFleet, until: Until) -> RunOptions {
    let leader = Leader { id: "leader".into(), address: "127.0.0.1:1".into() };
    let leads = Leading::new(Arc::new(fleet.clone()), leader, u64::MAX);
    RunOptions { until, leads: Some(leads), ..RunOptions::default() }
}

/// Runs `text` until its end; what it said.
async fn run(place: &Place, text: &str, options: &RunOptions) -> Result<Vec<Update>, Error> {
    let store = place.store().await;
    let (mut host, mut told) = Host::start(vec![parts(text).await], &store, options);
    let failure = host.failure().await;
    let mut all = Vec::new();
    while let Ok(update) = told.try_recv() {
        all.push(update);
    }
    failure.map_or(Ok(all), Err)
}

/// The rows of every file of a commit.
async fn rows(repo: &Repo, commit: &Commit) -> Vec<RecordBatch> {
    let tree = repo.tree(commit).await.unwrap();
    let mut all = Vec::new();
    for file in tree.below("/").filter(|file| !spout_repo::path::is_aside(&file.path)) {
        for piece in &file.pieces {
            let bytes = repo.piece(file, piece).await.unwrap();
            let (format, schema) = (piece.table.as_ref().unwrap().format, tree.schema(piece).unwrap());
            let batches = spout_format::decode(&file.path, format, schema, bytes, None).unwrap();
            all.extend(batches.map(Result::unwrap));
        }
    }
    all
}

/// Which offsets each partition has at a commit, and that none is there twice or missing, and that the marker says the same.
async fn whole(repo: &Repo, commit: &Commit) -> u64 {
    let mut seen: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    let mut count = 0;
    for batch in rows(repo, commit).await {
        let partitions = batch.column_by_name("__partition").unwrap().as_primitive::<UInt32Type>();
        let offsets = batch.column_by_name("__offset").unwrap().as_primitive::<UInt64Type>();
        for (&partition, &offset) in partitions.values().iter().zip(offsets.values()) {
            assert!(seen.entry(partition).or_default().insert(offset), "{partition}/{offset} is there twice");
            count += 1;
        }
    }
    for (partition, entry) in commit.marker.partitions.iter() {
        let offsets = seen.remove(&partition.number).unwrap_or_default();
        let expected: BTreeSet<u64> = (0..entry.position.offset).collect();
        assert_eq!(offsets, expected, "partition {partition} at commit {}", commit.number);
    }
    assert!(seen.is_empty(), "rows without a place: {seen:?}");
    count
}

/// Everything the branch ever was: at no version is anything missing or there twice. How many rows the head has.
async fn whole_at_every_version(place: &Place) -> u64 {
    let repo = place.repo().await;
    let mut last = 0;
    for commit in repo.log("master").await.unwrap().into_iter().rev() {
        let count = whole(&repo, &commit).await;
        assert!(count >= last, "rows went away");
        last = count;
    }
    last
}

async fn head(place: &Place) -> Commit {
    place.repo().await.edit("master").await.unwrap().head().cloned().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_of_three_members_are_one_commit_each() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    for _ in 0..3 {
        fleet.join();
    }
    run(&place, &spec(20_000, 0, "", "rows: 3000, time: 1h"), &leading(&fleet, Until::Ended)).await.unwrap();
    let head = head(&place).await;
    assert_eq!(whole_at_every_version(&place).await, 20_000);
    // The last one may have taken nothing, where the sources ended just after the one before.
    assert_eq!(head.counts.unaccounted(), Some(0), "{:?}", head.counts);
    assert!(head.number > 2, "{} commits", head.number);
    let tasks = fleet.tasks.lock().unwrap();
    let members: BTreeSet<&str> = tasks.iter().map(|(member, _)| member.as_str()).collect();
    assert_eq!(members.len(), 3, "{members:?}");
    // Each partition stays where it is, until some have ended.
    let mut placed: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    let read = |job: &Value| -> usize {
        let tasks = tasks.iter().filter(|(_, task)| task["job"] == *job);
        tasks.map(|(_, task)| task["partitions"].as_array().unwrap().len()).sum()
    };
    for (member, task) in tasks.iter().filter(|(_, task)| read(&task["job"]) == PARTITIONS as usize) {
        for assigned in task["partitions"].as_array().unwrap() {
            placed.entry(assigned["partition"].as_u64().unwrap()).or_default().insert(member);
        }
    }
    assert!(placed.len() == PARTITIONS as usize && placed.values().all(|members| members.len() == 1), "{placed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn columns_are_settled_by_one_member_before_others_read() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    for _ in 0..3 {
        fleet.join();
    }
    let text = spec(20_000, 0, "", "rows: 2000, time: 1h").replace(", schema: {event: utf8}, unknown: drop", "");
    run(&place, &text, &leading(&fleet, Until::Ended)).await.unwrap();
    assert_eq!(whole_at_every_version(&place).await, 20_000);
    let tasks = fleet.tasks.lock().unwrap();
    let of = |job: u64| tasks.iter().filter(|(_, task)| task["job"] == job).count();
    assert_eq!((of(1), of(2)), (1, 3), "the first job settles the columns");
}

/// The rows of the head without the places that they came from, in order.
async fn sorted(place: &Place) -> Vec<String> {
    let repo = place.repo().await;
    let mut all = Vec::new();
    for batch in rows(&repo, &head(place).await).await {
        let text = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
        let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
        // How wide columns are depends on the other rows of the file.
        all.extend(rows.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    all.sort_unstable();
    all
}

/// Bids a second of event time and auction, which is known once every partition is further.
const WINDOWS: &str = "
  - {id: bids, type: filter, where: \"event = 'bid'\"}
  - {id: columns, type: map, columns: {auction: \"bid['auction']\", price: \"bid['price']\", at: \"bid['date_time']\"}, select: [auction, price, at]}
  - {id: w, type: window, period: 100ms, groupBy: [auction], bounds: true, time: {column: at, unit: ms}}
  - {id: one, type: aggregate, timeAs: last, columns: {n: count(*), most: max(price)}}
";

fn windows(total: u64, rate: u64, flush: &str) -> String {
    spec(total, rate, "NODE", flush)
        .replace("[NODE]", WINDOWS.trim_end())
        .replace("metadata: [partition, offset]", "metadata: []")
        .replace("{event: utf8}", "{event: utf8, bid: {auction: int64, price: int64, date_time: int64}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_with_state_make_the_same_of_rows_that_come_from_members() {
    let text = windows(20_000, 0, "rows: 20, time: 1h");
    let alone = Place::new();
    run(&alone, &text, &RunOptions { until: Until::Ended, ..RunOptions::default() }).await.unwrap();
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    for _ in 0..3 {
        fleet.join();
    }
    run(&place, &text, &leading(&fleet, Until::Ended)).await.unwrap();
    let (one, several) = (sorted(&alone).await, sorted(&place).await);
    assert!(one.len() > 200, "{}", one.len());
    assert_eq!(one, several);
    let (one, several) = (head(&alone).await, head(&place).await);
    assert_eq!((one.counts.unaccounted(), several.counts.unaccounted()), (Some(0), Some(0)));
    assert!(several.number > 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_members_have_done_is_told_by_the_leader() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    let leader = fleet.join();
    fleet.join_with(&[("zone", "a")]);
    let of_text = parts(&windows(20_000, 0, "rows: 3000, time: 1h")).await;
    let leads = Leader { id: leader.clone(), address: "127.0.0.1:1".into() };
    let leads = Some(Leading::new(Arc::new(fleet.clone()), leads, u64::MAX));
    let options = RunOptions { until: Until::Ended, leads, ..RunOptions::default() };
    let (mut host, _told) = Host::start(vec![of_text.clone()], &place.store().await, &options);
    let failure = host.failure().await;
    assert!(failure.is_none(), "{failure:?}");
    let done = of_text.figures().done();
    let [bids, columns, window, one] = done.handlers.as_slice() else { panic!("{done:?}") };
    assert_eq!((bids.rows_in, bids.rows_out), (20_000, columns.rows_in), "the members have run them");
    assert_eq!((columns.rows_out, window.rows_out), (window.rows_in, one.rows_in), "the leader has run the others");
    assert!(done.plugins["nexmark"].calls > 0, "{done:?}");
    let members = of_text.figures().members();
    assert_eq!(members.iter().map(|one| one.leads).collect::<Vec<_>>(), [true, false]);
    let taken = members.iter().map(|one| one.rows).sum::<u64>();
    assert_eq!(taken, columns.rows_out, "rows that came to the leader");
    assert_eq!(members[1].member.labels["zone"], "a");
}

/// Kills a member every few milliseconds, and lets another come, until `over`.
async fn trouble(fleet: LocalFleet, over: tokio::sync::oneshot::Receiver<()>, seed: u64) -> u32 {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut over, mut killed) = (over, 0);
    loop {
        let pause = Duration::from_millis(random.random_range(20..250));
        tokio::select! {
            _ = &mut over => return killed,
            () = tokio::time::sleep(pause) => {}
        }
        let ids = fleet.ids();
        if ids.len() > 1 && random.random_bool(0.6) {
            fleet.kill(&ids[random.random_range(0..ids.len())]);
            killed += 1;
        } else if ids.len() < 4 {
            fleet.join();
        }
    }
}

async fn endures(text: &str, seed: u64) -> (Place, u32) {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    for _ in 0..3 {
        fleet.join();
    }
    let (end, over) = tokio::sync::oneshot::channel();
    let trouble = tokio::spawn(trouble(fleet.clone(), over, seed));
    // A run that is lost begins again from its head, as often as it takes.
    let mut tries = 0;
    loop {
        match run(&place, text, &leading(&fleet, Until::Ended)).await {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error.code(), "E0980", "{error}");
                tries += 1;
                assert!(tries < 100, "nothing gets done");
            }
        }
    }
    end.send(()).unwrap();
    (place, trouble.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_come_and_die_and_nothing_is_lost_or_doubled() {
    let (place, killed) = endures(&spec(30_000, 12_000, "", "rows: 1000, time: 100ms"), 7).await;
    assert!(killed > 2, "{killed}");
    assert_eq!(whole_at_every_version(&place).await, 30_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_come_and_die_and_state_is_what_it_is_without() {
    let alone = Place::new();
    let text = windows(20_000, 0, "rows: 20, time: 100ms");
    run(&alone, &text, &RunOptions { until: Until::Ended, ..RunOptions::default() }).await.unwrap();
    let (place, killed) = endures(&windows(20_000, 10_000, "rows: 20, time: 100ms"), 8).await;
    assert!(killed > 2, "{killed}");
    assert_eq!(sorted(&alone).await, sorted(&place).await);
}

/// The states of the head, by whether they are of buckets.
async fn states(place: &Place) -> (usize, usize) {
    let head = head(place).await;
    let of_buckets = head.state.keys().filter(|key| spout_node::bucket_of(key).is_some()).count();
    (of_buckets, head.state.len() - of_buckets)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handlers_that_are_split_by_key_go_on_wherever_they_are() {
    let flush = "rows: 20, time: 100ms";
    let text = |total: u64| windows(total, 0, flush);
    let alone = Place::new();
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    fleet.join();
    // One member, three, no cluster, two: each goes on where the one before has stopped, with windows that are open.
    for (stage, total) in [(1, 4_000), (3, 9_000), (0, 13_000), (2, 20_000)] {
        run(&alone, &text(total), &RunOptions { until: Until::Idle, ..RunOptions::default() }).await.unwrap();
        let ids = fleet.ids();
        ids.iter().skip(stage.max(1)).for_each(|id| fleet.kill(id));
        (ids.len()..stage).for_each(|_| drop(fleet.join()));
        let options = match stage {
            0 => RunOptions { until: Until::Idle, ..RunOptions::default() },
            _ => leading(&fleet, Until::Idle),
        };
        run(&place, &text(total), &options).await.unwrap();
        assert_eq!(sorted(&alone).await, sorted(&place).await, "until {total}");
        let (of_buckets, others) = states(&place).await;
        assert!(of_buckets >= 16 && others <= 1, "{of_buckets} and {others}");
        assert_eq!(head(&place).await.counts.unaccounted(), Some(0));
    }
    assert!(sorted(&place).await.len() > 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn state_that_is_in_one_piece_stays_so() {
    let place = Place::new();
    let alone = RunOptions { until: Until::Idle, ..RunOptions::default() };
    run(&place, &windows(4_000, 0, "rows: 20, time: 1h"), &alone).await.unwrap();
    assert_eq!(states(&place).await.0, 0);
    let fleet = LocalFleet::new(place.store().await);
    fleet.join();
    fleet.join();
    let whole = Place::new();
    for (place, options) in [(&place, leading(&fleet, Until::Ended)), (&whole, alone)] {
        run(place, &windows(20_000, 0, "rows: 20, time: 1h"), &RunOptions { until: Until::Ended, ..options })
            .await
            .unwrap();
    }
    assert_eq!(states(&place).await.0, 0);
    assert_eq!(sorted(&place).await, sorted(&whole).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_another_one_replaced_is_fenced() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    for _ in 0..2 {
        fleet.join();
    }
    let text = spec(1_000_000, 5_000, "", "rows: 500, time: 100ms");
    let store = place.store().await;
    let until = |place: &Place, number: u64| {
        let url = place.url.clone();
        async move {
            let store = Store::open(&url).await.unwrap();
            let repo = store.repo_or_create("e", "").await.unwrap();
            while repo.edit("master").await.unwrap().head().is_none_or(|head| head.number < number) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    // It has seen no claim: from nobody who claims the branch after it does it take that back when its job is lost.
    let leader = |id: &str, seen| {
        let leader = Leader { id: id.into(), address: "127.0.0.1:1".into() };
        let leads = Some(Leading::new(Arc::new(fleet.clone()), leader, seen));
        RunOptions { until: Until::Stopped, leads, ..RunOptions::default() }
    };
    let (mut first, _told) = Host::start(vec![parts(&text).await], &store, &leader("first", 0));
    until(&place, 3).await;
    let other = place.store().await;
    let (mut second, _told) = Host::start(vec![parts(&text).await], &other, &leader("second", u64::MAX));
    // The workers refuse a task of the old leader, or its record is refused: either way it is over.
    let error = tokio::time::timeout(Duration::from_secs(60), first.failure()).await.unwrap().unwrap();
    assert!(["E0980", "E0981", "E0530"].contains(&error.code()), "{}: {error:?}", error.code());
    let number = head(&place).await.number;
    until(&place, number + 3).await;
    second.stop();
    assert!(second.failure().await.is_none());
    whole_at_every_version(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn partitions_go_to_members_of_which_the_spec_says_so() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    fleet.join();
    let here = fleet.join_with(&[("zone", "a"), ("disk", "fast")]);
    fleet.join_with(&[("zone", "b")]);
    let text = spec(5_000, 0, "", "rows: 1000, time: 1h") + "cluster: {labels: {zone: a}}\n";
    run(&place, &text, &leading(&fleet, Until::Ended)).await.unwrap();
    assert_eq!(whole_at_every_version(&place).await, 5_000);
    assert!(fleet.tasks.lock().unwrap().iter().all(|(member, _)| *member == here));
}

/// What each member reads, if so many do, in the last job.
fn placed(fleet: &LocalFleet, members: usize) -> Option<BTreeMap<u64, String>> {
    let tasks = fleet.tasks.lock().unwrap();
    let last = tasks.last()?.1["job"].clone();
    let of_last: Vec<_> = tasks.iter().filter(|(_, task)| task["job"] == last).collect();
    let mut placed = BTreeMap::new();
    for (member, task) in &of_last {
        for assigned in task["partitions"].as_array().unwrap() {
            placed.insert(assigned["partition"].as_u64().unwrap(), member.clone());
        }
    }
    (of_last.len() == members && placed.len() == PARTITIONS as usize).then_some(placed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_joins_takes_its_share_and_no_more_moves() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    for _ in 0..3 {
        fleet.join();
    }
    let text = spec(1_000_000, 4_000, "", "rows: 100000, time: 100ms");
    let store = place.store().await;
    let (mut host, _told) = Host::start(vec![parts(&text).await], &store, &leading(&fleet, Until::Stopped));
    let until = async |members: usize| {
        loop {
            if let Some(placed) = placed(&fleet, members) {
                return placed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let before = until(3).await;
    fleet.join();
    let after = until(4).await;
    let moved = before.iter().filter(|(partition, member)| after[*partition] != **member).count();
    assert_eq!(moved, PARTITIONS as usize / 4);
    host.stop();
    assert!(host.failure().await.is_none());
    whole_at_every_version(&place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_cannot_do_it_is_left_out() {
    let place = Place::new();
    let fleet = LocalFleet::new(place.store().await);
    // It is the first, so it would also settle the columns.
    let unfit = fleet.join_building(Arc::new(BuildsNothing));
    fleet.join();
    fleet.join();
    run(&place, &spec(5_000, 0, "", "rows: 1000, time: 1h"), &leading(&fleet, Until::Ended)).await.unwrap();
    assert_eq!(whole_at_every_version(&place).await, 5_000);
    let asked = fleet.tasks.lock().unwrap().iter().filter(|(member, _)| *member == unfit).count();
    assert_eq!(asked, 1);
}
