//! Deeds by name, each with its outcome as a message: `connect 127.0.0.1:80` becomes `connect 127.0.0.1:80: PermissionDenied`.

use std::{
    fmt::Display,
    io::{self, Read as _, Write as _},
    time::{Duration, Instant},
};

use spout_guest::{
    Checkpoint, Limits, Messages, Progress, Result, Start, StreamConsumer,
    net::{Client, HttpError, TcpListener, TcpStream},
};

use crate::hosted;

/// What to do.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The deeds, in order.
    deeds: Vec<String>,
}

/// Does one deed after the other.
#[derive(Debug)]
pub(crate) struct Deeds {
    deeds: Vec<String>,
    next: usize,
}

impl StreamConsumer for Deeds {
    type Settings = Settings;

    fn open(_: &str, _: &str, start: Start, settings: Settings) -> Result<Self> {
        let next = match &start {
            Start::Checkpoint(Checkpoint { extra: Some(next), .. }) => {
                String::from_utf8_lossy(next).parse().unwrap_or(0)
            }
            _ => 0,
        };
        Ok(Self { deeds: settings.deeds, next })
    }

    fn next(&mut self, _: Limits) -> Result<(Messages, Progress)> {
        let mut messages = Messages::default();
        if let Some(deed) = self.deeds.get(self.next) {
            if let Some((name, how)) = deed.strip_prefix("spread ").and_then(|rest| rest.split_once(' ')) {
                hosted::spread(name, how, &mut messages)?;
            }
            messages.add(self.next as u64, format!("{deed}: {}", outcome(deed)).as_bytes()).partition(0);
            self.next += 1;
        }
        Ok((messages, if self.next >= self.deeds.len() { Progress::Ended } else { Progress::More }))
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        Ok(Checkpoint { positions: Vec::new(), extra: Some(self.next.to_string().into_bytes()) })
    }
}

fn outcome(deed: &str) -> String {
    let (verb, rest) = deed.split_once(' ').unwrap_or((deed, ""));
    match verb {
        "connect" => said(TcpStream::connect(rest).map(|_| "connected")),
        "flip" => flip(rest),
        "echo" => said(echo(rest)),
        "slow" => slow(rest),
        "get" => match Client::new().get(rest) {
            Ok(response) => format!("{} {}", response.status, String::from_utf8_lossy(&response.body)),
            Err(HttpError::Io(error)) => format!("{:?}", error.kind()),
            Err(error) => error.to_string(),
        },
        "listen" => said(TcpListener::bind(rest).map(|_| "listening")),
        "udp" => said_of(wasip2::sockets::udp_create_socket::create_udp_socket(family()).map(|_| "created")),
        "sockets" => sockets(rest.parse().unwrap_or(0)),
        "mapped" => mapped(),
        "open" | "talk" | "plain" | "many" | "wait" | "tell" | "prove" | "reveal" => hosted::outcome(verb, rest),
        "scan" => scan(rest),
        "spread" => "done".to_owned(),
        "env" => std::env::var(rest).unwrap_or_else(|_| "not set".to_owned()),
        _ => "unknown".to_owned(),
    }
}

fn said(outcome: io::Result<impl Display>) -> String {
    match outcome {
        Ok(what) => what.to_string(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

fn said_of(outcome: std::result::Result<impl Display, wasip2::sockets::network::ErrorCode>) -> String {
    match outcome {
        Ok(what) => what.to_string(),
        Err(code) => code.name().to_owned(),
    }
}

fn family() -> wasip2::sockets::network::IpAddressFamily {
    wasip2::sockets::network::IpAddressFamily::Ipv4
}

/// Connects a thousand times to a name: how often it got through, and how often it was denied.
fn flip(address: &str) -> String {
    let (mut through, mut denied) = (0, 0);
    for _ in 0..1000 {
        match TcpStream::connect_within(address, Duration::from_millis(20)) {
            Ok(_) => through += 1,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied += 1,
            Err(_) => {}
        }
    }
    format!("{through} of 1000, {denied} denied")
}

/// Tries ports `FIRST-LAST` of a host, by sockets and by the host's connections: how many were open, and how many denied.
fn scan(what: &str) -> String {
    let (mut open, mut denied, mut tried) = (0, 0, 0);
    let (host, ports) = what.split_once(' ').unwrap_or((what, "1-1"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    for port in first.parse().unwrap_or(1_u16)..=last.parse().unwrap_or(1) {
        let address = format!("{host}:{port}");
        let soon = Duration::from_millis(100);
        let by_socket = TcpStream::connect_within(&address, soon).map(drop);
        let by_host = spout_guest::net::Connection::open(&address, soon).map(drop);
        for outcome in [by_socket, by_host] {
            tried += 1;
            match outcome {
                Ok(()) => open += 1,
                Err(error) => denied += u32::from(error.kind() == io::ErrorKind::PermissionDenied),
            }
        }
    }
    format!("{open} open and {denied} denied of {tried}")
}

fn echo(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"hello")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Reads from a peer that has next to nothing to say.
fn slow(address: &str) -> String {
    let begun = Instant::now();
    let read = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Duration::from_millis(100));
        let mut text = String::new();
        stream.read_to_string(&mut text)
    });
    let soon = if begun.elapsed() < Duration::from_secs(3) { "soon" } else { "late" };
    format!("{}, {soon}", said(read))
}

/// Opens as many sockets as it gets.
fn sockets(most: usize) -> String {
    let mut open = Vec::new();
    while open.len() < most {
        match wasip2::sockets::tcp_create_socket::create_tcp_socket(family()) {
            Ok(socket) => open.push(socket),
            Err(code) => return format!("{}, then {}", open.len(), code.name()),
        }
    }
    format!("{}", open.len())
}

/// Dials an IPv4 address in IPv6 notation, from an IPv6 socket.
fn mapped() -> String {
    use wasip2::sockets::{
        instance_network::instance_network,
        network::{IpAddressFamily, IpSocketAddress, Ipv6SocketAddress},
        tcp_create_socket::create_tcp_socket,
    };
    let address = (0, 0, 0, 0, 0, 0xffff, 0xa9fe, 0xa9fe);
    let address = IpSocketAddress::Ipv6(Ipv6SocketAddress { port: 80, flow_info: 0, address, scope_id: 0 });
    let dialled = create_tcp_socket(IpAddressFamily::Ipv6).and_then(|socket| {
        socket.start_connect(&instance_network(), address)?;
        socket.subscribe().block();
        socket.finish_connect().map(|_| "connected")
    });
    said_of(dialled)
}
