//! Spouts in this process, and a pipeline that makes their commits one after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use spout_base::error::Coded as _;
use spout_data::{Advance, Marker, PartitionId, PartitionMarker, Step};
use spout_plugin::Progress;
use spout_repo::{CommitMeta, Finished, PutMode, Reference, Repo, Store};
use tokio_util::sync::CancellationToken;

use super::{Again, Commits, Failed, OnExit, OnFailedFile, Spout, producer::SpoutProducer};
use crate::{Boundary, Durable, Error, Producer as _, source::Output};

type Act = Box<dyn FnOnce(Commits) -> BoxFuture<'static, Result<(), Failed>> + Send>;

/// Does one act each time it is run.
struct Scripted(Mutex<VecDeque<Act>>);

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Spout for Scripted {
    async fn run(&self, commits: &Commits, _: &CancellationToken) -> Result<(), Failed> {
        let act = self.0.lock().unwrap().pop_front();
        match act {
            Some(act) => act(commits.clone()).await,
            None => Ok(()),
        }
    }

    fn resting(&self) -> bool {
        false
    }
}

/// An act of a spout.
fn act<F>(act: impl FnOnce(Commits) -> F + Send + 'static) -> Act
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    Box::new(move |commits| Box::pin(act(commits)))
}

fn crash() -> Failed {
    Failed { why: Error::SpoutOver, again: Again::Crashed }
}

fn output() -> Output {
    let (marker, on_failed_file) = (Some("place".into()), OnFailedFile::Fail);
    Output { branch: "master".into(), overwrite: false, marker, on_exit: OnExit::End, on_failed_file }
}

/// What became of a run: the commits' rows, in order, and how it ended.
struct Ran {
    repo: Repo,
    rows: Vec<Vec<usize>>,
    ended: Result<(), Error>,
    _place: tempfile::TempDir,
}

/// Runs a spout of these acts as a pipeline does: each commit of the spout is one of the branch.
async fn run(acts: Vec<Act>) -> Ran {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(&place.path().display().to_string()).await.unwrap();
    let repo = store.repo_or_create("feed", "").await.unwrap();
    let mut writer = repo.writer("master", "feed").await.unwrap();
    let script = Mutex::new(Some(Scripted(Mutex::new(acts.into()))));
    let make = move |_: &Commits| Box::new(script.lock().unwrap().take().unwrap()) as Box<dyn Spout>;
    let mut producer = SpoutProducer::new("feed", &store, &output(), Box::new(make));
    let found = producer.partitions(&Marker::default(), true).await.unwrap().remove(0);
    let (partition, mut from) = (found.partition, None);
    let mut fetcher = producer.fetcher(found);
    let (mut rows, mut open_rows) = (Vec::new(), Vec::new());
    let ended = loop {
        let fetched = match fetcher.fetch(u32::MAX).await {
            Ok(fetched) => fetched,
            Err(error) => break Err(error),
        };
        open_rows.extend(fetched.rows.as_ref().map(RecordBatch::num_rows));
        match fetched.boundary {
            Boundary::Inside => assert!(fetched.files.is_none()),
            Boundary::End => {
                let next = fetched.span.next.clone();
                let to = PartitionMarker { position: next.clone(), ..PartitionMarker::default() };
                let steps = BTreeMap::from([(partition, Step { from, to, jumped: None })]);
                from = Some(next.offset);
                let meta = CommitMeta { pipeline: "feed".into(), advance: Advance { steps }, ..CommitMeta::default() };
                let finished = writer.finish(*fetched.files.unwrap(), meta).await.unwrap();
                let Finished::Committed(commit) = finished else { panic!("{finished:?}") };
                rows.push(std::mem::take(&mut open_rows));
                producer.committed(&Durable {
                    commit: commit.header.id,
                    sequence: commit.header.sequence,
                    positions: BTreeMap::from([(PartitionId::default(), next)]),
                    dead: Vec::new(),
                });
            }
            Boundary::Free if fetched.progress == Progress::Ended => break Ok(()),
            Boundary::Free => assert_eq!(fetched.progress, Progress::Idle),
        }
    };
    producer.close().await;
    Ran { repo, rows, ended, _place: place }
}

impl Ran {
    async fn read(&self, path: &str) -> Option<String> {
        let commit = self.repo.resolve(&Reference::head("feed", "master")).await.unwrap();
        let tree = self.repo.tree(&commit).await.unwrap();
        let bytes = self.repo.read_file(&tree, path).await.ok()?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }
}

fn rows(count: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(0..count))]).unwrap()
}

#[tokio::test]
async fn commits_are_made_in_the_order_in_which_they_are_finished() {
    let ran = run(vec![act(|commits| async move {
        assert_eq!(commits.newest().await.unwrap().id, "", "there is none yet");
        let (mut one, mut two, mut three) =
            (commits.begin().unwrap(), commits.begin().unwrap(), commits.begin().unwrap());
        one.put_file("/both", None, &b"one "[..]).await.unwrap();
        two.put_file("/both", None, &b"two "[..]).await.unwrap();
        three.put_file("/both", None, &b"three "[..]).await.unwrap();
        two.put_rows(rows(3)).unwrap();
        two.put_rows(rows(0)).unwrap();
        two.put_rows(rows(2)).unwrap();
        two.set_marker(b"two".to_vec()).unwrap();
        let second = two.finish().await.unwrap();
        assert_eq!(commits.marker().as_deref(), Some(&b"two"[..]));
        drop(three);
        let first = one.finish().await.unwrap();
        assert!(first.sequence > second.sequence);
        assert_eq!(commits.begin().unwrap().finish().await.unwrap(), first, "nothing is in it");
        assert_eq!(commits.read("/both", 4, 100).await.unwrap(), "one ");
        assert_eq!(commits.list("/", None, 10).await.unwrap().len(), 2);
        assert_eq!(commits.list("/", Some("/both"), 10).await.unwrap().len(), 1);
        Ok(())
    })])
    .await;
    assert!(ran.ended.is_ok());
    assert_eq!(ran.rows, [vec![3, 2], vec![]]);
    assert_eq!(ran.read("/both").await.as_deref(), Some("two one "));
    assert_eq!(ran.read("/place").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_file_that_is_written_is_in_the_commit_where_it_is_closed() {
    let large = vec![b'x'; 200_000];
    let ran = run(vec![act(move |commits| async move {
        let mut commit = commits.begin().unwrap();
        let mut file = commit.open_file("/a", Some(PutMode::Append)).unwrap();
        commit.put_file("/a", None, &b"first "[..]).await.unwrap();
        file.write(b"second ").await.unwrap();
        assert_eq!(file.close().await.unwrap(), 7);
        commit.put_file("/a", None, &b"third"[..]).await.unwrap();
        let mut file = commit.open_file("/large", None).unwrap();
        file.write(&large).await.unwrap();
        drop(commit.open_file("/abandoned", None).unwrap());
        assert_eq!(file.close().await.unwrap(), 200_000);
        commit.finish().await.unwrap();
        let mut commit = commits.begin().unwrap();
        let _file = commit.open_file("/b", None).unwrap();
        assert_eq!(commit.finish().await.unwrap_err().code(), "E0337");
        Ok(())
    })])
    .await;
    assert_eq!(ran.read("/a").await.as_deref(), Some("first second third"));
    assert_eq!(ran.read("/large").await.map(|text| text.len()), Some(200_000));
    assert_eq!(ran.read("/abandoned").await, None);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_the_pipeline_has_it() {
    let ran = run(vec![act(|commits| async move {
        let put = async |path: &str| {
            let mut commit = commits.begin().unwrap();
            commit.put_file(path, None, &b"x"[..]).await.map_err(|error| error.code())?;
            commit.finish().await.map_err(|error| error.code())
        };
        for (path, code) in [("../x", "E0516"), ("/Place", "E0339"), ("/late/x", "E0339"), ("/dead-letter/x", "E0339")]
        {
            assert_eq!(put(path).await.unwrap_err(), code, "{path}");
        }
        put("/file").await.unwrap();
        assert!(put("/file/below").await.is_err());
        let mut commit = commits.begin().unwrap();
        commit.delete_file("/nowhere").await.unwrap();
        assert!(commit.finish().await.is_err());
        // What is put and taken back is nothing, and yet the marker moves.
        let mut commit = commits.begin().unwrap();
        commit.put_file("/gone", None, &b"x"[..]).await.unwrap();
        commit.delete_file("/gone").await.unwrap();
        commit.finish().await.unwrap();
        let open: Vec<_> = (0..super::commits::OPEN).map(|_| commits.begin().unwrap()).collect();
        assert_eq!(commits.begin().unwrap_err().code(), "E0336");
        drop(open);
        commits.begin().unwrap();
        Ok(())
    })])
    .await;
    assert!(ran.ended.is_ok());
    assert_eq!((ran.rows.len(), ran.read("/file").await.as_deref()), (2, Some("x")));
}

#[tokio::test]
async fn a_spout_is_run_again_after_a_crash_unless_it_makes_no_progress() {
    let one = |number: u8, then: fn() -> Result<(), Failed>| {
        act(move |commits| async move {
            let before = commits.marker().map_or(0, |marker| marker[0]);
            assert_eq!(before, number, "it goes on from what is committed");
            let mut commit = commits.begin().unwrap();
            commit.set_marker(vec![number + 1]).unwrap();
            // A commit that is on its way is made, also if the spout does not live to see it.
            tokio::spawn(commit.finish());
            while !commits.on_its_way() {
                tokio::task::yield_now().await;
            }
            then()
        })
    };
    let fails = || act(|_| async { Err(crash()) });
    let later = || act(|_| async { Err(Failed { why: Error::SpoutOver, again: Again::Later(None) }) });
    let ran =
        run(vec![one(0, || Err(crash())), fails(), one(1, || Err(crash())), later(), later(), one(2, || Ok(()))]).await;
    assert!(ran.ended.is_ok() && ran.rows.len() == 3);
    let ran = run(vec![one(0, || Err(crash())), fails(), fails(), one(1, || Ok(()))]).await;
    assert!(ran.ended.is_err() && ran.rows.len() == 1, "three crashes, and one commit before them");
    let never = || act(|_| async { Err(Failed { why: Error::SpoutOver, again: Again::Never }) });
    assert!(run(vec![never()]).await.ended.is_err());
}
