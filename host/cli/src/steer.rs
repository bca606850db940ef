//! The socket at which a process that runs pipelines is steered by others of its user.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use spout_base::{
    error::{Coded as _, chain},
    panicked::caught,
    reach::Reach,
};
use spout_keeper::{PluginShelf, Ran};
use spout_repo::Store;
use spout_server::{Beside, Board, Control, Crowd, Limits, Service};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Global, telemetry};

/// What is sent there is small, but for specs.
const LIMITS: Limits =
    Limits { crowd: Crowd { most: 64, per_address: None }, head: Duration::from_secs(30), max_body: 64 << 20 };

/// A socket that is answered, unless none could be had.
#[derive(Debug)]
pub(super) struct Steered {
    answering: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

/// What is asked about the pipelines that this process runs by itself, by whoever may do everything.
pub(super) fn beside(global: &Global, store: &Store, ran: &Ran) -> Result<Beside> {
    let board = Arc::new(Board::new(store, ran.statuses()));
    let journal = Arc::clone(&board);
    telemetry::tell(move |pipeline, level, text| journal.log(pipeline, level, text));
    Ok(Beside {
        board,
        shelf: PluginShelf::new(store),
        plugins: global.open_plugins()?,
        committer: ran.committer(),
        ran: Some(ran.clone()),
        allowed: Reach::ALL.to_vec(),
        base: PathBuf::from("."),
    })
}

/// Answers about `beside` at the socket of this process. Without one it runs all the same.
pub(super) fn answer(global: &Global, store: &Store, beside: Beside) -> Steered {
    let stop = CancellationToken::new();
    let answering = match Control::open(&global.store) {
        Ok(control) => {
            let service = Service::new(store.clone(), None, beside, &LIMITS, stop.clone());
            Some(tokio::spawn(async move {
                if let Err(panic) = caught(control.serve(service)).await {
                    tracing::error!(%panic, "a bug: nobody can steer this process any more, which runs on; please report it");
                }
            }))
        }
        Err(error) => {
            tracing::warn!(code = error.code(), "{}", chain(&error));
            None
        }
    };
    Steered { answering, stop }
}

impl Steered {
    /// Ends it, and removes the socket.
    pub(super) async fn close(self) {
        self.stop.cancel();
        if let Some(answering) = self.answering {
            // It has said of a panic.
            drop(answering.await);
        }
    }
}
