//! The columns that a join of two sides gives.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::kernels::zip::zip,
    datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef},
};

use super::side::Side;
use crate::{
    Error, EventTime,
    keys::{self, KeySide},
    state::TIME,
};

/// What makes rows of pairs.
#[derive(Debug)]
pub(super) struct Output {
    handler: String,
    time: EventTime,
    time_kind: DataType,
    /// Columns that both sides have under one name because the key is made of them.
    shared: Schema,
    left: Schema,
    right: Schema,
    pub(super) schema: SchemaRef,
}

/// Rows of both sides that make one, or one of them alone.
pub(super) type Pair = (Option<u64>, Option<u64>);

impl Output {
    /// The output for sides with these columns, and these words before the names of columns that both have.
    pub(super) fn new(
        handler: &str,
        time: (&EventTime, DataType),
        on: &[(String, String)],
        left: (&Schema, &str),
        right: (&Schema, &str),
    ) -> Result<Self, Error> {
        let shared = on.iter().filter(|(left, right)| left == right).map(|(name, _)| name);
        let shared: Vec<&String> = shared.collect();
        let sides =
            (KeySide { schema: left.0, name: "of the left" }, KeySide { schema: right.0, name: "of the right" });
        keys::check(handler, on, sides.0, sides.1, "cast one of them in `columns`")?;
        let without = |schema: &Schema| {
            let fields = schema.fields().iter().filter(|field| !shared.contains(&field.name())).cloned();
            Schema::new(fields.collect::<Vec<FieldRef>>())
        };
        let keys: Vec<FieldRef> = shared.iter().filter_map(|name| field(left.0, name)).collect();
        let (left_rest, right_rest) = (without(left.0), without(right.0));
        let named = |schema: &Schema, other: &Schema, prefix: &str| {
            let rename = |field: &FieldRef| match other.index_of(field.name()) {
                Ok(_) => Arc::new(field.as_ref().clone().with_name(format!("{prefix}{}", field.name()))),
                Err(_) => Arc::clone(field),
            };
            schema.fields().iter().map(rename).collect::<Vec<FieldRef>>()
        };
        let time_field: FieldRef = Arc::new(Field::new(time.0.column(), time.1.clone(), false));
        let mut fields = vec![time_field];
        fields.extend(keys.iter().cloned());
        fields.extend(named(&left_rest, &right_rest, left.1));
        fields.extend(named(&right_rest, &left_rest, right.1));
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|other| other.name() == field.name()) {
                let reason = format!(
                    "two columns would be called `{}`; give one side a different `prefix`, or name its `columns`",
                    field.name()
                );
                return Err(Error::spec(handler, reason));
            }
        }
        Ok(Self {
            handler: handler.to_owned(),
            time: time.0.clone(),
            time_kind: time.1,
            shared: Schema::new(keys),
            left: left_rest,
            right: right_rest,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The rows of these pairs.
    pub(super) fn rows(&self, pairs: &[Pair], left: &Side, right: &Side) -> Result<RecordBatch, Error> {
        let lefts: Vec<Option<u64>> = pairs.iter().map(|pair| pair.0).collect();
        let rights: Vec<Option<u64>> = pairs.iter().map(|pair| pair.1).collect();
        let failed = || Error::kernel(&self.handler, pairs.len());
        let time = Field::new(TIME, DataType::Int64, true);
        let (left_times, right_times) = (left.store.column(&lefts, &time)?, right.store.column(&rights, &time)?);
        let times = left_times.as_primitive::<Int64Type>().iter().zip(right_times.as_primitive::<Int64Type>());
        let times: Int64Array = times.map(|(left, right)| left.max(right)).collect();
        let mut columns = vec![self.time.column_of(times, &self.time_kind).map_err(failed())?];
        let is_left = BooleanArray::from(lefts.iter().map(Option::is_some).collect::<Vec<_>>());
        for field in self.shared.fields() {
            let (ours, theirs) = (left.store.column(&lefts, field)?, right.store.column(&rights, field)?);
            columns.push(zip(&is_left, &ours, &theirs).map_err(failed())?);
        }
        let mut rest: Vec<ArrayRef> = left.store.aligned(&lefts, &self.left)?;
        rest.extend(right.store.aligned(&rights, &self.right)?);
        columns.extend(rest);
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed())
    }
}

fn field(schema: &Schema, name: &str) -> Option<FieldRef> {
    let field = schema.field_with_name(name).ok()?;
    Some(Arc::new(field.clone().with_nullable(true)))
}
