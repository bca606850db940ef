//! Where a socket is: `tcp://host:port`, or `ipc:///path` on this machine.

use std::{
    borrow::Cow,
    fmt, io,
    net::IpAddr,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// An address of a ZeroMQ socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A port of a machine.
    Tcp {
        /// Name or address of the machine; `*` is every address of this one.
        host: String,
        /// The port; 0 takes any that is free.
        port: u16,
    },
    /// A socket file on this machine.
    Ipc(PathBuf),
}

impl Endpoint {
    /// The same, with a relative socket file below `directory`.
    #[must_use]
    pub fn within(&self, directory: &Path) -> Self {
        match self {
            Self::Ipc(path) => Self::Ipc(directory.join(path)),
            tcp @ Self::Tcp { .. } => tcp.clone(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a socket; write it like tcp://127.0.0.1:5556 or ipc:///run/rows.sock");
        if let Some(path) = text.strip_prefix("ipc://") {
            return if path.is_empty() || path.ends_with(['/', '*']) || path.starts_with('@') {
                Err(wrong())
            } else {
                Ok(Self::Ipc(path.into()))
            };
        }
        let (host, port) = text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        match (host.is_empty(), port.parse()) {
            (false, Ok(port)) => Ok(Self::Tcp { host: host.to_owned(), port }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A ZeroMQ socket, like tcp://127.0.0.1:5556 or ipc:///run/rows.sock",
            "type": "string",
            "format": "endpoint",
        })
    }
}

/// One connection, in its two directions.
pub(super) struct Connection {
    pub(super) from: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to: Box<dyn AsyncWrite + Send + Unpin>,
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        // A hello must not wait for more to say; where that cannot be set, it only takes longer.
        drop(stream.set_nodelay(true));
        let (from, to) = stream.into_split();
        Self { from: Box::new(from), to: Box::new(to) }
    }
}

impl From<UnixStream> for Connection {
    fn from(stream: UnixStream) -> Self {
        let (from, to) = stream.into_split();
        Self { from: Box::new(from), to: Box::new(to) }
    }
}

/// Accepts connections at an endpoint; a socket file goes with it.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Ipc(UnixListener, PathBuf),
}

impl Listener {
    pub(super) async fn at(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let host = if host == "*" { "0.0.0.0" } else { host.as_str() };
                TcpListener::bind((host, *port)).await.map(Self::Tcp)
            }
            Endpoint::Ipc(path) => {
                // What a killed process left behind; a socket that somebody still listens at stays, and so does what is none.
                let is_socket = std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket());
                if is_socket && UnixStream::connect(path).await.is_err() {
                    std::fs::remove_file(path)?;
                }
                UnixListener::bind(path).map(|listener| Self::Ipc(listener, path.clone()))
            }
        }
    }

    /// Where it listens, with the port that was taken.
    pub(super) fn endpoint(&self) -> io::Result<Endpoint> {
        Ok(match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                Endpoint::Tcp { host: address.ip().to_string(), port: address.port() }
            }
            Self::Ipc(_, path) => Endpoint::Ipc(path.clone()),
        })
    }

    /// The next connection, and where it comes from, if that is not this machine.
    pub(super) async fn accept(&self) -> io::Result<(Connection, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| (stream.into(), Some(peer.ip()))),
            Self::Ipc(listener, _) => listener.accept().await.map(|(stream, _)| (stream.into(), None)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Ipc(_, path) = self
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(path = %path.display(), %error, "cannot remove a socket file");
        }
    }
}

/// A connection with whoever listens at `endpoint`.
pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Connection> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let host = if host == "*" { "127.0.0.1" } else { host.as_str() };
            TcpStream::connect((host, *port)).await.map(Connection::from)
        }
        Endpoint::Ipc(path) => UnixStream::connect(path).await.map(Connection::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_read_as_zeromq_writes_them() {
        let check = |text: &str, expected: Option<&str>| {
            let read = text.parse::<Endpoint>().ok().map(|endpoint| endpoint.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("tcp://127.0.0.1:5556", Some("tcp://127.0.0.1:5556"));
        check("tcp://*:0", Some("tcp://*:0"));
        check("tcp://[::1]:80", Some("tcp://[::1]:80"));
        check("ipc:///run/x.sock", Some("ipc:///run/x.sock"));
        check("ipc://x.sock", Some("ipc://x.sock"));
        for wrong in
            ["", "x", "tcp://", "tcp://host", "tcp://:80", "tcp://host:99999", "ipc://", "ipc://*", "udp://h:1"]
        {
            check(wrong, None);
        }
        let relative: Endpoint = "ipc://x.sock".parse().unwrap();
        assert_eq!(relative.within(Path::new("/run")).to_string(), "ipc:///run/x.sock");
    }
}
