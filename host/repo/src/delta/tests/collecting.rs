//! Whoever deletes rows and collects finds no byte of them in the store, and readers see the same table all the while.

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{reader::*, *};

/// A text that is nowhere by chance; greater than all others, so that statistics have it, and not too long for them.
const TOKEN: &str = "zzXyZZy-4711-vanish-me";
const NOW: Collect = Collect { min_age_ms: -60_000, dry_run: false };

fn with_token(id: i64) -> RecordBatch {
    let rows = rows(id, id + 1);
    let name: arrow::array::ArrayRef = Arc::new(StringArray::from(vec![TOKEN]));
    RecordBatch::try_new(rows.schema(), vec![Arc::clone(rows.column(0)), name]).unwrap()
}

/// Names of the objects in which the token can be read: as it is, or as inline files are written.
async fn traces(store: &InMemory) -> Vec<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    // Base64 of a text depends on where it starts; the digits in its middle do not.
    let coded: Vec<Vec<u8>> = (0..3)
        .map(|shift| {
            let text = format!("{}{TOKEN}", "\0".repeat(shift));
            let coded = STANDARD_NO_PAD.encode(text);
            coded.as_bytes()[if shift == 0 { 0 } else { 4 }..coded.len() - 4].to_vec()
        })
        .collect();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut found = Vec::new();
    for meta in listed {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        if has(TOKEN.as_bytes()) || coded.iter().any(|text| has(text)) {
            found.push(meta.location.to_string());
        }
    }
    found
}

async fn collect(repo: &Repo) -> Collected {
    repo.collect(NOW).await.unwrap()
}

#[tokio::test]
async fn of_a_deleted_row_nothing_is_left() {
    for small in [true, false] {
        let (store, repo) = repo().await;
        let mut writer = repo.writer("master", "events").await.unwrap();
        let w = &mut writer;
        let others = if small { rows(0, 10) } else { rows(0, MANY) };
        commit(&repo, w, vec![Do::Put("/t/a.parquet", others.clone())]).await;
        let secret = if small {
            with_token(100)
        } else {
            let both = [with_token(100), rows(1000, 1000 + MANY)];
            arrow::compute::concat_batches(&both[0].schema(), &both).unwrap()
        };
        commit(&repo, w, vec![Do::Put("/t/b.parquet", secret.clone()), Do::Put("/only/b.parquet", secret)]).await;
        publish(&repo).await;
        // More commits, so that there are checkpoints of branch and table, then the deletion.
        for n in 0..70 {
            commit(&repo, w, vec![Do::Put("/t/c.parquet", rows(n, n + 1))]).await;
        }
        publish(&repo).await;
        let last = commit(&repo, w, vec![Do::Delete("/t/b.parquet"), Do::Delete("/only/b.parquet")]).await;
        assert!(traces(&store).await.iter().any(|name| name.contains("_delta_log")));
        assert!(small == traces(&store).await.iter().any(|name| name.contains("copy-")));
        // History is kept: what is deleted can be had from older commits.
        collect(&repo).await;
        assert!(!traces(&store).await.is_empty());
        repo.retain(Retention { commits: Some(1), for_ms: None }).await.unwrap();
        let dry = repo.collect(Collect { dry_run: true, ..NOW }).await.unwrap();
        assert!(dry.objects > 0 && !traces(&store).await.is_empty());
        let done = collect(&repo).await;
        assert_eq!(traces(&store).await, Vec::<String>::new(), "small {small}, {done:?}");
        // The table goes on for those who read it and for those who write it.
        let state = published(&repo, "master").await.unwrap();
        assert!(state.failures.is_empty(), "{state:?}");
        assert_eq!(state.tables.iter().map(|table| table.table.as_str()).collect::<Vec<_>>(), ["/t"]);
        assert_eq!(state.tables[0].commit.as_deref(), Some(last.header.id.as_str()));
        assert_eq!(collect(&repo).await.objects, 0);
        let next = commit(&repo, w, vec![Do::Put("/t/d.parquet", rows(500, 510))]).await;
        let told = publish(&repo).await;
        let table = told.tables.iter().find(|table| table.table == "/t").unwrap();
        assert!(told.failures.is_empty() && table.commit.as_deref() == Some(next.header.id.as_str()), "{told:?}");
        assert!(fsck(&repo_over(Arc::clone(&store) as _), None, Depth::Decoded).await.unwrap().is_clean());
    }
}

#[tokio::test]
async fn a_tag_keeps_what_it_names_and_no_longer() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(0, 5))]).await;
    let with = commit(&repo, w, vec![Do::Put("/t/b.parquet", with_token(9))]).await;
    publish(&repo).await;
    repo.create_tag("v1", &with, false).await.unwrap();
    commit(&repo, w, vec![Do::Delete("/t/b.parquet")]).await;
    let without = repo.create_tag("v2", writer.head().unwrap(), false).await;
    without.unwrap();
    repo.retain(Retention { commits: Some(1), for_ms: None }).await.unwrap();
    collect(&repo).await;
    let left = traces(&store).await;
    assert!(!left.is_empty() && left.iter().all(|name| !name.contains("/tables/")), "{left:?}");
    repo.delete_tag("v1").await.unwrap();
    collect(&repo).await;
    assert_eq!(traces(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_many_small_commits_only_what_is_needed_stays() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..200 {
        commit(&repo, &mut writer, vec![Do::Put(format!("/t/{n:03}.parquet").leak(), rows(n, n + 1))]).await;
    }
    publish(&repo).await;
    repo.compact("master", TARGET).await.unwrap();
    repo.retain(Retention { commits: Some(1), for_ms: None }).await.unwrap();
    collect(&repo).await;
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let names: Vec<_> = listed.iter().map(|meta| meta.location.to_string()).collect();
    assert!(names.len() < 25, "{} objects are left: {names:#?}", names.len());
    // And the table has the rows still.
    let told = publish(&repo).await;
    assert!(told.failures.is_empty() && told.tables[0].files == Some(1), "{told:?}");
}

#[tokio::test]
async fn versions_of_commits_that_are_kept_are_kept() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..12 {
        commit(&repo, &mut writer, vec![Do::Over("/t/a.parquet", rows(n, n + 2))]).await;
    }
    publish(&repo).await;
    repo.retain(Retention { commits: Some(4), for_ms: None }).await.unwrap();
    let before = objects(store.as_ref()).await.len();
    collect(&repo).await;
    assert!(objects(store.as_ref()).await.len() < before);
    let log: Vec<_> = objects(store.as_ref()).await.into_iter().map(|(name, _)| name).collect();
    let versions: Vec<_> = log.iter().filter(|name| name.ends_with(".json")).collect();
    assert_eq!(versions.len(), 4, "{log:?}");
    let copies = log.iter().filter(|name| name.contains("copy-")).count();
    assert_eq!(copies, 4, "{log:?}");
    assert!(log.iter().any(|name| name.ends_with("0000000008.checkpoint.parquet")), "{log:?}");
}
