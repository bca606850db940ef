//! The rows of a test as batches: messages through the pipeline's decoder, rows through one for JSON.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde_json::Value;
use spout_codec::Attribute;
use spout_data::{Batch, Blobs, DeadLetter, Messages, PartitionId, Position, Span};
use spout_producer::{
    CsvStyle, Decoder, DecoderFactory, DecoderSpec, Framer, FramingSpec, FramingType, JsonSpec, Member, MetadataColumn,
    NativeDecoder, SchemaPin, Union,
};
use spout_spec::{ProducerSpec, Row, StepSpec, TestSpec};

use super::{Problem, Rehearsal, performance::Cutting};

/// What goes into the handlers.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) schema: Option<SchemaRef>,
    /// The batches of each step.
    pub(super) batches: Vec<Vec<Batch>>,
    /// What is wrong with the rows themselves.
    pub(super) wrong: Vec<Problem>,
}

/// The rows of `steps`, decoded as they are cut.
pub(super) async fn given(
    rehearsal: &Rehearsal,
    test: &TestSpec,
    steps: &[StepSpec],
    cutting: Cutting,
) -> Result<Given, spout_producer::Error> {
    let mut factories = Vec::new();
    for index in 0..rehearsal.decoders.len() {
        factories.push(decoders(rehearsal, test, index).await);
    }
    let specs: Vec<&ProducerSpec> = rehearsal.spec.producers().map(|(_, producer)| producer).collect();
    let messages = |step: &StepSpec| match (test.decodes(), Records::of(specs[rehearsal.producer_of(step)]), &step.text)
    {
        (false, ..) => Ok(objects(&step.input)),
        (true, Some(records), Some(text)) => records.messages(text),
        (true, ..) => Ok(lines(step)),
    };
    let messages: Vec<Messages> = steps.iter().map(messages).collect::<Result<_, _>>()?;
    for (index, factory) in factories.iter().enumerate() {
        let own = steps.iter().zip(&messages).filter(|(step, _)| rehearsal.producer_of(step) == index);
        settle(factory, own.map(|(_, messages)| messages)).await?;
    }
    let union = union(rehearsal, test, &factories).await;
    let mut decoders: BTreeMap<PartitionId, (Decoder, Option<Member>, u64)> = BTreeMap::new();
    let mut given = Given { schema: None, batches: Vec::new(), wrong: Vec::new() };
    for (step, mut messages) in steps.iter().zip(messages) {
        let (index, partition) = (rehearsal.producer_of(step), rehearsal.partition_of(step));
        let begin = || (factories[index].decoder(), union.as_ref().map(|union| union.member(index)), 0);
        let (decoder, member, start) = decoders.entry(partition).or_insert_with(begin);
        let next = *start + messages.len() as u64;
        messages.offsets = (*start..next).collect();
        let mut batches = Vec::new();
        for messages in cut(messages, cutting) {
            let after = *start + messages.len() as u64;
            let span = Span { partition, start: *start, next: Position::at(after) };
            let mut batch = decoder.decode(messages, span).await?;
            if let Some(member) = member {
                member.join(&mut batch).await?;
            }
            batches.push(batch);
            *start = after;
        }
        if !test.decodes() {
            given.wrong.extend(batches.iter().flat_map(|batch| &batch.dead).map(misfit));
        }
        given.batches.push(batches);
    }
    given.schema = match (&union, factories.first()) {
        (Some(union), _) => union.schema().await?,
        (None, Some(factory)) => factory.schema().await,
        (None, None) => None,
    };
    for batch in given.batches.iter_mut().flatten() {
        // No row of columns that are known is something else than nothing known.
        if let (0, Some(schema)) = (batch.records.num_columns(), &given.schema) {
            batch.records = RecordBatch::new_empty(Arc::clone(schema));
        }
    }
    Ok(given)
}

/// What the rows of several producers go through, where they enter the chain at its first handler.
async fn union(rehearsal: &Rehearsal, test: &TestSpec, factories: &[DecoderFactory]) -> Option<Union> {
    if rehearsal.spec.producers.is_empty() || test.from.is_some() {
        return None;
    }
    let names = rehearsal.spec.producers.iter().map(|producer| producer.name.clone());
    let union = Union::new(names.zip(factories.iter().cloned()).collect(), SchemaPin::default()).await;
    for index in 0..factories.len() {
        // What has no row in the test is waited for by nobody.
        union.declare(index, []).await;
    }
    Some(union)
}

/// Decodes everything once, so that the columns are inferred from all rows of the test, also those that are added to others.
async fn settle<'a>(
    factory: &DecoderFactory,
    messages: impl Iterator<Item = &'a Messages>,
) -> Result<(), spout_producer::Error> {
    let mut all = Messages::default();
    for step in messages {
        all.append(step.clone());
    }
    if all.is_empty() || (factory.schema().await.is_some() && !factory.evolves()) {
        return Ok(());
    }
    all.offsets = (0..all.len() as u64).collect();
    let span = Span { partition: PartitionId::default(), start: 0, next: Position::at(all.len() as u64) };
    let mut decoder = factory.decoder();
    let batch = decoder.decode(all, span).await?;
    if let Some(added) = decoder.added(&batch)? {
        decoder.widen(&added).await;
    }
    Ok(())
}

/// The pipeline's own decoder for messages; one that takes rows as JSON for rows.
async fn decoders(rehearsal: &Rehearsal, test: &TestSpec, index: usize) -> DecoderFactory {
    let declared = test.schema.as_ref().and_then(|schema| schema.parse().ok()).map(Arc::new);
    let producer = rehearsal.spec.producers().nth(index).map(|(_, producer)| producer);
    let source = producer.and_then(ProducerSpec::source);
    let (spec, task) = rehearsal.decoders[index].clone();
    let mut factory = DecoderFactory {
        spec,
        task,
        decodes: true,
        topic: source.as_ref().map(|source| source.topic().to_owned()).unwrap_or_default(),
        metadata: source.as_ref().map(|source| source.spec.metadata().to_vec()).unwrap_or_default(),
        pin: SchemaPin::new(declared.clone()),
        base: rehearsal.base.clone(),
        schemas: Default::default(),
    };
    if test.decodes() {
        return factory;
    }
    let schema = match (declared, &test.from) {
        (None, None) => factory.schema().await,
        (declared, _) => declared,
    };
    factory.spec = of_objects();
    (factory.task, factory.metadata) = (None, Vec::<MetadataColumn>::new());
    factory.pin = SchemaPin::new(schema);
    factory
}

/// The decoder of rows that a test gives.
pub(super) fn of_objects() -> DecoderSpec {
    NativeDecoder::Json(JsonSpec { unknown: spout_codec::Unknown::Fail, ..JsonSpec::default() }).into()
}

/// How a source that reads CSV makes messages of a text.
struct Records {
    framing: FramingSpec,
    /// Whether the first record is no message, but names the columns for those of its file.
    header: bool,
}

impl Records {
    /// That of the pipeline's source, if it tells CSV records apart.
    fn of(producer: &ProducerSpec) -> Option<Self> {
        let (_, CsvStyle { delimiter, quote, header }) = producer.source()?.spec.csv()?;
        let (delimiter, quote) = (Some(delimiter), Some(quote));
        let framing = FramingSpec { kind: FramingType::Csv, delimiter, quote, ..FramingSpec::default() };
        Some(Self { framing, header: header == Some(true) })
    }

    /// The messages of `text`, which stands for a file.
    fn messages(&self, text: &str) -> Result<Messages, spout_producer::Error> {
        let mut framer = Framer::new(&self.framing)?;
        let mut values = Blobs::default();
        framer.push(text.as_bytes(), &mut values)?;
        framer.finish(&mut values)?;
        if !self.header || values.is_empty() {
            return Ok(Messages { values, ..Messages::default() });
        }
        let header = Attribute { first: 0, name: "header".into(), value: values.get(0).to_vec() };
        Ok(Messages { values: values.slice(1..values.len()), attributes: vec![header], ..Messages::default() })
    }
}

/// What is wrong with a row that a test gives.
pub(super) fn misfit(letter: &DeadLetter) -> Problem {
    let row = String::from_utf8_lossy(&letter.value);
    Problem::of(format!("the test's own row {row} does not fit its columns: {}", letter.reason))
}

fn lines(step: &StepSpec) -> Messages {
    messages(step.messages().iter().map(Vec::as_slice))
}

pub(super) fn objects(rows: &[Row]) -> Messages {
    let rows: Vec<String> = rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
    messages(rows.iter().map(String::as_bytes))
}

fn messages<'a>(values: impl Iterator<Item = &'a [u8]>) -> Messages {
    let mut blobs = Blobs::default();
    values.for_each(|value| blobs.push(value));
    Messages { values: blobs, ..Messages::default() }
}

/// The messages of each call of the decoder.
fn cut(messages: Messages, cutting: Cutting) -> Vec<Messages> {
    match cutting {
        Cutting::Single if messages.len() > 1 => (0..messages.len()).map(|at| messages.slice(at..at + 1)).collect(),
        Cutting::Whole | Cutting::Single => vec![messages],
    }
}
