//! The second task of a lane: decodes what was fetched and passes it through the stateless handlers.

use std::{collections::VecDeque, sync::Arc};

use arrow::datatypes::SchemaRef;
use spout_codec::UnknownField;
use spout_data::{Batch, Counts};
use spout_node::Chain;
use spout_producer::{Decoder, Member, SchemaGuard};
use tokio::sync::mpsc;

use super::{About, LaneEvent, Shared};
use crate::{
    Error,
    sample::{FetchedRun, PATIENCE, Raw, Sample},
};

/// Decodes what the other task fetches.
pub(super) struct Decoding {
    pub(super) decoder: Decoder,
    /// Where the rows of several producers come together.
    pub(super) member: Option<Member>,
    pub(super) chain: Chain,
    pub(super) fetched: mpsc::Receiver<Raw>,
    pub(super) shared: Shared,
}

impl Decoding {
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        Box::pin(stop.run_until_cancelled(self.decode_all())).await;
    }

    async fn decode_all(&mut self) {
        let mut waiting = VecDeque::new();
        loop {
            let raw = match waiting.pop_front() {
                Some(raw) => Ok(raw),
                None => match self.fetched.recv().await {
                    Some(Raw::Run(first, room)) if first.rows.is_none() && self.decoder.infers() => {
                        match self.settle((first, room), &mut waiting).await {
                            Ok(()) => continue,
                            Err(error) => Err(error),
                        }
                    }
                    Some(raw) => Ok(raw),
                    None => return,
                },
            };
            if let (Some(member), Ok(Raw::Idle(partition, _) | Raw::Ended(partition))) = (&self.member, &raw) {
                member.quiet(*partition).await;
            }
            let event = match raw {
                Ok(Raw::Idle(partition, expects)) => Ok((LaneEvent::Idle { partition, expects }, None)),
                Ok(Raw::Place(partition, position)) => Ok((LaneEvent::Place(partition, position), None)),
                Ok(Raw::Ended(partition)) => Ok((LaneEvent::Ended(partition), None)),
                Ok(Raw::Run(fetched, room)) => match self.take((fetched, room), &mut waiting).await {
                    Ok(None) => continue,
                    Ok(Some((event, guard))) => Ok((event, Some(guard))),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            // The columns stay as they are until the event is sent: later events have no fewer.
            let (event, _guard) = event.unwrap_or_else(|error| (LaneEvent::Failed(Box::new(error)), None));
            let over = matches!(event, LaneEvent::Failed(_));
            // Nobody receives it once the pipeline is over.
            if self.shared.events.send(event).is_err() || over {
                return;
            }
        }
    }

    /// Waits a little for more messages to infer a schema from: a slow source would otherwise settle it with its first one.
    /// They are decoded together, unless that were more than a commit may hold: then it is settled with what the decoder makes
    /// of them all, and they are decoded one by one.
    async fn settle(&mut self, first: FetchedRun, waiting: &mut VecDeque<Raw>) -> Result<(), Error> {
        let sample = Sample::gather(first, waiting, &mut self.fetched, PATIENCE).await;
        if let Some(first) = sample.first().filter(|_| sample.is_more() && !sample.fits(self.shared.most)) {
            let decoded = self.decoder.decode(sample.messages(), first.span.clone()).await;
            decoded.map_err(|error| self.failed(error))?;
        }
        sample.put_back(self.shared.most, waiting);
        Ok(())
    }

    /// Decodes a run and passes it through the handlers. If it has fields that become columns, these are added, and it is put
    /// back to be decoded with them.
    async fn take(
        &mut self,
        (mut fetched, room): FetchedRun,
        waiting: &mut VecDeque<Raw>,
    ) -> Result<Option<(LaneEvent, SchemaGuard)>, Error> {
        let guard = self.decoder.hold_schema().await;
        let (jumped, awaited, moved) = (fetched.jump, fetched.awaited, fetched.moves());
        let (boundary, files) = (fetched.boundary, fetched.files.take());
        let span = fetched.span.clone();
        let (partition, start, next) = (span.partition, span.start, span.next.offset);
        let mut batch = match fetched.rows.take() {
            Some(records) => {
                let counts = Counts { messages: records.num_rows() as u64, ..Counts::default() };
                Batch { span, counts, ..Batch::held(records) }
            }
            None => {
                let decoded = self.decoder.decode(std::mem::take(&mut fetched.messages), span).await;
                decoded.map_err(|error| self.failed(error))?
            }
        };
        batch.counts.add(&fetched.counts);
        if let Some(added) = self.decoder.added(&batch).map_err(|error| self.failed(error))? {
            let Batch { messages, unknown, .. } = batch;
            fetched.messages = Arc::unwrap_or_clone(messages);
            drop(guard);
            self.widen((fetched, room), added, &unknown, waiting).await?;
            return Ok(None);
        }
        let guard = match &mut self.member {
            // Its own columns need not stay: the union determines the columns.
            Some(member) => {
                drop(guard);
                member.join(&mut batch).await.map_err(|error| self.failed(error))?
            }
            None => guard,
        };
        let provenance = std::mem::take(&mut fetched.provenance);
        let about = About { jumped, moved, awaited, provenance, boundary, files, edition: guard.edition() };
        let batches = self.chain.handle(batch).await.map_err(|error| Error::Node {
            pipeline: self.shared.pipeline.clone(),
            partition,
            start,
            next,
            source: Box::new(error),
        })?;
        Ok(Some((LaneEvent::Batches { partition, batches, about, room }, guard)))
    }

    /// Adds columns for the fields of `first` that have none, `added`, and of the messages that follow it soon: these are typed
    /// together, as first messages are.
    async fn widen(
        &mut self,
        first: FetchedRun,
        added: SchemaRef,
        unknown: &[UnknownField],
        waiting: &mut VecDeque<Raw>,
    ) -> Result<(), Error> {
        let patience = first.0.awaited.unwrap_or(PATIENCE).min(PATIENCE);
        let sample = Sample::gather(first, waiting, &mut self.fetched, patience).await;
        let all = if sample.is_more() {
            self.decoder.added_for(&sample.messages(), unknown).map_err(|error| self.failed(error))?
        } else {
            None
        };
        self.decoder.widen(&all.unwrap_or(added)).await;
        sample.put_back(self.shared.most, waiting);
        Ok(())
    }

    fn failed(&self, source: spout_producer::Error) -> Error {
        Error::Producer { pipeline: self.shared.pipeline.clone(), source: Box::new(source) }
    }
}
