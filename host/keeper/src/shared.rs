//! What a process of a cluster tells of the pipelines that it takes part in: those that it leads as it runs them, the others as
//! their leaders say.

use spout_api::{Phase, Status};
use spout_base::error::Coded;
use spout_pipeline::{Parts, Update};
use spout_spec::Loaded;

use super::{
    Error,
    committer::{Committer, Orders},
    status::Statuses,
    wanted::Wanted,
};

/// The pipelines that a process of a cluster takes part in. Clones are of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    statuses: Statuses,
    committer: Committer,
}

impl Shared {
    /// What they are doing, as it changes.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    /// What has those commit what they have read that this process leads.
    #[must_use]
    pub fn committer(&self) -> Committer {
        self.committer.clone()
    }

    /// The orders to commit that one gets from now on.
    #[must_use]
    pub fn orders(&self, name: &str) -> Orders {
        self.committer.orders(&[name.to_owned()])
    }

    /// These are to run or to pause, and no others.
    pub fn wanted(&self, wanted: &[Wanted]) {
        self.statuses.forget(|name| wanted.iter().any(|one| one.name == name));
        for paused in wanted.iter().filter(|one| !one.wish.running) {
            self.statuses.set(&paused.name, Phase::Stopped);
        }
        self.statuses.now_known();
    }

    /// This process takes part in one of this spec.
    pub fn joins(&self, loaded: &Loaded) {
        self.statuses.made_of(loaded);
    }

    /// One cannot run.
    pub fn failed(&self, name: &str, error: &dyn Coded) {
        self.statuses.failed(name, error);
    }

    /// This process leads one, made of `parts`.
    pub fn leads(&self, parts: &Parts) {
        self.statuses.starts_with(parts);
    }

    /// One that this process leads says something.
    pub fn hear(&self, update: &Update) {
        self.statuses.hear(update);
    }

    /// Another process leads one, at `leader`, and says this of it, if it could be asked.
    pub fn follows(&self, name: &str, leader: &str, told: Option<Status>) {
        self.statuses.elsewhere(name, &Error::Elsewhere { holder: leader.to_owned() }, told);
    }

    /// What others are told of one, if this process leads it.
    #[must_use]
    pub fn told(&self, name: &str) -> Option<Status> {
        self.statuses.one(name).filter(|status| status.state != Phase::Elsewhere)
    }
}
