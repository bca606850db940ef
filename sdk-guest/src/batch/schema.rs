//! Names and types of columns.

use crate::{Error, Result, wit::base::spout::plugin::types as wit};

/// Unit of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Second,
    /// Milliseconds.
    Millisecond,
    /// Microseconds.
    Microsecond,
    /// Nanoseconds.
    Nanosecond,
}

/// Arrow's logical types, those that plugins meet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Arrow's")]
pub enum DataType {
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    /// Precision and scale.
    Decimal128(u8, i8),
    Date32,
    Date64,
    /// Unit and time zone.
    Timestamp(TimeUnit, Option<String>),
    Utf8,
    LargeUtf8,
    Binary,
    LargeBinary,
    List(Box<Field>),
    Struct(Vec<Field>),
}

/// One column, or one field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may have nulls.
    pub nullable: bool,
}

impl Field {
    /// A field that may have nulls.
    #[must_use]
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, nullable: true }
    }
}

/// The columns of a batch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    fields: Vec<Field>,
}

impl Schema {
    /// A schema of these columns.
    #[must_use]
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields }
    }

    /// The columns.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The column at `at`.
    ///
    /// # Errors
    /// If there is none.
    pub fn field(&self, at: usize) -> Result<&Field> {
        self.fields.get(at).ok_or_else(|| Error::fatal("column.missing", format!("no column {at}")))
    }

    /// Where the column `name` stands.
    ///
    /// # Errors
    /// If there is none; the message lists those there are.
    pub fn position(&self, name: &str) -> Result<usize> {
        self.fields.iter().position(|field| field.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
            Error::invalid_config(format!("there is no column `{name}`; the columns are {}", names.join(", ")))
        })
    }

    #[doc(hidden)]
    #[must_use]
    pub fn to_wit(&self) -> Vec<wit::Field> {
        let mut out = Vec::new();
        self.fields.iter().for_each(|field| to_wit(field, &mut out));
        out
    }

    #[doc(hidden)]
    pub fn from_wit(told: Vec<wit::Field>) -> Result<Self> {
        let mut told = told.into_iter();
        let mut fields = Vec::new();
        while let Some(first) = told.next() {
            fields.push(from_wit(first, &mut told)?);
        }
        Ok(Self { fields })
    }
}

fn to_wit(field: &Field, out: &mut Vec<wit::Field>) {
    use wit::DataType as W;
    let (type_, children): (W, &[Field]) = match &field.data_type {
        DataType::Null => (W::Null, &[]),
        DataType::Boolean => (W::Boolean, &[]),
        DataType::Int8 => (W::Int8, &[]),
        DataType::Int16 => (W::Int16, &[]),
        DataType::Int32 => (W::Int32, &[]),
        DataType::Int64 => (W::Int64, &[]),
        DataType::UInt8 => (W::Uint8, &[]),
        DataType::UInt16 => (W::Uint16, &[]),
        DataType::UInt32 => (W::Uint32, &[]),
        DataType::UInt64 => (W::Uint64, &[]),
        DataType::Float32 => (W::Float32, &[]),
        DataType::Float64 => (W::Float64, &[]),
        DataType::Decimal128(precision, scale) => (W::Decimal128((*precision, *scale)), &[]),
        DataType::Date32 => (W::Date32, &[]),
        DataType::Date64 => (W::Date64, &[]),
        DataType::Timestamp(unit, zone) => (W::Timestamp((unit_to_wit(*unit), zone.clone())), &[]),
        DataType::Utf8 => (W::Utf8, &[]),
        DataType::LargeUtf8 => (W::LargeUtf8, &[]),
        DataType::Binary => (W::Binary, &[]),
        DataType::LargeBinary => (W::LargeBinary, &[]),
        DataType::List(item) => (W::List, std::slice::from_ref(item)),
        DataType::Struct(fields) => (W::Struct, fields),
    };
    let count = u32::try_from(children.len()).unwrap_or(u32::MAX);
    let (name, nullable) = (field.name.clone(), field.nullable);
    out.push(wit::Field { name, type_, nullable, children: count, metadata: Vec::new() });
    children.iter().for_each(|child| to_wit(child, out));
}

fn from_wit(told: wit::Field, rest: &mut impl Iterator<Item = wit::Field>) -> Result<Field> {
    use wit::DataType as W;
    let unknown = |name: &str| {
        Error::invalid_config(format!(
            "the SDK cannot read the type of column `{name}`; cast it with a map before the plugin"
        ))
    };
    let missing = || Error::fatal("schema", "a nested column misses its children");
    let mut children = Vec::new();
    for _ in 0..told.children {
        children.push(from_wit(rest.next().ok_or_else(missing)?, rest)?);
    }
    let data_type = match told.type_ {
        W::Null => DataType::Null,
        W::Boolean => DataType::Boolean,
        W::Int8 => DataType::Int8,
        W::Int16 => DataType::Int16,
        W::Int32 => DataType::Int32,
        W::Int64 => DataType::Int64,
        W::Uint8 => DataType::UInt8,
        W::Uint16 => DataType::UInt16,
        W::Uint32 => DataType::UInt32,
        W::Uint64 => DataType::UInt64,
        W::Float32 => DataType::Float32,
        W::Float64 => DataType::Float64,
        W::Decimal128((precision, scale)) => DataType::Decimal128(precision, scale),
        W::Date32 => DataType::Date32,
        W::Date64 => DataType::Date64,
        W::Timestamp((unit, zone)) => DataType::Timestamp(unit_from_wit(unit), zone),
        W::Utf8 => DataType::Utf8,
        W::LargeUtf8 => DataType::LargeUtf8,
        W::Binary => DataType::Binary,
        W::LargeBinary => DataType::LargeBinary,
        W::List => DataType::List(Box::new(children.pop().ok_or_else(missing)?)),
        W::Struct => DataType::Struct(children),
        _ => return Err(unknown(&told.name)),
    };
    Ok(Field { name: told.name, data_type, nullable: told.nullable })
}

fn unit_to_wit(unit: TimeUnit) -> wit::TimeUnit {
    match unit {
        TimeUnit::Second => wit::TimeUnit::Second,
        TimeUnit::Millisecond => wit::TimeUnit::Millisecond,
        TimeUnit::Microsecond => wit::TimeUnit::Microsecond,
        TimeUnit::Nanosecond => wit::TimeUnit::Nanosecond,
    }
}

fn unit_from_wit(unit: wit::TimeUnit) -> TimeUnit {
    match unit {
        wit::TimeUnit::Second => TimeUnit::Second,
        wit::TimeUnit::Millisecond => TimeUnit::Millisecond,
        wit::TimeUnit::Microsecond => TimeUnit::Microsecond,
        wit::TimeUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}
