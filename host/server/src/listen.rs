//! The port of a server: where it may listen, how many it takes, and how they end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use spout_api::Problem;
use spout_wire::{Crowd, Gate, Web};
use tokio::net::TcpListener;

use crate::{Error, Identity, Service, router};

/// Requests that are being answered at a stop may take so much longer.
const LAST: Duration = Duration::from_secs(4);

/// How much a server takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub crowd: Crowd,
    /// The head of a request has to come within this time; a connection without requests is closed after it.
    pub head: Duration,
    /// Bytes of a body.
    pub max_body: u64,
}

/// A port that is open, and not yet answered.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    identity: Option<Identity>,
    limits: Limits,
    /// Where it can be reached.
    pub address: SocketAddr,
}

/// Opens a port. Without TLS it has to be one that only this machine reaches.
///
/// # Errors
/// [`Error::Listen`], [`Error::Exposed`].
pub async fn listen(
    address: &str,
    identity: Option<Identity>,
    has_tokens: bool,
    limits: Limits,
) -> Result<Listening, Error> {
    let failed = |source| Error::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    if !at.ip().is_loopback() {
        let why = match (&identity, has_tokens) {
            (None, _) => "tokens and data would be sent in the clear; give --cert and --key",
            (Some(_), false) => "everyone could do everything; give --tokens",
            (Some(_), true) => return Ok(Listening { listener, identity, limits, address: at }),
        };
        return Err(Error::Exposed { address: at, why });
    }
    Ok(Listening { listener, identity, limits, address: at })
}

impl Listening {
    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.identity.is_some()
    }

    /// Answers requests until `service` stops; those that were begun are answered.
    pub async fn serve(self, service: Service) {
        let Self { listener, identity, limits, address } = self;
        let stop = service.stop.clone();
        let raise = "--max-connections or --max-per-address";
        let gate = Gate::new(format!("the server at {address}"), raise, limits.crowd, 1);
        let busy = |refused| serde_json::to_string(&Problem::of(&Error::Busy { refused })).unwrap_or_default();
        let web = Web::new(listener, gate, identity, limits.head, busy);
        if !web.serve(router(Arc::new(service)), stop, Some(LAST)).await {
            tracing::warn!("some requests were not answered to their end when the server stopped");
        }
    }
}
