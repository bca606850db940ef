//! The rows of a test as batches: messages through the pipeline's decoder, rows through one for JSON.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde_json::Value;

use super::{Problem, Rehearsal};
use crate::{
    data::{Batch, Blobs, Counts, Messages, PartitionId, Position, Span},
    producer::{
        self, Decoder, DecoderFactory, DecoderSpec, JsonSpec, MetadataColumn, NativeDecoder, SchemaPin, UnknownFields,
    },
    spec::{StepSpec, TestSpec},
};

/// What goes into the handlers.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) schema: Option<SchemaRef>,
    /// A batch a step.
    pub(super) batches: Vec<Batch>,
    /// What is wrong with the rows themselves.
    pub(super) wrong: Vec<Problem>,
}

/// The rows of `steps`.
pub(super) async fn given(
    rehearsal: &Rehearsal,
    test: &TestSpec,
    steps: &[StepSpec],
) -> Result<Given, producer::Error> {
    let factory = decoders(rehearsal, test).await;
    let mut decoders: BTreeMap<PartitionId, (Decoder, u64)> = BTreeMap::new();
    let messages: Vec<Messages> =
        steps.iter().map(|step| if test.decodes() { lines(step) } else { objects(step) }).collect();
    settle(&factory, &messages).await?;
    let mut given = Given { schema: None, batches: Vec::new(), wrong: Vec::new() };
    for (step, mut messages) in steps.iter().zip(messages) {
        let (decoder, start) = decoders.entry(step.partition).or_insert_with(|| (factory.decoder(), 0));
        let next = *start + messages.len() as u64;
        messages.offsets = (*start..next).collect();
        let span = Span { partition: step.partition, start: *start, next: Position::at(next) };
        let batch = decoder.decode(messages, span).await?;
        *start = next;
        if !test.decodes() {
            given.wrong.extend(batch.dead.iter().map(|letter| {
                let row = String::from_utf8_lossy(&letter.value);
                Problem::of(format!("the test's own row {row} does not fit its columns: {}", letter.reason))
            }));
        }
        given.batches.push(batch);
    }
    given.schema = factory.schema().await;
    for batch in &mut given.batches {
        // No row of columns that are known is something else than nothing known.
        if let (0, Some(schema)) = (batch.records.num_columns(), &given.schema) {
            batch.records = RecordBatch::new_empty(Arc::clone(schema));
        }
    }
    Ok(given)
}

/// Decodes everything once, so that the columns are inferred from all rows of the test.
async fn settle(factory: &DecoderFactory, messages: &[Messages]) -> Result<(), producer::Error> {
    let mut all = Messages::default();
    for step in messages {
        all.append(step.clone());
    }
    if all.is_empty() || factory.schema().await.is_some() {
        return Ok(());
    }
    all.offsets = (0..all.len() as u64).collect();
    let span = Span { partition: 0, start: 0, next: Position::at(all.len() as u64) };
    factory.decoder().decode(all, span).await.map(drop)
}

/// The pipeline's own decoder for messages; one that takes rows as JSON for rows.
async fn decoders(rehearsal: &Rehearsal, test: &TestSpec) -> DecoderFactory {
    let declared = test.schema.as_ref().and_then(|schema| schema.parse().ok()).map(Arc::new);
    let stream = rehearsal.spec.producer.stream.as_ref();
    let mut factory = DecoderFactory {
        spec: rehearsal.decoder.clone(),
        task: rehearsal.decoder_task.clone(),
        topic: stream.map(|stream| stream.topic.clone()).unwrap_or_default(),
        metadata: stream.map(|stream| stream.metadata.clone()).unwrap_or_default(),
        pin: SchemaPin::new(declared.clone()),
        base: rehearsal.base.clone(),
    };
    if test.decodes() {
        return factory;
    }
    let schema = match (declared, &test.from) {
        (None, None) => factory.schema().await,
        (declared, _) => declared,
    };
    factory.spec = DecoderSpec::Native(NativeDecoder::Json(JsonSpec { schema: None, unknown: UnknownFields::Fail }));
    (factory.task, factory.metadata) = (None, Vec::<MetadataColumn>::new());
    factory.pin = SchemaPin::new(schema);
    factory
}

fn lines(step: &StepSpec) -> Messages {
    messages(step.messages().iter().map(String::as_bytes))
}

fn objects(step: &StepSpec) -> Messages {
    let rows: Vec<String> = step.input.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
    messages(rows.iter().map(String::as_bytes))
}

fn messages<'a>(values: impl Iterator<Item = &'a [u8]>) -> Messages {
    let mut blobs = Blobs::default();
    values.for_each(|value| blobs.push(value));
    Messages { values: blobs, ..Messages::default() }
}

/// The same rows, each in a batch of its own.
pub(super) fn one_by_one(batch: Batch) -> Vec<Batch> {
    let rows = batch.records.num_rows();
    if rows <= 1 {
        return vec![batch];
    }
    let Batch { records, span, origins, messages, dead, late, unknown, counts } = batch;
    let row = |row: usize| {
        let offset = span.start + row as u64;
        Batch {
            records: records.slice(row, 1),
            span: Span { start: offset, next: Position::at(offset + 1), ..span.clone() },
            origins: origins.take(&[u32::try_from(row).unwrap_or(u32::MAX)]),
            messages: Arc::clone(&messages),
            dead: Vec::new(),
            late: Vec::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
        }
    };
    let mut batches: Vec<Batch> = (0..rows).map(row).collect();
    if let Some(first) = batches.first_mut() {
        (first.dead, first.late, first.unknown, first.counts) = (dead, late, unknown, counts);
    }
    batches
}
