//! Stores themselves: which are let in, what a creation can come to, and objects that are larger than memory should be.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, path::Path};
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    faulty_store::{Creation, Faulty},
    *,
};
use crate::object::{Created, Objects, Step, probe};

fn over(store: &Faulty) -> Objects {
    Objects::over(Arc::new(store.clone()), "test://bucket", false)
}

async fn names(store: &Faulty) -> Vec<String> {
    let listed = store.healed().list(None).map_ok(|meta| meta.location.to_string()).try_collect();
    listed.await.unwrap()
}

#[tokio::test]
async fn a_store_is_tried_out_once() {
    let store = Faulty::creating(Creation::Exclusive);
    let proof = probe::proof("here");
    probe::admit(&over(&store), &proof).await.unwrap();
    assert_eq!(names(&store).await, [proof.to_string()], "the probes are gone");
    let calls = store.calls();
    probe::admit(&over(&store), &proof).await.unwrap();
    assert_eq!(store.calls() - calls, 1);
    assert!(Store::of(over(&store)).names().await.unwrap().is_empty());
    // Elsewhere it counts for nothing.
    let calls = store.calls();
    probe::admit(&over(&store), &probe::proof("there")).await.unwrap();
    assert!(store.calls() - calls > 40);
}

#[tokio::test]
async fn a_store_that_does_not_keep_writers_apart_is_refused() {
    let check = async |creation, expected: &str, part: &str| {
        let store = Faulty::creating(creation);
        let error = probe::admit(&over(&store), &probe::proof("here")).await.unwrap_err();
        assert_eq!(code(&error), expected, "{creation:?}: {error}");
        assert!(error.to_string().contains(part), "{creation:?}: {error}");
        assert!(names(&store).await.is_empty(), "{creation:?} left something");
    };
    check(Creation::ChecksThenWrites, "E0555", "test://bucket").await;
    check(Creation::ChecksThenWrites, "E0555", "8 of 8 writers").await;
    check(Creation::Overwrites, "E0555", "8 of 8 writers").await;
    check(Creation::NeverLets, "E0555", "no writer").await;
    check(Creation::Forbidden, "E0505", ".spout-probe/").await;
}

#[tokio::test]
async fn two_hosts_may_try_a_store_out_at_the_same_time() {
    let store = Faulty::creating(Creation::Exclusive);
    let (first, second, proof) = (over(&store), over(&store), probe::proof("here"));
    let (first, second) = tokio::join!(probe::admit(&first, &proof), probe::admit(&second, &proof));
    first.and(second).unwrap();
}

#[tokio::test]
async fn a_directory_is_tried_out_when_it_is_new() {
    let (store, dir) = local().await;
    let left: Vec<_> = std::fs::read_dir(dir.path().join(".spout-probe")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    store.repo_or_create("events", "").await.unwrap();
    let again = Store::open(dir.path().to_str().unwrap()).await.unwrap();
    assert_eq!(again.names().await.unwrap(), ["events"]);
    assert!(fsck(&again, None, Depth::Everything).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn somebody_elses_files_are_not_touched() {
    let check = async |files: &[&str], refused: Option<&str>| {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "theirs").unwrap();
        }
        let opened = Store::open(dir.path().to_str().unwrap()).await;
        match refused {
            None => drop(opened.unwrap()),
            Some(name) => {
                let error = opened.unwrap_err();
                assert_eq!(code(&error), "E0558", "{error}");
                assert!(error.to_string().contains(name), "{error}");
                assert!(!dir.path().join(".spout-probe").exists());
            }
        }
        for file in files {
            assert_eq!(std::fs::read(dir.path().join(file)).unwrap(), b"theirs");
        }
    };
    check(&["notes.txt", "photos/1.jpg"], None).await;
    check(&["repos/events/repo.json"], None).await;
    // It was ours and is damaged: fsck says so.
    check(&["repos/events/branches/master/00000000000000000001.json"], None).await;
    check(&["repos/notes.txt"], Some("repos/notes.txt")).await;
    check(&["repos/linux/.git/HEAD"], Some("repos/linux")).await;
    check(&["repos/a b/repo.json"], Some("repos/a b")).await;
    check(&["repo.json", "branches/master/00000000000000000001.json"], Some("repo.json")).await;
}

#[tokio::test]
async fn a_creation_that_meets_another_is_tried_again() {
    let store = Faulty::creating(Creation::Meets);
    let created = over(&store).create(Step::Record, &Path::from("a"), "ours".into()).await.unwrap();
    assert!(matches!(created, Created::Ours), "{created:?}");
    assert_eq!(names(&store).await, ["a"]);
}

#[tokio::test]
async fn a_creation_that_was_refused_has_written_nothing_and_one_that_may_have_is_unknown() {
    let path = Path::from("a");
    let created =
        over(&Faulty::creating(Creation::Forbidden)).create(Step::Record, &path, "ours".into()).await.unwrap();
    assert!(matches!(created, Created::Nothing(_)), "{created:?}");
    // Taken, it says, and there is nothing: who knows.
    let created =
        over(&Faulty::creating(Creation::NeverLets)).create(Step::Record, &path, "ours".into()).await.unwrap();
    assert!(matches!(created, Created::Unknown(_)), "{created:?}");
}

/// Gives `left` bytes in odd pieces, and fails then if it is to.
struct Odd {
    left: usize,
    fails: bool,
}

impl AsyncRead for Odd {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let piece = self.left.min(into.remaining()).min(777);
        for at in 0..piece {
            into.put_slice(&[u8::try_from((self.left - at) % 251).unwrap()]);
        }
        self.left -= piece;
        Poll::Ready(if self.left == 0 && self.fails { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) })
    }
}

#[tokio::test]
async fn a_stream_becomes_an_object_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Faulty::creating(Creation::Exclusive);
    let local = Objects::directory("dir", dir.path(), true).unwrap();
    for objects in [over(&memory).in_parts_of(1000), local.in_parts_of(1000)] {
        for size in [0, 1, 999, 1000, 1001, 2000, 12_345] {
            let path = Path::from(format!("data/{size}"));
            let expected: Vec<u8> = (0..size).map(|at| u8::try_from((size - at) % 251).unwrap()).collect();
            let odd = Odd { left: size, fails: false };
            let (written, sha256) = objects.create_streamed(Step::Data, &path, odd).await.unwrap();
            assert_eq!((written, sha256), (size as u64, spout_format::sha256(&expected)));
            assert_eq!(objects.find(&path).await.unwrap().unwrap(), expected);
            assert_eq!(objects.size(&path).await.unwrap(), Some(written));
            let whole = Path::from(format!("data/whole-{size}"));
            objects.create_fresh(Step::Data, &whole, expected.clone().into()).await.unwrap();
            assert_eq!(objects.find(&whole).await.unwrap().unwrap(), expected);

            let path = Path::from(format!("data/{size}-broken"));
            let error = objects.create_streamed(Step::Data, &path, Odd { left: size, fails: true }).await.unwrap_err();
            assert_eq!(code(&error), "E0559");
            assert_eq!(objects.size(&path).await.unwrap(), None);
        }
    }
    let names = std::fs::read_dir(dir.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name());
    let staged: Vec<_> = names.filter(|name| name.to_str().unwrap().contains('#')).collect();
    assert!(staged.is_empty(), "{staged:?}");
}

#[tokio::test]
async fn objects_are_read_listed_and_deleted_in_part() {
    for (store, _dir) in stores().await {
        let objects = store.objects();
        for name in ["c", "a", "b"] {
            let path = Path::from(format!("data/{name}"));
            objects.create_fresh(Step::Data, &path, "0123456789".into()).await.unwrap();
        }
        let (data, b) = (Path::from("data"), Path::from("data/b"));
        let range = async |range| objects.read_range(&b, range).await.unwrap().unwrap();
        assert_eq!(range(2..4).await, "23");
        assert_eq!(range(8..100).await, "89");
        assert_eq!(range(3..3).await, "");
        assert_eq!(objects.read_range(&Path::from("data/none"), 0..4).await.unwrap(), None);
        assert_eq!(objects.size(&Path::from("data/none")).await.unwrap(), None);
        objects.overwrite(Step::Hint, &b, "new".into()).await.unwrap();
        let aged = objects.list_aged(&data).await.unwrap();
        assert_eq!(
            aged.iter().map(|(path, size, _)| (path.as_ref(), *size)).collect::<Vec<_>>(),
            [("data/a", 10), ("data/b", 3), ("data/c", 10)]
        );
        let now = spout_base::clock::wall_ms();
        assert!(aged.iter().all(|(_, _, at)| (now - 600_000..=now + 600_000).contains(at)), "{aged:?}");
        for _ in 0..2 {
            objects.delete(Step::Delete, &b).await.unwrap();
        }
        assert_eq!(objects.list(&data).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn small_files_of_one_record_are_read_together() {
    let store = Faulty::creating(Creation::Exclusive);
    let repo = Store::of(over(&store)).repo_or_create("r", "").await.unwrap();
    let mut open = repo.open_commit();
    for number in 0..100_u8 {
        open.put_file(&format!("/{number}"), PutMode::Overwrite, vec![number].into()).await.unwrap();
    }
    let finished = repo.edit(MASTER).await.unwrap().finish(open, Edit::new("put")).await.unwrap();
    let commit = committed(Ok(finished));
    let tree = repo.tree(&commit).await.unwrap();
    let calls = store.calls();
    for number in 0..100_u8 {
        assert_eq!(repo.read_file(&tree, &format!("/{number}")).await.unwrap().as_ref(), [number]);
    }
    assert_eq!(store.calls() - calls, 1, "the record is read once");
}
