//! The HTTP API of a store, and of the pipelines that run beside it.
//!
//! A request comes in through `listen`, which holds back who is slow, large or too many. `guard` finds out who asks and what
//! they may see; a route (`repos`, `refs`, `commits`, `files`, `tar`, `uploads`, `changes`, `history`, `sql`, `pipelines`, `events`) does a verb of
//! [`spout_api::Local`] and sends its answer, `answer` an error as JSON with the status that fits it. [`Tokens`] are who may
//! come in. Every route is one [`endpoint`], from which the router and the OpenAPI document are made, so that neither can leave
//! out what the other has.
//!
//! **Invariant**: a route never decides what a caller may see: it is given a store that shows no more.

mod answer;
mod body;
mod changes;
mod commits;
mod endpoint;
mod error;
mod events;
mod files;
mod form;
mod guard;
mod history;
mod incoming;
mod inside;
mod listen;
mod openapi;
mod pipelines;
mod refs;
mod repos;
mod request;
mod sql;
mod tar;
mod tokens;
mod uploads;
mod veil;

use std::sync::Arc;

use axum::Router;
use spout_api::Local;
use spout_repo::Store;
pub use spout_wire::Identity;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::{endpoint::Endpoint, guard::Guard, veil::Veil};
pub use self::{
    error::Error,
    inside::Inside,
    listen::{Limits, Listening, listen},
    pipelines::Board,
    tokens::{Access, Scope, Token, Tokens},
};

/// Queries that run at the same time; others wait.
const QUERIES: usize = 8;

/// What the API is about.
#[derive(Debug)]
pub struct Service {
    local: Local,
    veil: Veil,
    tokens: Option<Arc<Tokens>>,
    board: Arc<Board>,
    queries: Arc<Semaphore>,
    max_body: u64,
    stop: CancellationToken,
}

impl Service {
    /// An API of `store` and of the pipelines on `board`; without `tokens` everyone on this machine may do everything.
    #[must_use]
    pub fn new(
        store: Store,
        tokens: Option<Arc<Tokens>>,
        board: Arc<Board>,
        limits: &Limits,
        stop: CancellationToken,
    ) -> Self {
        let veil = Veil::over(&store);
        let (local, queries) = (Local::new(store), Arc::new(Semaphore::new(QUERIES)));
        Self { local, veil, tokens, board, queries, max_body: limits.max_body, stop }
    }
}

/// Every route there is.
fn endpoints() -> Vec<Endpoint> {
    let rooms = [
        openapi::endpoints(),
        repos::endpoints(),
        refs::endpoints(),
        commits::endpoints(),
        files::endpoints(),
        uploads::endpoints(),
        changes::endpoints(),
        tar::endpoints(),
        history::endpoints(),
        sql::endpoints(),
        pipelines::endpoints(),
        events::endpoints(),
    ];
    rooms.into_iter().flatten().collect()
}

fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        router = router.route(endpoint.path, endpoint.guarded(&service));
    }
    router.fallback(answer::no_route).method_not_allowed_fallback(answer::no_method).with_state(service)
}

impl Endpoint {
    fn guarded(self, service: &Arc<Service>) -> axum::routing::MethodRouter<Arc<Service>> {
        let guard = Guard { service: Arc::clone(service), access: self.access };
        self.handler.route_layer(axum::middleware::from_fn_with_state(guard, guard::check))
    }
}

/// The OpenAPI document of the routes, as `/openapi.json` sends it.
#[must_use]
pub fn document() -> serde_json::Value {
    openapi::document(&endpoints())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn routes_do_not_clash() {
        let store = Store::open("memory://").await.unwrap();
        let limits = Limits { connections: 1, max_body: 1 };
        let board = Arc::new(Board::new(Default::default()));
        drop(router(Arc::new(Service::new(store, None, board, &limits, CancellationToken::new()))));
    }
}
