//! Receipts, room, keys and the end of the queue.

use std::collections::BTreeMap;

use spout_data::{Blobs, PartitionId, Position};
use spout_plugin::Progress;

use super::*;
use crate::{Error, Fetched};

fn blobs(texts: &[&str]) -> Blobs {
    let mut blobs = Blobs::default();
    texts.iter().for_each(|text| blobs.push(text.as_bytes()));
    blobs
}

fn inbox(queue: u64) -> (Inbox, Letterbox) {
    let mut inbox = Inbox::new(ByteSize(queue), Duration::from_millis(10));
    let letterbox = inbox.letterbox.take().unwrap();
    (inbox, letterbox)
}

fn found(offset: u64) -> Found {
    Found {
        partition: 0.into(),
        label: "x".into(),
        start: Position::at(offset),
        committed: Some(offset),
        passing: Vec::new(),
    }
}

async fn put(letterbox: &Letterbox, texts: &[&str], key: Option<&str>) -> Receipt {
    let values = blobs(texts);
    let room = letterbox.room(values.bytes.len()).await.unwrap();
    let key = key.map(|text| Key::of(text.as_bytes(), &[], &values));
    letterbox.put(Sent { values, first: Vec::new(), key, wants_receipt: true }, room).unwrap().unwrap()
}

fn durable(upto: u64, dead: &[u64]) -> Durable {
    Durable {
        commit: "c".into(),
        sequence: 3,
        positions: BTreeMap::from([(PartitionId::default(), Position::at(upto))]),
        dead: dead.iter().map(|&offset| (PartitionId::default(), offset)).collect(),
    }
}

#[tokio::test]
async fn a_receipt_comes_with_the_commit_and_not_before() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(7), 0);
    let mut first = put(&letterbox, &["a", "b"], None).await;
    let second = put(&letterbox, &["c"], None).await;
    let fetched = fetcher.fetch(u32::MAX).await.unwrap();
    assert_eq!((fetched.span.start, fetched.span.next.offset, fetched.messages.len()), (7, 10, 3));
    assert_eq!(fetched.messages.offsets, [7, 8, 9]);
    assert_eq!(fetched.awaited, Some(Duration::from_millis(10)));
    inbox.committed(&durable(8, &[]));
    assert!(first.try_recv().is_err(), "half of it is not all of it");
    inbox.committed(&durable(10, &[8, 9]));
    let stored = first.await.unwrap().unwrap();
    assert_eq!((stored.first, stored.messages, stored.dead, stored.repeated), (7, 2, 1, false));
    assert_eq!(second.await.unwrap().unwrap().dead, 1);
}

#[tokio::test]
async fn who_waits_for_nothing_is_told_so() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(0), 0);
    let taken = put(&letterbox, &["a"], None).await;
    fetcher.fetch(u32::MAX).await.unwrap();
    let queued = put(&letterbox, &["b"], None).await;
    inbox.close().await;
    drop(fetcher);
    assert!(taken.await.is_err() && queued.await.is_err());
    let room = letterbox.room(1).await.unwrap();
    let sent = Sent { values: blobs(&["c"]), first: Vec::new(), key: None, wants_receipt: true };
    assert!(letterbox.put(sent, room).is_err());
}

#[tokio::test]
async fn a_full_queue_makes_senders_wait() {
    let (mut inbox, letterbox) = inbox(4);
    let mut fetcher = inbox.fetcher(found(0), 0);
    drop(put(&letterbox, &["abc"], None).await);
    let waiting = tokio::spawn({
        let letterbox = letterbox.clone();
        async move { drop(put(&letterbox, &["much more than there is room for"], None).await) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    fetcher.fetch(u32::MAX).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn the_first_record_of_a_body_goes_with_its_messages() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(0), 0);
    for (texts, first) in [(["a,b", "1,x"], "a,b"), (["b,a", "y,2"], "b,a"), (["3", "4"], "")] {
        let room = letterbox.room(1).await.unwrap();
        let sent = Sent { values: blobs(&texts), first: first.into(), key: None, wants_receipt: false };
        letterbox.put(sent, room).unwrap();
    }
    let messages = fetcher.fetch(u32::MAX).await.unwrap().messages;
    let firsts: Vec<_> = (0..6).map(|index| messages.attribute(index, "first").unwrap_or_default()).collect();
    assert_eq!(firsts, [&b"a,b"[..], b"a,b", b"b,a", b"b,a", b"", b""]);
}

#[tokio::test]
async fn a_key_that_is_repeated_stores_nothing_again() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(0), 8);
    let first = put(&letterbox, &["a", "b"], Some("k")).await;
    let again = put(&letterbox, &["a", "b"], Some("k")).await;
    let fetched = fetcher.fetch(u32::MAX).await.unwrap();
    assert_eq!(fetched.messages.len(), 2);
    inbox.committed(&durable(2, &[]));
    assert!(!first.await.unwrap().unwrap().repeated);
    let again = again.await.unwrap().unwrap();
    assert_eq!((again.first, again.messages, again.repeated), (0, 2, true));

    // The same key with other messages is a mistake that must not pass for a repetition.
    let other = put(&letterbox, &["a", "c"], Some("k")).await;
    assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 0);
    assert_eq!(other.await.unwrap(), Err(KeyTaken));

    // After a restart the key comes back with the position.
    let (mut later, letterbox) = self::inbox(10_000);
    let mut fetcher = later.fetcher(Found { start: fetched.span.next, ..found(2) }, 8);
    let again = put(&letterbox, &["a", "b"], Some("k")).await;
    let fetched = fetcher.fetch(u32::MAX).await.unwrap();
    assert_eq!((fetched.messages.len(), fetched.span.next.offset), (0, 2));
    assert_eq!(again.await.unwrap().unwrap().commit, None, "the commit of an earlier run has no name any more");
}

#[tokio::test]
async fn the_queue_ends_with_the_last_letterbox() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(0), 0);
    drop(put(&letterbox, &["a"], None).await);
    drop(letterbox);
    let progress = |fetched: Fetched| (fetched.messages.len(), fetched.progress);
    assert_eq!(progress(fetcher.fetch(u32::MAX).await.unwrap()), (1, Progress::More));
    assert_eq!(progress(fetcher.fetch(u32::MAX).await.unwrap()), (0, Progress::Ended));
}

#[tokio::test]
async fn what_came_before_an_error_is_durable_first() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(0), 0);
    drop(put(&letterbox, &["a"], None).await);
    letterbox.fail(Error::StdinTaken);
    let fetched = fetcher.fetch(u32::MAX).await.unwrap();
    assert_eq!((fetched.messages.len(), fetched.awaited), (1, Some(Duration::ZERO)));
    assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 0);
    inbox.committed(&durable(1, &[]));
    assert!(matches!(fetcher.fetch(u32::MAX).await, Err(Error::StdinTaken)));
}

#[tokio::test]
async fn somebody_is_expected_until_somebody_was_there_and_nobody_is() {
    let (mut inbox, letterbox) = inbox(10_000);
    let mut fetcher = inbox.fetcher(found(0), 0);
    let told = |fetched: Fetched| (fetched.progress, fetched.expects);
    assert_eq!(told(fetcher.fetch(u32::MAX).await.unwrap()), (Progress::Idle, true));
    let present = letterbox.enter();
    assert_eq!(told(fetcher.fetch(u32::MAX).await.unwrap()), (Progress::Idle, true));
    drop(present);
    assert_eq!(told(fetcher.fetch(u32::MAX).await.unwrap()), (Progress::Idle, false));
}

#[tokio::test]
async fn messages_of_no_bytes_fill_the_queue_too() {
    let (mut inbox, letterbox) = inbox(1000);
    let mut fetcher = inbox.fetcher(found(0), 0);
    let empty = vec![""; 20];
    // The room that was waited for is that of its bytes.
    let room = letterbox.room(1).await.unwrap();
    letterbox.put(Sent { values: blobs(&empty), first: Vec::new(), key: None, wants_receipt: false }, room).unwrap();
    let waiting = tokio::spawn({
        let letterbox = letterbox.clone();
        async move { letterbox.room(1).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "twenty messages take more than the queue has");
    assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 20);
    waiting.await.unwrap().unwrap();
    drop(letterbox.room(1000).await.unwrap());
}

#[tokio::test]
async fn a_task_that_panics_is_not_the_end_of_the_source() {
    for holds_the_letterbox in [true, false] {
        let mut inbox = Inbox::new(ByteSize(100), Duration::from_millis(10));
        inbox.fill(move |letterbox, _| async move {
            drop(put(&letterbox, &["a"], None).await);
            let watch = letterbox.watch();
            let other = (!holds_the_letterbox).then(|| letterbox.clone());
            let panics = tokio::spawn(async move {
                let _held = (watch, holds_the_letterbox.then_some(letterbox));
                panic!("a task of the source")
            });
            drop((panics.await, other));
        });
        let mut fetcher = inbox.fetcher(found(0), 0);
        assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 1);
        inbox.committed(&durable(1, &[]));
        let error = loop {
            match fetcher.fetch(u32::MAX).await {
                Ok(fetched) => assert_ne!(fetched.progress, Progress::Ended),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Panicked { .. }), "{error}");
    }
}
