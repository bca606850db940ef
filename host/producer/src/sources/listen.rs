//! What sources share to which others send: the producer around their inbox, their ports, and checks of what is written of them.

use std::{
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use async_trait::async_trait;
use spout_data::{ByteSize, Marker, Period};
use spout_wire::Crowd;
use tokio::net::TcpListener;

use crate::{Durable, Error, Fetcher, Found, Producer, ProducerTraits, inbox::Inbox};

/// Fills an inbox with what others send.
#[async_trait]
pub(super) trait Receive: Debug + Send {
    /// The name of its one partition.
    const LABEL: &'static str;

    /// Whether it may end, after which the pipeline is done.
    fn ends(&self) -> bool {
        false
    }

    /// How many keys of clients are remembered.
    fn keys(&self) -> usize {
        0
    }

    /// Opens what it receives from, and begins to fill `inbox`; the address it listens at, if it does.
    async fn open(&mut self, inbox: &mut Inbox) -> Result<Option<SocketAddr>, Error>;
}

/// Reads what others send.
#[derive(Debug)]
pub(super) struct Receiving<R> {
    receive: R,
    inbox: Inbox,
    opened: bool,
    address: Option<SocketAddr>,
}

impl<R: Receive> Receiving<R> {
    /// Will read what `receive` receives: at most `queue` bytes at once, for clients that wait `answer_within` for others.
    pub(super) fn new(receive: R, queue: ByteSize, answer_within: Period) -> Self {
        Self { receive, inbox: Inbox::new(queue, answer_within.0), opened: false, address: None }
    }
}

#[async_trait]
impl<R: Receive> Producer for Receiving<R> {
    fn traits(&self) -> ProducerTraits {
        let discover_every = Duration::from_secs(3600);
        ProducerTraits {
            discover_every,
            drains: true,
            finite: self.receive.ends(),
            readers: None,
            heirs: false,
            beside: false,
        }
    }

    async fn partitions(&mut self, marker: &Marker, _initial: bool) -> Result<Vec<Found>, Error> {
        if self.opened {
            return Ok(Vec::new());
        }
        self.address = self.receive.open(&mut self.inbox).await?;
        self.opened = true;
        Ok(vec![Found::only(marker, R::LABEL)])
    }

    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher> {
        self.inbox.fetcher(found, self.receive.keys())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.address.into_iter().collect()
    }

    fn committed(&mut self, durable: &Durable) {
        self.inbox.committed(durable);
    }

    fn drain(&mut self) {
        self.inbox.drain();
    }

    async fn close(&mut self) {
        self.inbox.close().await;
    }
}

/// How long clients wait for others to share their commit, by default: no longer than the commit before takes.
pub(super) fn answer_within() -> Period {
    Period(Duration::ZERO)
}

/// Bytes received but not yet decoded, by default.
pub(super) fn queue() -> ByteSize {
    ByteSize(16 << 20)
}

/// Listens at `address`, and says where that is.
pub(super) async fn listen(producer: &'static str, address: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { producer, address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// How many connections a port takes, as a spec says it.
pub(super) fn crowd(most: u32, per_address: Option<u32>) -> Crowd {
    Crowd { most: most as usize, per_address: per_address.map(|most| most as usize) }
}

/// What is wrong with the address `listen`, if anything is.
pub(super) fn no_address(listen: &str) -> Option<(&'static str, String)> {
    let sound = listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let why = || format!("`{listen}` is not a host and port; write it like 127.0.0.1:9000, or 0.0.0.0:9000 for all");
    (!sound).then(|| ("listen", why()))
}

/// Whether only this machine reaches the address `listen`.
pub(super) fn is_here(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host).trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Says that with `value` nothing could be received, if so.
pub(super) fn zero(key: &'static str, value: u64) -> Option<(&'static str, String)> {
    (value == 0).then(|| (key, format!("`{key}` is 0, so nothing could be received; leave it out for the default")))
}

/// Says that `time` is none, if so.
pub(super) fn no_time(key: &'static str, time: Period) -> Option<(&'static str, String)> {
    time.0
        .is_zero()
        .then(|| (key, format!("`{key}` is 0, so nobody could send anything; leave it out for the default")))
}
