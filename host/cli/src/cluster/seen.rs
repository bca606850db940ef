//! What others see of a process of a cluster: at the socket of its user, in the console, and from the other processes.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use spout_api::Status;
use spout_base::{error::chain, reach::Reach};
use spout_cluster::{Answers, Station};
use spout_keeper::{Orders, Provisions, Shared};
use spout_pipeline::Update;
use spout_server::{Beside, Board};
use tokio::time::{MissedTickBehavior, interval};

use super::leading::Pipeline;
use crate::{
    Global,
    certificate::Certificate,
    otlp,
    print::Printer,
    steer::{self, Steered},
    telemetry,
    ui::{Shown, Ui},
};

/// How often the leader of a pipeline is asked how that stands, where somebody may look.
const LOOK: Duration = Duration::from_secs(2);
/// What a leader is asked for.
const STATUS: &str = "status";
const COMMIT: &str = "commit";

/// A process of a cluster, as others see it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) shared: Shared,
    board: Arc<Board>,
    control: Steered,
    sent: otlp::Sent,
    ui: Option<Shown>,
}

impl Seen {
    /// Can be seen from now on.
    pub(super) async fn open(
        provisions: &Provisions,
        (ui, certificate): (&Ui, &Certificate),
        global: &Global,
        printer: &mut Printer,
    ) -> Result<Self> {
        let (store, shared) = (provisions.store(), Shared::default());
        let ui = ui.open(certificate).await?;
        let sent = otlp::begin()?;
        let board = Arc::new(Board::new(store, shared.statuses()));
        sent.shows(&board);
        let journal = Arc::clone(&board);
        telemetry::tell(move |pipeline, level, text| journal.log(pipeline, level, text));
        let beside = Beside {
            board: Arc::clone(&board),
            shelf: provisions.shelf(),
            plugins: provisions.plugins(),
            committer: shared.committer(),
            ran: None,
            allowed: Reach::ALL.to_vec(),
            base: PathBuf::from("."),
        };
        let control = steer::answer(global, store, beside.clone());
        let ui = ui.map(|ui| ui.serve(store, beside, printer)).transpose()?;
        Ok(Self { shared, board, control, sent, ui })
    }

    /// Whether somebody may look who sees only this process.
    pub(super) fn is_shown(&self) -> bool {
        self.ui.is_some()
    }

    /// A pipeline that this process leads says something.
    pub(super) fn note(&self, update: &Update) {
        self.board.note(update);
    }

    /// Is not seen any more.
    pub(super) async fn close(self) -> Result<()> {
        if let Some(ui) = self.ui {
            ui.close(std::future::pending()).await?;
        }
        self.sent.close().await;
        self.control.close().await;
        Ok(())
    }
}

/// Answers other processes about what this one leads.
#[derive(Debug)]
pub(super) struct Told(pub(super) Shared);

#[async_trait]
impl Answers for Told {
    async fn answer(&self, pipeline: &str, asked: &str) -> Option<String> {
        let status = self.0.told(pipeline)?;
        match asked {
            STATUS => serde_json::to_string(&status).ok(),
            COMMIT => {
                self.0.committer().one(pipeline);
                Some(String::new())
            }
            _ => None,
        }
    }
}

/// Shows a pipeline as its leader says while that is another process, and hands on to it what is ordered here. Never ends.
pub(super) async fn look(pipeline: &Pipeline, station: &Station, mut orders: Orders, looks: bool) {
    let name = &pipeline.wanted.name;
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => STATUS,
            () = orders.next() => COMMIT,
        };
        let Some(leader) = pipeline.led_at() else { continue };
        let told = if looks || asked == COMMIT {
            station.ask(&leader, name, asked).await.unwrap_or_else(|error| {
                tracing::debug!(pipeline = name, leader, "cannot ask the leader: {}", chain(&error));
                None
            })
        } else {
            None
        };
        let told: Option<Status> = told.and_then(|told| serde_json::from_str(&told).ok());
        // It may lead by now.
        if pipeline.led_at().is_some() && asked == STATUS {
            pipeline.shared.follows(name, &format!("the process of the cluster at {leader}"), told);
        }
    }
}
