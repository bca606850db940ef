//! For every call of a repo's life: it fails, is slow, loses its answer, or takes effect after it failed. What was
//! acknowledged is there once and in order, and what was not known is settled by opening the branch again.

use super::{
    faulty_store::{Fault, Faulty},
    *,
};
use crate::object::{Objects, probe};

const COMMITS: u64 = 5;
/// With this a body of 33 KiB is one object, and one of 36 KiB has three parts.
const PART: usize = 17 << 10;

/// What a writer was told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: Vec<u64>,
    unknown: Vec<u64>,
    restarts: usize,
}

/// The size of the large file of commit `n`; some have none.
fn large(n: u64) -> Option<usize> {
    [None, Some(33 << 10), Some(36 << 10), None, None][usize::try_from(n).unwrap()]
}

fn body(n: u64, size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at as u64 * 7 + n) % 251).unwrap()).collect()
}

/// What a pipeline does: it opens its branch, commits on from the marker, tries again what is said to have done nothing, and
/// opens the branch again after whatever else goes wrong.
async fn live(objects: &Objects) -> Told {
    let mut told = Told::default();
    while told.restarts < 8 {
        if try_to_live(objects, &mut told).await.is_some() {
            return told;
        }
        told.restarts += 1;
    }
    panic!("one fault is not worth so many restarts: {told:?}");
}

async fn try_to_live(objects: &Objects, told: &mut Told) -> Option<()> {
    match probe::admit(objects, &probe::proof("faulty")).await {
        Err(error @ Error::NotExclusive { .. }) => panic!("a good store was refused: {error}"),
        admitted => admitted.ok()?,
    }
    let repo = Store::of(objects.clone()).repo_or_create("events", "").await.ok()?;
    let mut writer = repo.writer("master", "events").await.ok()?;
    loop {
        let from = writer.marker().partitions.get(&0.into()).map(|entry| entry.position.offset);
        let n = from.unwrap_or(0);
        if n == COMMITS {
            return Some(());
        }
        let mut open = repo.open_commit();
        open.put_file("/log", PutMode::Append, n.to_string().into()).await.ok()?;
        if let Some(size) = large(n) {
            open.put_file(&format!("/large/{n}"), PutMode::Overwrite, body(n, size).into()).await.ok()?;
        }
        match writer.finish(open, meta(from, n + 1)).await {
            Ok(Finished::Committed(_)) => told.acknowledged.push(n),
            Ok(Finished::Unknown(_)) => {
                told.unknown.push(n);
                return None;
            }
            Ok(Finished::Lost(commit)) => panic!("nobody else commits: {commit:?}"),
            Err(Error::Unsettled { .. }) => return None,
            Err(_) => told.restarts += 1,
        }
    }
}

/// All of it is there, once.
async fn check(objects: &Objects, told: &Told, what: &str) {
    let store = Store::of(objects.clone());
    let repo = store.repo("events").await.unwrap();
    let commits = repo.log("master").await.unwrap();
    let ends: Vec<_> =
        commits.iter().rev().map(|commit| commit.marker.partitions.get(&0.into()).unwrap().position.offset).collect();
    assert_eq!(ends, (1..=COMMITS).collect::<Vec<_>>(), "{what}: {told:?}");
    assert_eq!(read(&repo, &commits[0], "/log").await, b"01234", "{what}: {told:?}");
    for (n, size) in (0..COMMITS).filter_map(|n| Some((n, large(n)?))) {
        assert_eq!(read(&repo, &commits[0], &format!("/large/{n}")).await, body(n, size), "{what}");
    }
    let mut once = told.acknowledged.clone();
    once.dedup();
    assert_eq!(once, told.acknowledged, "{what}: acknowledged twice");
    for n in (0..COMMITS).filter(|n| !told.acknowledged.contains(n)) {
        assert!(told.unknown.contains(&n), "{what}: commit {n} is there and nobody was told: {told:?}");
    }
    let report = fsck(&store, None, Depth::Everything).await.unwrap();
    assert!(report.is_clean(), "{what}: {report:?}");
}

/// Lives with every call going wrong once; how many calls a life has.
async fn every_call(fault: Fault, prompt: bool) -> u64 {
    for at in 0.. {
        let store = Faulty::new(at, fault);
        let over = |store: &Faulty| Objects::over(Arc::new(store.clone()), "test://", prompt).in_parts_of(PART);
        let told = live(&over(&store)).await;
        let calls = store.calls();
        store.settle().await;
        let what = format!("{fault:?} at call {at}, prompt {prompt}");
        check(&over(&store.healed()), &told, &what).await;
        assert!(told.restarts <= 2, "{what}: {told:?}");
        if calls <= at {
            assert_eq!((told.restarts, told.acknowledged.len()), (0, 5), "{what}");
            return calls;
        }
    }
    unreachable!("a life ends")
}

#[tokio::test]
async fn whichever_call_fails_nothing_is_lost_doubled_or_forked() {
    for prompt in [true, false] {
        assert!(every_call(Fault::Fails, prompt).await > 40);
    }
}

#[tokio::test]
async fn whichever_call_is_slow_nothing_is_lost_doubled_or_forked() {
    assert!(every_call(Fault::Slow, false).await > 40);
}

#[tokio::test]
async fn whichever_answer_is_lost_nothing_is_lost_doubled_or_forked() {
    for prompt in [true, false] {
        assert!(every_call(Fault::AnswerLost, prompt).await > 40);
    }
}

#[tokio::test]
async fn whichever_call_takes_effect_after_it_failed_nothing_is_lost_doubled_or_forked() {
    for calls in [0, 1, 2, 3, 5, 8] {
        assert!(every_call(Fault::Late(calls), false).await > 40);
    }
}
