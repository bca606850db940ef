//! `network`: what a guest calls.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use spout_base::clock::{self, Instant};
use tokio::{net::TcpStream, time::timeout_at};
use wasmtime::component::Resource;
use wasmtime_wasi::{p2::bindings::sockets::network::ErrorCode, sockets::SocketAddrUse};

use super::{
    Net,
    connection::{Dialled, cause, failure},
    endpoint_grant::{Endpoint, Lost},
    policy::Denial,
    target::{Host, Target},
};
use crate::{
    bindings::spout::plugin::network::{Begin, Cause, Failure, Host as NetworkHost, HostConnection},
    host::Held,
};

/// Connections that a guest may wait for at once.
const WAITED: usize = 1024;

/// When a call of so many milliseconds is over.
pub(crate) fn until(timeout_ms: u32) -> Instant {
    clock::now() + Duration::from_millis(u64::from(timeout_ms))
}

impl Net {
    /// Connects to what `to` means.
    async fn dial(&self, to: &str, begin: Begin, until: Instant) -> Result<Dialled, Failure> {
        let (endpoint, target) = self.endpoints.find(to).map_err(|lost| self.lost(to, lost))?;
        let (stream, peer) = self.reach(&endpoint, &target, until).await?;
        let host = match &target.host {
            Host::Name(name) => name.clone(),
            Host::Number(ip) => ip.to_string(),
        };
        let secures = endpoint.trust.is_some() && begin == Begin::AsGranted;
        let mut dialled = Dialled::new(stream, peer, endpoint, host, self.traffic.clone());
        if secures {
            dialled.start_tls(until).await?;
        }
        Ok(dialled)
    }

    fn lost(&self, to: &str, lost: Lost) -> Failure {
        match lost {
            Lost::Nothing => failure(
                Cause::Invalid,
                format!("`{to}` is neither a host and a port, like broker:9092, nor an endpoint"),
            ),
            Lost::Open(name) => failure(
                Cause::Invalid,
                format!("the endpoint `{name}` has no address that is one host and one port; dial one by its name"),
            ),
            Lost::Ungranted(target) => {
                let add = format!("endpoints: {{NAME: {{address: \"{target}\"}}}}");
                self.policy.log(Denial::new(format!("connecting to {target}"), add));
                failure(Cause::Denied, format!("the spec does not grant {target} (`endpoints` or `net`)"))
            }
        }
    }

    /// A connection to one of the addresses that the endpoint allows.
    async fn reach(
        &self,
        endpoint: &Arc<Endpoint>,
        target: &Target,
        until: Instant,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        let mut last = failure(Cause::Unresolvable, format!("{target}: it has no address"));
        for ip in self.addresses(endpoint, target, until).await? {
            let address = SocketAddr::new(ip, target.port);
            if let Err(denial) = endpoint.policy.may_use(address, SocketAddrUse::TcpConnect) {
                self.policy.log(denial);
                last = failure(Cause::Denied, format!("{target}: the spec does not grant {address}"));
                continue;
            }
            match timeout_at(until, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok((stream, address)),
                Ok(Err(error)) => last = failure(cause(error.kind()), format!("{target}: {address}: {error}")),
                Err(_) => {
                    return Err(failure(Cause::TimedOut, format!("{target}: {address}: nobody answered in time")));
                }
            }
        }
        Err(last)
    }

    async fn addresses(&self, endpoint: &Endpoint, target: &Target, until: Instant) -> Result<Vec<IpAddr>, Failure> {
        let name = match &target.host {
            Host::Number(ip) => return Ok(vec![*ip]),
            Host::Name(name) => name,
        };
        match timeout_at(until, self.names.resolve(name, &endpoint.policy)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(ErrorCode::AccessDenied)) => {
                Err(failure(Cause::Denied, format!("{target}: the spec does not grant what the name resolves to")))
            }
            Ok(Err(ErrorCode::TemporaryResolverFailure)) | Err(_) => {
                Err(failure(Cause::TimedOut, format!("{target}: the name was not resolved in time")))
            }
            Ok(Err(_)) => Err(failure(Cause::Unresolvable, format!("{target}: the name cannot be resolved"))),
        }
    }
}

impl NetworkHost for Held {
    async fn wait(&mut self, connections: Vec<Resource<Dialled>>, timeout_ms: u32) -> wasmtime::Result<Vec<u32>> {
        self.breathe();
        if connections.len() > WAITED {
            return Err(wasmtime::Error::msg(format!("the guest waits for more than {WAITED} connections at once")));
        }
        let table = &mut self.table;
        let mut ready = Vec::new();
        let waiting = poll_fn(|cx| {
            for (index, connection) in (0..).zip(&connections) {
                match table.get_mut(connection) {
                    Ok(dialled) => ready.extend(dialled.poll_readable(cx).is_ready().then_some(index)),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
        });
        if let Ok(answer) = timeout_at(until(timeout_ms), waiting).await {
            answer?;
        }
        self.breathe();
        Ok(ready)
    }
}

impl HostConnection for Held {
    async fn open(
        &mut self,
        to: String,
        begin: Begin,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<Resource<Dialled>, Failure>> {
        self.breathe();
        let dialled = match self.has_room() {
            Ok(()) => self.net.dial(&to, begin, until(timeout_ms)).await,
            Err(_) => Err(failure(
                Cause::Full,
                "as many sockets as `limits.sockets` says are open; raise it, or close some".into(),
            )),
        };
        self.breathe();
        let dialled = match dialled {
            Ok(dialled) => Ok(self.table.push(dialled)?),
            Err(failure) => Err(failure),
        };
        self.count_sockets();
        Ok(dialled)
    }

    async fn start_tls(
        &mut self,
        connection: Resource<Dialled>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<(), Failure>> {
        self.breathe();
        let started = self.table.get_mut(&connection)?.start_tls(until(timeout_ms)).await;
        self.breathe();
        Ok(started)
    }

    fn secure(&mut self, connection: Resource<Dialled>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&connection)?.secure())
    }

    async fn read(
        &mut self,
        connection: Resource<Dialled>,
        most: u32,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        self.breathe();
        let read = self.table.get_mut(&connection)?.read(most as usize, until(timeout_ms)).await;
        self.breathe();
        Ok(read)
    }

    async fn write(
        &mut self,
        connection: Resource<Dialled>,
        bytes: Vec<u8>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<u32, Failure>> {
        self.breathe();
        let written = self.table.get_mut(&connection)?.write(&bytes, until(timeout_ms)).await;
        self.breathe();
        Ok(written.map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
    }

    async fn finish(
        &mut self,
        connection: Resource<Dialled>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Result<(), Failure>> {
        self.breathe();
        let finished = self.table.get_mut(&connection)?.finish(until(timeout_ms)).await;
        self.breathe();
        Ok(finished)
    }

    fn peer(&mut self, connection: Resource<Dialled>) -> wasmtime::Result<String> {
        Ok(self.table.get(&connection)?.peer().to_string())
    }

    fn drop(&mut self, connection: Resource<Dialled>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        self.count_sockets();
        Ok(())
    }
}
