//! Writes that fail: the outcome is known, or known to be unknown, and earlier commits are intact.

use std::{io, sync::Arc};

use spout_base::error::{Coded, Kind};

use super::{
    failing_store::{Failing, Failure},
    *,
};
use crate::object::Objects;

async fn failing(prompt: bool) -> (Arc<Failing>, Repo, BranchWriter) {
    let store = Failing::new();
    let objects = Objects::over(Arc::clone(&store) as Arc<dyn object_store::ObjectStore>, "test://", prompt);
    let repo = Store::of(objects).repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    commit(&repo, &mut writer, &[("/a", PutMode::Append, b"one")], (None, 10)).await;
    (store, repo, writer)
}

/// What the next reader and writer see.
async fn intact(repo: &Repo, expected: &[u8], offset: u64) {
    let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
    assert_eq!(read(repo, &head, "/a").await, expected);
    let writer = repo.writer("master", "events").await.unwrap();
    assert_eq!(writer.marker().partitions.get(&0.into()).unwrap().position.offset, offset);
}

#[tokio::test]
async fn a_small_commit_is_one_put() {
    let (store, repo, mut writer) = failing(true).await;
    let before = store.puts();
    let mut open = repo.open_commit();
    open.put_table("/t.parquet", PutMode::Append, encode(Format::Parquet, &rows(0, 100))).await.unwrap();
    open.put_file("/b", PutMode::Overwrite, "b".into()).await.unwrap();
    let state = [("count".to_owned(), "7".into())].into();
    let meta = CommitMeta { state, marker_file: Some("offsets".into()), ..meta(Some(10), 20) };
    committed(writer.finish(open, meta).await);
    assert_eq!(store.puts() - before, 1);
}

#[tokio::test]
async fn large_files_are_durable_before_the_record() {
    let (store, repo, mut writer) = failing(true).await;
    let before = store.puts();
    let mut open = repo.open_commit();
    open.put_file("/big.bin", PutMode::Append, vec![1; 33 << 10].into()).await.unwrap();
    assert_eq!(store.puts() - before, 1);
    for n in 0..20 {
        open.put_file(&format!("/small/{n}"), PutMode::Append, vec![n; 20 << 10].into()).await.unwrap();
    }
    assert!(open.inline_bytes() <= 256 << 10);
    committed(writer.finish(open, meta(Some(10), 20)).await);
    assert_eq!(store.puts() - before, 1 + 8 + 1);
    let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
    for n in 0..20 {
        assert_eq!(read(&repo, &head, &format!("/small/{n}")).await, vec![n; 20 << 10]);
    }
}

#[tokio::test]
async fn a_lost_answer_is_recognised_as_ours() {
    for failure in [Failure::After, Failure::Repeated] {
        for prompt in [true, false] {
            let (store, repo, mut writer) = failing(prompt).await;
            store.fail(0, failure);
            commit(&repo, &mut writer, &[("/a", PutMode::Append, b"two")], (Some(10), 20)).await;
            // The writer goes on with it, and a data object and a claim are recognised too.
            store.fail(0, failure);
            let big = vec![0; 40 << 10];
            commit(&repo, &mut writer, &[("/b", PutMode::Append, &big)], (Some(20), 30)).await;
            store.fail(0, failure);
            intact(&repo, b"onetwo", 30).await;
        }
    }
}

#[tokio::test]
async fn a_write_that_failed_before_leaves_nothing() {
    let check = async |kind, code: &str| {
        let (store, repo, mut writer) = failing(true).await;
        store.fail(0, Failure::Before(kind));
        let mut open = repo.open_commit();
        open.put_file("/a", PutMode::Append, "two".into()).await.unwrap();
        let error = writer.finish(open, meta(Some(10), 20)).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, Kind::Unavailable), "{error}");
        assert!(error.to_string().contains("repos/events/branches/master/00000000000000000003.json"), "{error}");
        // The same writer may try again: its head did not move.
        commit(&repo, &mut writer, &[("/a", PutMode::Append, b"three")], (Some(10), 20)).await;
        intact(&repo, b"onethree", 20).await;
    };
    check(io::ErrorKind::StorageFull, "E0504").await;
    check(io::ErrorKind::PermissionDenied, "E0505").await;
    check(io::ErrorKind::ReadOnlyFilesystem, "E0505").await;
    check(io::ErrorKind::Other, "E0506").await;
}

#[tokio::test]
async fn a_full_disk_stops_a_data_file_and_a_snapshot() {
    let (store, repo, mut writer) = failing(true).await;
    store.fail(0, Failure::Before(io::ErrorKind::StorageFull));
    let mut open = repo.open_commit();
    let error = open.put_file("/big", PutMode::Append, vec![0; 1 << 20].into()).await.unwrap_err();
    assert_eq!(code(&error), "E0504");
    assert!(error.to_string().contains("repos/events/data/"), "{error}");
    store.fail(0, Failure::Before(io::ErrorKind::StorageFull));
    let state = [("count".to_owned(), vec![0; 1 << 20].into())].into();
    let error = writer.finish(repo.open_commit(), CommitMeta { state, ..meta(Some(10), 20) }).await.unwrap_err();
    assert_eq!(code(&error), "E0504");
    intact(&repo, b"one", 10).await;
}

#[tokio::test]
async fn what_is_not_known_is_said_and_nothing_is_deleted() {
    // A store whose writes may still arrive, and one that cannot be read back.
    for (prompt, failure) in [(false, Failure::Before(io::ErrorKind::TimedOut)), (true, Failure::Gone)] {
        let (store, repo, mut writer) = failing(prompt).await;
        let mut open = repo.open_commit();
        open.put_file("/big", PutMode::Append, vec![0; 1 << 20].into()).await.unwrap();
        store.fail(0, failure);
        let finished = writer.finish(open, meta(Some(10), 20)).await.unwrap();
        let Finished::Unknown(error) = finished else { panic!("{finished:?}") };
        assert_eq!((error.code(), error.kind()), ("E0507", Kind::Conflict));
        store.heal();
        let error = writer.finish(repo.open_commit(), meta(Some(10), 20)).await.unwrap_err();
        assert_eq!(code(&error), "E0533");
        intact(&repo, b"one", 10).await;
        let report = fsck(&Store::of(repo.objects.clone()), None, Depth::Everything).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.findings.len(), 1, "the data object is still there: {report:?}");
    }
}

#[tokio::test]
async fn a_dropped_finish_leaves_the_writer_unsettled() {
    let (store, repo, mut writer) = failing(true).await;
    store.fail(0, Failure::Hang);
    tokio::select! {
        biased;
        finished = writer.finish(repo.open_commit(), meta(Some(10), 20)) => panic!("{finished:?}"),
        () = tokio::task::yield_now() => {}
    }
    let error = writer.finish(repo.open_commit(), meta(Some(10), 20)).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("E0533", Kind::Conflict));
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_may_not_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("store");
    let error = Store::open(below.to_str().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains(below.to_str().unwrap()), "{error}");
    let error = Store::open_existing(dir.path().join("none").to_str().unwrap()).await.unwrap_err();
    assert_eq!(code(&error), "E0502");
    assert_eq!(code(&Store::open("ftp://bucket").await.unwrap_err()), "E0501");
}
