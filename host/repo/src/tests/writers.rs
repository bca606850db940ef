//! Two writers of one branch, and commits that may not be made.

use spout_base::error::{Coded, Kind};

use super::*;

#[tokio::test]
async fn an_older_writer_is_fenced_and_has_written_nothing_visible() {
    for (store, _dir) in stores().await {
        let repo = store.repo_or_create("events", "").await.unwrap();
        let mut old = repo.writer("master", "events").await.unwrap();
        commit(&repo, &mut old, &[("/a", PutMode::Append, b"one")], (None, 10)).await;
        let mut new = repo.writer("master", "events").await.unwrap();
        assert_eq!((old.epoch(), new.epoch()), (1, 2));
        let mut open = repo.open_commit();
        open.put_file("/a", PutMode::Append, vec![b'x'; 40 << 10].into()).await.unwrap();
        let error = old.finish(open, meta(Some(10), 20)).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("E0530", Kind::Fenced), "{error}");
        commit(&repo, &mut new, &[("/a", PutMode::Append, b"two")], (Some(10), 20)).await;
        let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
        assert_eq!(read(&repo, &head, "/a").await, b"onetwo");
        // Also after the newer one has committed.
        let error = old.finish(repo.open_commit(), meta(Some(10), 30)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Fenced | Kind::Conflict), "{error}");
        assert!(fsck(&store, None, Depth::Everything).await.unwrap().is_clean());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_writers_never_fork_or_lose_a_commit() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let repo = repo.clone();
            tokio::spawn(async move {
                let mut done = 0u64;
                for _ in 0..6 {
                    let Ok(mut writer) = repo.writer("master", "events").await else { continue };
                    for _ in 0..5 {
                        let from = writer.marker().partitions.get(&0.into()).map(|entry| entry.position.offset);
                        let mut open = repo.open_commit();
                        open.put_file("/count", PutMode::Append, "x".into()).await.unwrap();
                        match writer.finish(open, meta(from, from.unwrap_or(0) + 1)).await {
                            Ok(Finished::Committed(_)) => done += 1,
                            Ok(other) => panic!("{other:?}"),
                            Err(Error::Fenced { .. } | Error::Unsettled { .. }) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                done
            })
        })
        .collect();
    let mut acknowledged = 0;
    for task in tasks {
        acknowledged += task.await.unwrap();
    }
    let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
    assert_eq!(head.marker.partitions.get(&0.into()).unwrap().position.offset, acknowledged);
    assert_eq!(read(&repo, &head, "/count").await.len() as u64, acknowledged);
    let report = fsck(&store, None, Depth::Everything).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.commits, acknowledged);
}

#[tokio::test]
async fn another_pipeline_may_not_write_the_branch() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    drop(repo.writer("master", "events").await.unwrap());
    let error = repo.writer("master", "clicks").await.unwrap_err();
    assert_eq!(code(&error), "E0531");
    repo.writer("clicks", "clicks").await.unwrap();
    assert_eq!(code(&repo.writer("a/b", "events").await.unwrap_err()), "E0515");
}

#[tokio::test]
async fn what_breaks_an_invariant_is_refused() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let first = [("/dir/a", PutMode::Append, b"a".as_slice())];
    commit(&repo, &mut writer, &first, (None, 10)).await;
    let mut other = repo.open_commit();
    other.put_table("/t.csv", PutMode::Append, encode(Format::Csv, &rows(0, 3))).await.unwrap();
    committed(writer.finish(other, meta(Some(10), 11)).await);

    let mut check = async |open: OpenCommit, meta: CommitMeta, expected: &str| {
        let error = writer.finish(open, meta).await.unwrap_err();
        assert_eq!(code(&error), expected, "{error}");
    };
    let put = async |path: &str, how| {
        let mut open = repo.open_commit();
        open.put_file(path, how, "x".into()).await.unwrap();
        open
    };
    let delete = |path: &str| {
        let mut open = repo.open_commit();
        open.delete_file(path).unwrap();
        open
    };
    let nothing = || CommitMeta { advance: Advance::default(), ..meta(None, 0) };
    check(put("/b", PutMode::Append).await, meta(Some(9), 20), "E0535").await;
    check(put("/b", PutMode::Append).await, meta(None, 20), "E0535").await;
    check(put("/b", PutMode::Append).await, meta(Some(11), 5), "E0536").await;
    check(repo.open_commit(), nothing(), "E0537").await;
    check(repo.open_commit(), meta(Some(11), 11), "E0537").await;
    check(delete("/none"), meta(Some(11), 20), "E0538").await;
    check(put("/dir", PutMode::Append).await, meta(Some(11), 20), "E0518").await;
    check(put("/dir/a/b", PutMode::Append).await, meta(Some(11), 20), "E0518").await;
    check(put("/t.csv", PutMode::Append).await, meta(Some(11), 20), "E0539").await;
    let elsewhere = store.repo_or_create("other", "").await.unwrap().open_commit();
    check(elsewhere, meta(Some(11), 20), "E0534").await;

    // Nothing of it moved the head, and a directory can become a file once it is empty.
    let mut open = delete("/dir/a");
    open.put_file("/dir", PutMode::Append, "file".into()).await.unwrap();
    committed(writer.finish(open, meta(Some(11), 12)).await);
    assert_eq!(repo.log("master").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_commit_may_move_only_offsets_or_only_state() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    committed(writer.finish(repo.open_commit(), meta(None, 10)).await);
    let state = || CommitMeta {
        advance: Advance::default(),
        state: [("n".to_owned(), "1".into())].into(),
        marker_file: Some("/offsets".into()),
        ..meta(None, 0)
    };
    let second = committed(writer.finish(repo.open_commit(), state()).await);
    assert!(String::from_utf8(read(&repo, &second, "/offsets").await).unwrap().contains("10"));
    let error = writer.finish(repo.open_commit(), state()).await.unwrap_err();
    assert_eq!(code(&error), "E0537");
}

#[tokio::test]
async fn a_partition_goes_back_only_where_the_source_was_entered_anew() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    committed(writer.finish(repo.open_commit(), meta(None, 10)).await);
    let back = |jumped| {
        let mut meta = meta(Some(10), 4);
        meta.advance.steps.get_mut(&0.into()).unwrap().jumped = jumped;
        meta
    };
    assert_eq!(code(&writer.finish(repo.open_commit(), back(Some(5))).await.unwrap_err()), "E0536");
    let commit = committed(writer.finish(repo.open_commit(), back(Some(3))).await);
    assert_eq!(commit.jumped, [(0.into(), 3)].into());
    assert!(fsck(&store, None, Depth::Everything).await.unwrap().findings.is_empty());
}
