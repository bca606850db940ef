//! What a guest reaches of the network: WASI's sockets, held to the grants of its task.
//!
//! A guest has the host connect it to an endpoint ([`imports`]), which talks TLS for it ([`connection`]), or dials by itself: it
//! looks up a name that is granted ([`names`]), gets the addresses that it may have, and dials one of exactly these
//! ([`policy`]): no name is resolved twice, so DNS cannot be turned between the check and the connection. Addresses that are
//! dialled by number need a grant by number. Those in [`range`] that lead back to the host, its link or its cloud always do.
//!
//! **Invariant**: every address passes [`policy`] right before it is used; nothing here trusts what a guest or a name server says.

pub(crate) mod connection;
mod endpoint_grant;
mod exposed;
mod grant;
mod imports;
mod names;
mod policy;
mod range;
mod sockets;
mod target;
mod traffic;

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;

pub(crate) use self::{
    connection::failure,
    endpoint_grant::Endpoints,
    grant::misnamed,
    imports::until,
    names::{Resolver, System},
    policy::Denials,
    traffic::Traffic,
};
pub use self::{
    endpoint_grant::{Addresses, EndpointGrant, TlsFiles, TlsGrant},
    exposed::Exposed,
    grant::{EnvGrant, ListenAddress, ListenGrant, NetGrant},
};
use self::{exposed::Listening, names::Names, policy::Policy};
use crate::{Error, grants::endpoints, host::Held, task::Task};

/// The network as one instance may use it.
pub(crate) struct Net {
    names: Names,
    policy: Arc<Policy>,
    /// What it may be connected to by the host.
    endpoints: Endpoints,
    /// Sockets that all instances together may have open.
    sockets: u64,
    /// What all connections of all instances together may carry.
    traffic: Traffic,
    /// The port that it gets connections from outside at.
    exposed: Option<Exposed>,
    /// Where it listens for them.
    listening: Vec<Listening>,
}

impl Net {
    /// What `task` grants, for the instance that `wasi` is built for.
    pub(crate) fn new(task: &Task, wasi: &mut WasiCtxBuilder) -> Result<Self, Error> {
        let grants = &task.grants;
        let endpoints = endpoints(&task.pipeline, &task.plugin, grants)?;
        let policy = Policy::new(&task.pipeline, task.plugin.name(), &grants.net, &grants.listen);
        let policy = Arc::new(policy.saying(&task.quotas));
        let names = Names::new(&task.plugin.resolver, &policy, task.threads());
        let asked = Arc::clone(&policy);
        wasi.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false).socket_addr_check(move |address, how| {
            let allowed = asked.may_use(address, how).map_err(|denial| asked.log(denial)).is_ok();
            Box::pin(std::future::ready(allowed))
        });
        let (sockets, exposed) = (u64::from(task.limits.sockets), task.exposed.clone());
        let traffic = task.quotas.traffic(|| Traffic::of(task.limits.traffic.map(|rate| rate.0)));
        Ok(Self { names, policy, endpoints, sockets, traffic, exposed, listening: Vec::new() })
    }
}

/// Puts what is held to grants and limits in the place of WASI's own.
pub(crate) fn link(linker: &mut Linker<Held>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    names::link(linker)?;
    sockets::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
