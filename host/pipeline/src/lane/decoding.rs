//! The second task of a lane: decodes what was fetched and passes it through the stateless handlers.

use std::{collections::VecDeque, sync::Arc};

use arrow::datatypes::SchemaRef;
use spout_base::{
    error::Coded as _,
    trace::{self, Context},
};
use spout_codec::UnknownField;
use spout_data::{Batch, Counts, Messages, Span};
use spout_node::Chain;
use spout_producer::{Decoder, Fetched, Member, SchemaGuard};
use tokio::sync::mpsc;

use super::{
    About, LaneEvent, Shared, Slice,
    ahead::{Ahead, Decoded, decoded_as, told},
    slices::{KEPT, Slices},
};
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
    /// What was fetched behind runs that are decoded ahead, and waits for them.
    pub(super) held: Option<Next>,
    pub(super) shared: Shared,
    /// The span of the fetch that brought the run of now.
    pub(super) trace: Option<Context>,
}

/// What came of decoding a run.
enum Run {
    /// Its first batches, and the slices that are left of it.
    Decoded(Vec<Batch>, Option<Slices>),
    /// It has fields that become columns: to be decoded again with them.
    Wider { messages: Messages, added: SchemaRef, unknown: Vec<UnknownField> },
}

/// What a lane has to do next.
pub(super) enum Next {
    /// As it was fetched.
    Raw(Raw),
    /// A run that was decoded ahead.
    Decoded(Box<Decoded>),
    /// There is nothing more.
    End,
}

/// What is left to pass on of a run, and what keeps the columns as they are meanwhile.
struct Rest {
    guard: SchemaGuard,
    slices: Option<(Slices, mpsc::Sender<Slice>)>,
}

impl Decoding {
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        Box::pin(stop.run_until_cancelled(self.decode_all())).await;
    }

    async fn decode_all(&mut self) {
        let (mut waiting, mut ahead) = (VecDeque::new(), Ahead::default());
        loop {
            let raw = match waiting.pop_front() {
                Some(raw) => Ok(raw),
                None => match self.next(&mut ahead).await {
                    Next::Raw(Raw::Run(first, room)) if first.rows.is_none() && self.decoder.infers() => {
                        match self.settle((first, room), &mut waiting).await {
                            Ok(()) => continue,
                            Err(error) => Err(error),
                        }
                    }
                    Next::Raw(raw) => Ok(raw),
                    Next::Decoded(decoded) => {
                        if !self.pass_decoded(*decoded).await {
                            return;
                        }
                        continue;
                    }
                    Next::End => return,
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
                    Ok(Some((event, rest))) => Ok((event, Some(rest))),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            // The columns stay as they are until the event is sent: later events have no fewer.
            let (event, rest) = event.unwrap_or_else(|error| (LaneEvent::Failed(Box::new(error)), None));
            let over = matches!(event, LaneEvent::Failed(_));
            // Nobody receives it once the pipeline is over.
            if self.shared.events.send(event).is_err() || over {
                return;
            }
            if let Some(Rest { guard, slices: Some((slices, more)) }) = rest
                && !self.pass_on(slices, more, guard).await
            {
                return;
            }
        }
    }

    /// What is next in order. Runs of which several wait are decoded ahead, each by its own decoder; whatever else comes waits for
    /// these.
    async fn next(&mut self, ahead: &mut Ahead) -> Next {
        loop {
            if ahead.is_empty()
                && let Some(next) = self.held.take()
            {
                return next;
            }
            let raw = tokio::select! {
                biased;
                decoded = ahead.next(), if !ahead.is_empty() => return Next::Decoded(Box::new(decoded)),
                raw = self.fetched.recv(), if self.held.is_none() && !ahead.is_full() => raw,
            };
            let columns = self.decoder.width().await;
            self.held = match raw {
                Some(Raw::Run(fetched, room)) if self.goes_ahead(&fetched, columns, ahead) => {
                    ahead.start((fetched, room), &self.decoder).err().map(|(run, room)| Next::Raw(Raw::Run(run, room)))
                }
                Some(raw) => Some(Next::Raw(raw)),
                None => Some(Next::End),
            };
        }
    }

    /// Whether a run is decoded ahead: it is one slice, and there are others, or one decoder would do as well.
    fn goes_ahead(&self, fetched: &Fetched, columns: usize, ahead: &Ahead) -> bool {
        let others = !ahead.is_empty() || !self.fetched.is_empty();
        others
            && fetched.rows.is_none()
            && self.member.is_none()
            && self.decoder.shares()
            && Slices::is_one(&fetched.messages, columns)
    }

    /// Passes on a run that was decoded ahead; whether more is to come.
    async fn pass_decoded(&mut self, decoded: Decoded) -> bool {
        let event = self.decoded(decoded).await.unwrap_or_else(|error| LaneEvent::Failed(Box::new(error)));
        let over = matches!(event, LaneEvent::Failed(_));
        self.shared.events.send(event).is_ok() && !over
    }

    async fn decoded(&mut self, Decoded { run, moved, batch }: Decoded) -> Result<LaneEvent, Error> {
        self.trace = run.1.trace();
        let batch = batch.map_err(|error| self.failed(error))?;
        let guard = self.decoder.hold_schema().await;
        let (event, _) = self.handled(run, moved, (vec![batch], None), guard).await?;
        Ok(event)
    }

    /// Passes on what is left of a run, slice by slice; whether that was all of it.
    async fn pass_on(&mut self, mut slices: Slices, more: mpsc::Sender<Slice>, mut guard: SchemaGuard) -> bool {
        while let Some((messages, span)) = slices.next() {
            let slice = match self.slice(messages, span, &mut guard).await {
                Ok(batches) => Slice::Batches(batches),
                Err(error) => Slice::Failed(Box::new(error)),
            };
            let failed = matches!(slice, Slice::Failed(_));
            if more.send(slice).await.is_err() || failed {
                return false;
            }
            tokio::task::yield_now().await;
        }
        more.send(Slice::End).await.is_ok()
    }

    /// The batches of one of several slices.
    async fn slice(&mut self, messages: Messages, span: Span, guard: &mut SchemaGuard) -> Result<Vec<Batch>, Error> {
        let batch = decoded_as(self.trace, self.decoder.decode(messages, span)).await;
        let mut batch = batch.map_err(|error| self.failed(error))?;
        batch.counts.made = batch.counts().decoded();
        if let Some(member) = &mut self.member {
            let joined = member.join_again(&mut batch, guard).await;
            joined.map_err(|error| self.failed(error))?;
        }
        self.handle(batch).await
    }

    async fn handle(&mut self, batch: Batch) -> Result<Vec<Batch>, Error> {
        let Span { partition, start, ref next } = batch.span;
        let (pipeline, next) = (self.shared.pipeline.clone(), next.offset);
        let mut doing = trace::within("chain", self.trace);
        told(&mut doing, &batch);
        let handled = self.chain.handle(batch).await;
        let handled = handled.inspect_err(|error| doing.fail(error.code()));
        handled.map_err(|source| Error::Node { pipeline, partition, start, next, source: Box::new(source) })
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
    ) -> Result<Option<(LaneEvent, Rest)>, Error> {
        self.trace = room.trace();
        let guard = self.decoder.hold_schema().await;
        let (moved, span) = (fetched.moves(), fetched.span.clone());
        let decoded = match fetched.rows.take() {
            Some(records) => {
                let counts = Counts { messages: records.num_rows() as u64, ..Counts::default() };
                (vec![Batch { span, counts, ..Batch::held(records) }], None)
            }
            None => match self.decode(std::mem::take(&mut fetched.messages), span).await? {
                Run::Decoded(batches, slices) => (batches, slices),
                Run::Wider { messages, added, unknown } => {
                    fetched.messages = messages;
                    drop(guard);
                    self.widen((fetched, room), added, &unknown, waiting).await?;
                    return Ok(None);
                }
            },
        };
        self.handled((fetched, room), moved, decoded, guard).await.map(Some)
    }

    /// Passes the rows of a run through the handlers.
    async fn handled(
        &mut self,
        (mut fetched, room): FetchedRun,
        moved: bool,
        (decoded, slices): (Vec<Batch>, Option<Slices>),
        mut guard: SchemaGuard,
    ) -> Result<(LaneEvent, Rest), Error> {
        let (jumped, awaited) = (fetched.jump, fetched.awaited);
        let partition = fetched.span.partition;
        let mut batches = Vec::new();
        for (at, mut batch) in decoded.into_iter().enumerate() {
            if at == 0 {
                batch.counts.add(&fetched.counts);
            }
            batch.counts.made = batch.counts().decoded();
            match &mut self.member {
                // Its own columns need not stay: the union determines the columns.
                Some(member) if at == 0 => {
                    drop(guard);
                    guard = member.join(&mut batch).await.map_err(|error| self.failed(error))?;
                }
                Some(member) => {
                    let joined = member.join_again(&mut batch, &mut guard).await;
                    joined.map_err(|error| self.failed(error))?;
                }
                None => {}
            }
            batches.extend(self.handle(batch).await?);
        }
        let (boundary, files) = (fetched.boundary, fetched.files.take());
        let provenance = std::mem::take(&mut fetched.provenance);
        let about =
            About { jumped, moved, awaited, provenance, boundary, files, edition: guard.edition(), trace: self.trace };
        let (slices, more) = match slices {
            Some(slices) => {
                let (sender, more) = mpsc::channel(1);
                (Some((slices, sender)), Some(more))
            }
            None => (None, None),
        };
        Ok((LaneEvent::Batches { partition, batches, more, about, share: room }, Rest { guard, slices }))
    }

    /// Decodes a run: all of it, or the first slices of a large one. Columns are added before any of it is passed on, so where
    /// they may be, a large one is looked at whole.
    async fn decode(&mut self, messages: Messages, span: Span) -> Result<Run, Error> {
        let columns = self.decoder.width().await;
        let mut slices = match Slices::cut(messages, &span, columns) {
            Ok(slices) => slices,
            Err(messages) => {
                let batch = decoded_as(self.trace, self.decoder.decode(messages, span)).await;
                let batch = batch.map_err(|error| self.failed(error))?;
                return Ok(match self.decoder.added(&batch).map_err(|error| self.failed(error))? {
                    None => Run::Decoded(vec![batch], None),
                    Some(added) => {
                        let Batch { messages, unknown, .. } = batch;
                        Run::Wider { messages: Arc::unwrap_or_clone(messages), added, unknown }
                    }
                });
            }
        };
        let mut kept = Vec::new();
        while let Some((messages, span)) = slices.next() {
            let batch = decoded_as(self.trace, self.decoder.decode(messages, span)).await;
            let batch = batch.map_err(|error| self.failed(error))?;
            if let Some(added) = self.decoder.added(&batch).map_err(|error| self.failed(error))? {
                let all = self.decoder.added_for(slices.messages(), &batch.unknown);
                let added = all.map_err(|error| self.failed(error))?.unwrap_or(added);
                return Ok(Run::Wider { messages: slices.into_messages(), added, unknown: batch.unknown });
            }
            if kept.len() < KEPT {
                kept.push(batch);
            }
            if kept.len() == KEPT && !self.decoder.evolves() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let slices = slices.from(kept.len(), columns);
        Ok(Run::Decoded(kept, Some(slices).filter(|slices| !slices.is_empty())))
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
