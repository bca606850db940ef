//! Keys by which rows of two sides find each other: their columns, whether they can be the same, and digests of their values.

use std::collections::BTreeMap;

use arrow::{
    array::RecordBatch,
    compute::is_null,
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Error, columns,
    digest::{Digest, Digests},
};

/// The columns of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum On {
    /// One, called the same on both sides.
    One(String),
    /// Called the same on both sides.
    Same(Vec<String>),
    /// The name on the one side, and the name on the other.
    Names(BTreeMap<String, String>),
}

impl On {
    /// The names on both sides.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        match self {
            Self::One(name) => vec![(name.clone(), name.clone())],
            Self::Same(names) => names.iter().map(|name| (name.clone(), name.clone())).collect(),
            Self::Names(names) => names.iter().map(|(one, other)| (one.clone(), other.clone())).collect(),
        }
    }

    /// The names, for people.
    pub(crate) fn describe(&self) -> String {
        let name = |(one, other)| if one == other { one } else { format!("{one} = {other}") };
        self.pairs().into_iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// One side of a key: its columns, and what it is called in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySide<'a> {
    pub(crate) schema: &'a Schema,
    /// As in `of the left`.
    pub(crate) name: &'a str,
}

/// Refuses keys that could never be the same; `remedy` says what to do.
///
/// # Errors
/// [`Error::Spec`] naming the first pair whose types do not go together, or a column that is missing.
pub(crate) fn check(
    handler: &str,
    on: &[(String, String)],
    one: KeySide<'_>,
    other: KeySide<'_>,
    remedy: &str,
) -> Result<(), Error> {
    let type_of = |side: KeySide<'_>, name: &str| {
        Ok(side.schema.field(columns::at(handler, side.schema, name)?).data_type().clone())
    };
    for (ours, theirs) in on {
        let (left, right) = (type_of(one, ours)?, type_of(other, theirs)?);
        if kind(&left) != kind(&right) && left != DataType::Null && right != DataType::Null {
            let reason = format!(
                "`on` compares `{ours}` {}, {left}, with `{theirs}` {}, {right}; {remedy}",
                one.name, other.name
            );
            return Err(Error::spec(handler, reason));
        }
    }
    Ok(())
}

/// The digest of the columns `names` of each row; none where one of them is null. It is the same whatever the columns are called.
///
/// # Errors
/// [`Error::Spec`] for a column that is missing.
pub(crate) fn digests<'a>(
    handler: &str,
    rows: &RecordBatch,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<Option<Digest>>, Error> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    let mut null = vec![false; rows.num_rows()];
    for (place, name) in names.into_iter().enumerate() {
        let array = rows.column(columns::at(handler, rows.schema_ref(), name)?);
        let mask = is_null(array).map_err(Error::kernel(handler, rows.num_rows()))?;
        mask.values().set_indices().for_each(|row| null[row] = true);
        // By place, as the other side has other names.
        fields.push(Field::new(format!("{place:04}"), array.data_type().clone(), true));
        arrays.push(array.clone());
    }
    let keys = RecordBatch::try_new(Schema::new(fields).into(), arrays);
    let keys = keys.map_err(Error::kernel(handler, rows.num_rows()))?;
    let digests = Digests::over_all(handler, &[], "").of(&keys)?;
    Ok(digests.into_iter().zip(null).map(|(digest, null)| (!null).then_some(digest)).collect())
}

/// What of a type decides whether values can be the same.
fn kind(of: &DataType) -> DataType {
    match of {
        whole if whole.is_integer() => DataType::Int64,
        float if float.is_floating() => DataType::Float64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => kind(values),
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        other => other.clone(),
    }
}
