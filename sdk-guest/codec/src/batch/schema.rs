//! Names and types of columns.

use std::sync::Arc;

use crate::{Error, Result};

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

/// Arrow's logical types, those of the plugin interface.
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
    Float16,
    Float32,
    Float64,
    /// Precision and scale.
    Decimal128(u8, i8),
    Date32,
    Date64,
    /// Time of day, in seconds or milliseconds.
    Time32(TimeUnit),
    /// Time of day, in microseconds or nanoseconds.
    Time64(TimeUnit),
    /// Unit and time zone.
    Timestamp(TimeUnit, Option<String>),
    Duration(TimeUnit),
    Utf8,
    LargeUtf8,
    Binary,
    LargeBinary,
    /// Bytes of each value.
    FixedSizeBinary(u32),
    List(Box<Field>),
    LargeList(Box<Field>),
    /// The item, and the length of each list.
    FixedSizeList(Box<Field>, u32),
    Struct(Vec<Field>),
    /// The entry: a struct of key and value.
    Map(Box<Field>),
}

/// One column, or one field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether nulls are allowed.
    pub nullable: bool,
}

impl Field {
    /// A nullable field.
    #[must_use]
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, nullable: true }
    }
}

/// The columns of a batch, in order. A clone is cheap: every batch has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    fields: Arc<[Field]>,
}

impl Schema {
    /// A schema of these columns.
    #[must_use]
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields: fields.into() }
    }

    /// Whether `other` is this same schema, or a clone of it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fields, &other.fields)
    }

    /// The columns.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The column at `at`.
    ///
    /// # Errors
    /// There is none.
    pub fn field(&self, at: usize) -> Result<&Field> {
        self.fields.get(at).ok_or_else(|| Error::batch("column.missing", format!("no column {at}")))
    }

    /// With the columns of `other` added, or replaced if the name exists.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut fields = self.fields.to_vec();
        for field in other.fields() {
            match fields.iter_mut().find(|known| known.name == field.name) {
                Some(known) => *known = field.clone(),
                None => fields.push(field.clone()),
            }
        }
        Self::new(fields)
    }

    /// The index of the column `name`.
    ///
    /// # Errors
    /// There is none; the message lists the existing ones.
    pub fn position(&self, name: &str) -> Result<usize> {
        self.fields.iter().position(|field| field.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
            Error::config(format!("there is no column `{name}`; the columns are {}", names.join(", ")))
        })
    }
}

impl DataType {
    /// Bytes of one value, for types with fixed-width values in one buffer.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        match self {
            Self::Int8 | Self::UInt8 => Some(1),
            Self::Int16 | Self::UInt16 | Self::Float16 => Some(2),
            Self::Int32 | Self::UInt32 | Self::Float32 | Self::Date32 | Self::Time32(_) => Some(4),
            Self::Int64
            | Self::UInt64
            | Self::Float64
            | Self::Date64
            | Self::Time64(_)
            | Self::Timestamp(..)
            | Self::Duration(_) => Some(8),
            Self::Decimal128(..) => Some(16),
            Self::FixedSizeBinary(width) => Some(*width as usize),
            _ => None,
        }
    }
}
