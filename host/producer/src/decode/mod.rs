//! Decoders: messages in, rows and faults out, with one schema for all partitions of a branch.
//!
//! **Invariant**: a message either has a row, or a fault, or was a tombstone that the decoder chose to leave out; it never
//! takes a neighbour down.

mod branches;
mod cells;
mod conform;
mod core;
mod decimals;
mod evolve;
mod exact;
mod grown;
mod keep;
mod native;
mod pin;
mod plugin;
mod rows;
mod set_aside;
#[cfg(test)]
mod tests;
mod union;
use std::{path::PathBuf, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use spout_base::bounded;
use spout_codec::UnknownField;

use self::{
    evolve::with_added,
    native::{Patience, Shelf, is_settled},
    plugin::PluginDecoding,
};
pub use self::{
    keep::Change,
    native::{ArrowSpec, JsonSpec, NativeDecoder, RegistryError, RegistrySpec, Schemas},
    pin::{SchemaGuard, SchemaPin},
    union::{Member, PRODUCER, Union},
};
use super::{DecoderSpec, Error, MetadataColumn, SchemaText, metadata};
use spout_data::{Batch, Counts, DeadLetter, Letters, Messages, Origins, Span, Wrong};
use spout_plugin::{Decoding, Health, RowFault, Task};

/// Makes a decoder for each partition.
#[derive(Clone, Debug)]
pub struct DecoderFactory {
    /// What the spec says.
    pub spec: DecoderSpec,
    /// The task of the plugin, where the decoder is one.
    pub task: Option<Task>,
    /// The topic, for the plugin.
    pub topic: String,
    /// Whether it meets messages at all: what a repo has committed are rows already.
    pub decodes: bool,
    /// Columns added from the message itself.
    pub metadata: Vec<MetadataColumn>,
    /// The schema that all partitions share.
    pub pin: SchemaPin,
    /// Directory of the spec, where paths of schemas and descriptors start.
    pub base: PathBuf,
    /// Schemas that its decoders have from a registry.
    pub schemas: Schemas,
}

/// Decodes the messages of one partition.
#[derive(Debug)]
pub struct Decoder {
    factory: DecoderFactory,
    running: Option<Running>,
    /// The edition of the schema that it keeps to.
    edition: u64,
    /// The columns that its rows have to have, once they are settled and unless the spec says them.
    kept: Option<SchemaRef>,
    /// The columns of the last rows, and how many there are with nested ones.
    width: Option<(SchemaRef, usize)>,
    /// How a plugin has done, over all instances.
    health: Health,
}

#[derive(Debug)]
enum Running {
    Native(Box<dyn Native>),
    Plugin(Box<PluginDecoding>),
}

/// A running native decoder.
pub(crate) trait Native: Send + std::fmt::Debug {
    /// The rows of `messages`; what is wrong with one of them is a fault of that one.
    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error>;

    /// Columns for the fields that `messages` have values for and that have none, if the spec wants them added; `unknown` are
    /// fields that were left out.
    fn added(&mut self, messages: &Messages, unknown: &[UnknownField]) -> Result<SchemaRef, Error> {
        let _ = (messages, unknown);
        Ok(Arc::new(arrow::datatypes::Schema::empty()))
    }

    /// Parts of the messages decoded last that are set aside, while the rest of their message has rows.
    fn pieces(&mut self) -> Vec<Piece> {
        Vec::new()
    }
}

/// A part of a message that is set aside by itself.
#[derive(Debug)]
pub(crate) struct Piece {
    fault: RowFault,
    /// Its bytes.
    value: Vec<u8>,
}

/// Rows of one run of messages.
#[derive(Debug)]
pub(crate) struct Rows {
    records: RecordBatch,
    origins: Origins,
    faults: Vec<RowFault>,
    /// Fields that were left out of the rows.
    unknown: Vec<UnknownField>,
    /// The columns, where they are named and not yet typed: what later messages will settle.
    open: Option<SchemaRef>,
}

impl DecoderFactory {
    /// A decoder for one partition; what it needs is opened when the first messages arrive.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        Decoder { factory: self.clone(), running: None, edition: 0, kept: None, width: None, health: Health::default() }
    }

    /// Whether columns may be added while decoders run.
    #[must_use]
    pub fn evolves(&self) -> bool {
        self.spec.evolves()
    }

    /// What the spec calls its decoder.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.spec {
            DecoderSpec::Native(native) => native.name(),
            DecoderSpec::Plugin(spec) => &spec.plugin,
        }
    }

    /// The columns of what its decoders make, where they are known before any message: declared, or pinned.
    pub async fn schema(&self) -> Option<SchemaRef> {
        if !self.decodes {
            return None;
        }
        let declared = match &self.spec {
            DecoderSpec::Native(native) => native.schema(),
            DecoderSpec::Plugin(_) => None,
        };
        let schema = match declared {
            Some(declared) if self.evolves() => with_added(declared, self.pin.get().await.as_ref()),
            Some(declared) => declared,
            None => {
                // Columns that are named and not yet typed say nothing of what comes.
                let pinned = self.pin.get().await.filter(|schema| is_settled(Some(schema)));
                match (&self.spec, pinned) {
                    (DecoderSpec::Plugin(spec), pinned) if spec.says_columns() => self.output(None).await.or(pinned)?,
                    (_, Some(pinned)) => pinned,
                    (DecoderSpec::Native(native), None) => match native.usual() {
                        Some(usual) => usual,
                        // A registry that does not answer now says it later, with the first messages.
                        None => self.registered(Patience::Once).await.ok().flatten()?,
                    },
                    (DecoderSpec::Plugin(_), None) => self.output(None).await?,
                }
            }
        };
        let empty = RecordBatch::new_empty(schema);
        let attached = metadata::attach(empty, &self.metadata, 0, &Messages::default(), &Origins::Each);
        attached.ok().map(|records| records.schema())
    }

    /// The columns that the plugin declares when it is opened with `settled`; where it cannot be opened, its first messages will
    /// say why.
    async fn output(&self, settled: Option<&SchemaRef>) -> Option<SchemaRef> {
        let settled = settled.and_then(|schema| SchemaText::print(schema).ok()).map(|text| text.to_string());
        let decoding = Decoding::open(self.task.clone()?, &self.topic, settled).await.ok()?;
        decoding.output().cloned()
    }

    /// Adds to the schema of earlier commits, before any message, the columns that a plugin has and declares beyond it; those
    /// columns.
    ///
    /// # Errors
    /// [`Error::Unsettled`] if it declares others than those that are settled.
    pub async fn add_declared(&self) -> Result<Option<SchemaRef>, Error> {
        if !self.decodes || self.says_columns() {
            return Ok(None);
        }
        let mut pin = self.pin.hold().await;
        let Some(settled) = pin.as_ref().filter(|schema| is_settled(Some(schema))) else { return Ok(None) };
        let added = match self.spec {
            DecoderSpec::Native(_) => self.registered_beyond(settled).await?,
            DecoderSpec::Plugin(_) => {
                let Some(declared) = self.output(Some(settled)).await else { return Ok(None) };
                keep::added(settled, &declared).map_err(|change| self.unsettled(change))?
            }
        };
        if added.is_empty() {
            return Ok(None);
        }
        let added: SchemaRef = Arc::new(Schema::new(added));
        *pin = Some(with_added(Arc::clone(settled), Some(&added)));
        Ok(Some(added))
    }

    /// The registry of its messages' schemas, if they are in one.
    fn shelf(&self) -> Result<Option<Arc<Shelf>>, Error> {
        match &self.spec {
            DecoderSpec::Native(native) => {
                native.registry().map(|spec| self.schemas.open(spec, &self.base, &self.topic)).transpose()
            }
            DecoderSpec::Plugin(_) => Ok(None),
        }
    }

    /// The columns that a registry says.
    async fn registered(&self, patience: Patience) -> Result<Option<SchemaRef>, Error> {
        match self.shelf()? {
            Some(shelf) => shelf.columns(patience).await,
            None => Ok(None),
        }
    }

    /// The columns that a registry says beyond those that are settled. One that went stays, and one of another type keeps its own:
    /// messages of earlier schemas still come.
    async fn registered_beyond(&self, settled: &SchemaRef) -> Result<Vec<Arc<Field>>, Error> {
        let now = match self.registered(Patience::Once).await {
            Ok(now) => now,
            // Schemas that are known need no registry.
            Err(error @ Error::Registry(RegistryError::Silent { .. })) => {
                tracing::warn!("columns that were added since are not known: {error}");
                None
            }
            Err(error) => return Err(error),
        };
        let new = |field: &&Arc<Field>| settled.field_with_name(field.name()).is_err();
        Ok(now.iter().flat_map(|now| now.fields().iter()).filter(new).cloned().collect())
    }

    /// Whether the spec itself says the columns, so that other columns are what its author wants.
    fn says_columns(&self) -> bool {
        match &self.spec {
            DecoderSpec::Native(native) => native.schema().is_some(),
            DecoderSpec::Plugin(spec) => spec.says_columns(),
        }
    }

    fn unsettled(&self, change: Change) -> Error {
        Error::Unsettled { decoder: self.name().to_owned(), change: Box::new(change) }
    }

    fn refused(&self, reason: String) -> Error {
        Error::Schema { decoder: self.name().to_owned(), reason }
    }

    /// Opens the decoder; `pinned` is the schema it has to keep to.
    async fn open(&self, pinned: Option<&SchemaRef>, span: &Span) -> Result<Running, Error> {
        match &self.spec {
            DecoderSpec::Native(native) => {
                let file = match native.file() {
                    None => None,
                    Some(path) => {
                        let path = self.base.join(path);
                        let read = bounded::read_regular(&path, native::LARGEST_FILE);
                        Some(read.map_err(|source| Error::File { decoder: self.name().into(), path, source })?)
                    }
                };
                let shelf = self.shelf()?;
                let registered = match &shelf {
                    Some(shelf) if pinned.is_none() && !self.says_columns() => shelf.columns(Patience::Long).await?,
                    _ => None,
                };
                let opened = native.open(file.as_deref(), pinned.or(registered.as_ref()), shelf.as_ref());
                Ok(Running::Native(opened.map_err(|reason| self.refused(reason))?))
            }
            DecoderSpec::Plugin(spec) => {
                let task = self.task.clone().ok_or_else(|| self.refused("the plugin is not loaded".into()))?;
                let settled = pinned.map(|schema| SchemaText::print(schema).map(|text| text.to_string())).transpose();
                let settled = settled.map_err(|reason| self.refused(reason))?;
                PluginDecoding::open(spec, task, &self.topic, settled, span)
                    .await
                    .map(|opened| Running::Plugin(Box::new(opened)))
            }
        }
    }
}

impl Decoder {
    /// Whether the schema will be inferred from the next messages, so that it is better to have many of them.
    #[must_use]
    pub fn infers(&self) -> bool {
        let declared = match &self.factory.spec {
            DecoderSpec::Native(native) => !native.infers(),
            DecoderSpec::Plugin(spec) => spec.says_columns(),
        };
        self.running.is_none() && !declared && !self.factory.pin.is_settled()
    }

    /// Whether columns may be added while it runs.
    #[must_use]
    pub fn evolves(&self) -> bool {
        self.factory.evolves()
    }

    /// Whether there may be others for the messages of its partition: it is running, and runs do not depend on what came before.
    /// Instances of a plugin, and what waits for a registry, are one for each lane.
    #[must_use]
    pub fn shares(&self) -> bool {
        let alone = match &self.factory.spec {
            DecoderSpec::Native(native) => native.registry().is_some(),
            DecoderSpec::Plugin(_) => true,
        };
        !alone && !self.evolves() && self.running.is_some()
    }

    /// Another one for messages of the same partition, where it [shares](Self::shares) them.
    #[must_use]
    pub fn another(&self) -> Option<Self> {
        self.shares().then(|| Self { edition: self.edition, ..self.factory.decoder() })
    }

    /// How many columns its rows have, nested ones included, as far as that is known.
    pub async fn width(&mut self) -> usize {
        if self.width.is_none() {
            self.width =
                self.factory.schema().await.map(|schema| (Arc::clone(&schema), schema.flattened_fields().len()));
        }
        self.width.as_ref().map_or(1, |(_, width)| *width)
    }

    /// The rows of `messages` as a batch of `span`; messages that could not be decoded come as its dead letters.
    ///
    /// # Errors
    /// What stops the pipeline: a plugin that is broken altogether, a schema that cannot be read.
    pub async fn decode(&mut self, messages: Messages, span: Span) -> Result<Batch, Error> {
        let aside = set_aside::separate(&messages);
        let given = aside.as_ref().map_or(&messages, |aside| &aside.sound);
        if let Some(shelf) = self.factory.shelf()? {
            shelf.prepare(given, Patience::Long).await?;
        }
        let rows = match (given.is_empty(), &mut self.running) {
            (true, _) => Rows::none(),
            (false, Some(running)) => running.decode(given, &span).await?,
            (false, None) => self.first(given, &span).await?,
        };
        let rows = match aside {
            Some(aside) => aside.restore(rows),
            None => rows,
        };
        let rows = self.kept(rows)?;
        let empty = rows.empty(messages.len());
        let attached =
            metadata::attach(rows.records, &self.factory.metadata, span.partition.number, &messages, &rows.origins);
        let records = attached.map_err(|source| self.factory.refused(source.to_string()))?;
        let same = |(known, _): &(SchemaRef, usize)| known.fields().len() == records.num_columns();
        if records.num_columns() > 0 && !self.width.as_ref().is_some_and(same) {
            self.width = Some((records.schema(), records.schema().flattened_fields().len()));
        }
        let mut letters = Letters::new(&span, &messages);
        let letter = |fault: RowFault| letters.letter(Some(fault.message as usize), wrong(fault), Vec::new);
        let mut dead: Vec<DeadLetter> = rows.faults.into_iter().map(letter).collect();
        if let Some(Running::Native(decoder)) = &mut self.running {
            let piece = |piece: Piece| letters.part(piece.fault.message as usize, wrong(piece.fault), piece.value);
            dead.extend(decoder.pieces().into_iter().map(piece));
        }
        let counts = Counts { messages: messages.len() as u64, empty, ..Counts::default() };
        let Rows { origins, unknown, .. } = rows;
        Ok(Batch { records, span, origins, messages: Arc::new(messages), dead, late: Vec::new(), unknown, counts })
    }

    /// The same rows, if they have the settled columns.
    fn kept(&self, rows: Rows) -> Result<Rows, Error> {
        match &self.kept {
            Some(settled) if rows.records.num_columns() > 0 => {
                let records = keep::kept(settled, rows.records).map_err(|change| self.factory.unsettled(change))?;
                Ok(Rows { records, ..rows })
            }
            _ => Ok(rows),
        }
    }

    /// Says once what the first messages have settled, unless the spec says it.
    fn announce(&self, schema: &SchemaRef) {
        if !self.factory.says_columns() {
            tracing::info!("schema of {} settled: {}", self.factory.name(), SchemaText::brief(schema));
        }
    }

    /// The first rows of this partition. If no partition has settled the schema yet, the others wait for these.
    async fn first(&mut self, messages: &Messages, span: &Span) -> Result<Rows, Error> {
        let mut pin = self.factory.pin.hold().await;
        let mut running = self.factory.open(pin.as_ref(), span).await?;
        if let Running::Plugin(plugin) = &mut running {
            plugin.resume(self.health.clone());
        }
        let rows = running.decode(messages, span).await?;
        if let Running::Plugin(plugin) = &running {
            self.health = plugin.health();
        }
        if !is_settled(pin.as_ref()) {
            let typed = Some(rows.records.schema()).filter(|schema| !schema.fields().is_empty());
            if let Some(schema) = typed.as_ref().filter(|schema| is_settled(Some(schema))) {
                self.announce(schema);
            }
            *pin = typed.or(rows.open.clone()).or(pin.take());
        }
        self.kept = pin.clone().filter(|schema| is_settled(Some(schema)) && !self.factory.says_columns());
        // A decoder that has seen no sound message has settled nothing: it is opened anew for the next ones.
        self.running = is_settled(pin.as_ref()).then_some(running);
        Ok(rows)
    }
}

impl Running {
    async fn decode(&mut self, messages: &Messages, span: &Span) -> Result<Rows, Error> {
        match self {
            Self::Native(decoder) => decoder.decode(messages),
            Self::Plugin(decoder) => decoder.decode(messages, span).await,
        }
    }
}

impl Rows {
    fn none() -> Self {
        Self {
            records: RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty())),
            origins: Origins::Each,
            faults: Vec::new(),
            unknown: Vec::new(),
            open: None,
        }
    }

    /// How many of `messages` have neither a row nor a fault.
    fn empty(&self, messages: usize) -> u64 {
        let list = match &self.origins {
            Origins::Unknown => return 0,
            Origins::Each => return messages.saturating_sub(self.records.num_rows() + self.faults.len()) as u64,
            Origins::Taken(list) => list,
        };
        let mut said = vec![false; messages];
        for message in list.iter().copied().chain(self.faults.iter().map(|fault| fault.message)) {
            if let Some(said) = said.get_mut(message as usize) {
                *said = true;
            }
        }
        said.iter().filter(|said| !**said).count() as u64
    }
}

fn fault(message: u32, code: &str, reason: &str) -> RowFault {
    RowFault { message, code: code.into(), reason: reason.into() }
}

fn wrong(fault: RowFault) -> Wrong {
    Wrong { stage: "decode".into(), code: fault.code, reason: fault.reason }
}
