//! `wasi:sockets/ip-name-lookup`: resolves the names that are granted, once, and keeps what they resolved to.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use spout_base::{
    clock::{self, Instant},
    owner,
    panicked::go_on,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::p2::{
    DynPollable, Pollable,
    bindings::sockets::network::{ErrorCode, IpAddress, Network},
    subscribe,
};

use super::{grant, policy::Policy};
use crate::{files::Threads, host::Held};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lookups of one instance that may be under way: each holds a thread of the host until the system answers.
const AT_ONCE: usize = 4;

/// Addresses of one answer.
const ADDRESSES: usize = 64;

/// Where the addresses of names come from.
pub(crate) trait Resolver: Send + Sync {
    /// The addresses of `name`; what waits for them may be one of `threads`.
    fn resolve(&self, name: String, threads: Threads) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub(crate) struct System;

impl Resolver for System {
    fn resolve(&self, name: String, threads: Threads) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = threads.block(move || (name.as_str(), 0).to_socket_addrs()).await??;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// How one instance looks up names.
pub(super) struct Names {
    resolver: Arc<dyn Resolver>,
    policy: Arc<Policy>,
    slots: Arc<Semaphore>,
    threads: Threads,
}

pub(super) type Answer = Result<Vec<IpAddr>, ErrorCode>;

impl Names {
    pub(super) fn new(resolver: &Arc<dyn Resolver>, policy: &Arc<Policy>, threads: Threads) -> Self {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        Self { resolver: Arc::clone(resolver), policy: Arc::clone(policy), slots, threads }
    }

    fn look_up(&self, text: &str) -> Result<Lookup, ErrorCode> {
        if let Some(ip) = number(text) {
            return Ok(Lookup::Done(vec![ip].into_iter()));
        }
        self.ask(grant::name(text).ok_or(ErrorCode::InvalidArgument)?, &self.policy)
    }

    /// The addresses of `name`, those that `policy` admits.
    pub(super) async fn resolve(&self, name: &str, policy: &Arc<Policy>) -> Answer {
        let mut lookup = self.ask(name.to_owned(), policy)?;
        lookup.settle().await;
        match lookup {
            Lookup::Done(addresses) => Ok(addresses.collect()),
            Lookup::Failed(code) => Err(code),
            Lookup::Asked(..) => Err(ErrorCode::TemporaryResolverFailure),
        }
    }

    fn ask(&self, name: String, policy: &Arc<Policy>) -> Result<Lookup, ErrorCode> {
        if let Err(denial) = policy.may_look_up(&name) {
            self.policy.log(denial);
            return Err(ErrorCode::AccessDenied);
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| ErrorCode::TemporaryResolverFailure)?;
        let answer = self.resolver.resolve(name.clone(), self.threads.clone());
        let (policy, said) = (Arc::clone(policy), Arc::clone(&self.policy));
        let task = owner::spawn(async move {
            let answer = answer.await;
            drop(slot);
            let mut addresses = answer.map_err(|error| {
                tracing::debug!(name, %error, "a name cannot be resolved");
                ErrorCode::NameUnresolvable
            })?;
            addresses.truncate(ADDRESSES);
            policy.admit(&name, addresses).map_err(|denial| {
                said.log(denial);
                ErrorCode::AccessDenied
            })
        });
        Ok(Lookup::Asked(task, clock::now() + PATIENCE))
    }
}

/// An address that is written in the place of a name.
fn number(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// One lookup of a guest.
enum Lookup {
    /// Until then an answer is waited for.
    Asked(JoinHandle<Answer>, Instant),
    /// Addresses that the guest has not taken.
    Done(std::vec::IntoIter<IpAddr>),
    Failed(ErrorCode),
}

impl Lookup {
    async fn settle(&mut self) {
        let Self::Asked(task, until) = self else { return };
        let answer = match tokio::time::timeout_at(*until, task).await {
            Ok(Ok(answer)) => answer,
            Ok(died) => {
                // A bug in the host, which ends the call, and the pipeline with it.
                go_on(died);
                Err(ErrorCode::PermanentResolverFailure)
            }
            Err(_) => Err(ErrorCode::TemporaryResolverFailure),
        };
        *self = match answer {
            Ok(addresses) => Self::Done(addresses.into_iter()),
            Err(code) => Self::Failed(code),
        };
    }

    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        match self {
            Self::Asked(..) => Err(ErrorCode::WouldBlock),
            Self::Done(addresses) => Ok(addresses.next().map(IpAddress::from)),
            Self::Failed(code) => Err(*code),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        self.settle().await;
    }
}

/// Puts this in the place of WASI's own lookup, which would resolve any name or none.
pub(super) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    let kind = ResourceType::host::<Lookup>();
    lookup.resource("resolve-address-stream", kind, |mut store: StoreContextMut<'_, Held>, rep| {
        store.data_mut().table.delete(Resource::<Lookup>::new_own(rep))?;
        Ok(())
    })?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, Held>, (network, name): (Resource<Network>, String)| {
            let held = store.data_mut();
            held.table.get(&network)?;
            Ok((match held.net.names.look_up(&name) {
                Ok(lookup) => Ok(held.table.push(lookup)?),
                Err(code) => Err(code),
            },))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, Held>, (lookup,): (Resource<Lookup>,)| {
            Ok((store.data_mut().table.get_mut(&lookup)?.next(),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, Held>,
         (lookup,): (Resource<Lookup>,)|
         -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().table, lookup)?,))
        },
    )
}
