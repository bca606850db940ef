//! What a branch is read as: runs of commits, each with its end, and nothing of commits that hold nothing.

use bytes::Bytes;
use spout_data::{PartitionId, Position};
use spout_repo::{CommitMeta, Finished, PutMode, Repo, Store};

use super::{RepoSpec, producer::RepoProducer};
use crate::{Boundary, Fetched, Fetcher, Found, Producer};

async fn store() -> (Store, Repo) {
    let store = Store::open("memory://").await.unwrap();
    let repo = store.repo_or_create("r", "").await.unwrap();
    (store, repo)
}

/// Commits one file of each path.
async fn commit(repo: &Repo, paths: &[&str]) {
    let mut writer = repo.writer("master", "p").await.unwrap();
    let mut open = repo.open_commit();
    for path in paths {
        open.put_file(path, PutMode::Append, Bytes::from(format!("{path}\n"))).await.unwrap();
    }
    let meta = CommitMeta { pipeline: "p".into(), ..CommitMeta::default() };
    assert!(matches!(writer.finish(open, meta).await.unwrap(), Finished::Committed(_)));
}

fn reader(store: &Store, spec: &str, start: Position) -> Box<dyn Fetcher> {
    let spec: RepoSpec = serde_json::from_str(spec).unwrap();
    let mut producer = RepoProducer::new(spec, store.clone(), None, false);
    let partition = PartitionId::default();
    producer.fetcher(Found {
        partition,
        label: String::new(),
        committed: Some(start.offset),
        start,
        passing: Vec::new(),
    })
}

/// What comes until nothing more does, as (messages, boundary, number after it, commits it is made from).
async fn all(fetcher: &mut dyn Fetcher) -> Vec<(usize, Boundary, u64, u64)> {
    let mut all = Vec::new();
    loop {
        let Fetched { messages, span, boundary, provenance, progress, .. } = fetcher.fetch(u32::MAX).await.unwrap();
        if progress != spout_plugin::Progress::More {
            return all;
        }
        if !messages.is_empty() || boundary != Boundary::Free {
            let commits = provenance.first().map_or(0, |from| from.upstream.commits);
            all.push((messages.len(), boundary, span.next.offset, commits));
        }
    }
}

#[tokio::test]
async fn each_commit_with_something_to_read_has_an_end_and_no_other_is_heard_of() {
    let (store, repo) = store().await;
    for paths in [&["/in/a", "/in/b"][..], &["/else"], &["/in/c", "/else2"], &["/else3"]] {
        commit(&repo, paths).await;
    }
    let spec = r#"{"repo": "r", "glob": "/in/*", "mode": "files", "every": "1ms"}"#;
    let mut fetcher = reader(&store, spec, Position::default());
    let read = all(fetcher.as_mut()).await;
    assert_eq!(read, [(1, Boundary::Inside, 0, 1), (1, Boundary::End, 1, 1), (1, Boundary::End, 3, 1)]);
    let split = r#"{"repo": "r", "glob": "/in/*", "mode": "files", "every": "1ms", "split": true}"#;
    let read = all(reader(&store, split, Position::default()).as_mut()).await;
    assert!(read.iter().all(|(messages, boundary, ..)| *messages == 1 && *boundary == Boundary::Free), "{read:?}");
    assert_eq!(read.len(), 3);
}

#[tokio::test]
async fn commits_wait_for_their_trigger_and_are_read_as_one() {
    let (store, repo) = store().await;
    let spec = r#"{"repo": "r", "glob": "/in/*", "mode": "files", "every": "1ms", "trigger": {"commits": 2}}"#;
    let mut fetcher = reader(&store, spec, Position::default());
    for paths in [&["/else"][..], &["/in/a"], &["/else2"], &["/in/b"], &["/in/c"]] {
        commit(&repo, paths).await;
    }
    let expected = [(1, Boundary::Inside, 1, 3), (1, Boundary::End, 4, 3)];
    assert_eq!(all(fetcher.as_mut()).await, expected);
    assert_eq!(all(fetcher.as_mut()).await, [], "one waits");
    commit(&repo, &["/in/d"]).await;
    assert_eq!(all(fetcher.as_mut()).await, [(1, Boundary::Inside, 4, 2), (1, Boundary::End, 6, 2)]);
    let mut again = reader(&store, spec, Position::default());
    assert_eq!(all(again.as_mut()).await[..2], expected, "a run is the same whenever it is read");
}

#[tokio::test]
async fn after_many_commits_with_nothing_to_read_one_says_how_far_it_is() {
    let (store, repo) = store().await;
    let mut writer = repo.writer("master", "p").await.unwrap();
    for n in 0..1001 {
        let mut open = repo.open_commit();
        open.put_file(&format!("/else/{n}"), PutMode::Append, "x".into()).await.unwrap();
        let meta = CommitMeta { pipeline: "p".into(), ..CommitMeta::default() };
        assert!(matches!(writer.finish(open, meta).await.unwrap(), Finished::Committed(_)));
    }
    let spec = r#"{"repo": "r", "glob": "/in/*", "mode": "files", "every": "1ms"}"#;
    assert_eq!(all(reader(&store, spec, Position::default()).as_mut()).await, [(0, Boundary::End, 1000, 1)]);
}
