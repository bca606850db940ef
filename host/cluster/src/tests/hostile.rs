//! Callers that are not what they should be.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    membership::{ask, join, read},
    *,
};
use crate::words::{Join, MAGIC, Reason, Word};

/// What is answered to `bytes`, until the connection is closed.
async fn answer(site: &Site, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(site.station.address()).await.unwrap();
    // It may be closed before all is written.
    let _written = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _read = soon(stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn garbage_is_refused_and_harms_nothing() {
    let quick = Settings { pace: Pace { answer: Duration::from_secs(1), ..pace() }, ..settings() };
    let two = Two::with(quick, settings()).await;
    let mut framed = MAGIC.to_vec();
    framed.extend(12_u32.to_be_bytes());
    framed.extend(b"{\"word\":1e9}");
    let mut large = MAGIC.to_vec();
    large.extend(u32::MAX.to_be_bytes());
    let mut beat = MAGIC.to_vec();
    beat.extend(15_u32.to_be_bytes());
    beat.extend(b"{\"word\":\"beat\"}");
    let http = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    // The last two say too little, and then nothing.
    for bytes in [vec![0xff; 100_000], http, framed, large, beat, MAGIC.to_vec(), b"SPO".to_vec()] {
        assert_eq!(answer(&two.leader, &bytes).await, b"");
    }
    // HTTP/2 that goes on as something else is told so, and closed.
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    preface.extend([0xff; 4096]);
    answer(&two.leader, &preface).await;
    two.is_well().await;
    assert_eq!(two.leading.members().borrow().len(), 2);
}

#[tokio::test]
async fn slow_bytes_have_an_end() {
    let quick = Settings { pace: Pace { answer: Duration::from_millis(300), ..pace() }, ..settings() };
    let two = Two::with(settings(), quick).await;
    let mut stream = TcpStream::connect(two.worker.station.address()).await.unwrap();
    stream.write_all(MAGIC).await.unwrap();
    stream.write_all(&1000_u32.to_be_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let trickle = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    let mut byte = [0];
    tokio::select! {
        () = soon(trickle) => {}
        closed = soon(reading.read(&mut byte)) => drop(closed),
    }
    two.is_well().await;
}

#[tokio::test]
async fn strangers_are_told_why() {
    let two = Two::meet().await;
    let stranger = Site::open(settings()).await.unwrap();
    let of = || join(&stranger);
    let labels = (0..100).map(|n| (n.to_string(), String::new())).collect();
    let cases = [
        (Join { proof: "0".repeat(64), ..of() }, Reason::Token),
        (Join { proof: String::new(), ..of() }, Reason::Token),
        (Join { version: "0.0.0".into(), ..of() }, Reason::Version),
        (Join { fleet: "another".into(), ..of() }, Reason::NotLed),
        (Join { id: "a b".into(), ..of() }, Reason::Member),
        (Join { id: two.leader.id(), ..of() }, Reason::Member),
        (Join { address: "192.0.2.1:4000".into(), ..of() }, Reason::Member),
        (Join { address: "nowhere".into(), ..of() }, Reason::Member),
        (Join { labels, ..of() }, Reason::Member),
    ];
    for (join, expected) in cases {
        let (mut stream, answer) = ask(&two.leader, join.clone()).await;
        assert!(matches!(answer, Some(Word::Refused { reason, .. }) if reason == expected), "{join:?}: {answer:?}");
        assert_eq!(soon(read(&mut stream)).await, None);
    }
    assert_eq!(two.leading.members().borrow().len(), 2);
    two.is_well().await;
}

#[tokio::test]
async fn a_process_with_another_token_or_version_gets_no_tasks_and_none_from_it() {
    let leader = Site::open(settings()).await.unwrap();
    let leading = leader.station.lead(FLEET).unwrap();
    let token = Token::new("another sixteen bytes").unwrap();
    let stranger = Site::open(Settings { token, ..settings() }).await.unwrap();
    let (joining, _) = stranger.follow(&leader);
    assert!(matches!(soon(joining).await.unwrap(), Err(Error::Stranger { .. })));
    let older = Site::open(Settings { version: "0.0.0".into(), ..settings() }).await.unwrap();
    let (joining, _) = older.follow(&leader);
    assert!(matches!(soon(joining).await.unwrap(), Err(Error::Version { .. })));
    // The other way round: the leader's proof opens no port of a process that has another token.
    let (_, answer) = ask(&leader, join(&stranger)).await;
    assert!(matches!(answer, Some(Word::Refused { reason: Reason::Member, why }) if why.contains("does not reach it")));
    assert_eq!(leading.members().borrow().len(), 1);
}

#[tokio::test]
async fn a_crowd_at_the_port_leaves_the_fleet_alone() {
    let two = Two::meet().await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(two.worker.station.address()).await.unwrap());
    }
    two.is_well().await;
}
