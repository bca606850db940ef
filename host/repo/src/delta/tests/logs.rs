//! Logs that are not as they were left: checkpoints, versions of others, and making them anew.

use object_store::{ObjectStoreExt, path::Path};

use super::{reader::*, *};

fn log(name: &str) -> Path {
    Path::from(format!("repos/events/tables/master/t/_delta_log/{name}"))
}

async fn seven() -> (Arc<InMemory>, Repo, BranchWriter) {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..7 {
        let path = format!("/t/{n}.parquet");
        commit(&repo, &mut writer, vec![Do::Put(&path, rows(n, n + 1)), Do::Put("/u/all.parquet", rows(n, n + 1))])
            .await;
    }
    publish(&repo).await;
    (store, repo, writer)
}

#[tokio::test]
async fn a_checkpoint_stands_for_the_versions_before_it() {
    let (store, repo, mut writer) = seven().await;
    let names: Vec<_> =
        everything(store.as_ref()).await.into_keys().filter(|name| name.contains("/t/_delta")).collect();
    assert!(names.iter().any(|name| name.ends_with("00000000000000000006.checkpoint.parquet")), "{names:?}");
    for version in 0..=6 {
        store.delete(&log(&format!("{version:020}.json"))).await.unwrap();
    }
    commit(&repo, &mut writer, vec![Do::Put("/t/7.parquet", rows(7, 8))]).await;
    let told = publish(&repo).await;
    assert!(told.failures.is_empty(), "{told:?}");
    assert_eq!(told.tables[0].version, Some(7));
    let said = store.get(&log("00000000000000000007.json")).await.unwrap().bytes().await.unwrap();
    assert!(!String::from_utf8_lossy(&said).contains("metaData"));
    // Without the hint too.
    store.delete(&log("_last_checkpoint")).await.unwrap();
    commit(&repo, &mut writer, vec![Do::Put("/t/8.parquet", rows(8, 9))]).await;
    assert_eq!(publish(&repo).await.tables[0].version, Some(8));
}

#[tokio::test]
async fn a_log_of_others_is_left_alone_and_made_anew_on_request() {
    let check = async |name: &str, text: Option<&str>, why: &str| {
        let (store, repo, mut writer) = seven().await;
        let expected = everything(store.as_ref()).await;
        match text {
            Some(text) => drop(store.put(&log(name), text.to_owned().into()).await.unwrap()),
            None => store.delete(&log(name)).await.unwrap(),
        }
        let before = everything(store.as_ref()).await;
        let told = publish(&repo).await;
        assert_eq!(codes(&told), [("/t", "E0566")], "{name}");
        let text = told.failures[0].1.to_string();
        assert!(text.contains(why) && text.contains("spout publish events@master --rebuild"), "{text}");
        assert_eq!(everything(store.as_ref()).await, before);
        let told = publisher(&repo).rebuild().await.unwrap();
        assert!(told.failures.is_empty(), "{told:?}");
        assert_eq!(everything(store.as_ref()).await, expected, "{name}");
        commit(&repo, &mut writer, vec![Do::Put("/t/7.parquet", rows(7, 8))]).await;
        assert!(publish(&repo).await.failures.is_empty());
        agrees(store.as_ref(), &repo, "t").await;
    };
    Box::pin(check("00000000000000000007.json", Some(r#"{"commitInfo":{}}"#), "another program")).await;
    Box::pin(check("00000000000000000007.json", Some("torn"), "cannot be read")).await;
    Box::pin(check("00000000000000000009.json", Some("{}"), "is missing")).await;
}

#[tokio::test]
async fn a_rebuild_changes_nothing_that_is_right() {
    let (store, repo, _) = seven().await;
    let before = everything(store.as_ref()).await;
    let told = publisher(&repo).rebuild().await.unwrap();
    assert_eq!(told.tables.iter().map(|table| table.written).sum::<u64>(), 0);
    assert_eq!(everything(store.as_ref()).await, before);
    let checkpoint = log("00000000000000000006.checkpoint.parquet");
    store.put(&checkpoint, "torn".into()).await.unwrap();
    publisher(&repo).rebuild().await.unwrap();
    assert_eq!(everything(store.as_ref()).await, before);
    // A table that the branch never had, and a version that is not as it was.
    let stray = Path::from("repos/events/tables/master/gone/_delta_log/00000000000000000000.json");
    store.put(&stray, "{}".into()).await.unwrap();
    let third = log("00000000000000000003.json");
    let text = store.get(&third).await.unwrap().bytes().await.unwrap();
    let other = String::from_utf8_lossy(&text).replace("\"numRecords\":1", "\"numRecords\":2");
    store.put(&third, other.replace("numRecords\\\":1", "numRecords\\\":2").into()).await.unwrap();
    let told = publisher(&repo).rebuild().await.unwrap();
    assert_eq!(told.tables.iter().map(|table| table.written).collect::<Vec<_>>(), [4, 0]);
    assert_eq!(everything(store.as_ref()).await, before);
}

#[tokio::test]
async fn a_log_of_an_earlier_branch_is_not_gone_on_with() {
    let (store, repo, mut writer) = seven().await;
    // The same names and another history.
    let (other_store, other) = super::repo().await;
    let mut other_writer = other.writer("master", "events").await.unwrap();
    for n in 0..9 {
        commit(&other, &mut other_writer, vec![Do::Put("/t/a.parquet", rows(n, n + 1))]).await;
    }
    for (name, bytes) in objects(store.as_ref()).await {
        other_store.put(&Path::from(name), bytes.into()).await.unwrap();
    }
    let told = publish(&other).await;
    assert_eq!(codes(&told), [("/t", "E0566")]);
    publisher(&other).rebuild().await.unwrap();
    agrees(other_store.as_ref(), &other, "t").await;
    // A branch that is shorter than its log.
    commit(&repo, &mut writer, vec![Do::Put("/t/a.parquet", rows(0, 1))]).await;
    publish(&repo).await;
    let newest = repo.log("master").await.unwrap()[0].header.sequence;
    store.delete(&repo.layout.record("master", newest)).await.unwrap();
    assert_eq!(codes(&publish(&repo).await), [("/t", "E0566")]);
}

#[tokio::test]
async fn what_is_published_can_be_looked_at() {
    let (store, repo, mut writer) = seven().await;
    commit(&repo, &mut writer, vec![Do::Put("/t/7.parquet", rows(7, 8))]).await;
    let told = published(&repo, "master").await.unwrap();
    let seen: Vec<_> = told.tables.iter().map(|table| (table.table.as_str(), table.version, table.files)).collect();
    assert_eq!(seen, [("/t", Some(6), Some(7)), ("/u", Some(6), Some(7))]);
    assert_eq!(told.tables[0].root, "test://bucket/repos/events/tables/master/t");
    store.put(&log("00000000000000000007.json"), "torn".into()).await.unwrap();
    assert_eq!(codes(&published(&repo, "master").await.unwrap()), [("/t", "E0566")]);
}
