//! Rows as plain columns: what decoders build, and what crosses between host and plugins as parts.
//!
//! A [`Batch`] is a [`Schema`] and one [`Array`] per column. Arrays have Arrow's layout, so they cross without
//! conversion; [`ArrayBuilder`] makes them, and `i64(row)`, `str(row)` and the like read them.

mod array;
mod bits;
mod builder;
mod fit;
mod schema;
pub mod schema_text;

pub use self::{
    array::{Array, Data},
    bits::Bits,
    builder::ArrayBuilder,
    schema::{DataType, Field, Schema, TimeUnit},
};

/// Rows: a schema and one array per column, all of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    schema: Schema,
    columns: Vec<Array>,
    rows: usize,
}

impl Batch {
    /// A batch of `rows` rows.
    ///
    /// # Errors
    /// The columns do not fit the schema or each other, in number, length or layout; the message says which.
    pub fn new(schema: Schema, columns: Vec<Array>, rows: usize) -> crate::Result<Self> {
        if schema.fields().len() != columns.len() {
            let what = format!("{} columns for {} fields", columns.len(), schema.fields().len());
            return Err(crate::Error::batch("batch.columns", what));
        }
        let misfits = schema.fields().iter().zip(&columns).find_map(|(field, array)| fit::misfit(field, array, rows));
        match misfits {
            Some(what) => Err(crate::Error::batch("batch.column", what)),
            None => Ok(Self { schema, columns, rows }),
        }
    }

    /// A batch of these columns without rows.
    #[must_use]
    pub fn empty(schema: Schema) -> Self {
        let columns = ArrayBuilder::all(schema.fields()).iter_mut().map(ArrayBuilder::finish).collect();
        Self { schema, columns, rows: 0 }
    }

    /// Names and types.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Array] {
        &self.columns
    }

    /// The columns, by value.
    #[must_use]
    pub fn into_columns(self) -> Vec<Array> {
        self.columns
    }

    /// Schema and columns, by value.
    #[must_use]
    pub fn into_parts(self) -> (Schema, Vec<Array>) {
        (self.schema, self.columns)
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column with this name.
    ///
    /// # Errors
    /// There is none; the message lists the existing ones.
    pub fn column_by_name(&self, name: &str) -> crate::Result<&Array> {
        let at = self.schema.position(name)?;
        self.columns.get(at).ok_or_else(|| crate::Error::batch("column.missing", format!("no column `{name}`")))
    }

    /// These rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        let columns = self.columns.iter().map(|column| column.take(rows)).collect();
        Self { schema: self.schema.clone(), columns, rows: rows.len() }
    }

    /// With the columns of `other` added, or replaced if the name exists.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let (schema, mut columns) = (self.schema.with(&other.schema), self.columns.clone());
        for (field, column) in other.schema.fields().iter().zip(&other.columns) {
            match self.schema.fields().iter().position(|known| known.name == field.name) {
                Some(at) => columns[at] = column.clone(),
                None => columns.push(column.clone()),
            }
        }
        Self { schema, columns, rows: self.rows }
    }
}
