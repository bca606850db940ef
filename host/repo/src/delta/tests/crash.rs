//! Publishers that die anywhere, and several at once: the tables come out the same, byte for byte.

use super::{reader::*, stopping::Stopping, *};

/// A store with a history of two tables that nobody published yet.
async fn history() -> Arc<InMemory> {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    let w = &mut writer;
    commit(&repo, w, vec![Do::Put("/t/a.parquet", rows(0, 10)), Do::Put("/u/x.parquet", rows(0, 5))]).await;
    commit(&repo, w, vec![Do::Put("/t/b.parquet", rows(10, MANY)), Do::Put("/u/x.parquet", rows(5, 6))]).await;
    commit(&repo, w, vec![Do::Over("/t/a.parquet", rows(7, 8)), Do::Put("/v/day=1/x.parquet", rows(0, 1))]).await;
    commit(&repo, w, vec![Do::Delete("/t/b.parquet"), Do::Delete("/u/x.parquet")]).await;
    commit(&repo, w, vec![Do::Put("/t/c.parquet", rows(8, 9)), Do::Put("/v/y.parquet", rows(8, 9))]).await;
    store
}

async fn over(store: Arc<dyn object_store::ObjectStore>) -> Repo {
    repo_over(store).repo("events").await.unwrap()
}

#[tokio::test]
async fn a_publisher_that_died_anywhere_is_gone_on_with() {
    let history = history().await;
    let whole = Arc::new(history.fork());
    publish(&over(Arc::clone(&whole) as _).await).await;
    let expected = everything(whole.as_ref()).await;
    assert!(expected.keys().any(|name| name.contains("checkpoint.parquet")), "{:?}", expected.keys());
    for done in [false, true] {
        let mut stops = 0;
        loop {
            let store = Stopping::after(&history, stops, done);
            let died = publisher(&over(Arc::clone(&store) as _).await).publish().await.is_err();
            let after = Arc::new(store.store().fork());
            let repo = over(Arc::clone(&after) as _).await;
            let publication = publish(&repo).await;
            assert!(publication.failures.is_empty(), "stop {stops}, done {done}: {publication:?}");
            let found = everything(after.as_ref()).await;
            for (name, bytes) in &expected {
                assert_eq!(found.get(name), Some(bytes), "stop {stops}, done {done}: {name}");
            }
            assert_eq!(found.len(), expected.len(), "stop {stops}, done {done}");
            if !died {
                break;
            }
            stops += 1;
        }
        assert!(stops > 15, "only {stops} changes");
    }
}

#[tokio::test]
async fn the_same_publisher_goes_on_after_a_failure() {
    let history = history().await;
    let whole = Arc::new(history.fork());
    publish(&over(Arc::clone(&whole) as _).await).await;
    let expected = everything(whole.as_ref()).await;
    for done in [false, true] {
        for stop in 0.. {
            let store = Stopping::at(&history, stop, done);
            let mut publisher = publisher(&over(Arc::clone(&store) as _).await);
            let failed = publisher.publish().await.is_err();
            let publication = publisher.publish().await.unwrap();
            assert!(publication.failures.is_empty(), "stop {stop}, done {done}: {publication:?}");
            assert_eq!(everything(store.store()).await, expected, "stop {stop}, done {done}");
            // A creation whose answer was lost is no failure.
            if !failed && stop > 40 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn who_died_in_a_version_of_several_commits_is_gone_on_with() {
    let (store, repo) = repo().await;
    let mut writer = repo.writer("master", "events").await.unwrap();
    for n in 0..9 {
        let puts = ["/t/a.parquet", "/u/x.parquet"].map(|path| Do::Put(path, rows(n, n + 1)));
        commit(&repo, &mut writer, puts.into()).await;
    }
    for stops in 0.. {
        let stopping = Stopping::after(&store, stops, true);
        let mut publisher = publisher(&over(Arc::clone(&stopping) as _).await);
        let died = loop {
            match publisher.publish_some().await {
                Ok(publication) if publication.behind => {}
                done => break done.is_err(),
            }
        };
        let after = Arc::new(stopping.store().fork());
        let repo = over(Arc::clone(&after) as _).await;
        let publication = publish(&repo).await;
        assert!(publication.failures.is_empty(), "stop {stops}: {publication:?}");
        for table in ["t", "u"] {
            leads_up(after.as_ref(), &repo, table).await;
        }
        if !died {
            assert!(stops > 15, "only {stops} changes");
            break;
        }
    }
}

#[tokio::test]
async fn publishers_at_once_write_one_table() {
    let history = history().await;
    let whole = Arc::new(history.fork());
    publish(&over(Arc::clone(&whole) as _).await).await;
    let expected = everything(whole.as_ref()).await;
    for _ in 0..5 {
        let store = Arc::new(history.fork());
        let repo = over(Arc::clone(&store) as _).await;
        let one = |repo: Repo| tokio::spawn(async move { publish(&repo).await });
        let all = [one(repo.clone()), one(repo.clone()), one(repo.clone())];
        for publication in futures::future::join_all(all).await {
            assert!(publication.as_ref().unwrap().failures.is_empty(), "{publication:?}");
        }
        assert_eq!(everything(store.as_ref()).await, expected);
    }
}
