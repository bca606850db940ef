//! What keeps a store small and sound: compaction, collection by rules, repair; and what they must leave alone.

use std::path::Path;

use arrow::{array::AsArray as _, datatypes::Int64Type};

use super::*;

async fn tables(repo: &Repo, writer: &mut BranchWriter, count: u64) -> Vec<Commit> {
    let mut commits = Vec::new();
    for n in 0..count {
        let from = i64::try_from(n).unwrap() * 10;
        let mut open = repo.open_commit();
        let table = encode(Format::Parquet, &rows(from, from + 10));
        open.put_table(&format!("/t/{n:03}.parquet"), PutMode::Append, table).await.unwrap();
        commits.push(committed(writer.finish(open, meta(n.checked_sub(1), n)).await));
    }
    commits
}

/// The number of rows of all tables of a commit, and the sum of their ids.
async fn sum(store: &Store, at: &str) -> (usize, i64) {
    let (repo, commit) = store.recorded(&at.parse().unwrap()).await.unwrap();
    let tree = repo.tree(&commit).await.unwrap();
    let (mut rows, mut sum) = (0, 0);
    for file in tree.files().filter(|file| file.format.is_some()) {
        for piece in &file.pieces {
            let bytes = repo.piece(file, piece).await.unwrap();
            let schema = tree.schema(piece).unwrap();
            for batch in decode(&file.path, file.format.unwrap(), schema, bytes, None).unwrap() {
                let batch = batch.unwrap();
                rows += batch.num_rows();
                sum += batch["id"].as_primitive::<Int64Type>().values().iter().sum::<i64>();
            }
        }
    }
    (rows, sum)
}

#[tokio::test]
async fn compaction_keeps_the_rows_and_every_older_version() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    tables(&repo, &mut writer, 12).await;
    let (before, earlier) = (sum(&store, "events").await, sum(&store, "events~5").await);
    let done = repo.compact("master", TARGET).await.unwrap();
    assert_eq!((done.before, done.after, done.rows), (12, 1, 120));
    let head = repo.resolve(&"events".parse().unwrap()).await.unwrap();
    assert!(head.compaction && head.marker == writer.head().unwrap().marker);
    assert_eq!(repo.tree(&head).await.unwrap().len(), 1);
    assert_eq!(sum(&store, "events").await, before);
    assert_eq!(sum(&store, "events~6").await, earlier);
    // The pipeline's writer takes it in and goes on.
    let mut open = repo.open_commit();
    open.put_file("/x", PutMode::Append, "x".into()).await.unwrap();
    let next = committed(writer.finish(open, meta(Some(11), 12)).await);
    assert_eq!(next.parent.as_deref(), done.commit.as_deref());
    assert_eq!(repo.compact("master", TARGET).await.unwrap().commit, None);
    assert!(fsck(&store, None, Depth::Everything).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_file_that_grew_becomes_one_piece() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..5u64 {
        let from = i64::try_from(n).unwrap() * 10;
        let mut open = repo.open_commit();
        open.put_table("/all.parquet", PutMode::Append, encode(Format::Parquet, &rows(from, from + 10))).await.unwrap();
        committed(writer.finish(open, meta(n.checked_sub(1), n)).await);
    }
    let before = sum(&store, "events").await;
    assert_eq!(repo.compact("master", TARGET).await.unwrap().before, 5);
    let tree = repo.tree(&repo.resolve(&"events".parse().unwrap()).await.unwrap()).await.unwrap();
    assert_eq!(tree.get("/all.parquet").unwrap().pieces.len(), 1);
    assert_eq!(sum(&store, "events").await, before);
}

#[tokio::test]
async fn rules_say_how_much_is_kept_and_tags_keep_more() {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let commits = tables(&repo, &mut writer, 30).await;
    repo.create_tag("v1", &commits[3], false).await.unwrap();
    let all = Collect { min_age_ms: -60_000, dry_run: false };
    let nothing = repo.collect(all).await.unwrap();
    assert_eq!(nothing.records, 0);
    repo.retain(Retention { commits: Some(5), for_ms: None }).await.unwrap();
    let dry = repo.collect(Collect { dry_run: true, ..all }).await.unwrap();
    assert_eq!((dry.records, repo.log("master").await.unwrap().len()), (26, 30));
    let young = repo.collect(Collect { min_age_ms: 3_600_000, dry_run: false }).await.unwrap();
    // 25 commits and the claim before them.
    assert_eq!(young.records, 26);
    assert_eq!(repo.log("master").await.unwrap().len(), 5);
    let error = repo.tree(&commits[10]).await.unwrap_err();
    assert_eq!(code(&error), "E0526", "{error}");
    assert_eq!(code(&repo.resolve(&"events~7".parse().unwrap()).await.unwrap_err()), "E0526");
    // All rows of all files are still there: the head names them.
    assert_eq!(repo.tree(writer.head().unwrap()).await.unwrap().len(), 30);
    assert_eq!(sum(&store, "events@v1").await.0, 40);
    repo.collect(all).await.unwrap();
    assert_eq!(sum(&store, "events").await.0, 300);
    assert!(fsck(&store, None, Depth::Everything).await.unwrap().is_clean());
    let left = std::fs::read_dir(dir.path().join("repos/events/branches/master")).unwrap().count();
    assert!(left < 12, "{left} records are left");
    let mut open = repo.open_commit();
    open.delete_file("/t/000.parquet").unwrap();
    committed(writer.finish(open, meta(Some(29), 30)).await);
    assert_eq!(sum(&store, "events").await.0, 290);
}

#[tokio::test]
async fn a_moment_names_the_newest_commit_that_is_not_younger() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let commits = tables(&repo, &mut writer, 3).await;
    let at = |at_ms: i64| Reference { at_ms: Some(at_ms), ..Reference::head("events", "master") };
    let newest = commits.last().unwrap();
    assert_eq!(repo.resolve(&at(newest.header.at_ms)).await.unwrap().header.id, newest.header.id);
    let earlier = commits.iter().rev().find(|commit| commit.header.at_ms < newest.header.at_ms);
    if let Some(earlier) = earlier {
        assert_eq!(repo.resolve(&at(newest.header.at_ms - 1)).await.unwrap().header.id, earlier.header.id);
    }
    assert_eq!(code(&repo.resolve(&at(0)).await.unwrap_err()), "E0512");
}

/// The objects directly in a directory of the repo.
fn objects(dir: &Path, below: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir.join("repos/events").join(below)).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn a_damaged_index_costs_time_and_is_repaired() {
    let check = async |damage: &dyn Fn(&Path)| {
        let (store, dir) = local().await;
        let repo = store.repo_or_create("events", "").await.unwrap();
        let mut writer = repo.writer("master", "events").await.unwrap();
        tables(&repo, &mut writer, 30).await;
        drop(writer);
        // The one that is written beside the commits may not be done.
        repo.state("master").await.unwrap().write_checkpoint().await.unwrap();
        damage(dir.path());
        assert_eq!(repo.log("master").await.unwrap().len(), 30);
        assert_eq!(sum(&store, "events").await.0, 300);
        let found = repair(&store, None, Depth::Everything).await.unwrap();
        assert!(found.findings.iter().any(|finding| finding.repaired.is_some()), "{found:?}");
        assert!(fsck(&store, None, Depth::Everything).await.unwrap().is_clean());
        let mut writer = repo.writer("master", "events").await.unwrap();
        commit(&repo, &mut writer, &[("/x", PutMode::Append, b"x")], (Some(29), 30)).await;
    };
    Box::pin(check(&|dir| {
        for path in objects(dir, "checkpoints/master") {
            std::fs::write(path, "{}").unwrap();
        }
    }))
    .await;
    // What a checkpoint beside the commits has staged may be gone before it is taken away.
    let remove = |path: std::path::PathBuf| drop(std::fs::remove_file(path));
    Box::pin(check(&|dir| objects(dir, "index").into_iter().for_each(remove))).await;
}

#[tokio::test]
async fn a_hint_is_not_believed_and_a_torn_description_is_written_again() {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    tables(&repo, &mut writer, 20).await;
    let below = |name: &str| dir.path().join("repos/events").join(name);
    for hint in ["no number", "3", "999"] {
        std::fs::write(below("checkpoints/master/newest.json"), hint).unwrap();
        assert_eq!(repo.log("master").await.unwrap().len(), 20, "{hint}");
    }
    std::fs::write(below("repo.json"), "torn").unwrap();
    assert_eq!(code(&store.repo("events").await.unwrap_err()), "E0520");
    assert!(repair(&store, None, Depth::Structure).await.unwrap().is_clean());
    assert_eq!(sum(&store, "events").await.0, 200);
}

#[tokio::test]
async fn a_repo_is_deleted_only_when_it_is_meant() {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    tables(&repo, &mut writer, 2).await;
    let error = store.delete_repo("events", false).await.unwrap_err();
    assert_eq!(code(&error), "E0547", "{error}");
    store.delete_repo("events", true).await.unwrap();
    assert!(store.repos().await.unwrap().is_empty());
    assert!(!dir.path().join("repos/events").exists());
    // A writer that did not notice has committed nothing that anybody sees.
    assert!(
        writer.finish(repo.open_commit(), meta(Some(1), 2)).await.is_err() || store.repos().await.unwrap().is_empty()
    );
    assert!(store.repos().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_broken_writes_left_is_collected_when_it_is_old_enough() {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    tables(&repo, &mut writer, 1).await;
    let left = dir.path().join("repos/events/tables/master/t/0123.parquet#7");
    std::fs::create_dir_all(left.parent().unwrap()).unwrap();
    std::fs::write(&left, "half").unwrap();
    let now = Collect { min_age_ms: -60_000, dry_run: false };
    // It may be a write that is on its way.
    repo.collect(now).await.unwrap();
    assert!(left.exists());
    let written = std::fs::metadata(&left).unwrap().modified().unwrap();
    let hour_ago = written - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&left).unwrap().set_modified(hour_ago).unwrap();
    repo.collect(Collect { min_age_ms: 2 * 3_600_000, dry_run: false }).await.unwrap();
    assert!(left.exists());
    let gone = repo.collect(now).await.unwrap();
    assert!(!left.exists() && gone.bytes >= 4, "{gone:?}");
}

const EVERYTHING: Collect = Collect { min_age_ms: -60_000, dry_run: false };

#[tokio::test]
async fn a_record_in_a_collected_slot_hides_no_bytes_of_the_pack() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    commit(&repo, &mut writer, &[("/own", PutMode::Append, b"own")], (None, 0)).await;
    // Others write beside a writer that does not look, until what it knows has been collected.
    for (path, bytes) in [("/kept", b"kept"), ("/more", b"more")] {
        let mut open = repo.open_commit_on("master");
        open.put_file(path, PutMode::Append, bytes.to_vec().into()).await.unwrap();
        let mut editor = repo.edit("master").await.unwrap();
        committed(editor.finish(open, Edit::new("put file")).await);
    }
    repo.retain(Retention { commits: Some(1), for_ms: None }).await.unwrap();
    repo.collect(EVERYTHING).await.unwrap();
    // It lands where the record of `/kept` was, and learns that this counts for nothing.
    let mut open = repo.open_commit();
    open.put_file("/own", PutMode::Overwrite, b"newer".to_vec().into()).await.unwrap();
    let late = writer.finish(open, meta(Some(0), 1)).await;
    assert!(matches!(late, Err(Error::Swept { .. })), "{late:?}");
    let head = repo.resolve(&"events@master".parse().unwrap()).await.unwrap();
    assert_eq!(read(&repo, &head, "/kept").await, b"kept");
    assert_eq!(read(&repo, &head, "/own").await, b"own");
    assert!(fsck(&store, None, Depth::Everything).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_commit_is_found_where_it_is_kept() {
    let (store, _dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let head = commit(&repo, &mut writer, &[("/a", PutMode::Append, b"a")], (None, 0)).await;
    // A branch that was set to it, and no longer keeps the record that says so; its name comes first.
    repo.create_branch("before", Some(&head), false).await.unwrap();
    let mut other = repo.writer("before", "events").await.unwrap();
    for n in 0..3 {
        commit(&repo, &mut other, &[("/b", PutMode::Append, b"b")], (Some(n), n + 1)).await;
    }
    repo.retain(Retention { commits: Some(1), for_ms: None }).await.unwrap();
    repo.collect(EVERYTHING).await.unwrap();
    let found = repo.resolve(&format!("events@{}", head.header.id).parse().unwrap()).await.unwrap();
    assert_eq!(found.header.id, head.header.id);
}
