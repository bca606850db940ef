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
    board: Option<Arc<Board>>,
    answering: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

/// Opens the socket for the pipelines that this process runs by itself. Without one they run all the same.
pub(super) fn open(global: &Global, store: &Store, ran: &Ran) -> Result<Steered> {
    let board = Arc::new(Board::new(store, ran.statuses()));
    let journal = Arc::clone(&board);
    telemetry::tell(move |pipeline, level, text| journal.log(pipeline, level, text));
    let beside = Beside {
        board: Arc::clone(&board),
        shelf: PluginShelf::new(store),
        plugins: global.open_plugins()?,
        committer: ran.committer(),
        ran: Some(ran.clone()),
        allowed: Reach::ALL.to_vec(),
        base: PathBuf::from("."),
    };
    Ok(Steered { board: Some(board), ..answer(global, store, beside) })
}

/// Answers about `beside` at the socket of this process.
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
    Steered { board: None, answering, stop }
}

impl Steered {
    /// What those who ask for logs are told.
    pub(super) fn board(&self) -> Option<Arc<Board>> {
        self.board.clone()
    }

    /// Ends it, and removes the socket.
    pub(super) async fn close(self) {
        self.stop.cancel();
        if let Some(answering) = self.answering {
            // It has said of a panic.
            drop(answering.await);
        }
    }
}
