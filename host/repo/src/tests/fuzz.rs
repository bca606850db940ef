//! Stores that somebody else could write: any object damaged, or made up and sealed. Whatever a reader is told of them has paths
//! that a put would take, and nothing else happens than an error.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, memory::InMemory, path::Path};
use spout_fuzz::{Corpus, Counting, Random, Target, change_json};

use super::*;
use crate::{object::Objects, path::file_path};

#[global_allocator]
static MEMORY: Counting = Counting;

const ROOM: &str = env!("CARGO_MANIFEST_DIR");
const WORDS: [&str; 26] = [
    "/../x",
    "/a/../../x",
    "a",
    "/a",
    "/",
    "",
    "..",
    "/\n",
    "master",
    "dev",
    "../master",
    "commit",
    "claim",
    "point",
    "squash",
    "sweep",
    "object",
    "inline",
    "record",
    "append",
    "overwrite",
    "parquet",
    "0123456789abcdef0123456789abcdef",
    "/big/x",
    "QQ==",
    "data/../../x",
];

/// The objects of a store with every kind of record, a tag, a table, a log of Delta, checkpoints, and a pack.
async fn made() -> BTreeMap<String, Bytes> {
    let inner = Arc::new(InMemory::new());
    let store = Store::of(Objects::over(Arc::clone(&inner) as _, "test://fuzz", true));
    let repo = store.repo_or_create("events", "").await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    let big = vec![9u8; 40 << 10];
    for n in 0..6_u64 {
        let from = (n > 0).then_some(n);
        let (small, path) = (n.to_string(), format!("/part/{n}"));
        commit(
            &repo,
            &mut writer,
            &[("/a", PutMode::Append, small.as_bytes()), (&path, PutMode::Overwrite, b"x")],
            (from, n + 1),
        )
        .await;
    }
    let mut open = repo.open_commit();
    open.put_file("/big", PutMode::Append, big.into()).await.unwrap();
    open.put_table("/t/0.parquet", PutMode::Append, encode(Format::Parquet, &rows(0, 20))).await.unwrap();
    open.put_table("/t/1.ndjson", PutMode::Append, encode(Format::Ndjson, &rows(0, 5))).await.unwrap();
    open.delete_file("/part/0").unwrap();
    let last = committed(writer.finish(open, meta(Some(6), 7)).await);
    repo.create_branch("dev", Some(&last), false).await.unwrap();
    repo.create_tag("v1", &last, false).await.unwrap();
    let log = repo.log("master").await.unwrap();
    repo.squash("master", &log[3], &log[2]).await.unwrap();
    let mut objects = BTreeMap::new();
    let listed: Vec<ObjectMeta> = inner.list(None).try_collect().await.unwrap();
    for about in listed {
        let bytes = inner.get(&about.location).await.unwrap().bytes().await.unwrap();
        objects.insert(about.location.to_string(), bytes);
    }
    objects
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// JSON with something changed in it, and, where it is sealed, a checksum that fits.
fn forged(random: &mut Random, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let sealed = value.as_object_mut().and_then(|map| map.remove("checksum")).is_some();
    change_json(random, &mut value, &WORDS);
    let text = value.to_string();
    if !sealed {
        return Some(text.into_bytes());
    }
    let body = text.strip_suffix('}')?;
    let comma = if body == "{" { "" } else { "," };
    let head = format!("{body}{comma}\"checksum\":\"");
    let sum = spout_format::sha256(format!("{head}\"}}").as_bytes());
    Some(format!("{head}{sum}\"}}").into_bytes())
}

/// Everything that reads, of every branch and file; whether anything was there to be read.
async fn read_all(store: &Store) -> bool {
    let Ok(repo) = store.repo("events").await else { return false };
    let mut commits = Vec::new();
    for branch in ["master", "dev"] {
        if let Ok(log) = repo.log(branch).await {
            commits.extend(log);
        }
        drop(repo.recorded_log(branch).await);
    }
    drop(repo.branches().await);
    commits.extend(repo.tags().await.into_iter().flatten().map(|tag| tag.commit));
    for reference in ["events@v1", "events@master~1", "events@dev{2099-01-01}"] {
        commits.extend(repo.resolve(&reference.parse().unwrap()).await);
    }
    let mut read = false;
    for commit in commits.iter().take(4) {
        let Ok(tree) = repo.tree(commit).await else { continue };
        for file in tree.files() {
            assert_eq!(
                file_path(&file.path).ok().as_deref(),
                Some(file.path.as_str()),
                "a path that no put would take"
            );
            read |= repo.read_file(&tree, &file.path).await.is_ok();
        }
    }
    read
}

/// A store in which one object, or a few, are not what was written.
#[test]
fn store_records() {
    static MADE: OnceLock<BTreeMap<String, Bytes>> = OnceLock::new();
    let made = MADE.get_or_init(|| now(made()));
    let names: Vec<&String> = made.keys().collect();
    let kinds = ["/branches/master/", "/branches/dev/", "/tags/", "/index/"];
    assert!(kinds.iter().all(|kind| names.iter().any(|name| name.contains(kind))), "{names:?}");
    Target::new("store-records", 200).seeds(|seed| {
        let mut random = Random::new(seed);
        let inner = Arc::new(InMemory::new());
        now(async {
            for (name, bytes) in made {
                inner.put(&Path::from(name.as_str()), bytes.clone().into()).await.unwrap();
            }
            for _ in 0..=random.below(2) {
                let name = names[random.below(names.len())];
                let path = Path::from(name.as_str());
                let bytes = &made[name];
                let other = match random.below(6) {
                    0 => Some(made[names[random.below(names.len())]].to_vec()),
                    1 => Some(Corpus::of([bytes.to_vec()]).words(&WORDS).input(random.next() | 1)),
                    2 if random.one_in(3) => None,
                    _ => {
                        Some(forged(&mut random, bytes).unwrap_or_else(|| bytes[..random.below(bytes.len())].to_vec()))
                    }
                };
                match other {
                    Some(bytes) => drop(inner.put(&path, bytes.into()).await.unwrap()),
                    None => drop(inner.delete(&path).await),
                }
            }
            let store = Store::of(Objects::over(Arc::clone(&inner) as _, "test://fuzz", true));
            let read = read_all(&store).await;
            drop(fsck(&store, None, Depth::Decoded).await);
            read
        })
    });
}

/// A path that was taken is canonical, and stays below any directory that it is joined to.
#[test]
fn path() {
    let inputs = ["/a/b.txt", "a b/é", "C:/x", "/con.txt", "/a/../b", "/.spout/x"];
    let words = ["/", "..", ".", "\\", "\0", "nul", "COM1", ":", " ", "\u{202e}", "\u{301}", "é", "_delta_log"];
    let corpus = Corpus::of_room(ROOM, "path").and(inputs).words(&words);
    Target::new("path", 20_000).bytes(&corpus, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        drop(crate::path::pattern(text).map(|pattern| pattern.is_match("/a/b.txt")));
        let Ok(path) = file_path(text) else { return false };
        assert_eq!(file_path(&path).unwrap(), path);
        let within = std::path::Path::new("/out").join(path.trim_start_matches('/'));
        assert!(within.components().all(|part| !matches!(part, std::path::Component::ParentDir)), "{text:?}");
        assert!(within.starts_with("/out") && within != std::path::Path::new("/out"), "{text:?}");
        assert!(!path.chars().any(char::is_control), "{text:?}");
        true
    });
}

/// A reference that was read is written so that it is read again.
#[test]
fn reference() {
    let inputs =
        ["events", "events@dev^3~", "events@0f3a:/a/b.txt", "events@dev{2026-01-31T12:00:00Z}~1:/a", "e@{2026-01-31}"];
    let words = [
        "@",
        "~",
        "^",
        "{",
        "}",
        ":",
        "/",
        "..",
        "18446744073709551615",
        "9999-12-31",
        "-009999-01-01",
        "T00:00:00+14:00",
    ];
    Target::new("reference", 20_000).bytes(&Corpus::of(inputs).words(&words), |bytes| {
        let Some(read) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Reference>().ok()) else {
            return false;
        };
        let again: Reference = read.to_string().parse().unwrap();
        assert_eq!(again, read);
        true
    });
}
