//! A port within sandboxes that connections from outside are led to.
//!
//! Each sandbox has the port to itself: where a guest listens at it, the system chooses a port of loopback, which is said here and
//! nowhere else. So any number of pipelines and readers may listen at the same port, and none gets what is meant for another.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{sync::watch, time::timeout};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    p2::{
        SocketResult, TcpSocket,
        bindings::sockets::{
            network::{IpSocketAddress, Network},
            tcp::HostTcpSocket,
        },
    },
    sockets::WasiSocketsView as _,
};

use super::policy::LISTENERS;
use crate::host::Held;

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
    pub fn listener<'a>(&'a self, turn: usize, time: Duration) -> BoxFuture<'a, Option<SocketAddr>> {
        Box::pin(async move {
            let mut listeners = self.listeners.subscribe();
            let some = timeout(time, listeners.wait_for(|all| !all.is_empty())).await.ok()?.ok()?;
            some.get(turn % some.len().max(1)).copied()
        })
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

/// Any free port of loopback.
fn any(family: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if family.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(ip, 0)
}

impl Held {
    /// Binds `socket` to `address`, or to a port of the system's choice if connections from outside are led there.
    pub(super) async fn bind(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        let (asked, rep) = (SocketAddr::from(address), socket.rep());
        let meant = |port: u16| asked.port() == port && (asked.ip().is_loopback() || asked.ip().is_unspecified());
        if !self.net.exposed.as_ref().is_some_and(|exposed| meant(exposed.port())) {
            return self.sockets().start_bind(socket, network, address).await;
        }
        let (policy, any) = (Arc::clone(&self.net.policy), any(asked));
        policy.expose(any);
        let bound = self.sockets().start_bind(socket, network, any.into()).await;
        policy.conceal(any);
        bound?;
        let bound = self.sockets().local_address(Resource::new_borrow(rep))?;
        policy.expose(bound.into());
        Ok(())
    }

    /// Listens with `socket`, and says so if connections from outside are led there.
    pub(super) async fn listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        let rep = socket.rep();
        self.sockets().start_listen(socket).await?;
        let address = SocketAddr::from(self.sockets().local_address(Resource::new_borrow(rep))?);
        if let Some(exposed) = &self.net.exposed
            && self.net.policy.exposes(address)
        {
            let listening = exposed.open(address);
            self.net.listening.push(listening);
            let spare = self.net.listening.len().saturating_sub(LISTENERS);
            self.net.listening.drain(..spare);
        }
        Ok(())
    }
}
