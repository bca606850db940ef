//! The columns of a table in Delta's words: what readers can take of our Parquet files as they are written.
//!
//! Types that Delta lacks are stored as ones that it has ([`Stored`]), so that only what nothing can stand for is left out:
//! decimals of more than 38 digits, structs without a field, and columns of nothing but nulls.
//!
//! Measured with deltalake 1.6.6, polars 2.1.0, pyarrow 26.0.1 and DuckDB 1.5.5: files with narrower numbers, fewer columns
//! or more columns than the table are read. Files of earlier versions of this program have all types as they are; of those,
//! a column is left out where a reader fails or shows other values.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spout_format::{Format, Stored};

/// The greatest precision of a decimal in Delta.
const DIGITS: u8 = 38;

/// A type in a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum DeltaType {
    Plain(String),
    Nested(Box<Nested>),
}

/// A type made of types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Nested {
    Struct {
        fields: Vec<DeltaField>,
    },
    #[serde(rename_all = "camelCase")]
    Array {
        element_type: DeltaType,
        contains_null: bool,
    },
    #[serde(rename_all = "camelCase")]
    Map {
        key_type: DeltaType,
        value_type: DeltaType,
        value_contains_null: bool,
    },
}

/// A column in a log, or a field of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DeltaField {
    pub(super) name: String,
    #[serde(rename = "type")]
    data_type: DeltaType,
    nullable: bool,
    metadata: Map<String, Value>,
}

impl DeltaField {
    pub(super) fn new(name: &str, data_type: DeltaType) -> Self {
        Self { name: name.to_owned(), data_type, nullable: true, metadata: Map::new() }
    }

    /// A column whose values are texts.
    pub(super) fn text(name: &str) -> Self {
        Self::new(name, DeltaType::Plain("string".into()))
    }

    /// Whether readers have to know timestamps without a zone.
    pub(super) fn without_zone(&self) -> bool {
        self.data_type.any(&|plain| plain == "timestamp_ntz")
    }
}

impl DeltaType {
    fn nested(&self) -> Option<&Nested> {
        match self {
            Self::Plain(_) => None,
            Self::Nested(nested) => Some(nested),
        }
    }

    fn any(&self, wanted: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Plain(plain) => wanted(plain),
            Self::Nested(nested) => match nested.as_ref() {
                Nested::Struct { fields } => fields.iter().any(|field| field.data_type.any(wanted)),
                Nested::Array { element_type, .. } => element_type.any(wanted),
                Nested::Map { key_type, value_type, .. } => key_type.any(wanted) || value_type.any(wanted),
            },
        }
    }
}

/// A column over all files of a table, before it is put into words.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Nothing but nulls so far.
    Nothing,
    Plain(Plain),
    Struct(Vec<(String, Shape)>),
    Array(Box<Shape>),
    Map(Box<Shape>, Box<Shape>),
    /// Readers cannot take it; what it is.
    Out(String),
}

/// A type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Decimal(u8, i8),
    String,
    Binary,
    Date,
    Timestamp,
    TimestampNtz,
}

/// Types that do not meet: the column, and what it is on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) column: String,
    pub(super) left: String,
    pub(super) right: String,
}

impl Shape {
    /// The columns of one file, which may have types that readers lack stored as others.
    pub(super) fn of_file(schema: &SchemaRef, portable: bool) -> Self {
        match portable.then(|| Stored::new(Format::Parquet, schema)) {
            Some(Ok(stored)) => Self::of_stored_fields(schema.fields(), stored.in_file().fields()),
            _ => Self::of_fields(schema.fields()),
        }
    }

    /// What readers see of `stored`, which is in a file in the place of `given`.
    fn of_stored(given: &DataType, stored: &DataType) -> Self {
        use DataType as T;
        match (given, stored) {
            (T::Struct(given), T::Struct(stored)) => Self::of_stored_fields(given, stored),
            // It would say something else.
            (T::Struct(_), T::Boolean) => Self::Out("a struct without fields".to_owned()),
            (
                T::List(given) | T::LargeList(given) | T::FixedSizeList(given, _),
                T::List(stored) | T::LargeList(stored),
            ) => Self::Array(Box::new(Self::of_stored(given.data_type(), stored.data_type()))),
            _ => Self::of(stored),
        }
    }

    fn of_stored_fields(given: &Fields, stored: &Fields) -> Self {
        let mut fields = Vec::with_capacity(stored.len());
        for (index, stored) in stored.iter().enumerate() {
            fields.push(match given.get(index) {
                Some(given) if given.name() == stored.name() => {
                    (given.name().clone(), Self::of_stored(given.data_type(), stored.data_type()))
                }
                Some(renamed) => {
                    let same = |other: &&FieldRef| other.name().to_lowercase() == renamed.name().to_lowercase();
                    let kept = given.iter().filter(same).map(|field| field.name()).max();
                    let kept = kept.map_or("another", String::as_str);
                    let what = format!("its name differs from that of {kept} only by case");
                    (renamed.name().clone(), Self::Out(what))
                }
                None => (stored.name().clone(), Self::of(stored.data_type())),
            });
        }
        Self::Struct(fields)
    }

    fn of_fields(fields: &Fields) -> Self {
        Self::Struct(fields.iter().map(|field| (field.name().clone(), Self::of(field.data_type()))).collect())
    }

    pub(super) fn of(data_type: &DataType) -> Self {
        use DataType as T;
        let plain = match data_type {
            T::Null => return Self::Nothing,
            T::Struct(fields) => return Self::of_fields(fields),
            T::List(item) | T::LargeList(item) => return Self::Array(Box::new(Self::of(item.data_type()))),
            T::Map(entries, _) => return Self::of_map(entries.data_type()),
            T::Dictionary(_, values) => return Self::of(values),
            T::Boolean => Plain::Boolean,
            T::Int8 => Plain::Byte,
            T::Int16 | T::UInt8 => Plain::Short,
            T::Int32 | T::UInt16 => Plain::Integer,
            T::Int64 | T::UInt32 => Plain::Long,
            T::Float16 | T::Float32 => Plain::Float,
            T::Float64 => Plain::Double,
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Plain::String,
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => Plain::Binary,
            T::Date32 => Plain::Date,
            T::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, None) => Plain::TimestampNtz,
            T::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, Some(_)) => Plain::Timestamp,
            T::Decimal32(digits, scale) | T::Decimal64(digits, scale) | T::Decimal128(digits, scale) if *scale >= 0 => {
                Plain::Decimal(*digits, *scale)
            }
            T::Decimal256(digits, scale) if *scale >= 0 && *digits <= DIGITS => Plain::Decimal(*digits, *scale),
            other => return Self::Out(other.to_string()),
        };
        Self::Plain(plain)
    }

    fn of_map(entries: &DataType) -> Self {
        match entries {
            DataType::Struct(entry) if entry.len() == 2 => {
                let mut sides = entry.iter().map(|side| Box::new(Self::of(side.data_type())));
                match (sides.next(), sides.next()) {
                    (Some(key), Some(value)) => Self::Map(key, value),
                    _ => Self::Out(entries.to_string()),
                }
            }
            other => Self::Out(other.to_string()),
        }
    }

    /// The shape that holds the values of both; columns of `self` come first.
    ///
    /// # Errors
    /// The first column whose types do not meet.
    pub(super) fn join(self, other: Self, within: &str) -> Result<Self, Clash> {
        Ok(match (self, other) {
            (Self::Out(what), _) | (_, Self::Out(what)) => Self::Out(what),
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (Self::Struct(left), Self::Struct(right)) => Self::Struct(join_fields(left, right, within)?),
            (Self::Array(left), Self::Array(right)) => {
                Self::Array(Box::new(left.join(*right, &format!("{within}[]"))?))
            }
            (Self::Map(left_key, left), Self::Map(right_key, right)) => {
                let key = left_key.join(*right_key, &format!("{within}.key"))?;
                Self::Map(Box::new(key), Box::new(left.join(*right, &format!("{within}.value"))?))
            }
            (left, right) => {
                let met = match (&left, &right) {
                    (Self::Plain(left), Self::Plain(right)) => left.join(*right),
                    _ => None,
                };
                // Whole numbers of another file became too large for the type that readers have for them.
                if met.is_none() && left.is_whole() && right.is_whole() {
                    return Ok(Self::Out(format!("{} and {}", left.words(), right.words())));
                }
                let clash = || Clash { column: within.to_owned(), left: left.words(), right: right.words() };
                Self::Plain(met.ok_or_else(clash)?)
            }
        })
    }

    /// The columns in Delta's words and in the order of `before`, and those that are left out, with the reason.
    pub(super) fn columns(self, before: &[DeltaField]) -> (Vec<DeltaField>, Vec<String>) {
        let mut left_out = Vec::new();
        let Self::Struct(fields) = self else { return (Vec::new(), left_out) };
        (worded_fields(fields, before, "", &mut left_out), left_out)
    }

    fn worded(self, before: Option<&Nested>, within: &str, left_out: &mut Vec<String>) -> Option<DeltaType> {
        let nested = match self {
            Self::Nothing => {
                left_out.push(format!("{within} (nothing but nulls)"));
                return None;
            }
            Self::Out(what) => {
                left_out.push(format!("{within} ({what})"));
                return None;
            }
            Self::Plain(plain) => return Some(DeltaType::Plain(plain.word())),
            Self::Struct(fields) => {
                let known = match before {
                    Some(Nested::Struct { fields }) => fields.as_slice(),
                    _ => &[],
                };
                let fields = worded_fields(fields, known, &format!("{within}."), left_out);
                if fields.is_empty() {
                    return None;
                }
                Nested::Struct { fields }
            }
            Self::Array(item) => {
                let known = match before {
                    Some(Nested::Array { element_type, .. }) => element_type.nested(),
                    _ => None,
                };
                let element_type = item.worded(known, &format!("{within}[]"), left_out)?;
                Nested::Array { element_type, contains_null: true }
            }
            Self::Map(key, value) => {
                let known = match before {
                    Some(Nested::Map { value_type, .. }) => value_type.nested(),
                    _ => None,
                };
                let key_type = key.worded(None, &format!("{within}.key"), left_out)?;
                let value_type = value.worded(known, &format!("{within}.value"), left_out)?;
                Nested::Map { key_type, value_type, value_contains_null: true }
            }
        };
        Some(DeltaType::Nested(Box::new(nested)))
    }

    /// Two columns of the table, which are in different files, whose names differ only by case.
    pub(super) fn alike(&self) -> Option<(&str, &str)> {
        let Self::Struct(fields) = self else { return None };
        let mut names: HashMap<String, &str> = HashMap::new();
        let there = fields.iter().filter(|(_, shape)| !matches!(shape, Self::Nothing | Self::Out(_)));
        let mut pairs = there.filter_map(|(name, _)| Some((names.insert(name.to_lowercase(), name)?, name.as_str())));
        pairs.next()
    }

    fn is_whole(&self) -> bool {
        let Self::Plain(plain) = self else { return false };
        matches!(plain, Plain::Byte | Plain::Short | Plain::Integer | Plain::Long | Plain::Decimal(20, 0))
    }

    pub(super) fn words(&self) -> String {
        match self {
            Self::Nothing => "null".into(),
            Self::Plain(plain) => plain.word(),
            Self::Struct(_) => "a struct".into(),
            Self::Array(_) => "an array".into(),
            Self::Map(..) => "a map".into(),
            Self::Out(what) => what.clone(),
        }
    }
}

fn join_fields(
    mut left: Vec<(String, Shape)>,
    right: Vec<(String, Shape)>,
    within: &str,
) -> Result<Vec<(String, Shape)>, Clash> {
    for (name, shape) in right {
        match left.iter_mut().find(|(known, _)| *known == name) {
            Some((_, there)) => {
                let path = if within.is_empty() { name } else { format!("{within}.{name}") };
                *there = std::mem::replace(there, Shape::Nothing).join(shape, &path)?;
            }
            None => left.push((name, shape)),
        }
    }
    Ok(left)
}

/// Fields in the order of `before`, then new ones as they come. Names that differ only by case are one to readers.
fn worded_fields(
    mut fields: Vec<(String, Shape)>,
    before: &[DeltaField],
    within: &str,
    left_out: &mut Vec<String>,
) -> Vec<DeltaField> {
    let place = |name: &str| before.iter().position(|field| field.name == name);
    fields.sort_by_key(|(name, _)| place(name).unwrap_or(before.len()));
    let mut names = HashSet::new();
    let mut worded = Vec::with_capacity(fields.len());
    for (name, shape) in fields {
        let path = format!("{within}{name}");
        let known = place(&name).and_then(|at| before.get(at)).and_then(|field| field.data_type.nested());
        let Some(data_type) = shape.worded(known, &path, left_out) else { continue };
        if names.insert(name.to_lowercase()) {
            worded.push(DeltaField::new(&name, data_type));
        } else {
            left_out.push(format!("{path} (another column's name differs only by case)"));
        }
    }
    worded
}

impl Plain {
    fn word(self) -> String {
        match self {
            Self::Decimal(digits, scale) => format!("decimal({digits},{scale})"),
            other => format!("{other:?}").to_lowercase().replace("timestampntz", "timestamp_ntz"),
        }
    }

    /// The narrowest type that both are read as.
    fn join(self, other: Self) -> Option<Self> {
        let integers = [Self::Byte, Self::Short, Self::Integer, Self::Long];
        let place = |plain: Self| integers.iter().position(|known| *known == plain);
        match (self, other) {
            (left, right) if left == right => Some(left),
            (Self::Float | Self::Double, Self::Float | Self::Double) => Some(Self::Double),
            (Self::Decimal(left, scale), Self::Decimal(right, same)) if scale == same => {
                Some(Self::Decimal(left.max(right), scale))
            }
            (left, right) => integers.get(place(left)?.max(place(right)?)).copied(),
        }
    }
}
