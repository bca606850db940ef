//! Sockets are counted where they come to be, over all instances of a plugin: each is a file descriptor of the host. UDP has none.

use std::mem;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    p2::{
        DynInputStream, DynOutputStream, SocketResult, TcpSocket, UdpSocket,
        bindings::sockets::{
            network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network},
            tcp::HostTcpSocket,
            tcp_create_socket::Host as _,
        },
        pipe::{ClosedInputStream, ClosedOutputStream},
    },
    sockets::WasiSocketsView as _,
};

use super::{connection::Dialled, policy::Denial};
use crate::host::Held;

type Accepted = (Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>);

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl Held {
    /// Holds the streams of a connection to what all connections may carry.
    fn meter(&mut self, input: &Resource<DynInputStream>, output: &Resource<DynOutputStream>) -> wasmtime::Result<()> {
        if !self.net.traffic.is_limited() {
            return Ok(());
        }
        let reads = self.table.get_mut(input)?;
        let stream = mem::replace(reads, Box::new(ClosedInputStream));
        *reads = self.net.traffic.incoming(stream);
        let writes = self.table.get_mut(output)?;
        let stream = mem::replace(writes, Box::new(ClosedOutputStream));
        *writes = self.net.traffic.outgoing(stream);
        Ok(())
    }

    /// Whether it may have one more socket.
    pub(super) fn has_room(&mut self) -> Result<(), ErrorCode> {
        let open = self.sockets_open();
        if self.shares.sockets.set(open + 1, self.net.sockets) { Ok(()) } else { Err(ErrorCode::NewSocketLimit) }
    }

    /// Has as many of those that all share as are open.
    pub(super) fn count_sockets(&mut self) {
        let open = self.sockets_open();
        self.shares.sockets.set(open, u64::MAX);
    }

    fn sockets_open(&mut self) -> u64 {
        self.table.iter_mut().filter(|entry| entry.is::<TcpSocket>() || entry.is::<Dialled>()).count() as u64
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
            let made = match held.has_room() {
                Ok(()) => told(held.sockets().create_tcp_socket(family))?,
                Err(code) => Err(code),
            };
            held.count_sockets();
            Ok((made,))
        },
    )?;
    let mut tcp = linker.instance("wasi:sockets/tcp@0.2.12")?;
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store: StoreContextMut<'_, Held>, rep| {
        let held = store.data_mut();
        HostTcpSocket::drop(&mut held.sockets(), Resource::new_own(rep))?;
        held.count_sockets();
        Ok(())
    })?;
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
            let accepted = match held.has_room() {
                Ok(()) => told(held.sockets().accept(socket))?,
                Err(code) => Err(code),
            };
            held.count_sockets();
            if let Ok((_, input, output)) = &accepted {
                held.meter(input, output)?;
            }
            Ok((accepted,))
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.finish-connect",
        |mut store: StoreContextMut<'_, Held>,
         (socket,): (Resource<TcpSocket>,)|
         -> wasmtime::Result<(Result<Streams, ErrorCode>,)> {
            let held = store.data_mut();
            let connected = told(HostTcpSocket::finish_connect(&mut held.sockets(), socket))?;
            if let Ok((input, output)) = &connected {
                held.meter(input, output)?;
            }
            Ok((connected,))
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
