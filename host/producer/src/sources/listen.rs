//! What sources share to which others send: how they are treated, their ports, and checks of what is written of them.

use std::{net::SocketAddr, time::Duration};

use spout_data::{ByteSize, Period};
use tokio::net::TcpListener;

use crate::{Error, ProducerTraits};

/// How producers are treated to which somebody sends.
pub(super) const LISTENS: ProducerTraits =
    ProducerTraits { discover_every: Duration::from_secs(3600), drains: true, finite: false, readers: None };

/// How long a client waits at most for the commit, by default.
pub(super) fn answer_within() -> Period {
    Period(Duration::from_millis(50))
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

/// What is wrong with the address `listen`, if anything is.
pub(super) fn no_address(listen: &str) -> Option<(&'static str, String)> {
    let sound = listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let why = || format!("`{listen}` is not a host and port; write it like 127.0.0.1:9000, or 0.0.0.0:9000 for all");
    (!sound).then(|| ("listen", why()))
}

/// Says that with `value` nothing could be received, if so.
pub(super) fn zero(key: &'static str, value: u64) -> Option<(&'static str, String)> {
    (value == 0).then(|| (key, format!("`{key}` is 0, so nothing could be received; leave it out for the default")))
}
