//! What goes to an OpenTelemetry collector, where the environment names one.

use std::sync::{Arc, OnceLock};

use spout_otlp::{Error, Export, Settings, start};
use spout_server::Board;

/// Spans and figures on their way, if they are wanted.
#[derive(Debug)]
pub(super) struct Sent {
    export: Option<Export>,
    board: Arc<OnceLock<Arc<Board>>>,
}

/// Sends spans from now on, and figures once there are some, if the environment says where to.
///
/// # Errors
/// What of the environment cannot be used.
pub(super) fn begin() -> Result<Sent, Error> {
    let board = Arc::new(OnceLock::<Arc<Board>>::new());
    let shown = Arc::clone(&board);
    let figures = move || shown.get().map(|board| board.figures()).unwrap_or_default();
    let export = Settings::read()?.map(|settings| start(&settings, figures)).transpose()?;
    Ok(Sent { export, board })
}

impl Sent {
    /// What the pipelines on `board` have done is what is sent.
    pub(super) fn shows(&self, board: &Arc<Board>) {
        // There is one in each process.
        drop(self.board.set(Arc::clone(board)));
    }

    /// Sends what is left, for two seconds at most.
    pub(super) async fn close(self) {
        if let Some(export) = self.export {
            export.close().await;
        }
    }
}
