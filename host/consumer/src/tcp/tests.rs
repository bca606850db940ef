//! Lines, frames, and connections that break.

use tokio::{io::AsyncReadExt as _, net::TcpListener};

use super::*;
use crate::tests::{batch, context};

fn spec(address: String, format: TcpFormat) -> TcpSpec {
    let queue = QueueSpec { timeout: Period(Duration::from_secs(20)), ..QueueSpec::default() };
    TcpSpec { address, format, framing: None, connect_timeout: connect_timeout(), queue }
}

async fn all(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn lines_arrive_whole_and_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (format, expected) in [
        (TcpFormat::Ndjson, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n"),
        // Names once, though there are two batches.
        (TcpFormat::Csv, "n\n0\n1\n2\n"),
    ] {
        let mut consumer = TcpConsumer::open(&spec(address.clone(), format), &context());
        consumer.consume(&batch(0..2)).await.unwrap();
        consumer.consume(&batch(2..3)).await.unwrap();
        let (read, finished) = tokio::join!(all(&listener), async {
            consumer.flush().await?;
            consumer.finish().await
        });
        finished.unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    }
}

#[tokio::test]
async fn frames_say_how_long_they_are() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for framing in [TcpFraming::Digits, TcpFraming::U32] {
        let spec = TcpSpec { framing: Some(framing), ..spec(address.clone(), TcpFormat::Arrow) };
        let mut consumer = TcpConsumer::open(&spec, &context());
        consumer.consume(&batch(0..2)).await.unwrap();
        let (read, finished) = tokio::join!(all(&listener), consumer.finish());
        finished.unwrap();
        let (length, payload) = match framing {
            TcpFraming::Digits => (String::from_utf8(read[..10].to_vec()).unwrap().parse().unwrap(), &read[10..]),
            TcpFraming::U32 => (u32::from_be_bytes(read[..4].try_into().unwrap()) as usize, &read[4..]),
        };
        assert_eq!(length, payload.len());
        assert_eq!(payload, encode::arrow(&batch(0..2).records, []).unwrap());
    }
}

#[tokio::test]
async fn after_a_broken_connection_everything_since_the_commit_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut consumer = TcpConsumer::open(&spec(address, TcpFormat::Ndjson), &context());
    consumer.consume(&batch(0..1)).await.unwrap();
    let (mut first, _) = listener.accept().await.unwrap();
    consumer.flush().await.unwrap();
    consumer.consume(&batch(1..2)).await.unwrap();
    let mut read = [0; 16];
    first.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"{\"n\":0}\n{\"n\":1}\n");
    drop(first);
    // It is only seen when something is written, and perhaps not by the first write.
    let reading = tokio::spawn(async move { all(&listener).await });
    consumer.consume(&batch(2..3)).await.unwrap();
    consumer.consume(&batch(3..4)).await.unwrap();
    consumer.finish().await.unwrap();
    let read = String::from_utf8(reading.await.unwrap()).unwrap();
    assert_eq!(read, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_ends_the_flush_in_time() {
    let queue = QueueSpec { timeout: Period(Duration::from_millis(50)), ..QueueSpec::default() };
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let spec = TcpSpec { queue, ..spec(address, TcpFormat::Ndjson) };
    let mut consumer = TcpConsumer::open(&spec, &context());
    consumer.consume(&batch(0..1)).await.unwrap();
    assert!(matches!(consumer.flush().await, Err(Error::Slow { .. })));
}
