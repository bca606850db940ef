//! Batches that come with a schema of their own are brought to the settled one, losing nothing.

use std::{collections::BTreeMap, panic, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
    },
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
};
use spout_codec::UnknownField;
use spout_data::{Messages, Origins, within_limits};
use spout_plugin::RowFault;

use super::{
    Native, Piece, Rows, branches,
    exact::{exact, widens},
    fault, grown,
};
use crate::{Error, UnknownFields};

/// What makes a batch of one message.
pub(super) trait Unpack: Send + std::fmt::Debug {
    /// Name of the decoder; also the first half of its fault codes.
    const NAME: &'static str;

    /// The rows of one message, in one batch or several.
    fn unpack(&mut self, value: &[u8]) -> Result<Unpacked, String>;
}

/// What is in a message.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    pub(super) batches: Vec<RecordBatch>,
    /// Parts of it that could not be read, each with the reason, while the others are rows.
    pub(super) broken: Vec<(Vec<u8>, String)>,
}

impl From<Vec<RecordBatch>> for Unpacked {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self { batches, broken: Vec::new() }
    }
}

/// A decoder whose messages are batches.
#[derive(Debug)]
pub(super) struct Conforming<U> {
    unpack: U,
    schema: Option<SchemaRef>,
    unknown: UnknownFields,
    /// Parts of the last messages that were set aside.
    pieces: Vec<Piece>,
    /// Columns of the last message that are not in the schema.
    strange: Vec<String>,
}

impl<U: Unpack> Native for Conforming<U> {
    fn pieces(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }

    fn decode(&mut self, messages: &Messages) -> Result<Rows, Error> {
        let (mut batches, mut origins, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        let mut left_out = BTreeMap::new();
        let mut nulls = messages.nulls.iter().copied().peekable();
        for index in 0..messages.len() {
            let message = u32::try_from(index).unwrap_or(u32::MAX);
            if nulls.next_if_eq(&message).is_some() {
                continue;
            }
            match self.message(messages.values.get(index)) {
                Ok((conforming, broken)) => {
                    let piece = |(value, reason): (Vec<u8>, String)| Piece {
                        fault: fault_of::<U>(message, "syntax", &reason),
                        value,
                    };
                    self.pieces.extend(broken.into_iter().map(piece));
                    self.count_left_out(&mut left_out);
                    let rows = conforming.iter().map(RecordBatch::num_rows).sum();
                    origins.extend(std::iter::repeat_n(message, rows));
                    batches.extend(conforming);
                }
                Err((kind, reason)) => faults.push(fault_of::<U>(message, kind, &reason)),
            }
        }
        let unknown = left_out.into_iter().map(|(name, count)| UnknownField { name, count }).collect();
        let Some(schema) = &self.schema else { return Ok(Rows { faults, ..Rows::none() }) };
        let kernel = |source| Error::Kernel { decoder: U::NAME.into(), rows: origins.len(), source };
        let records = arrow::compute::concat_batches(schema, &batches).map_err(kernel)?;
        Ok(Rows { records, origins: Origins::Taken(origins.into()), faults, unknown, open: None })
    }
}

impl<U: Unpack> Conforming<U> {
    /// Brings what `unpack` makes to `schema`, or else to that of the first message.
    pub(super) fn new(unpack: U, schema: Option<SchemaRef>, unknown: UnknownFields) -> Self {
        Self { unpack, schema, unknown, pieces: Vec::new(), strange: Vec::new() }
    }

    /// The batches of one message, and what of it cannot be read; the first sound one settles the schema.
    fn message(&mut self, value: &[u8]) -> Result<(Vec<RecordBatch>, Broken), (&'static str, String)> {
        // What a sender made up may trip over an assertion in a library: then the sender is at fault.
        let unpacked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            let Unpacked { batches, broken } = self.unpack.unpack(value)?;
            grown::bounded(&batches, self.schema.as_deref())?;
            let batches = batches.into_iter().map(branches::plain).collect::<Result<Vec<_>, _>>();
            Ok((batches.map_err(|error| error.to_string())?, broken))
        }));
        let unpacked = unpacked.unwrap_or_else(|_| Err("the message cannot be read".into()));
        let (unpacked, broken) = unpacked.map_err(|reason: String| ("syntax", reason))?;
        let schema = match (&self.schema, unpacked.first()) {
            (Some(schema), _) => Arc::clone(schema),
            (None, Some(first)) => Arc::new(settle(first.schema_ref()).map_err(|reason| ("type", reason))?),
            (None, None) => return Ok((Vec::new(), broken)),
        };
        let conforming = || unpacked.iter().map(|batch| conform(batch, &schema, self.unknown)).collect();
        let conforming: Result<Vec<_>, String> = panic::catch_unwind(panic::AssertUnwindSafe(conforming))
            .unwrap_or_else(|_| Err("a column cannot be read".into()));
        let conforming = conforming.map_err(|reason| ("type", reason))?;
        let own = unpacked.iter().take(1).flat_map(|batch| batch.schema_ref().fields());
        let strange = own.filter(|field| schema.column_with_name(field.name()).is_none());
        self.strange = strange.map(|field| field.name().clone()).collect();
        self.schema = Some(schema);
        Ok((conforming, broken))
    }
}

impl<U> Conforming<U> {
    fn count_left_out(&mut self, counts: &mut BTreeMap<String, u64>) {
        for name in self.strange.drain(..) {
            *counts.entry(name).or_default() += 1;
        }
    }
}

type Broken = Vec<(Vec<u8>, String)>;

fn fault_of<U: Unpack>(message: u32, kind: &str, reason: &str) -> RowFault {
    fault(message, &format!("{}.{kind}", U::NAME), reason)
}

/// The columns that batches of `schema` settle.
///
/// # Errors
/// As [`settle`].
pub(super) fn columns_of(schema: SchemaRef) -> Result<SchemaRef, String> {
    let plain = branches::plain(RecordBatch::new_empty(schema)).map_err(|error| error.to_string())?;
    settle(plain.schema_ref()).map(Arc::new)
}

/// `schema` with the types that every format and reader of a repo knows.
pub(super) fn settle(schema: &Schema) -> Result<Schema, String> {
    within_limits(schema)?;
    Ok(Schema::new(settle_fields(schema.fields())?))
}

fn settle_fields(fields: &Fields) -> Result<Fields, String> {
    let mut seen = std::collections::BTreeSet::new();
    let field = |field: &FieldRef| {
        if seen.insert(field.name().clone()) {
            Ok(Field::new(field.name(), settle_type(field.data_type(), field.name())?, true))
        } else {
            Err(format!("there are two columns `{}`", field.name()))
        }
    };
    fields.iter().map(field).collect()
}

fn settle_type(data_type: &DataType, name: &str) -> Result<DataType, String> {
    Ok(match data_type {
        DataType::Null | DataType::Utf8View | DataType::Interval(_) => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Float16 => DataType::Float32,
        DataType::Duration(_) => DataType::Int64,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => settle_type(values, name)?,
        DataType::RunEndEncoded(_, values) => settle_type(values.data_type(), name)?,
        DataType::Struct(fields) if fields.is_empty() => return Err(format!("the struct `{name}` has no field")),
        DataType::Struct(fields) => DataType::Struct(settle_fields(fields)?),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new_list_field(settle_type(item.data_type(), name)?, true)))
        }
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                spout_data::map_of(settle_type(fields[0].data_type(), name)?, settle_type(fields[1].data_type(), name)?)
            }
            other => return Err(format!("the entries of the map `{name}` are {other}")),
        },
        DataType::Union(..) => {
            return Err(format!(
                "column `{name}` has values of several types, which no column type can hold; send it as text"
            ));
        }
        other => other.clone(),
    })
}

/// `batch` with exactly the columns of `schema`, by name: absent ones are null, further ones are left out or refused.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef, unknown: UnknownFields) -> Result<RecordBatch, String> {
    let own = batch.schema_ref();
    settle_fields(own.fields())?;
    if unknown == UnknownFields::Fail
        && let Some(field) = own.fields().iter().find(|field| schema.column_with_name(field.name()).is_none())
    {
        return Err(format!("the field `{}` is not in the schema", field.name()));
    }
    let rows = batch.num_rows();
    let column = |field: &FieldRef| match batch.column_by_name(field.name()) {
        Some(array) => adapt(array, field.data_type(), field.name(), unknown),
        None => Ok(new_null_array(field.data_type(), rows)),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| error.to_string())
}

/// The same fields, all of which may be null: under a struct that is null they are, whatever they were declared.
fn nullable(fields: &Fields) -> Fields {
    fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
}

fn adapt(array: &ArrayRef, to: &DataType, at: &str, unknown: UnknownFields) -> Result<ArrayRef, String> {
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    let failed = |error: arrow::error::ArrowError| format!("column `{at}`: {error}");
    let flat = |target: DataType| cast(array, &target).map_err(failed);
    match (from, to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let own = array.as_struct();
            let batch = RecordBatch::from(
                StructArray::try_new_with_length(nullable(own.fields()), own.columns().to_vec(), None, own.len())
                    .map_err(failed)?,
            );
            let inner = conform(&batch, &Arc::new(Schema::new(fields.clone())), unknown)
                .map_err(|reason| format!("column `{at}`: {reason}"))?;
            let built = StructArray::try_new(fields.clone(), inner.columns().to_vec(), array.nulls().cloned());
            Ok(Arc::new(built.map_err(failed)?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let own: &ListArray = array.as_list();
            let values = adapt(own.values(), item.data_type(), at, unknown)?;
            let list = ListArray::try_new(Arc::clone(item), own.offsets().clone(), values, own.nulls().cloned());
            Ok(Arc::new(list.map_err(failed)?))
        }
        (
            DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _),
            DataType::List(_),
        ) => adapt(&flat(DataType::List(Arc::clone(item)))?, to, at, unknown),
        (DataType::Map(..), DataType::Map(entry, _)) => {
            let own = array.as_map();
            let DataType::Struct(fields) = entry.data_type() else { return Err(format!("column `{at}` is not a map")) };
            let [key, value] = &**fields else { return Err(format!("column `{at}` is not a map")) };
            let columns = vec![
                adapt(own.keys(), key.data_type(), at, unknown)?,
                adapt(own.values(), value.data_type(), at, unknown)?,
            ];
            let entries = StructArray::try_new(fields.clone(), columns, None).map_err(failed)?;
            let map = MapArray::try_new(Arc::clone(entry), own.offsets().clone(), entries, own.nulls().cloned(), false);
            Ok(Arc::new(map.map_err(failed)?))
        }
        (DataType::Dictionary(_, values), _) => adapt(&flat(values.as_ref().clone())?, to, at, unknown),
        (DataType::RunEndEncoded(_, values), _) => adapt(&flat(values.data_type().clone())?, to, at, unknown),
        _ if widens(from, to) => exact(array, to, at),
        _ => Err(format!("column `{at}` is {to}, but the message has {from}")),
    }
}
