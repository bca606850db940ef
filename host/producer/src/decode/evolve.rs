//! Columns that are added while decoders run: which ones there should be, and the decoders with them.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use spout_codec::UnknownField;
use spout_data::{Batch, Messages};

use super::{Decoder, Running, SchemaGuard, set_aside};
use crate::{Error, SchemaText, metadata};

impl Decoder {
    /// Keeps the columns as they are, and has this decoder opened anew if others have added some.
    pub async fn hold_schema(&mut self) -> SchemaGuard {
        let guard = self.factory.pin.hold_schema().await;
        if self.edition != guard.edition() {
            self.edition = guard.edition();
            self.running = None;
        }
        guard
    }

    /// Columns for the fields that were left out of the rows of `batch`, if the spec wants them added.
    ///
    /// # Errors
    /// What has nothing to do with a single message.
    pub fn added(&mut self, batch: &Batch) -> Result<Option<SchemaRef>, Error> {
        // A message of nothing but new fields may be a dead letter.
        if batch.unknown.is_empty() && batch.dead.is_empty() {
            Ok(None)
        } else {
            self.added_for(&batch.messages, &batch.unknown)
        }
    }

    /// The same for any messages; `unknown` are the fields that are known to be left out.
    ///
    /// # Errors
    /// As [`Decoder::added`].
    pub fn added_for(&mut self, messages: &Messages, unknown: &[UnknownField]) -> Result<Option<SchemaRef>, Error> {
        let (true, Some(Running::Native(decoder))) = (self.factory.evolves(), &mut self.running) else {
            return Ok(None);
        };
        let aside = set_aside::separate(messages);
        let added = decoder.added(aside.as_ref().map_or(messages, |aside| &aside.sound), unknown)?;
        // Fields named like a column that is made of the message itself stay unknown.
        let free = |field: &&Arc<Field>| {
            self.factory.metadata.iter().all(|column| metadata::name(*column) != field.name().as_str())
        };
        let added: Vec<Arc<Field>> = added.fields().iter().filter(free).cloned().collect();
        Ok((!added.is_empty()).then(|| Arc::new(Schema::new(added))))
    }

    /// Adds columns to the schema of all decoders, unless another one has added some meanwhile: then what is still missing is
    /// found again. Waits for all that are [`SchemaGuard`].
    pub async fn widen(&mut self, added: &SchemaRef) {
        if self.factory.pin.widen(self.edition, added).await {
            let columns = SchemaText::print(added).map_or_else(|_| added.to_string(), |text| text.to_string());
            tracing::info!("columns added to the schema of {}: {columns}", self.factory.name());
        }
    }
}

/// The columns of `schema`, and behind them those of `more` that it has not, nullable.
pub(super) fn with_added(schema: SchemaRef, more: Option<&SchemaRef>) -> SchemaRef {
    let new = |field: &&Arc<Field>| schema.field_with_name(field.name()).is_err();
    let new: Vec<&Arc<Field>> = more.iter().flat_map(|more| more.fields().iter()).filter(new).collect();
    if new.is_empty() {
        return schema;
    }
    let nullable = new.into_iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(schema.fields().iter().cloned().chain(nullable).collect::<Vec<_>>()))
}
