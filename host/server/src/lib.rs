//! The HTTP API of a store, and of the pipelines that run beside it.
//!
//! A request comes in through `listen`, which holds back who is slow, large or too many. `guard` finds out who asks and what
//! they may see; `control` lets in processes of the same user without a port; a route (`repos`, `refs`, `commits`, `files`, `tar`, `uploads`, `changes`, `history`, `sql`, `pipelines`, `letters`, `managing`,
//! `plugins`, `about`, `trying`, `logs`, `tap`, `events`, `health`) does a verb of
//! [`spout_api::Local`] and sends its answer, `answer` an error as JSON with the status that fits it. [`Tokens`] are who may
//! come in. Every route is one [`endpoint`], from which the router and the OpenAPI document are made, so that neither can leave
//! out what the other has. Beside them are the files of the `console`, a page that is a client of the routes as any other.
//!
//! **Invariant**: a route never decides what a caller may see: it is given a store that shows no more.

mod about;
mod answer;
mod body;
mod changes;
mod commits;
mod console;
mod control;
mod endpoint;
mod error;
mod events;
mod files;
mod form;
#[cfg(test)]
mod fuzz;
mod guard;
mod health;
mod history;
mod incoming;
mod inside;
mod journal;
mod letters;
mod listen;
mod logs;
mod managing;
mod metrics;
mod openapi;
mod pipelines;
mod plugins;
mod refs;
mod repos;
mod request;
mod sql;
mod tap;
mod tar;
mod tokens;
mod trying;
mod upkeep;
mod uploads;
mod veil;

use std::{path::PathBuf, sync::Arc};

use axum::Router;
use spout_api::Local;
use spout_base::reach::Reach;
use spout_keeper::{Committer, Managed, PluginShelf, Ran, Seeker};
use spout_plugin::Plugins;
use spout_repo::Store;
pub use spout_wire::{Crowd, Identity};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::{
    control::Control,
    error::Error,
    inside::Inside,
    listen::{Limits, Listening, listen},
    pipelines::Board,
    tokens::{Access, Scope, Token, Tokens},
};
use self::{endpoint::Endpoint, guard::Guard, veil::Veil};

/// Queries that run at the same time; others wait.
const QUERIES: usize = 8;
/// Plugins that are taken in, and compiled, at the same time; others wait.
const PLUGINS: usize = 2;
/// Trials of plugins and of specs that go on at the same time; others wait.
const TRIALS: usize = 2;

/// The pipelines beside a server, and what callers may do with them.
#[derive(Clone, Debug)]
pub struct Beside {
    /// What they do, and say.
    pub board: Arc<Board>,
    /// The plugins that the store keeps.
    pub shelf: PluginShelf,
    /// What loads plugins.
    pub plugins: Plugins,
    /// Has them commit what they have read.
    pub committer: Committer,
    /// Those that the process runs by itself, whatever the store says.
    pub ran: Option<Ran>,
    /// What specs that are sent may reach of this machine.
    pub allowed: Vec<Reach>,
    /// Where relative paths in them start.
    pub base: PathBuf,
}

/// What the API is about.
#[derive(Debug)]
pub struct Service {
    local: Local,
    veil: Veil,
    tokens: Option<Arc<Tokens>>,
    board: Arc<Board>,
    managed: Managed,
    seeker: Seeker,
    shelf: PluginShelf,
    plugins: Plugins,
    committer: Committer,
    /// Where relative paths start in specs that are sent.
    base: PathBuf,
    taking_in: Semaphore,
    trials: Semaphore,
    queries: Arc<Semaphore>,
    answered: health::Answered,
    max_body: u64,
    stop: CancellationToken,
}

impl Service {
    /// An API of `store` and of the pipelines beside it; without `tokens` everyone on this machine may do everything.
    #[must_use]
    pub fn new(
        store: Store,
        tokens: Option<Arc<Tokens>>,
        beside: Beside,
        limits: &Limits,
        stop: CancellationToken,
    ) -> Self {
        let Beside { board, shelf, plugins, committer, ran, allowed, base } = beside;
        let managed = Managed::new(store.clone(), &allowed).beside(board.statuses(), ran.clone());
        let seeker = Seeker::new(store.clone(), plugins.clone(), &allowed).beside(board.statuses(), ran);
        let veil = Veil::over(&store);
        let (local, queries, taking_in) =
            (Local::new(store), Arc::new(Semaphore::new(QUERIES)), Semaphore::new(PLUGINS));
        let max_body = limits.max_body;
        Self {
            local,
            veil,
            tokens,
            board,
            managed,
            seeker,
            shelf,
            plugins,
            committer,
            base,
            taking_in,
            trials: Semaphore::new(TRIALS),
            queries,
            answered: health::Answered::default(),
            max_body,
            stop,
        }
    }
}

/// Every route there is.
fn endpoints() -> Vec<Endpoint> {
    let rooms = [
        openapi::endpoints(),
        health::endpoints(),
        repos::endpoints(),
        refs::endpoints(),
        commits::endpoints(),
        files::endpoints(),
        uploads::endpoints(),
        changes::endpoints(),
        tar::endpoints(),
        history::endpoints(),
        upkeep::endpoints(),
        sql::endpoints(),
        pipelines::endpoints(),
        letters::endpoints(),
        managing::endpoints(),
        metrics::endpoints(),
        plugins::endpoints(),
        about::endpoints(),
        trying::endpoints(),
        logs::endpoints(),
        tap::endpoints(),
        events::endpoints(),
    ];
    rooms.into_iter().flatten().collect()
}

fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        router = router.route(endpoint.path, endpoint.guarded(&service));
    }
    for (path, route) in console::routes() {
        router = router.route(path, route);
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
        let crowd = Crowd { most: 1, per_address: None };
        let limits = Limits { crowd, head: std::time::Duration::from_secs(1), max_body: 1 };
        let beside = Beside {
            board: Arc::new(Board::new(&store, Default::default())),
            shelf: PluginShelf::new(&store),
            plugins: Plugins::open(std::path::Path::new("nowhere"), None).unwrap(),
            committer: Committer::default(),
            ran: None,
            allowed: Vec::new(),
            base: PathBuf::new(),
        };
        drop(router(Arc::new(Service::new(store, None, beside, &limits, CancellationToken::new()))));
    }
}
