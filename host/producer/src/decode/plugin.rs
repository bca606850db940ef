//! A decoder from the plugins directory, brought back after it crashes and kept from stumbling over one message.

use std::{ops::Range, sync::Arc};

use arrow::{array::RecordBatch, datatypes::Schema};
use spout_codec::UnknownField;
use spout_data::{Messages, Origins, Span};
use spout_plugin::{Decoded, Decoding, Health, RowFault, Search, Step, Task};

use super::Rows;
use crate::{Error, PluginDecoder, SchemaText};

/// Crashes over one run of messages that are logged; a run of bad messages must not become a flood of lines.
const SAID: usize = 3;

/// A running plugin decoder.
#[derive(Debug)]
pub(super) struct PluginDecoding {
    spec: PluginDecoder,
    decoding: Decoding,
    health: Health,
}

impl PluginDecoding {
    pub(super) async fn open(
        spec: &PluginDecoder,
        task: Task,
        topic: &str,
        settled: Option<String>,
        span: &Span,
    ) -> Result<Self, Error> {
        match Decoding::open(task, topic, settled).await {
            Ok(decoding) => Ok(Self { spec: spec.clone(), decoding, health: Health::default() }),
            Err(source) => Err(failed(spec, span, source)),
        }
    }

    /// Goes on with what is known of the plugin from an instance before.
    pub(super) fn resume(&mut self, health: Health) {
        self.health = health;
    }

    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// The rows of `messages`. After a crash they are handed over in parts, until the ones that the plugin cannot bear are
    /// alone; those come back as faults.
    pub(super) async fn decode(&mut self, messages: &Messages, span: &Span) -> Result<Rows, Error> {
        match self.call(messages, span).await {
            Ok(decoded) => {
                self.health.passed();
                let Decoded { records, origins, faults, unknown } = decoded;
                Ok(Rows { records, origins, faults, unknown, open: None })
            }
            Err(error) if error.is_crash() => self.isolate(messages, span, error).await,
            Err(error) => Err(failed(&self.spec, span, error)),
        }
    }

    async fn call(&mut self, messages: &Messages, span: &Span) -> Result<Decoded, spout_plugin::Error> {
        let decoded = self.decoding.decode(messages, span.partition.number).await?;
        // Should it crash, the instance after it keeps to the columns of this one.
        if decoded.records.num_columns() > 0
            && !self.decoding.is_settled()
            && let Ok(text) = SchemaText::print(decoded.records.schema_ref())
        {
            self.decoding.settle(text.to_string());
        }
        Ok(decoded)
    }

    async fn isolate(&mut self, messages: &Messages, span: &Span, crash: spout_plugin::Error) -> Result<Rows, Error> {
        let (mut search, mut gathered) = (Search::new(messages.len()), Gathered::default());
        let mut crashes = Crashes { count: 0, last: crash };
        crashes.log(messages, &(0..messages.len()), span);
        loop {
            let (part, answer) = match search.step() {
                Step::Done => break,
                Step::GiveUp => return Err(self.given_up(crashes, span)),
                Step::Aside(message) => {
                    gathered.aside(message, &crashes.last);
                    search.set_aside();
                    continue;
                }
                Step::Call(part) => {
                    let decoded = self.call(&messages.slice(part.clone()), span).await;
                    let kept = decoded.map(|decoded| gathered.add(part.start, decoded));
                    (part, kept)
                }
                Step::Probe(message) => {
                    let part = message..message + 1;
                    let alone = messages.slice(part.clone());
                    let survived = self.decoding.survives(&alone, span.partition.number).await;
                    (part, survived)
                }
            };
            match answer {
                Ok(()) => search.passed(&mut self.health),
                Err(error) if error.is_crash() => {
                    search.crashed(error.is_slow(), &mut self.health);
                    crashes.last = error;
                    crashes.log(messages, &part, span);
                }
                Err(error) => return Err(failed(&self.spec, span, error)),
            }
        }
        if gathered.set_aside > 0 {
            let (plugin, messages) = (&self.spec.plugin, messages.len());
            tracing::warn!(
                plugin,
                partition = %span.partition,
                start = span.start,
                next = span.next.offset,
                messages,
                set_aside = gathered.set_aside,
                crashes = crashes.count,
                "set aside the messages that crash the decoder"
            );
        }
        gathered.into_rows(&self.spec)
    }

    fn given_up(&self, crashes: Crashes, span: &Span) -> Error {
        Error::GivenUp {
            decoder: self.spec.plugin.clone(),
            partition: span.partition,
            start: span.start,
            next: span.next.offset,
            crashes: crashes.count,
            source: Box::new(crashes.last),
        }
    }
}

/// The crashes over one run of messages.
struct Crashes {
    count: usize,
    last: spout_plugin::Error,
}

impl Crashes {
    /// Counts the last one, and logs it in one line.
    fn log(&mut self, messages: &Messages, part: &Range<usize>, span: &Span) {
        self.count += 1;
        let start = messages.offsets.get(part.start).copied().unwrap_or(span.start);
        let (partition, messages, error) = (span.partition, part.len(), &self.last);
        if self.count <= SAID {
            tracing::warn!(%partition, start, messages, %error, "the decoder crashed; opening a new instance")
        } else {
            tracing::debug!(%partition, start, messages, %error, "the decoder crashed; opening a new instance")
        }
    }
}

/// What came of the parts of one run of messages.
#[derive(Default)]
struct Gathered {
    batches: Vec<RecordBatch>,
    origins: Vec<u32>,
    faults: Vec<RowFault>,
    unknown: Vec<UnknownField>,
    set_aside: usize,
}

impl Gathered {
    /// Adds what came of the part that begins with message `from`.
    fn add(&mut self, from: usize, part: Decoded) {
        let moved = |index: usize| u32::try_from(index + from).unwrap_or(u32::MAX);
        let rows = 0..part.records.num_rows();
        self.origins.extend(rows.map(|row| part.origins.message(row).map_or(u32::MAX, moved)));
        if part.records.num_columns() > 0 {
            self.batches.push(part.records);
        }
        self.unknown.extend(part.unknown);
        let faults = part.faults.into_iter();
        self.faults.extend(faults.map(|fault| RowFault { message: moved(fault.message as usize), ..fault }));
    }

    fn aside(&mut self, message: usize, crash: &spout_plugin::Error) {
        let message = u32::try_from(message).unwrap_or(u32::MAX);
        self.faults.push(RowFault { message, code: crash.fault_code().into(), reason: crash.to_string() });
        self.set_aside += 1;
    }

    fn into_rows(self, spec: &PluginDecoder) -> Result<Rows, Error> {
        let Self { batches, origins, faults, unknown, .. } = self;
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let records = arrow::compute::concat_batches(&schema, &batches).map_err(|source| Error::Kernel {
            decoder: spec.plugin.clone(),
            rows: origins.len(),
            source,
        })?;
        Ok(Rows { records, origins: Origins::Taken(origins.into()), faults, unknown, open: None })
    }
}

fn failed(spec: &PluginDecoder, span: &Span, source: spout_plugin::Error) -> Error {
    Error::Decoder {
        decoder: spec.plugin.clone(),
        partition: span.partition,
        start: span.start,
        next: span.next.offset,
        source: Box::new(source),
    }
}
