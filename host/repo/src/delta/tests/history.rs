//! Every kind of commit becomes the version it should.

use super::{reader::*, *};

#[tokio::test]
async fn versions_are_the_commits_that_touch_the_table() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(0, 10)), Do::Put("/u/x.parquet", rows(0, 5))]).await;
    commit(&repo, w, vec![Do::Put("/t/b.parquet", rows(10, MANY)), Do::Bytes("/t/readme")]).await;
    commit(&repo, w, vec![Do::Put("/u/y.parquet", rows(5, 9))]).await;
    // A file that grows, an overwrite, a delete, all at once, and nothing for any table.
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(90_000, 90_001)), Do::Put("/t/a.parquet", rows(1, 2))]).await;
    commit(&repo, w, vec![Do::Over("/t/a.parquet", rows(7, 8))]).await;
    commit(&repo, w, vec![Do::Bytes("/t/readme"), Do::Bytes("/other")]).await;
    commit(&repo, w, vec![Do::Delete("/t/b.parquet"), Do::Put("/t/a.parquet", rows(7, 8))]).await;
    commit(&repo, w, vec![Do::Delete("/t/a.parquet")]).await;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(7, 8))]).await;
    let publication = publish(&repo).await;
    assert!(publication.failures.is_empty(), "{publication:?}");
    let versions = agrees(store.as_ref(), &repo, "t").await;
    let operations: Vec<_> = versions.iter().map(|version| version.operation.as_str()).collect();
    assert_eq!(operations, ["WRITE", "WRITE", "WRITE", "WRITE", "WRITE", "DELETE", "WRITE"]);
    assert_eq!(agrees(store.as_ref(), &repo, "u").await.len(), 2);
}

#[tokio::test]
async fn each_call_publishes_what_is_new() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let mut publisher = publisher(&repo);
    assert!(publisher.publish().await.unwrap().tables.is_empty());
    for n in 0..8 {
        commit(&repo, &mut writer, vec![Do::Put("/t/a.parquet", rows(n, n + 1))]).await;
        if n % 3 == 0 {
            // A publisher that starts anew goes on where the logs end.
            publisher = super::publisher(&repo);
        }
        let done = publisher.publish().await.unwrap();
        let table = &done.tables[0];
        assert_eq!(
            (table.version, table.written, table.files),
            (Some(n.unsigned_abs()), 1, Some(n.unsigned_abs() + 1))
        );
        assert_eq!(publisher.publish().await.unwrap().tables[0].written, 0);
    }
    agrees(store.as_ref(), &repo, "t").await;
}

#[tokio::test]
async fn far_behind_one_version_takes_commits_along_that_only_put() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    for n in 0..5 {
        commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(n, n + 1)), Do::Put("/u/x.parquet", rows(n, n + 1))]).await;
    }
    commit(&repo, w, vec![Do::Over("/t/a.parquet", rows(7, 9))]).await;
    commit(&repo, w, vec![Do::Delete("/u/x.parquet"), Do::Put("/t/b.parquet", rows(0, 1))]).await;
    for n in 0..3 {
        commit(&repo, w, vec![Do::Put("/t/c.parquet", rows(n, n + 1))]).await;
    }
    let mut publisher = publisher(&repo);
    let mut behind = 0;
    while publisher.publish_some().await.unwrap().behind {
        behind += 1;
    }
    // Four together, two together, the one that deletes, and the last three one by one.
    leads_up(store.as_ref(), &repo, "u").await;
    let versions = leads_up(store.as_ref(), &repo, "t").await;
    let sequences: Vec<_> = versions.iter().map(|version| version.sequence).collect();
    assert_eq!((sequences, behind), (vec![5, 7, 8, 9, 10, 11], 5));
    // Who goes on finds nothing to do.
    assert_eq!(publish(&repo).await.tables.iter().map(|table| table.written).sum::<u64>(), 0);
    let rebuilt = super::publisher(&repo).rebuild().await.unwrap();
    assert!(rebuilt.failures.is_empty(), "{rebuilt:?}");
    assert_eq!(agrees(store.as_ref(), &repo, "t").await.len(), 10, "made anew, each commit is a version");
}

#[tokio::test]
async fn files_in_the_root_are_a_table_and_names_may_be_odd() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let files = ["/a b.parquet", "/_root/x.parquet", "/größe/日 本/x#?%.parquet"];
    let puts = files.iter().zip(0..).map(|(path, n)| Do::Put(path, rows(n, n + 1))).collect();
    commit(&repo, &mut writer, puts).await;
    let publication = publish(&repo).await;
    let tables: Vec<_> = publication.tables.iter().map(|table| table.table.as_str()).collect();
    assert_eq!(tables, ["/_root", "/", "/größe/日 本"]);
    for directory in ["_root", "__root"] {
        assert_eq!(agrees(store.as_ref(), &repo, directory).await.len(), 1);
    }
}

#[tokio::test]
async fn an_object_of_several_files_is_in_the_table_as_often() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let first = commit(&repo, &mut writer, vec![Do::Put("/t/b.parquet", rows(0, MANY))]).await;
    let copied = |path: &str, how| FileAdded { path: path.into(), how, ..first.files[0].clone() };
    let publishing = async |writer: &mut BranchWriter, files: Vec<FileAdded>, gone: &[&str]| {
        let mut open = repo.open_commit();
        gone.iter().for_each(|path| open.delete_file(path).unwrap());
        open.files = files;
        let meta = CommitMeta { pipeline: "events".into(), ..CommitMeta::default() };
        assert!(matches!(writer.finish(open, meta).await.unwrap(), Finished::Committed(_)));
    };
    publishing(&mut writer, vec![copied("/t/c.parquet", PutMode::Append)], &[]).await;
    publish(&repo).await;
    // A copy that sorts first, one in the same file, and the first one goes.
    publishing(&mut writer, vec![copied("/t/a.parquet", PutMode::Append)], &[]).await;
    publishing(&mut writer, vec![copied("/t/a.parquet", PutMode::Append)], &[]).await;
    publishing(&mut writer, vec![], &["/t/b.parquet"]).await;
    let mut publisher = publisher(&repo);
    publisher.publish().await.unwrap();
    publishing(&mut writer, vec![], &["/t/a.parquet"]).await;
    publisher.publish().await.unwrap();
    let versions = agrees(store.as_ref(), &repo, "t").await;
    let files: Vec<_> = versions.iter().map(|version| version.files.len()).collect();
    assert_eq!(files, [1, 2, 3, 4, 3, 1]);
}

#[tokio::test]
async fn a_table_that_is_empty_for_a_while_goes_on() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(0, 1))]).await;
    commit(&repo, w, vec![Do::Put("/u/a.parquet", rows(0, 1))]).await;
    commit(&repo, w, vec![Do::Delete("/t/a.parquet"), Do::Delete("/u/a.parquet")]).await;
    publish(&repo).await;
    // Nothing at the head tells of the tables, and nothing is published twice.
    let before = everything(store.as_ref()).await;
    assert!(publish(&repo).await.failures.is_empty());
    assert_eq!(everything(store.as_ref()).await, before);
    commit(&repo, w, vec![Do::Put("/u/a.parquet", rows(3, 4))]).await;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(5, 6))]).await;
    assert!(publish(&repo).await.failures.is_empty());
    assert_eq!(agrees(store.as_ref(), &repo, "t").await.len(), 3);
    assert_eq!(agrees(store.as_ref(), &repo, "u").await.len(), 3);
}

#[tokio::test]
async fn partition_values_come_from_the_path() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(0, 1))]).await;
    commit(&repo, w, vec![Do::Put("/t/day=1/a.parquet", rows(1, 2)), Do::Put("/t/day=a=b/a.parquet", rows(2, 3))])
        .await;
    publish(&repo).await;
    commit(&repo, w, vec![Do::Put("/p=x/t/day=2/a.parquet", rows(3, MANY))]).await;
    publish(&repo).await;
    let versions = agrees(store.as_ref(), &repo, "t").await;
    let values = |version: &Seen| {
        let of = |(path, add): (&String, &serde_json::Value)| {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            (directory.to_owned(), add["partitionValues"].to_string())
        };
        version.files.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(values(&versions[0]), [(String::new(), "{}".to_owned())]);
    let null = "__HIVE_DEFAULT_PARTITION__";
    let pair = |directory: &str, values: &str| (directory.to_owned(), values.to_owned());
    assert_eq!(
        values(&versions[1]),
        [
            pair("day=1", r#"{"day":"1"}"#),
            pair(&format!("day={null}"), r#"{"day":null}"#),
            pair("day=a%253Db", r#"{"day":"a=b"}"#),
        ]
    );
    assert_eq!(values(&versions[2])[1], pair("day=2/p=x", r#"{"day":"2","p":"x"}"#));
    assert_eq!(versions[2].files.len(), 4);
    assert_eq!(versions[2].meta["partitionColumns"].to_string(), r#"["day","p"]"#);
    assert_eq!(versions[2].columns().last().unwrap().0, "p");
}

#[tokio::test]
async fn a_moved_branch_is_a_version() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let first = commit(&repo, &mut writer, vec![Do::Put("/t/a.parquet", rows(0, 3))]).await;
    commit(&repo, &mut writer, vec![Do::Put("/t/b.parquet", rows(3, 9)), Do::Put("/u/a.parquet", rows(0, 1))]).await;
    let mut publisher = publisher(&repo);
    publisher.publish().await.unwrap();
    // Back to the first commit, twice: by the branch, and by a commit.
    repo.create_branch("master", Some(&first), true).await.unwrap();
    publisher.publish().await.unwrap();
    let ids = async |version: usize| versions(store.as_ref(), "t").await[version].ids(store.as_ref(), "t").await;
    assert_eq!(ids(1).await, (0..9).collect::<Vec<_>>());
    assert_eq!(ids(2).await, [0, 1, 2]);
    assert_eq!(versions(store.as_ref(), "t").await[2].commit, first.header.id);
    assert!(versions(store.as_ref(), "u").await[1].files.is_empty());
    let mut writer = repo.writer("master", "events").await.unwrap();
    let third = commit(&repo, &mut writer, vec![Do::Put("/t/c.parquet", rows(20, 21))]).await;
    publish(&repo).await;
    assert_eq!(ids(3).await, [0, 1, 2, 20]);
    drop(writer);
    repo.create_branch("side", Some(&third), false).await.unwrap();
    let side = Publisher::new(&repo, "side").publish().await.unwrap();
    assert_eq!((side.tables[0].version, side.tables[0].files), (Some(0), Some(2)));
    assert_eq!(side.tables[0].commit.as_deref(), Some(third.header.id.as_str()));
    let rebuilt = super::publisher(&repo).rebuild().await.unwrap();
    assert_eq!(rebuilt.tables.iter().map(|table| table.written).sum::<u64>(), 0, "{rebuilt:?}");
}

#[tokio::test]
async fn a_reverted_branch_and_a_compaction_are_versions() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let mut commits = Vec::new();
    for n in 0..6 {
        let path = format!("/t/{n}.parquet");
        commits.push(commit(&repo, &mut writer, vec![Do::Put(&path, rows(n * 10, n * 10 + 10))]).await);
    }
    repo.compact("master", spout_data::ByteSize(1 << 20)).await.unwrap();
    publish(&repo).await;
    let versions = agrees(store.as_ref(), &repo, "t").await;
    assert_eq!((versions[6].operation.as_str(), versions[6].files.len()), ("OPTIMIZE", 1));
    assert!(matches!(repo.revert("master", &commits[2]).await.unwrap(), crate::Finished::Committed(_)));
    publish(&repo).await;
    let versions = agrees(store.as_ref(), &repo, "t").await;
    assert_eq!(versions[7].files.len(), 3);
}

#[tokio::test]
async fn a_collection_leaves_tables_as_they_are() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..6 {
        commit(
            &repo,
            &mut writer,
            vec![Do::Over("/t/a.parquet", rows(n, n + 1)), Do::Over("/t/b.parquet", rows(0, MANY))],
        )
        .await;
        if n == 0 {
            commit(&repo, &mut writer, vec![Do::Put("/u/a.parquet", rows(0, 1))]).await;
        }
    }
    publish(&repo).await;
    let report = fsck(&repo_over(Arc::clone(&store) as _), None, Depth::Everything).await.unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
    repo.retain(Retention { commits: Some(2), ..Retention::default() }).await.unwrap();
    let collected = repo.collect(Collect { min_age_ms: -1, dry_run: false }).await.unwrap();
    assert!(collected.records > 4, "{collected:?}");
    // Also a table whose last commit was collected goes on.
    commit(&repo, &mut writer, vec![Do::Put("/u/b.parquet", rows(1, 2)), Do::Put("/t/c.parquet", rows(1, 2))]).await;
    let told = publish(&repo).await;
    assert!(told.failures.is_empty(), "{told:?}");
    let ids = async |directory: &str| {
        let version = versions(store.as_ref(), directory).await.pop().unwrap();
        version.ids(store.as_ref(), directory).await
    };
    assert_eq!(ids("u").await, [0, 1]);
    assert_eq!(ids("t").await.len(), usize::try_from(MANY).unwrap() + 2);
}
