//! The connection of `tcp`: after it breaks, everything since the last commit is sent again.

use std::{collections::VecDeque, io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Error,
    outbox::{Deliver, Room},
    retry::Retry,
};

/// What is handed to the connection.
#[derive(Debug)]
pub(super) enum Parcel {
    /// Bytes to send, and what has to stand at the beginning of their connection.
    Bytes(Bytes, Option<Bytes>),
    /// A commit comes now.
    Mark,
}

/// Writes to the connection, and reconnects when it breaks.
pub(super) struct Sender {
    address: String,
    connect_timeout: Duration,
    /// Bytes that may be kept for sending them again.
    most: usize,
    stream: Option<TcpStream>,
    retry: Retry,
    /// What the connection began with.
    heading: Option<Bytes>,
    /// What was written since the last commit.
    since: VecDeque<(Bytes, Option<Bytes>)>,
    kept: usize,
    /// Whether `since` is all of it.
    whole: bool,
}

impl Sender {
    /// Will connect to `address`, and keep `most` bytes for sending them again.
    pub(super) fn new(address: &str, connect_timeout: Duration, most: usize) -> Self {
        Self {
            address: address.to_owned(),
            connect_timeout,
            most,
            stream: None,
            retry: Retry::default(),
            heading: None,
            since: VecDeque::new(),
            kept: 0,
            whole: true,
        }
    }

    fn unreachable(&self, source: io::Error) -> Error {
        Error::Unreachable { consumer: "tcp", place: self.address.clone(), source }
    }

    fn keep(&mut self, bytes: Bytes, heading: Option<Bytes>) {
        self.kept += bytes.len();
        self.since.push_back((bytes, heading));
        if self.kept > self.most {
            self.whole = false;
            self.since.clear();
            self.kept = 0;
        }
    }

    /// Writes the last thing that was kept, or after a new connection everything that was.
    async fn send(&mut self, fresh: &(Bytes, Option<Bytes>)) -> io::Result<()> {
        if let Some(stream) = &mut self.stream {
            if closed(stream) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            return write(stream, &mut self.heading, fresh).await;
        }
        let mut stream = match timeout(self.connect_timeout, TcpStream::connect(&self.address)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        stream.set_nodelay(true)?;
        self.heading = None;
        for again in &self.since {
            write(&mut stream, &mut self.heading, again).await?;
        }
        if self.since.is_empty() {
            write(&mut stream, &mut self.heading, fresh).await?;
        }
        self.stream = Some(stream);
        Ok(())
    }
}

#[async_trait]
impl Deliver for Sender {
    type Parcel = Parcel;

    async fn deliver(&mut self, parcel: Parcel, _room: Room) -> Result<(), Error> {
        let Parcel::Bytes(bytes, heading) = parcel else {
            (self.kept, self.whole) = (0, true);
            self.since.clear();
            return Ok(());
        };
        let fresh = (bytes.clone(), heading.clone());
        self.keep(bytes, heading);
        loop {
            let connected = self.stream.is_some();
            let Err(error) = self.send(&fresh).await else {
                self.retry.worked();
                return Ok(());
            };
            self.stream = None;
            let address = &self.address;
            if connected {
                tracing::warn!(address, %error, "connection lost; reconnecting")
            } else {
                tracing::debug!(address, %error, "nothing is listening there yet")
            }
            if connected && !self.whole {
                // Too much was sent to keep; the pipeline has it, from its last commit on.
                return Err(self.unreachable(error));
            }
            self.retry.pause(None).await;
        }
    }

    /// Says that nothing follows, and waits a little for the other side to have read it all.
    async fn close(mut self, patience: Duration) -> Result<(), Error> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let ending = async {
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        match timeout(patience.min(Duration::from_secs(5)), ending).await {
            Ok(Err(error)) => Err(self.unreachable(error)),
            // Some keep their side open; what was sent is with the system.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// Whether the other side has closed the connection. What it says is not listened to.
fn closed(stream: &TcpStream) -> bool {
    let mut said = [0; 1024];
    loop {
        match stream.try_read(&mut said) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

async fn write(
    stream: &mut TcpStream,
    begun: &mut Option<Bytes>,
    (bytes, heading): &(Bytes, Option<Bytes>),
) -> io::Result<()> {
    if let Some(heading) = heading
        && begun.as_ref() != Some(heading)
    {
        stream.write_all(heading).await?;
        *begun = Some(heading.clone());
    }
    stream.write_all(bytes).await
}
