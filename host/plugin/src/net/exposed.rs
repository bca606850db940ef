//! A port within sandboxes that connections from outside are led to.
//!
//! Each sandbox has the port to itself: where a guest listens at it, the system chooses a port of loopback, which is said here and
//! nowhere else. So any number of pipelines and readers may listen at the same port, and none gets what is meant for another.

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::watch, time::timeout};

/// A port within the sandboxes of one plugin, and where on loopback it is found at the moment.
#[derive(Clone, Debug)]
pub struct Exposed {
    port: u16,
    listeners: watch::Sender<Vec<SocketAddr>>,
}

impl Exposed {
    /// The port `port` of whichever guests get this; none listens yet.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self { port, listeners: watch::Sender::default() }
    }

    /// The port as guests know it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a guest listens, with those that listen taking turns; none if nobody does within `time`.
    pub async fn listener(&self, turn: usize, time: Duration) -> Option<SocketAddr> {
        let mut listeners = self.listeners.subscribe();
        let some = timeout(time, listeners.wait_for(|all| !all.is_empty())).await.ok()?.ok()?;
        some.get(turn % some.len().max(1)).copied()
    }

    /// Says that a guest listens at `address`, for as long as what is returned lives.
    pub(super) fn open(&self, address: SocketAddr) -> Listening {
        self.listeners.send_modify(|all| all.push(address));
        Listening { exposed: self.clone(), address }
    }
}

/// A guest that listens.
#[derive(Debug)]
pub(super) struct Listening {
    exposed: Exposed,
    address: SocketAddr,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.exposed.listeners.send_modify(|all| all.retain(|address| *address != self.address));
    }
}
