//! `spout.service`: a port of this host whose connections reach the plugin, byte for byte. The host ends TLS and asks for the
//! token, where the spec says so; the plugin sees neither.

mod gate;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{
    owner,
    panicked::{Panicked, caught, go_on},
    secret::SecretSpec,
};
use spout_plugin::Exposed;
use spout_wire::{Crowd, Gate, Identity, Permit};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Error, certified, password::Password};

/// A port whose connections reach the plugin, as in `{internalPort: 8000, externalPort: 31800}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// Port that the plugin listens at. It is the plugin's own: other pipelines may use the same.
    #[serde(alias = "internal_port")]
    pub internal_port: u16,
    /// Port of this host that others connect to; with 0 the system chooses one, and `spout run` prints it.
    #[serde(alias = "external_port")]
    pub external_port: u16,
    /// Address of this host that they connect to, as in `0.0.0.0` for all. Whoever reaches it can talk to the plugin.
    #[serde(default = "loopback")]
    pub address: String,
    /// Maximum concurrent connections, as in `128`; others are closed at once.
    #[serde(default = "max_clients", alias = "max_clients")]
    pub max_clients: u32,
    /// How many of them may come from one address (one /64 of IPv6), as in `64`. Without it half of `maxClients`, or 32 if that is
    /// more, and from this machine as many as there are.
    #[serde(default, alias = "max_per_address", skip_serializing_if = "Option::is_none")]
    pub max_per_address: Option<u32>,
    /// Chain of certificates in PEM, as in `chain.pem`; with `key`, clients talk TLS to the host, and the plugin sees plain bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Key of the certificate in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// What clients have to begin with, as in `{env: TOKEN}`: a line that is the token, or an HTTP request with
    /// `Authorization: Bearer TOKEN`. Others are closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSpec>,
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}

fn max_clients() -> u32 {
    128
}

/// How long a client waits for a plugin that does not listen: it may be starting.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a connection takes: with the client, with the plugin, and at the plugin.
const DESCRIPTORS: usize = 3;

/// Bytes under way in each direction of a connection.
const BUFFER: usize = 16 << 10;

/// An open service. It ends when this is dropped.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    accepting: Option<JoinHandle<Result<(), Panicked>>>,
    _stop: DropGuard,
}

/// What each connection needs.
#[derive(Clone, Debug)]
struct Clients {
    pipeline: Arc<str>,
    exposed: Exposed,
    turn: Arc<AtomicUsize>,
    identity: Option<Identity>,
    password: Option<Password>,
}

/// Where the token stands in a spec.
const TOKEN: &str = "spout.service.token";

impl ServiceSpec {
    /// The secret that clients have to know, and its key.
    #[must_use]
    pub fn secret(&self) -> Option<(&'static str, &SecretSpec)> {
        self.token.as_ref().map(|token| (TOKEN, token))
    }

    /// Opens the port, for connections to `exposed`; relative paths start at `base`. It takes no more once `drain` is cancelled.
    ///
    /// # Errors
    /// If nobody can listen there, or the certificate or the token cannot be read.
    pub async fn open(
        &self,
        pipeline: &str,
        base: &Path,
        exposed: Exposed,
        drain: &CancellationToken,
    ) -> Result<Service, Error> {
        let identity = certified::identity(self.cert.as_deref(), self.key.as_deref(), base)?;
        let secret = self.token.as_ref().map(|token| token.read(base)).transpose();
        let secret = secret.map_err(|reason| Error::Secret { key: TOKEN.into(), reason })?;
        let password = secret.as_ref().map(Password::of);
        let asked = format!("{}:{}", self.address, self.external_port);
        let failed = |source| Error::Listen { producer: "service", address: asked.clone(), source };
        let listener = TcpListener::bind((self.address.as_str(), self.external_port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        if password.is_some() && identity.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                pipeline,
                %address,
                "the token is sent in the clear, and whoever sees it can talk to the plugin: set `cert` and `key`"
            );
        }
        let crowd =
            Crowd { most: self.max_clients as usize, per_address: self.max_per_address.map(|most| most as usize) };
        let name = format!("the service of pipeline {pipeline}");
        let gate = Gate::new(name, "`maxClients` or `maxPerAddress`", crowd, DESCRIPTORS);
        let (pipeline, turn) = (pipeline.into(), Arc::default());
        let clients = Clients { pipeline, exposed, turn, identity, password };
        let accepting = accept((listener, gate), clients, drain.clone(), stop.clone());
        let accepting = Some(owner::spawn(caught(accepting)));
        Ok(Service { address, accepting, _stop: stop.drop_guard() })
    }

    /// Whether it reads files of the machine.
    #[must_use]
    pub fn reads_files(&self) -> bool {
        self.cert.is_some() || self.key.is_some()
    }

    /// What is wrong with it, if anything is: the key, and what to do.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let zero = |key, what: &str| Some((key, format!("`{key}` is 0, so {what}")));
        if self.max_per_address == Some(0) {
            return zero("maxPerAddress", "nobody could connect; leave it out for the default");
        }
        match (self.internal_port, self.max_clients) {
            (0, _) => zero("internalPort", "no plugin can listen at it; write the port that the plugin listens at"),
            (_, 0) => zero("maxClients", "nobody could connect; leave it out for the default"),
            _ => certified::half(self.cert.as_ref(), self.key.as_ref()),
        }
    }
}

impl fmt::Display for ServiceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { internal_port, external_port, address, max_clients, cert, token, .. } = self;
        let tls = if cert.is_some() { ", over TLS" } else { "" };
        let here = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) || address == "localhost";
        let token = match (token, here || cert.is_some()) {
            (None, _) => "",
            (Some(_), true) => ", with the token",
            (Some(_), false) => ", with the token in the clear",
        };
        write!(
            f,
            "connections to {address}, port {external_port}{tls}{token}, reach port {internal_port} of the plugin, {max_clients} at once"
        )
    }
}

impl Service {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The panic that ended it; never, if there is none.
    pub async fn failed(&mut self) -> Error {
        let ended = match &mut self.accepting {
            Some(accepting) => accepting.await,
            None => std::future::pending().await,
        };
        self.accepting = None;
        match ended {
            Ok(Err(what)) => Error::Panicked { doing: "a connection of the service", what },
            Ok(Ok(())) | Err(_) => std::future::pending().await,
        }
    }
}

/// Takes connections until it is to drain; those that are open go on until `stop`.
async fn accept(
    (listener, gate): (TcpListener, Gate),
    clients: Clients,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, admitted) = tokio::select! {
            () = stop.cancelled() => return,
            () = drain.cancelled() => break,
            accepted = gate.accept(&listener) => accepted,
            Some(ended) = connections.join_next() => {
                go_on(ended);
                continue;
            }
        };
        match admitted {
            Ok(permit) => drop(connections.spawn(owner::of_same(serve(stream, peer, clients.clone(), permit)))),
            Err(_) => drop(stream),
        }
    }
    drop(listener);
    tokio::select! {
        () = stop.cancelled() => {}
        () = async { while let Some(ended) = connections.join_next().await { go_on(ended) } } => {}
    }
}

/// Passes on what a client and the plugin send to each other, as fast as the slower one takes it, until both have ended.
async fn serve(outside: TcpStream, peer: SocketAddr, clients: Clients, _permit: Permit) {
    drop(outside.set_nodelay(true));
    let passed = match &clients.identity {
        None => clients.pass(outside, peer).await,
        Some(identity) => match identity.accept(outside).await {
            Ok(outside) => clients.pass(outside, peer).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = passed {
        tracing::debug!(pipeline = &*clients.pipeline, %peer, %error, "a connection to the service broke");
    }
}

impl Clients {
    async fn pass<S>(&self, mut outside: S, peer: SocketAddr) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let first = match &self.password {
            None => Vec::new(),
            Some(password) => match gate::admit(&mut outside, password).await? {
                Some(first) => first,
                None => {
                    tracing::warn!(pipeline = &*self.pipeline, %peer, "refused a client of the service, which did not begin with the token");
                    return Ok(());
                }
            },
        };
        let mut inside = self.dial().await?;
        drop(inside.set_nodelay(true));
        inside.write_all(&first).await?;
        tokio::io::copy_bidirectional_with_sizes(&mut outside, &mut inside, BUFFER, BUFFER).await.map(drop)
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.exposed.listener(turn, PATIENCE).await {
            Some(address) => TcpStream::connect(address).await,
            None => {
                let (pipeline, port) = (&*self.pipeline, self.exposed.port());
                tracing::warn!(
                    pipeline,
                    "closed a client of the service: the plugin does not listen at its port {port}"
                );
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }
}
