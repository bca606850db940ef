//! How a member reaches the others, for the rows that its share of a query needs of theirs, or its buckets of keys.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err},
    error::DataFusionError,
};
use datafusion_distributed::{ChannelResolver, WorkerChannel};
use url::Url;

use super::{Address, Peer, Route};
use crate::{link::Transport, settings::Token};

/// Ways to other members that are kept.
const KNOWN: usize = 2048;

/// The other members, as one of them reaches them. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Others {
    transport: Transport,
    token: Token,
    /// By host and port: processes have new ids with each start.
    known: Arc<Mutex<BTreeMap<String, Arc<Peer>>>>,
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").finish_non_exhaustive()
    }
}

impl Others {
    pub(crate) fn new(transport: &Transport, token: &Token) -> Self {
        Self { transport: transport.clone(), token: token.clone(), known: Arc::default() }
    }

    fn peer(&self, url: &Url) -> Result<Arc<Peer>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, peer| !peer.gone.is_cancelled());
        if let Some(peer) = known.get(url.authority()) {
            return Ok(Arc::clone(peer));
        }
        if known.len() >= KNOWN {
            known.clear();
        }
        let address = Address::parse(url.authority()).filter(|_| url.scheme() == "spout");
        let address = address.ok_or_else(|| exec_datafusion_err!("{url} is no member"))?;
        // Whoever is there gets the token's proof: it has to be who its certificate says, or on this machine.
        if self.transport.trust.is_none() && !address.is_loopback() {
            return exec_err!("without certificates a member has a loopback address, and {address} is none");
        }
        let route = Route::there(&address, &self.transport, &self.token);
        let route = route.map_err(|error| DataFusionError::External(error.into()))?;
        let peer = Arc::new(Peer::new(address.to_string(), address, route));
        known.insert(url.authority().to_owned(), Arc::clone(&peer));
        Ok(peer)
    }
}

#[async_trait]
impl ChannelResolver for Others {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        Ok(self.peer(url)?.channel())
    }
}
