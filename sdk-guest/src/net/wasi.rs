//! Sockets of WASI 0.2, which work with every toolchain for guests.

use std::{
    io,
    net::{IpAddr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6},
    time::{Duration, Instant},
};

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    io::{
        poll::{Pollable, poll},
        streams::{InputStream, OutputStream, StreamError},
    },
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{
            ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
        },
        tcp::{ShutdownType, TcpSocket},
        tcp_create_socket::create_tcp_socket,
    },
};

/// Bytes read at once: what the host hands over counts towards `limits.answer`.
const READ: usize = 64 << 10;

/// A connection. Its streams go before its socket.
#[derive(Debug)]
pub(super) struct Stream {
    input: InputStream,
    output: OutputStream,
    socket: TcpSocket,
}

impl Stream {
    pub(super) fn connect(host: &str, port: u16, time: Duration) -> io::Result<Self> {
        let (network, patience) = (instance_network(), Patience::new(time));
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address"));
        for ip in addresses(&network, host, patience)? {
            let address = SocketAddr::new(ip, port);
            match Self::dial(&network, address, patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(last)
    }

    fn dial(network: &Network, address: SocketAddr, patience: Patience) -> io::Result<Self> {
        let socket = create_tcp_socket(family(address)).map_err(failed)?;
        socket.start_connect(network, outward(address)).map_err(failed)?;
        loop {
            match socket.finish_connect() {
                Ok((input, output)) => return Ok(Self { input, output, socket }),
                Err(ErrorCode::WouldBlock) => patience.wait(&socket.subscribe())?,
                Err(code) => return Err(failed(code)),
            }
        }
    }

    pub(super) fn read(&mut self, into: &mut [u8], time: Duration) -> io::Result<usize> {
        let patience = Patience::new(time);
        loop {
            match self.input.read(into.len().min(READ) as u64) {
                Ok(bytes) if bytes.is_empty() => patience.wait(&self.input.subscribe())?,
                Ok(bytes) => {
                    let count = bytes.len().min(into.len());
                    into[..count].copy_from_slice(&bytes[..count]);
                    return Ok(count);
                }
                Err(StreamError::Closed) => return Ok(0),
                Err(StreamError::LastOperationFailed(error)) => return Err(broken(error.to_debug_string())),
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], time: Duration) -> io::Result<usize> {
        let patience = Patience::new(time);
        let taken = |error| match error {
            StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
            StreamError::LastOperationFailed(error) => broken(error.to_debug_string()),
        };
        loop {
            match self.output.check_write().map_err(taken)? {
                0 => patience.wait(&self.output.subscribe())?,
                room => {
                    let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                    self.output.write(&bytes[..count]).map_err(taken)?;
                    return Ok(count);
                }
            }
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        // What was written is on its way already.
        Ok(())
    }

    pub(super) fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => ShutdownType::Receive,
            Shutdown::Write => ShutdownType::Send,
            Shutdown::Both => ShutdownType::Both,
        };
        self.socket.shutdown(how).map_err(failed)
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.remote_address().map(inward).map_err(failed)
    }
}

#[derive(Debug)]
pub(super) struct Listener(TcpSocket);

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = create_tcp_socket(family(address)).map_err(failed)?;
        let bound = socket.start_bind(&instance_network(), outward(address)).and_then(|()| socket.finish_bind());
        bound.and_then(|()| socket.start_listen()).and_then(|()| socket.finish_listen()).map_err(failed)?;
        Ok(Self(socket))
    }

    pub(super) fn accept(&self, time: Duration) -> io::Result<Stream> {
        let patience = Patience::new(time);
        loop {
            match self.0.accept() {
                Ok((socket, input, output)) => return Ok(Stream { input, output, socket }),
                Err(ErrorCode::WouldBlock) => patience.wait(&self.0.subscribe())?,
                Err(code) => return Err(failed(code)),
            }
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_address().map(inward).map_err(failed)
    }
}

/// The addresses of `host`, or the one that it is.
fn addresses(network: &Network, host: &str, patience: Patience) -> io::Result<Vec<IpAddr>> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let named = |code| {
        let error = failed(code);
        io::Error::new(error.kind(), format!("`{host}`: {error}"))
    };
    let (lookup, mut found) = (resolve_addresses(network, host).map_err(named)?, Vec::new());
    loop {
        match lookup.resolve_next_address() {
            Ok(Some(IpAddress::Ipv4((a, b, c, d)))) => found.push(IpAddr::from([a, b, c, d])),
            Ok(Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h)))) => found.push(IpAddr::from([a, b, c, d, e, f, g, h])),
            Ok(None) => return Ok(found),
            Err(ErrorCode::WouldBlock) => patience.wait(&lookup.subscribe())?,
            Err(code) => return Err(named(code)),
        }
    }
}

/// How long a call may wait.
#[derive(Clone, Copy)]
struct Patience {
    until: Instant,
    /// What to say when it is over.
    over: io::ErrorKind,
}

impl Patience {
    fn new(time: Duration) -> Self {
        let over = if time.is_zero() { io::ErrorKind::WouldBlock } else { io::ErrorKind::TimedOut };
        Self { until: Instant::now() + time, over }
    }

    /// Waits until `ready`.
    fn wait(self, ready: &Pollable) -> io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        let timer = subscribe_duration(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
        // The indices of what is ready, in order.
        if poll(&[ready, &timer]).first() == Some(&0) { Ok(()) } else { Err(self.over.into()) }
    }
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, what)
}

fn failed(code: ErrorCode) -> io::Error {
    let (kind, what) = match code {
        ErrorCode::AccessDenied => (
            io::ErrorKind::PermissionDenied,
            "the spec does not grant it (`grants`, `net` or `listen`); the host's log says what to add",
        ),
        ErrorCode::NewSocketLimit => {
            (io::ErrorKind::QuotaExceeded, "too many sockets; raise `limits.sockets`, or close some")
        }
        ErrorCode::NameUnresolvable => (io::ErrorKind::NotFound, "the name cannot be resolved"),
        ErrorCode::TemporaryResolverFailure | ErrorCode::Timeout => (io::ErrorKind::TimedOut, "no answer in time"),
        ErrorCode::ConnectionRefused => (io::ErrorKind::ConnectionRefused, "connection refused"),
        ErrorCode::ConnectionReset => (io::ErrorKind::ConnectionReset, "connection reset"),
        ErrorCode::ConnectionAborted => (io::ErrorKind::ConnectionAborted, "connection aborted"),
        ErrorCode::RemoteUnreachable => (io::ErrorKind::HostUnreachable, "the host cannot be reached"),
        ErrorCode::AddressInUse => (io::ErrorKind::AddrInUse, "someone else listens there"),
        ErrorCode::AddressNotBindable => (io::ErrorKind::AddrNotAvailable, "this machine does not have the address"),
        ErrorCode::InvalidArgument => (io::ErrorKind::InvalidInput, "not an address that can be used"),
        ErrorCode::InvalidState => (io::ErrorKind::NotConnected, "not connected"),
        ErrorCode::WouldBlock => (io::ErrorKind::WouldBlock, "not ready"),
        other => return io::Error::other(other.message()),
    };
    io::Error::new(kind, what)
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

fn outward(address: SocketAddr) -> IpSocketAddress {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) })
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments();
            let address = (a, b, c, d, e, f, g, h);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
        }
    }
}

fn inward(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
            SocketAddr::V4(SocketAddrV4::new([a, b, c, d].into(), port))
        }
        IpSocketAddress::Ipv6(Ipv6SocketAddress { port, address: (a, b, c, d, e, f, g, h), flow_info, scope_id }) => {
            SocketAddr::V6(SocketAddrV6::new([a, b, c, d, e, f, g, h].into(), port, flow_info, scope_id))
        }
    }
}
