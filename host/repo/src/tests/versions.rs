//! Versions of whole stores: what a new one says, who is turned away, and upgrades that are broken off.

use futures::future::BoxFuture;
use object_store::path::Path;

use super::*;
use crate::{
    log::VERSION,
    object::{Objects, Step},
    repo::version::{UNMARKED, known, mark},
    upkeep::upgrade::{self as steps, STEPS, by},
};

/// A store that was made before versions were written down, with a commit.
async fn unmarked() -> (Store, TempDir) {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    commit(&repo, &mut writer, &[("/a", PutMode::Append, b"a")], (None, 1)).await;
    std::fs::remove_dir_all(dir.path().join("format")).unwrap();
    (Store::open(dir.path().to_str().unwrap()).await.unwrap(), dir)
}

#[test]
fn steps_lead_to_the_version_that_is_written_one_by_one() {
    let to: Vec<u32> = STEPS.iter().map(|step| step.to).collect();
    assert_eq!(to, (1..=VERSION).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_store_is_of_the_newest_version() {
    let (store, dir) = local().await;
    assert_eq!(store.version().await.unwrap(), VERSION);
    let done = upgrade(&store, false).await.unwrap();
    assert_eq!((done.from, done.to, done.steps.len()), (VERSION, VERSION, 0));
    // Opening it again writes nothing.
    Store::open(dir.path().to_str().unwrap()).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("format")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_store_without_a_version_is_read_and_written_and_upgraded_once() {
    let (store, dir) = unmarked().await;
    assert_eq!(store.version().await.unwrap(), UNMARKED, "opening it does not say that it was looked through");
    let repo = store.repo("events").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let head = commit(&repo, &mut writer, &[("/a", PutMode::Append, b"b")], (Some(1), 2)).await;
    let would = upgrade(&store, true).await.unwrap();
    assert_eq!((would.from, would.to, would.steps.len()), (0, 1, 1));
    assert_eq!(store.version().await.unwrap(), UNMARKED, "a dry run changes nothing");
    // Two at a time are as good as one.
    let (one, other) = tokio::join!(upgrade(&store, false), upgrade(&store, false));
    assert_eq!((one.unwrap().to, other.unwrap().to), (1, 1));
    assert!(upgrade(&store, false).await.unwrap().steps.is_empty());
    let again = Store::open_existing(dir.path().to_str().unwrap()).await.unwrap();
    assert_eq!(again.version().await.unwrap(), 1);
    assert_eq!(read(&again.repo("events").await.unwrap(), &head, "/a").await, b"ab");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_whole_is_not_upgraded() {
    let (store, dir) = unmarked().await;
    let record = dir.path().join("repos/events/branches/master/00000000000000000002.json");
    let whole = std::fs::read(&record).unwrap();
    std::fs::write(&record, &whole[1..]).unwrap();
    let error = upgrade(&store, false).await.unwrap_err();
    assert_eq!(code(&error), "E0591", "{error}");
    assert_eq!(store.version().await.unwrap(), UNMARKED);
    std::fs::write(&record, &whole).unwrap();
    assert_eq!(upgrade(&store, false).await.unwrap().to, 1);
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let (store, dir) = local().await;
    mark(store.objects(), VERSION + 1).await.unwrap();
    // What is in the way and no version at all is passed over.
    std::fs::write(dir.path().join("format/notes.txt"), "theirs").unwrap();
    let url = dir.path().to_str().unwrap();
    for opened in [Store::open(url).await, Store::open_existing(url).await] {
        let error = opened.unwrap_err();
        assert_eq!(code(&error), "E0590", "{error}");
        assert!(error.to_string().contains("format version 2, and this spout knows versions up to 1"), "{error}");
    }
    assert!(!dir.path().join("repos").exists());
}

fn flag(name: &str) -> Path {
    Path::from(format!("test/{name}"))
}

/// Writes an object for each repo, and is broken off between two of them the first time.
fn each_repo(store: &Store) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async move {
        let objects = store.objects();
        for name in store.names().await? {
            objects.overwrite(Step::Hint, &flag(&name), name.clone().into()).await?;
            let broken = flag("broken");
            if objects.find(&broken).await?.is_none() {
                objects.overwrite(Step::Hint, &broken, "once".into()).await?;
                return Err(Error::BadName { what: "test", name, reason: "it is broken off" });
            }
        }
        Ok(())
    })
}

fn nothing(_: &Store) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async { Ok(()) })
}

#[tokio::test]
async fn an_upgrade_that_is_broken_off_goes_on_where_it_was() {
    const LATER: &[steps::Step] = &[
        steps::Step { to: 1, what: "first", run: nothing },
        steps::Step { to: 2, what: "each repo", run: each_repo },
        steps::Step { to: 3, what: "last", run: nothing },
    ];
    let store = Store::of(Objects::memory());
    for name in ["a", "b"] {
        store.repo_or_create(name, "").await.unwrap();
    }
    let objects = store.objects();
    by(LATER, &store, false).await.unwrap_err();
    assert_eq!(known(objects).await.unwrap(), 1, "until a step is done, builds of the version before go on");
    assert!(objects.find(&flag("b")).await.unwrap().is_none());
    let done = by(LATER, &store, false).await.unwrap();
    assert_eq!((done.from, done.to), (1, 3));
    assert_eq!(done.steps.iter().map(|step| step.to).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(objects.find(&flag("b")).await.unwrap().unwrap(), "b");
    assert_eq!(code(&known(objects).await.unwrap_err()), "E0590", "and then they are turned away");
    // One who was late takes nothing back.
    mark(objects, 2).await.unwrap();
    assert_eq!(store.version().await.unwrap(), 3);
}
