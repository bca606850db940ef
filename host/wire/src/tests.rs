//! A publisher and subscribers of this room, over sockets of both kinds.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const PEERS: Crowd = Crowd { most: 3, per_address: None };

async fn publisher(sync: bool, topic: Option<&str>) -> Publisher {
    let any = || "tcp://127.0.0.1:0".parse().unwrap();
    let options = PublisherOptions { data: any(), sync: sync.then(any), topic: topic.map(str::to_owned), peers: PEERS };
    Publisher::open(&options).await.unwrap()
}

async fn subscriber(publisher: &Publisher, topics: &[&str]) -> Subscriber {
    let options = SubscriberOptions {
        data: publisher.endpoint().clone(),
        sync: publisher.sync_endpoint().cloned(),
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        cap: 1 << 20,
    };
    Subscriber::open(&options).await.unwrap()
}

/// Everything up to the end.
async fn received(mut subscriber: Subscriber) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap() {
            Received::End => return all,
            Received::Message { payload, .. } => all.push(payload.to_vec()),
        }
    }
}

fn payload(number: u32) -> Bytes {
    let size = if number.is_multiple_of(100) { 300_000 } else { 10 };
    Bytes::from([number.to_be_bytes().to_vec(), vec![7; size]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_said_hello_hears_everything() {
    let mut publisher = publisher(true, None).await;
    let listening: Vec<_> = futures::future::join_all((0..3).map(|_| subscriber(&publisher, &[]))).await;
    let listening: Vec<_> = listening.into_iter().map(|subscriber| tokio::spawn(received(subscriber))).collect();
    timeout(PATIENCE, publisher.wait_for(3)).await.unwrap().unwrap();
    for number in 0..500 {
        publisher.send(payload(number), ()).await.unwrap();
    }
    publisher.finish(PATIENCE).await.unwrap();
    for received in listening {
        let all = received.await.unwrap();
        assert_eq!(all.len(), 500);
        assert!(all.iter().enumerate().all(|(number, bytes)| *bytes == payload(number as u32)), "the same, in order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_choose() {
    let mut publisher = publisher(true, Some("rows")).await;
    let wanted = tokio::spawn(received(subscriber(&publisher, &["other", "rows"]).await));
    let mut unwanted = subscriber(&publisher, &["other"]).await;
    timeout(PATIENCE, publisher.wait_for(1)).await.unwrap().unwrap();
    publisher.send(Bytes::from_static(b"x"), ()).await.unwrap();
    publisher.finish(PATIENCE).await.unwrap();
    assert_eq!(wanted.await.unwrap(), [b"x".to_vec()]);
    assert!(timeout(Duration::from_millis(50), unwanted.recv()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_may_be_there_first_and_finds_its_publisher_again() {
    let dir = tempfile::tempdir().unwrap();
    let (data, sync) = (Endpoint::Ipc(dir.path().join("a")), Endpoint::Ipc(dir.path().join("b")));
    let options = SubscriberOptions { data: data.clone(), sync: Some(sync.clone()), topics: Vec::new(), cap: 1 << 20 };
    let mut subscriber = Subscriber::open(&options).await.unwrap();
    for round in 0..2_u8 {
        let options = PublisherOptions { data: data.clone(), sync: Some(sync.clone()), topic: None, peers: PEERS };
        let mut publisher = Publisher::open(&options).await.unwrap();
        let speaking = tokio::spawn(async move {
            timeout(PATIENCE, publisher.wait_for(1)).await.unwrap().unwrap();
            publisher.send(Bytes::from(vec![round]), ()).await.unwrap();
            publisher.finish(PATIENCE).await.unwrap();
        });
        let message = Received::Message { topic: None, payload: Bytes::from(vec![round]) };
        assert_eq!(timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap(), message);
        assert_eq!(timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap(), Received::End);
        speaking.await.unwrap();
        assert!(!dir.path().join("a").exists(), "the socket file goes with its publisher");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_is_held_until_the_message_is_read() {
    let mut publisher = publisher(true, None).await;
    let mut slow = subscriber(&publisher, &[]).await;
    // It says hello, and reads no further.
    let waiting = tokio::spawn(async move {
        timeout(PATIENCE, publisher.wait_for(1)).await.unwrap().unwrap();
        publisher
    });
    assert!(timeout(Duration::from_secs(3), slow.recv()).await.is_err());
    let mut publisher = waiting.await.unwrap();
    let (guard, mut gone) = tokio::sync::oneshot::channel::<()>();
    publisher.send(Bytes::from(vec![0; 900_000]), ()).await.unwrap();
    for _ in 0..20 {
        publisher.send(Bytes::from(vec![0; 900_000]), ()).await.unwrap();
    }
    publisher.send(Bytes::from(vec![1; 900_000]), guard).await.unwrap();
    assert!(gone.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty));
    for _ in 0..22 {
        timeout(PATIENCE, slow.recv()).await.unwrap().unwrap();
    }
    assert!(timeout(PATIENCE, gone).await.unwrap().is_err(), "let go of");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_second_socket_nothing_is_special() {
    let mut publisher = publisher(false, None).await;
    let mut subscriber = subscriber(&publisher, &[]).await;
    let hearing = tokio::spawn(async move { timeout(PATIENCE, subscriber.recv()).await.unwrap().unwrap() });
    // Plain PUB says it to nobody until the subscription has arrived.
    while !hearing.is_finished() {
        let (guard, gone) = tokio::sync::oneshot::channel::<()>();
        publisher.send(Bytes::from_static(END), guard).await.unwrap();
        assert!(gone.await.is_err());
    }
    assert_eq!(hearing.await.unwrap(), Received::Message { topic: None, payload: Bytes::from_static(END) });
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_so_many_and_the_others_hear_everything() {
    let mut publisher = publisher(true, None).await;
    let Endpoint::Tcp { host, port } = publisher.endpoint().clone() else { panic!("a port") };
    let subscriber = subscriber(&publisher, &[]).await;
    let hearing = tokio::spawn(received(subscriber));
    timeout(PATIENCE, publisher.wait_for(1)).await.unwrap().unwrap();
    // Those who come now say nothing, and one of them is too many.
    let mut silent = Vec::new();
    for _ in 0..PEERS.most {
        silent.push(tokio::net::TcpStream::connect((host.as_str(), port)).await.unwrap());
    }
    let last = silent.last_mut().unwrap();
    let closed = timeout(PATIENCE, tokio::io::AsyncReadExt::read(last, &mut [0; 10])).await.unwrap();
    assert_eq!(closed.unwrap_or(0), 0, "the one too many is closed at once");
    publisher.send(Bytes::from_static(b"one"), ()).await.unwrap();
    drop(silent);
    publisher.finish(PATIENCE).await.unwrap();
    assert_eq!(timeout(PATIENCE, hearing).await.unwrap().unwrap(), [b"one".to_vec()]);
}

/// Shakes hands with each subscriber as a publisher does, begins a message and is gone.
async fn rude(listener: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0][..], b"NULL", &[0; 48]].concat();
        stream.write_all(&greeting).await.unwrap();
        stream.read_exact(&mut [0; 64]).await.unwrap();
        let ready = [&[4, 25][..], b"\x05READY\x0bSocket-Type\0\0\0\x03PUB"].concat();
        // Then a message of ten bytes, of which one comes.
        stream.write_all(&ready).await.unwrap();
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.unwrap();
        stream.read_exact(&mut vec![0; head[1] as usize]).await.unwrap();
        drop(stream.write_all(&[0, 10, b'x']).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_cannot_be_read_again_and_again_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let data = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    let rude = tokio::spawn(rude(listener));
    let options = SubscriberOptions { data, sync: None, topics: Vec::new(), cap: 1 << 20 };
    let mut subscriber = Subscriber::open(&options).await.unwrap();
    assert_eq!(subscriber.broken, 10_000);
    subscriber.broken = 3;
    let heard = timeout(PATIENCE, subscriber.recv()).await.expect("it tries for ever");
    assert!(heard.is_err(), "{heard:?}");
    rude.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_whose_task_panicked_says_so_while_it_has_nothing_to_say() {
    for greeting in [false, true] {
        let mut publisher = publisher(true, None).await;
        assert!(timeout(Duration::from_millis(1), publisher.failed()).await.is_err());
        publisher.lose(greeting);
        let failed = timeout(PATIENCE, publisher.failed()).await.unwrap();
        assert!(failed.to_string().contains("panicked"), "{failed}");
        assert!(publisher.send(payload(1), ()).await.is_err());
    }
}
