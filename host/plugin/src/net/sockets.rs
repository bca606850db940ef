//! Sockets are counted where they come to be: each is a file descriptor of the host. UDP has none. Where a guest listens at the port
//! that is exposed, it gets one of loopback in its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    p2::{
        DynInputStream, DynOutputStream, SocketResult, TcpSocket, UdpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network},
            tcp::HostTcpSocket,
            tcp_create_socket::Host as _,
        },
    },
    sockets::WasiSocketsView as _,
};

use super::policy::{Denial, LISTENERS};
use crate::host::Held;

type Accepted = (Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>);

impl Held {
    /// Whether it may have one more socket.
    fn has_room(&mut self) -> Result<(), ErrorCode> {
        let open = self.table.iter_mut().filter(|entry| entry.is::<TcpSocket>()).count();
        if open < self.net.sockets { Ok(()) } else { Err(ErrorCode::NewSocketLimit) }
    }
}

/// Any free port of loopback.
fn any(family: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if family.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(ip, 0)
}

impl Held {
    /// Binds `socket` to `address`, or to a port of the system's choice if connections from outside are led there.
    async fn bind(
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
        let (policy, any) = (std::sync::Arc::clone(&self.net.policy), any(asked));
        policy.expose(any);
        let bound = self.sockets().start_bind(socket, network, any.into()).await;
        policy.conceal(any);
        bound?;
        let bound = self.sockets().local_address(Resource::new_borrow(rep))?;
        policy.expose(bound.into());
        Ok(())
    }

    /// Listens with `socket`, and says so if connections from outside are led there.
    async fn listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
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

/// What the guest is told of `result`; what is no error of a socket traps.
fn told<T>(result: SocketResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => error.downcast().map(Err),
    }
}

/// Puts these in the place of WASI's own.
pub(super) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, Held>, (family,): (IpAddressFamily,)| {
            let held = store.data_mut();
            Ok((match held.has_room() {
                Ok(()) => told(held.sockets().create_tcp_socket(family))?,
                Err(code) => Err(code),
            },))
        },
    )?;
    let mut tcp = linker.instance("wasi:sockets/tcp@0.2.12")?;
    tcp.func_wrap_async(
        "[method]tcp-socket.start-bind",
        |mut store: StoreContextMut<'_, Held>,
         (socket, network, address): (Resource<TcpSocket>, Resource<Network>, IpSocketAddress)| {
            Box::new(async move { Ok((told(store.data_mut().bind(socket, network, address).await)?,)) })
        },
    )?;
    tcp.func_wrap_async(
        "[method]tcp-socket.start-listen",
        |mut store: StoreContextMut<'_, Held>, (socket,): (Resource<TcpSocket>,)| {
            Box::new(async move { Ok((told(store.data_mut().listen(socket).await)?,)) })
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.accept",
        |mut store: StoreContextMut<'_, Held>,
         (socket,): (Resource<TcpSocket>,)|
         -> wasmtime::Result<(Result<Accepted, ErrorCode>,)> {
            let held = store.data_mut();
            Ok((match held.has_room() {
                Ok(()) => told(held.sockets().accept(socket))?,
                Err(code) => Err(code),
            },))
        },
    )?;
    linker.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap(
        "create-udp-socket",
        |mut store: StoreContextMut<'_, Held>,
         (_,): (IpAddressFamily,)|
         -> wasmtime::Result<(Result<Resource<UdpSocket>, ErrorCode>,)> {
            let policy = &store.data_mut().net.policy;
            policy.log(Denial::udp());
            Ok((Err(ErrorCode::AccessDenied),))
        },
    )
}
