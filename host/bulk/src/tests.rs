//! Members that come, go, fail and lie, over a real store.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arrow::{
    array::{ArrayRef, AsArray as _, Int64Array, RecordBatch},
    datatypes::Int64Type,
};
use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use spout_base::error::Coded as _;
use spout_data::ByteSize;
use spout_format::{Format, TableWriter, decode};
use spout_pipeline::{Fleet, Job, Lost, Member, Said, Says, Task, Works};
use spout_repo::{CommitMeta, Depth, Edit, Finished, PutMode, Repo, Report, Store, fsck, fsck_by};
use tokio::sync::{mpsc, watch};

use super::{
    Bulk, Error, Team,
    words::{Told, frame, unframe},
};

/// Of a part that reads, here.
const MOST: (u64, usize) = (256 << 10, 512);

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Sound,
    /// It is lost with each part that it gets.
    Dies,
    /// It can do nothing.
    Unable,
    /// It says something that cannot be.
    Lies,
}

#[derive(Debug)]
struct Members {
    does: Bulk,
    each: Vec<Is>,
    there: watch::Sender<Vec<Member>>,
    done: Vec<AtomicUsize>,
}

impl Members {
    fn new(store: &Store, each: &[Is]) -> Self {
        let member = |at: usize| Member { id: at.to_string(), ..Member::default() };
        let there = watch::Sender::new((0..each.len()).map(member).collect());
        let done = each.iter().map(|_| AtomicUsize::new(0)).collect();
        Self { does: Bulk::alone(store), each: each.to_vec(), there, done }
    }

    fn done(&self) -> Vec<usize> {
        self.done.iter().map(|done| done.load(Ordering::Relaxed)).collect()
    }
}

impl Fleet for Members {
    fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.there.subscribe()
    }

    fn start(&self, _: &str, tasks: Vec<Task>, _: Vec<Task>) -> Job {
        let [Task { member, what }] = tasks.try_into().unwrap();
        let at: usize = member.parse().unwrap();
        self.done[at].fetch_add(1, Ordering::Relaxed);
        let is = self.each[at];
        let said = self.does.work(what, stream::pending().boxed()).map(move |said| {
            let what = match is {
                Is::Sound => said.unwrap().what,
                Is::Dies => return Err(Lost { member: member.clone(), reason: "killed".into() }),
                Is::Unable => frame(&Told::Failed("its disk is gone".into())).unwrap(),
                Is::Lies => lie(&said.unwrap().what),
            };
            Ok(Said { task: 0, what })
        });
        Job { said: said.boxed(), orders: mpsc::unbounded_channel().0 }
    }
}

/// A check that finds something in a run of bytes that there is not; files with a row more than there are.
fn lie(said: &[u8]) -> Bytes {
    let text = String::from_utf8(said.to_vec()).unwrap();
    let lie = match unframe::<Told>(said).unwrap() {
        Told::Read(_) => text.replace("\"wrong\":{", "\"wrong\":{\"9999\":\"it is gone\""),
        _ => text.replacen("\"rows\":", "\"rows\":1", 1),
    };
    assert_ne!(lie, text);
    lie.into()
}

/// A store with 48 files, each an object, which are cut into twelve parts.
async fn store(place: &tempfile::TempDir) -> Store {
    let store = Store::open(&place.path().display().to_string()).await.unwrap();
    let repo = store.repo_or_create("r", "").await.unwrap();
    let mut writer = repo.writer("master", "p").await.unwrap();
    for round in 0..3u8 {
        let mut open = repo.open_commit();
        for file in 0..16u8 {
            let bytes = vec![round * 16 + file; 64 << 10];
            open.put_file(&format!("/{round}-{file}.bin"), PutMode::Append, bytes.into()).await.unwrap();
        }
        let meta = CommitMeta { pipeline: "p".into(), reason: "rows".into(), ..CommitMeta::default() };
        assert!(matches!(writer.finish(open, meta).await.unwrap(), Finished::Committed(_)));
    }
    store
}

/// Ruins two objects: one is cut short, one is gone.
fn ruin(place: &tempfile::TempDir) {
    let data = place.path().join("repos/r/data");
    let mut all: Vec<_> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    let mut bytes = std::fs::read(&all[7]).unwrap();
    bytes[77] ^= 1;
    std::fs::write(&all[7], bytes).unwrap();
    std::fs::remove_file(&all[40]).unwrap();
}

async fn together(store: &Store, members: &Members) -> Result<Report, Error> {
    let team = Team { most_read: MOST, ..Team::new(members, store, |_| {}) };
    fsck_by(store, None, Depth::Everything, &team).await
}

#[tokio::test]
async fn a_check_finds_the_same_whoever_does_its_parts() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place).await;
    for ruined in [false, true] {
        if ruined {
            ruin(&place);
        }
        let alone = fsck(&store, None, Depth::Everything).await.unwrap();
        assert_eq!(alone.findings.len(), if ruined { 2 } else { 0 }, "{alone:?}");
        for others in [vec![], vec![Is::Sound; 3], vec![Is::Dies], vec![Is::Unable], vec![Is::Lies]] {
            let members = Members::new(&store, &[&[Is::Sound][..], &others].concat());
            assert_eq!(together(&store, &members).await.unwrap(), alone, "{others:?}");
            assert!(members.done().iter().all(|done| *done > 0), "{others:?}: {:?}", members.done());
        }
    }
}

#[tokio::test]
async fn a_part_that_is_lost_with_every_member_ends_the_command() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place).await;
    let members = Members::new(&store, &[Is::Dies, Is::Dies]);
    let error = together(&store, &members).await.unwrap_err();
    assert_eq!(error.code(), "E0982", "{error}");
}

#[tokio::test]
async fn a_part_goes_to_those_first_who_have_not_lost_it() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place).await;
    let alone = fsck(&store, None, Depth::Everything).await.unwrap();
    // Those that die are free again at once, so each of them would get the same part once more.
    let members = Members::new(&store, &[Is::Dies, Is::Dies, Is::Sound]);
    assert_eq!(together(&store, &members).await.unwrap(), alone);
}

#[tokio::test]
async fn a_member_that_comes_late_gets_parts_and_one_that_leaves_gets_none() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place).await;
    let members = Members::new(&store, &[Is::Sound, Is::Sound, Is::Sound]);
    let all = members.there.borrow().clone();
    members.there.send_modify(|there| {
        there.truncate(2);
        there[1].leaves = true;
    });
    let team = Team::new(&members, &store, |standing| {
        if standing.done == 1 {
            members.there.send_replace(vec![all[0].clone(), all[2].clone()]);
        }
    });
    let team = Team { most_read: MOST, ..team };
    fsck_by(&store, None, Depth::Everything, &team).await.unwrap();
    let done = members.done();
    assert!(done[0] > 0 && done[1] == 0 && done[2] > 0, "{done:?}");
}

/// Twelve directories of four tables of five rows.
async fn tables(store: &Store) -> Repo {
    let repo = store.repo_or_create("r", "").await.unwrap();
    let mut editor = repo.edit("master").await.unwrap();
    for round in 0..4 {
        let mut open = repo.open_commit();
        for directory in 0..12 {
            let from = (round * 12 + directory) * 5;
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 5));
            let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
            let mut writer = TableWriter::new(Format::Parquet, batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            let (path, table) = (format!("/{directory}/{round}.parquet"), writer.finish().unwrap());
            open.put_table(&path, PutMode::Append, table).await.unwrap();
        }
        assert!(matches!(editor.finish(open, Edit::new("put")).await.unwrap(), Finished::Committed(_)));
    }
    repo
}

/// All ids of the head, sorted.
async fn rows(repo: &Repo) -> Vec<i64> {
    let head = repo.edit("master").await.unwrap().head().cloned().unwrap();
    let tree = repo.tree(&head).await.unwrap();
    let mut ids = Vec::new();
    for file in tree.files() {
        for piece in &file.pieces {
            let bytes = repo.piece(file, piece).await.unwrap();
            for batch in decode(&file.path, Format::Parquet, tree.schema(piece).unwrap(), bytes, None).unwrap() {
                ids.extend(batch.unwrap()["id"].as_primitive::<Int64Type>().values());
            }
        }
    }
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_compaction_has_the_same_rows_whoever_merges() {
    for others in [vec![], vec![Is::Sound; 2], vec![Is::Dies], vec![Is::Unable], vec![Is::Lies]] {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().display().to_string()).await.unwrap();
        let repo = tables(&store).await;
        let members = Members::new(&store, &[&[Is::Sound][..], &others].concat());
        let team = Team::new(&members, &store, |_| {});
        let done = repo.compact_by("master", ByteSize(64 << 20), &team).await.unwrap();
        assert_eq!((done.before, done.after, done.rows), (48, 12, 240), "{others:?}");
        assert!(members.done().iter().all(|done| *done > 0), "{others:?}: {:?}", members.done());
        assert_eq!(rows(&repo).await, (0..240).collect::<Vec<i64>>(), "{others:?}");
        assert!(fsck(&store, None, Depth::Decoded).await.unwrap().is_clean());
    }
}

#[tokio::test]
async fn tasks_of_pipelines_go_to_who_does_them_and_wrong_frames_are_refused() {
    #[derive(Debug)]
    struct Others;
    impl Works for Others {
        fn work(&self, task: Bytes, _: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Says, String>> {
            stream::iter([Ok(Says::to_leader(task))]).boxed()
        }

        fn gather(
            &self,
            task: Bytes,
            _: BoxStream<'static, Bytes>,
            _: BoxStream<'static, Result<Bytes, Lost>>,
        ) -> BoxStream<'static, Result<Bytes, String>> {
            stream::iter([Ok(task)]).boxed()
        }
    }
    let store = Store::open("memory://").await.unwrap();
    let said = async |bulk: &Bulk, task: &'static [u8]| {
        let said = bulk.work(Bytes::from_static(task), stream::pending().boxed()).next().await.unwrap();
        said.map(|said| said.what)
    };
    let both = Bulk::new(&store, Arc::new(Others));
    assert_eq!(said(&both, b"\x02\x00\x00\x00{}").await.unwrap(), &b"\x02\x00\x00\x00{}"[..]);
    assert!(said(&Bulk::alone(&store), b"\x02\x00\x00\x00{}").await.is_err());
    for wrong in [&b"bulk"[..], b"bulk{", b"bulk{\"version\":1,\"part\":{\"drop\":{}}}"] {
        let told = unframe::<Told>(&said(&both, wrong).await.unwrap()).unwrap();
        assert!(matches!(told, Told::Failed(_)), "{told:?}");
    }
    let other = b"bulk{\"version\":2,\"part\":{\"read\":{\"repo\":\"r\",\"depth\":\"everything\",\"blobs\":[],\"schemas\":{}}}}";
    let told = unframe::<Told>(&said(&both, other).await.unwrap()).unwrap();
    assert!(matches!(&told, Told::Failed(why) if why.contains("version 1")), "{told:?}");
    let outside = b"bulk{\"version\":1,\"part\":{\"read\":{\"repo\":\"../r\",\"depth\":\"everything\",\"blobs\":[],\"schemas\":{}}}}";
    let told = unframe::<Told>(&said(&both, outside).await.unwrap()).unwrap();
    assert!(matches!(&told, Told::Failed(_)), "{told:?}");
}
