//! One function a property, each run over every kind of store.

use bytes::Bytes;
use spout_data::Part;

use super::*;

async fn repo_of(store: &Store) -> (Repo, BranchWriter) {
    let repo = store.repo_or_create("events", "what happened").await.unwrap();
    let writer = repo.writer("master", "events").await.unwrap();
    (repo, writer)
}

#[tokio::test]
async fn a_repo_is_made_once_and_found_by_name() {
    for (store, _dir) in stores().await {
        assert!(store.repos().await.unwrap().is_empty());
        store.repo_or_create("events", "first").await.unwrap();
        store.repo_or_create("events", "second").await.unwrap();
        let repos = store.repos().await.unwrap();
        assert_eq!(repos.iter().map(|info| info.description.as_str()).collect::<Vec<_>>(), ["first"]);
        assert_eq!(store.repo("events").await.unwrap().name(), "events");
        let error = store.repo("evnts").await.unwrap_err();
        assert!(error.to_string().contains("did you mean `events`?"), "{error}");
        assert_eq!(code(&store.repo_or_create("../x", "").await.unwrap_err()), "E0515");
    }
}

#[tokio::test]
async fn every_commit_can_be_read_back_as_it_was() {
    for (store, _dir) in stores().await {
        let (repo, mut writer) = repo_of(&store).await;
        let big = vec![7u8; 100 << 10];
        let both = [("/a", PutMode::Append, b"1".as_slice()), ("/big", PutMode::Append, &big)];
        let a = commit(&repo, &mut writer, &both, (None, 1)).await;
        let b = commit(&repo, &mut writer, &[("/a", PutMode::Append, b"2")], (Some(1), 2)).await;
        let c = commit(&repo, &mut writer, &[("/a", PutMode::Overwrite, b"3")], (Some(2), 3)).await;
        let mut open = repo.open_commit();
        open.delete_file("a").unwrap();
        let d = committed(writer.finish(open, meta(Some(3), 4)).await);
        // By the writer that made it, and by one that reads everything anew.
        let again = Store::of(store.objects().clone()).repo("events").await.unwrap();
        for repo in [&repo, &again] {
            assert_eq!(read(repo, &a, "/a").await, b"1");
            assert_eq!(read(repo, &b, "/a").await, b"12");
            assert_eq!(read(repo, &c, "/a").await, b"3");
            assert_eq!(read(repo, &c, "/big").await, big);
            let tree = repo.tree(&d).await.unwrap();
            assert_eq!(tree.files().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["/big"]);
            let error = repo.read_file(&tree, "/bag").await.unwrap_err();
            assert!(error.to_string().contains("did you mean `/big`?"), "{error}");
        }
        let log = again.log("master").await.unwrap();
        assert_eq!(
            log.iter().map(|commit| &commit.header.id).collect::<Vec<_>>(),
            [&d.header.id, &c.header.id, &b.header.id, &a.header.id]
        );
        assert_eq!(log[0].parent.as_ref(), Some(&c.header.id));
    }
}

#[tokio::test]
async fn references_find_commits() {
    for (store, _dir) in stores().await {
        let (repo, mut writer) = repo_of(&store).await;
        let mut ids = Vec::new();
        for n in 0..4u64 {
            let from = n.checked_sub(1);
            ids.push(committed(writer.finish(repo.open_commit(), meta(from, n)).await).header.id);
            // Claims in between do not count.
            writer = repo.writer("master", "events").await.unwrap();
        }
        let check = async |text: &str, expected: Result<usize, &str>| {
            let found = repo.resolve(&text.parse().unwrap()).await;
            match expected {
                Ok(index) => assert_eq!(found.unwrap().header.id, ids[index], "{text}"),
                Err(expected) => assert_eq!(code(&found.unwrap_err()), expected, "{text}"),
            }
        };
        check("events", Ok(3)).await;
        check("events@master~2", Ok(1)).await;
        check("events@master^^^", Ok(0)).await;
        check("events@master~4", Err("E0512")).await;
        check(&format!("events@{}", ids[2]), Ok(2)).await;
        check(&format!("events@{}~1", &ids[2][..12]), Ok(1)).await;
        check("events@mastr", Err("E0511")).await;
        check("events@0123", Err("E0511")).await;
        let branches = repo.branches().await.unwrap();
        assert_eq!((branches[0].commits, branches[0].epoch), (4, 5));
        repo.writer("empty", "events").await.unwrap();
        check("events@empty", Err("E0512")).await;
    }
}

#[tokio::test]
async fn state_and_marker_come_back_and_unchanged_state_is_not_written_again() {
    for (store, _dir) in stores().await {
        let (repo, mut writer) = repo_of(&store).await;
        let big = bytes::Bytes::from(vec![3u8; 50 << 10]);
        let state = || BTreeMap::from([("small".to_owned(), Bytes::from("s")), ("big".to_owned(), big.clone())]);
        let new = || state().into_iter().map(|(name, bytes)| (name, Part::New(bytes))).collect();
        let kept = || state().into_keys().map(|name| (name, Part::Kept)).collect();
        let with = |state, meta: CommitMeta| CommitMeta { state, ..meta };
        let first = committed(writer.finish(repo.open_commit(), with(new(), meta(None, 5))).await);
        let second = committed(writer.finish(repo.open_commit(), with(new(), meta(Some(5), 7))).await);
        assert_eq!(first.state["big"].place, second.state["big"].place);
        let second = committed(writer.finish(repo.open_commit(), with(kept(), meta(Some(7), 9))).await);
        assert_eq!(first.state["big"].place, second.state["big"].place);
        let unknown = [("other".to_owned(), Part::Kept)].into();
        let refused = writer.finish(repo.open_commit(), with(unknown, meta(Some(9), 10))).await;
        assert!(matches!(refused, Err(Error::NoState { key, .. }) if key == "other"));
        let writer = repo.writer("master", "events").await.unwrap();
        assert_eq!(writer.state().await.unwrap(), state());
        assert_eq!(writer.marker().partitions.get(&0.into()).unwrap().position.offset, 9);
        assert_eq!(writer.marker().partitions.get(&0.into()).unwrap().label, "p");
        assert_eq!(writer.head().unwrap().header.id, second.header.id);
    }
}

#[tokio::test]
async fn tables_grow_in_every_format() {
    for (store, _dir) in stores().await {
        let (repo, mut writer) = repo_of(&store).await;
        for (to, batch) in [rows(0, 3), rows(3, 9_000), rows(9_000, 9_001)].iter().enumerate() {
            let mut open = repo.open_commit();
            for format in [Format::Parquet, Format::Arrow, Format::Ndjson, Format::Csv] {
                open.put_table(&format!("/t.{format}"), PutMode::Append, encode(format, batch)).await.unwrap();
            }
            let to = to as u64;
            committed(writer.finish(open, meta(to.checked_sub(1), to)).await);
        }
        let tree = repo.tree(writer.head().unwrap()).await.unwrap();
        let whole = rows(0, 9_001);
        for format in [Format::Parquet, Format::Arrow, Format::Ndjson, Format::Csv] {
            let path = format!("/t.{format}");
            let file = tree.get(&path).unwrap();
            assert_eq!((file.rows, file.pieces.len(), file.format), (Some(9_001), 3, Some(format)));
            let bytes = repo.read_file(&tree, &path).await.unwrap();
            let found: Vec<_> =
                decode(&path, format, &whole.schema(), bytes, None).unwrap().collect::<Result<_, _>>().unwrap();
            let found = arrow::compute::concat_batches(&found[0].schema(), &found).unwrap();
            assert_eq!(found.columns(), whole.columns(), "{format}");
        }
        let csv = repo.read_file(&tree, "/t.csv").await.unwrap();
        let headers = std::str::from_utf8(&csv).unwrap().lines().filter(|line| *line == "id,name,size").count();
        assert_eq!(headers, 1);
    }
}

#[tokio::test]
async fn a_schema_is_stored_once() {
    let (store, _dir) = local().await;
    let (repo, mut writer) = repo_of(&store).await;
    for n in 0..3u64 {
        let mut open = repo.open_commit();
        let table = encode(Format::Parquet, &rows(0, 10));
        open.put_table(&format!("/{n}.parquet"), PutMode::Append, table).await.unwrap();
        let commit = committed(writer.finish(open, meta(n.checked_sub(1), n)).await);
        assert_eq!(commit.schemas.len(), usize::from(n == 0));
        let statistics = &commit.files[0].table.as_ref().unwrap().columns;
        assert_eq!(statistics[0].max, Some(9.into()));
        assert_eq!(statistics[1].nulls, Some(2));
    }
    let tree = repo.tree(writer.head().unwrap()).await.unwrap();
    assert!(tree.files().all(|file| tree.schema(&file.pieces[0]) == Some(&rows(0, 1).schema())));
}

#[tokio::test]
async fn puts_and_deletes_within_a_commit_are_in_order() {
    for (store, _dir) in stores().await {
        let (repo, mut writer) = repo_of(&store).await;
        let mut open = repo.open_commit();
        open.put_file("/a", PutMode::Append, "1".into()).await.unwrap();
        open.put_file("/a", PutMode::Append, "2".into()).await.unwrap();
        open.put_file("/b", PutMode::Append, "1".into()).await.unwrap();
        open.delete_file("/b").unwrap();
        open.put_file("/c", PutMode::Append, "1".into()).await.unwrap();
        open.put_file("/c", PutMode::Overwrite, "2".into()).await.unwrap();
        open.delete_file("/d").unwrap();
        open.put_file("/d", PutMode::Append, "1".into()).await.unwrap();
        let first = committed(writer.finish(open, meta(None, 1)).await);
        assert_eq!((read(&repo, &first, "/a").await, read(&repo, &first, "/c").await), (b"12".into(), b"2".into()));
        assert!(repo.tree(&first).await.unwrap().get("/b").is_none());
        let mut open = repo.open_commit();
        open.put_file("/a", PutMode::Append, "3".into()).await.unwrap();
        open.delete_file("/a").unwrap();
        open.put_file("/a", PutMode::Append, "4".into()).await.unwrap();
        let second = committed(writer.finish(open, meta(Some(1), 2)).await);
        assert_eq!(read(&repo, &second, "/a").await, b"4");
        assert!(fsck(&store, None, Depth::Everything).await.unwrap().findings.is_empty());
    }
}
