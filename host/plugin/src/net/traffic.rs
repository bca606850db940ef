//! How many bytes a second all connections of a plugin may carry, in both directions together.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use spout_base::clock::{self, Instant};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamResult};

/// What was not used before may be used at once, up to so much time's worth.
const BURST: Duration = Duration::from_millis(100);

/// Pieces that a second is carried in: one is what may go before the next is waited for.
const PIECES: u64 = 10;

/// The account that all instances of a plugin share.
#[derive(Clone, Debug)]
pub(crate) struct Traffic(Option<Arc<Account>>);

#[derive(Debug)]
struct Account {
    /// Bytes a second.
    rate: u64,
    /// When all that has gone would have gone at this rate.
    free: Mutex<Instant>,
}

impl Traffic {
    /// So many bytes a second; without a limit, any number.
    pub(crate) fn of(rate: Option<u64>) -> Self {
        Self(rate.map(|rate| Arc::new(Account { rate: rate.max(1), free: Mutex::new(clock::now()) })))
    }

    /// How much of `wanted` bytes may go in one piece.
    pub(super) fn piece(&self, wanted: usize) -> usize {
        let Some(account) = &self.0 else { return wanted };
        wanted.min(usize::try_from((account.rate / PIECES).max(1)).unwrap_or(usize::MAX))
    }

    /// Whether bytes may go now.
    fn is_free(&self) -> bool {
        self.until().is_none_or(|free| free <= clock::now())
    }

    /// Waits until bytes may go.
    pub(super) async fn freed(&self) {
        while let Some(free) = self.until().filter(|free| *free > clock::now()) {
            tokio::time::sleep_until(free).await;
        }
    }

    fn until(&self) -> Option<Instant> {
        self.0.as_ref().map(|account| *account.free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// So many bytes have gone.
    pub(super) fn gone(&self, bytes: usize) {
        let Some(account) = &self.0 else { return };
        let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(account.rate);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut free = account.free.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let from = now.checked_sub(BURST).map_or(*free, |earliest| earliest.max(*free));
        *free = from.checked_add(takes).unwrap_or(from);
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// What comes by `stream`, held to this rate.
    pub(super) fn incoming(&self, stream: DynInputStream) -> DynInputStream {
        Box::new(Incoming { stream, traffic: self.clone() })
    }

    /// What goes by `stream`, held to this rate.
    pub(super) fn outgoing(&self, stream: DynOutputStream) -> DynOutputStream {
        Box::new(Outgoing { stream, traffic: self.clone() })
    }
}

struct Incoming {
    stream: DynInputStream,
    traffic: Traffic,
}

#[async_trait::async_trait]
impl InputStream for Incoming {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 && !self.traffic.is_free() {
            return Ok(Bytes::new());
        }
        let bytes = self.stream.read(self.traffic.piece(size))?;
        self.traffic.gone(bytes.len());
        Ok(bytes)
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        self.traffic.freed().await;
        self.stream.ready().await;
    }
}

struct Outgoing {
    stream: DynOutputStream,
    traffic: Traffic,
}

#[async_trait::async_trait]
impl OutputStream for Outgoing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let count = bytes.len();
        self.stream.write(bytes)?;
        self.traffic.gone(count);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let room = self.stream.check_write()?;
        Ok(if self.traffic.is_free() { self.traffic.piece(room) } else { 0 })
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

#[async_trait::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        self.traffic.freed().await;
        self.stream.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it takes until so many bytes have gone.
    async fn carried(traffic: &Traffic, bytes: usize) -> Duration {
        let (begun, mut left) = (clock::now(), bytes);
        while left > 0 {
            traffic.freed().await;
            let piece = traffic.piece(left);
            traffic.gone(piece);
            left -= piece;
        }
        traffic.freed().await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn what_all_connections_carry_is_what_a_second_may() {
        let traffic = Traffic::of(Some(100_000));
        let same = traffic.clone();
        let (one, other) = tokio::join!(carried(&traffic, 20_000), carried(&same, 20_000));
        // Of 40,000 bytes a tenth of a second's worth is there at the start.
        let took = one.max(other);
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
        // Rest is worth no more than that.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let took = carried(&traffic, 20_000).await;
        assert!(took >= Duration::from_millis(100), "{took:?}");
    }

    #[tokio::test]
    async fn without_a_limit_nothing_waits() {
        let traffic = Traffic::of(None);
        assert_eq!((traffic.piece(usize::MAX), traffic.is_limited()), (usize::MAX, false));
        traffic.gone(usize::MAX);
        assert!(traffic.is_free());
    }
}
