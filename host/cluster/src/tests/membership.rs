//! Joining, leaving, and silence.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::words::{Join, MAGIC, Word};

pub(super) async fn write(stream: &mut TcpStream, word: &Word) {
    let bytes = serde_json::to_vec(word).unwrap();
    stream.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

/// The next word, or none if the connection is closed.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Word> {
    let length = stream.read_u32().await.ok()?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// A join as `site` would send it.
pub(super) fn join(site: &Site) -> Join {
    Join {
        fleet: FLEET.to_owned(),
        id: site.id(),
        address: site.station.address(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        proof: token().proof().to_owned(),
    }
}

pub(super) async fn ask(leader: &Site, join: Join) -> (TcpStream, Option<Word>) {
    let mut stream = TcpStream::connect(leader.station.address()).await.unwrap();
    stream.write_all(MAGIC).await.unwrap();
    write(&mut stream, &Word::Join(join)).await;
    let answer = soon(read(&mut stream)).await;
    (stream, answer)
}

#[tokio::test]
async fn members_are_seen_with_their_labels_and_leave_when_they_are_idle() {
    let labels = [("zone".to_owned(), "b".to_owned())].into();
    let two = Two::with(settings(), Settings { labels, ..settings() }).await;
    let known = two.leading.members().borrow().clone();
    let mut ids = vec![two.leader.id(), two.worker.id()];
    ids.sort();
    assert_eq!(known.iter().map(|member| member.id.clone()).collect::<Vec<_>>(), ids);
    let worker = known.iter().find(|member| member.id == two.worker.id()).unwrap();
    assert_eq!(worker.labels["zone"], "b");

    let mut job = two.start(&[(&two.worker, "obey")]);
    soon(job.said.next()).await.unwrap().unwrap();
    two.leave.cancel();
    members(&two.leading, |members| members.iter().any(|member| member.leaves)).await;
    // It leaves, but not from what it does.
    job.orders.send(Bytes::from_static(b"cut")).unwrap();
    assert_eq!(soon(job.said.next()).await.unwrap().unwrap().what, "cut");
    assert!(soon(job.said.next()).await.is_none());
    assert_eq!(soon(two.following).await.unwrap().unwrap(), Followed::Left);
    members(&two.leading, |members| members.len() == 1).await;
}

#[tokio::test]
async fn who_leaves_is_let_go_once_it_is_idle() {
    let (leader, worker) = (Site::open(settings()).await.unwrap(), Site::open(settings()).await.unwrap());
    let leading = leader.station.lead(FLEET).unwrap();
    let (mut stream, answer) = ask(&leader, join(&worker)).await;
    assert_eq!(answer, Some(Word::Welcome));
    let mut job = start(&leading, &[(worker.id(), "obey")]);
    soon(job.said.next()).await.unwrap().unwrap();
    write(&mut stream, &Word::Leaving).await;
    members(&leading, |members| members.iter().any(|member| member.leaves)).await;
    for _ in 0..6 {
        assert_eq!(soon(read(&mut stream)).await, Some(Word::Beat));
    }
    job.orders.send(Bytes::from_static(b"cut")).unwrap();
    assert_eq!(all(job).await.map(|said| said.len()), Ok(1));
    while soon(read(&mut stream)).await.unwrap() != Word::Released {}
    members(&leading, |members| members.len() == 1).await;
}

#[tokio::test]
async fn members_are_let_go_with_the_fleet() {
    let two = Two::meet().await;
    assert!(matches!(two.leader.station.lead(FLEET), Err(Error::Twice { .. })));
    drop(two.leading);
    assert_eq!(soon(two.following).await.unwrap().unwrap(), Followed::Dismissed);
    let (again, _) = two.worker.follow(&two.leader);
    assert!(matches!(soon(again).await.unwrap(), Err(Error::Refused { leads: false, .. })));
    two.leader.station.lead(FLEET).unwrap();
}

#[tokio::test]
async fn a_silent_member_is_out_and_its_job_lost() {
    let (leader, worker) = (Site::open(impatient()).await.unwrap(), Site::open(settings()).await.unwrap());
    let leading = leader.station.lead(FLEET).unwrap();
    // The connection stays, and the engine's port answers: only the beats are missing, as from a process that is stopped.
    let (mut stream, answer) = ask(&leader, join(&worker)).await;
    assert_eq!(answer, Some(Word::Welcome));
    members(&leading, |members| members.len() == 2).await;
    let mut job = start(&leading, &[(leader.id(), "hold"), (worker.id(), "hold")]);
    for _ in 0..2 {
        soon(job.said.next()).await.unwrap().unwrap();
    }
    let lost = soon(job.said.next()).await.unwrap().unwrap_err();
    assert_eq!((lost.member, lost.reason), (worker.id(), "it is silent".to_owned()));
    members(&leading, |members| members.len() == 1).await;
    soon(worker.doing.idle()).await;
    // The leader spoke until the end.
    assert_eq!(soon(read(&mut stream)).await, Some(Word::Beat));
}

#[tokio::test]
async fn who_joins_again_replaces_itself() {
    let two = Two::meet().await;
    let mut job = two.start(&[(&two.worker, "hold")]);
    soon(job.said.next()).await.unwrap().unwrap();
    let (_stream, answer) = ask(&two.leader, join(&two.worker)).await;
    assert_eq!(answer, Some(Word::Welcome));
    let lost = soon(job.said.next()).await.unwrap().unwrap_err();
    assert_eq!(lost.reason, "it joined again");
    let ended = soon(two.following).await.unwrap().unwrap();
    assert_eq!(ended, Followed::Expelled { why: "it joined again".to_owned() });
    two.leading.members().borrow().iter().find(|member| member.id == two.worker.id()).unwrap();
}

#[tokio::test]
async fn a_member_that_cannot_be_reached_is_none() {
    let (leader, worker) = (Site::open(settings()).await.unwrap(), Site::open(settings()).await.unwrap());
    let leading = leader.station.lead(FLEET).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let (_, answer) = ask(&leader, Join { address, ..join(&worker) }).await;
    assert!(matches!(answer, Some(Word::Refused { why, .. }) if why.contains("does not reach it")));
    assert_eq!(leading.members().borrow().len(), 1);
}

#[tokio::test]
async fn a_silent_leader_is_noticed() {
    let worker = Site::open(impatient()).await.unwrap();
    let leader = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = leader.local_addr().unwrap().to_string();
    let leave = CancellationToken::new();
    let lead = async {
        let (mut stream, _) = leader.accept().await.unwrap();
        let mut magic = [0; 8];
        stream.read_exact(&mut magic).await.unwrap();
        assert!(matches!(read(&mut stream).await, Some(Word::Join(_))));
        write(&mut stream, &Word::Welcome).await;
        stream
    };
    let (followed, _stream) = soon(async { tokio::join!(worker.station.follow(&address, FLEET, &leave), lead) }).await;
    assert_eq!(followed.unwrap(), Followed::Silent { why: "it is silent".to_owned() });
    drop(leader);
    let unreachable = soon(worker.station.follow(&address, FLEET, &leave)).await;
    assert!(matches!(unreachable, Err(Error::Unreachable { .. })));
}
