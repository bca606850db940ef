//! Logs of Delta as somebody else could have left them: publishing says what is wrong with one, or goes on where it is right.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, path::Path};
use spout_fuzz::{Corpus, Random, Target, change_json};

use super::{super::checkpoint, *};

const LOG: &str = "repos/events/tables/master/t/_delta_log/";

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Every object of a store by its name.
async fn everything(store: &InMemory) -> BTreeMap<String, bytes::Bytes> {
    let listed: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for about in listed {
        let bytes = store.get(&about.location).await.unwrap().bytes().await.unwrap();
        all.insert(about.location.to_string(), bytes);
    }
    all
}

#[test]
fn delta_log() {
    let made = now(async {
        let (store, repo) = repo().await;
        let mut writer = repo.writer("master", "events").await.unwrap();
        for n in 0..7 {
            commit(&repo, &mut writer, vec![Do::Put(&format!("/t/{n}.parquet"), rows(n, n + 1))]).await;
        }
        publish(&repo).await;
        everything(&store).await
    });
    let logs: Vec<&String> = made.keys().filter(|name| name.starts_with(LOG)).collect();
    assert!(logs.iter().any(|name| name.ends_with(".checkpoint.parquet")) && logs.len() > 5, "{logs:?}");
    let words = ["", "events", "../x", "delta", "timestampNtz", "{}", "long", "string", "spoutPublished", "struct"];
    Target::new("delta-log", 60).seeds(|seed| {
        let mut random = Random::new(seed);
        now(async {
            let inner = Arc::new(InMemory::new());
            for (name, bytes) in &made {
                inner.put(&Path::from(name.as_str()), bytes.clone().into()).await.unwrap();
            }
            for _ in 0..=random.below(2) {
                let name = logs[random.below(logs.len())];
                let bytes = &made[name];
                let lines =
                    std::str::from_utf8(bytes).ok().map(|text| text.lines().map(serde_json::from_str).collect());
                let changed = match lines {
                    Some(Ok(lines)) if !random.one_in(4) => {
                        let mut lines: Vec<serde_json::Value> = lines;
                        let at = random.below(lines.len());
                        lines.iter_mut().skip(at).take(1).for_each(|line| change_json(&mut random, line, &words));
                        lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
                    }
                    _ => Corpus::of([bytes.to_vec()]).input(random.next() | 1),
                };
                inner.put(&Path::from(name.as_str()), changed.into()).await.unwrap();
            }
            let repo = repo_over(inner as _).repo("events").await.unwrap();
            let told = publisher(&repo).publish().await;
            drop(publisher(&repo).rebuild().await);
            told.is_ok_and(|told| told.failures.is_empty())
        })
    });
}

/// What a checkpoint says, whatever wrote it.
#[test]
fn delta_checkpoint() {
    let made = now(async {
        let (store, repo) = repo().await;
        let mut writer = repo.writer("master", "events").await.unwrap();
        for n in 0..7 {
            commit(&repo, &mut writer, vec![Do::Put(&format!("/t/{n}.parquet"), rows(n, n + 1))]).await;
        }
        publish(&repo).await;
        everything(&store).await.into_iter().find(|(name, _)| name.ends_with(".checkpoint.parquet")).unwrap().1
    });
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), "delta-checkpoint").and([made.to_vec()]);
    Target::new("delta-checkpoint", 1_000)
        .bytes(&corpus, |bytes| checkpoint::state(bytes::Bytes::copy_from_slice(bytes)).is_ok());
}
