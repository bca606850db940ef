//! The handlers where lanes meet, in one piece or split by key.

use std::{collections::BTreeMap, time::Duration};

use spout_data::{Batch, Part};
use spout_node::{BUCKETS, Buckets, Chain, Keys, NodeSpec, Shape, SourceEvent, States, are_of_buckets, split_by_key};

use super::{Error, build::Parts, columns::Columns, run::RunConfig};

/// The first handler with state and all after it.
#[derive(Debug)]
pub(super) enum Handlers {
    /// One of each.
    Whole(Box<Chain>),
    /// One of each for every bucket of keys.
    Split(Buckets),
}

impl Default for Handlers {
    fn default() -> Self {
        Self::Whole(Box::default())
    }
}

impl Handlers {
    /// Whether they are split by key.
    pub(super) fn are_split(&self) -> bool {
        matches!(self, Self::Split(_))
    }

    /// What comes out when rows of the shape `input` go in.
    pub(super) async fn shape(&mut self, input: Shape) -> Result<Shape, spout_node::Error> {
        match self {
            Self::Whole(chain) => {
                chain.prepare(&input).await?;
                chain.shape(input)
            }
            Self::Split(buckets) => Box::pin(buckets.shape(&input)).await,
        }
    }

    pub(super) fn idle_after(&self) -> Option<Duration> {
        match self {
            Self::Whole(chain) => chain.idle_after(),
            Self::Split(buckets) => buckets.idle_after(),
        }
    }

    pub(super) async fn handle(&mut self, batch: Batch) -> Result<Vec<Batch>, spout_node::Error> {
        match self {
            Self::Whole(chain) => Box::pin(chain.handle(batch)).await,
            Self::Split(buckets) => Box::pin(buckets.handle(batch)).await,
        }
    }

    pub(super) async fn on_event(&mut self, event: SourceEvent) -> Result<Vec<Batch>, spout_node::Error> {
        match self {
            Self::Whole(chain) => Box::pin(chain.on_event(event)).await,
            Self::Split(buckets) => Box::pin(buckets.on_event(event)).await,
        }
    }

    pub(super) async fn finish(&mut self) -> Result<Vec<Batch>, spout_node::Error> {
        match self {
            Self::Whole(chain) => Box::pin(chain.finish()).await,
            Self::Split(buckets) => Box::pin(buckets.finish()).await,
        }
    }

    pub(super) async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, spout_node::Error> {
        match self {
            Self::Whole(chain) => Box::pin(chain.snapshot()).await,
            Self::Split(buckets) => Box::pin(buckets.snapshot()).await,
        }
    }
}

impl Parts {
    /// Whether `states` are those of buckets, of handlers that do not start empty.
    pub(super) fn are_split(&self, states: &States) -> bool {
        let reset = self.builder().reset;
        are_of_buckets(states.keys().filter(|key| !reset.contains(key.split('/').next().unwrap_or_default())))
    }

    /// Whether `states` say nothing of how handlers keep theirs.
    pub(super) fn begin_empty(&self, states: &States) -> bool {
        let reset = self.builder().reset;
        states.keys().all(|key| reset.contains(key.split('/').next().unwrap_or_default()))
    }

    /// The handlers that run where lanes meet, with the state of the last commit, in the form that this has.
    pub(super) async fn handlers(&self, states: &mut States) -> Result<Handlers, Error> {
        if !self.are_split(states) {
            return Ok(Handlers::Whole(Box::new(self.meeting_chain(states).await?)));
        }
        let buckets = self.buckets(0..BUCKETS, states).await?;
        self.builder().nothing_left(states).map_err(|source| self.not_restored(source))?;
        Ok(Handlers::Split(buckets))
    }

    /// Those of some buckets of keys; their states are taken out of `states`.
    pub(super) async fn buckets(
        &self,
        which: impl IntoIterator<Item = u16>,
        states: &mut States,
    ) -> Result<Buckets, Error> {
        let lane = self.spec.node.len() - self.meeting_nodes().len();
        let (taps, figures) = (self.taps.clone(), self.figures.clone());
        let finish = move |chain: Chain| chain.watched(taps.watcher(), lane, false).counted_by(figures.tallies(false));
        let buckets = self.builder().buckets(self.meeting_nodes(), which, states, finish).await;
        buckets.map_err(|source| self.not_restored(source))
    }

    /// How the rows that meet may be split by key; none if a handler has to have all of them.
    ///
    /// # Errors
    /// A handler that cannot be opened, or refuses such rows.
    pub(super) async fn keys(&self, columns: &Columns) -> Result<Option<Keys>, Error> {
        if !split_by_key(self.meeting_nodes()) {
            return Ok(None);
        }
        let mut handlers = Handlers::Whole(Box::new(self.meeting_chain(&mut States::new()).await?));
        self.shape(columns, &mut handlers).await?;
        match &handlers {
            Handlers::Whole(chain) => Ok(chain.keys()),
            Handlers::Split(_) => Ok(None),
        }
    }

    /// Whether handlers of other processes can share the keys: the head has no state in one piece, and nobody needs all rows.
    pub(super) async fn splits(
        &self,
        columns: &Columns,
        split: bool,
        empty: bool,
        config: &RunConfig,
    ) -> Result<bool, Error> {
        if config.leads.is_none() || !self.spec.consumers.is_empty() || !self.place.downstream().is_empty() {
            return Ok(false);
        }
        Ok(split || empty && self.keys(columns).await?.is_some())
    }

    /// Refuses handlers that need all rows, where their state is kept by key.
    pub(super) async fn still_split(&self, columns: &Columns, split: bool) -> Result<(), Error> {
        if !split || self.keys(columns).await?.is_some() {
            return Ok(());
        }
        let handler = self.meeting_nodes().first().map(NodeSpec::id).unwrap_or_default().to_owned();
        let what = "it is kept by key, and now it or a handler after it needs the rows of all keys".to_owned();
        Err(self.not_restored(spout_node::Error::Changed { handler, what }))
    }
}
