//! Digests of rows: the same for the same values in every run, on every machine, whatever the width of a number.

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
        UInt64Array,
    },
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, Schema, TimeUnit, UInt64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash64;

use super::{Error, columns::at};

/// Half of a SHA-256: no two keys in a thousand years have the same one.
pub(super) type Digest = [u8; 16];

/// Makes digests of some columns of rows, or of all.
#[derive(Clone, Debug)]
pub(super) struct Digests {
    handler: String,
    /// All if there is none.
    columns: Option<Vec<String>>,
    salt: String,
}

impl Digests {
    /// Digests over `columns`, over none if there are none.
    pub(super) fn over(handler: &str, columns: &[String]) -> Self {
        Self { handler: handler.to_owned(), columns: Some(columns.to_vec()), salt: String::new() }
    }

    /// Digests over `columns`, over all if there are none; another `salt` gives others.
    pub(super) fn over_all(handler: &str, columns: &[String], salt: &str) -> Self {
        let columns = Some(columns.to_vec()).filter(|columns| !columns.is_empty());
        Self { handler: handler.to_owned(), columns, salt: salt.to_owned() }
    }

    /// Adds columns, unless all are meant.
    pub(super) fn also(&mut self, more: &[String]) {
        if let Some(columns) = &mut self.columns {
            let missing: Vec<String> = more.iter().filter(|name| !columns.contains(name)).cloned().collect();
            columns.extend(missing);
        }
    }

    /// Whether the column is one of them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column == name))
    }

    /// Checks that the columns are there.
    ///
    /// # Errors
    /// [`Error::Spec`] naming the first that is not.
    pub(super) fn check(&self, schema: &Schema) -> Result<(), Error> {
        self.columns.iter().flatten().try_for_each(|name| at(&self.handler, schema, name).map(drop))
    }

    /// The digest of each row.
    ///
    /// # Errors
    /// As [`Digests::check`].
    pub(super) fn of(&self, batch: &RecordBatch) -> Result<Vec<Digest>, Error> {
        let mut digests = Vec::with_capacity(batch.num_rows());
        self.each(batch, |bytes| {
            let mut digest = Digest::default();
            digest.copy_from_slice(&Sha256::digest(bytes)[..16]);
            digests.push(digest);
        })?;
        Ok(digests)
    }

    /// A number for each row: that of XXH64 with the seed 0. Other keys may have the same.
    ///
    /// # Errors
    /// As [`Digests::check`].
    pub(super) fn hashes(&self, batch: &RecordBatch) -> Result<Vec<u64>, Error> {
        let mut hashes = Vec::with_capacity(batch.num_rows());
        self.each(batch, |bytes| hashes.push(XxHash64::oneshot(0, bytes)))?;
        Ok(hashes)
    }

    /// Shows `to` the bytes that stand for each row.
    fn each(&self, batch: &RecordBatch, mut to: impl FnMut(&[u8])) -> Result<(), Error> {
        let failed = Error::kernel(&self.handler, batch.num_rows());
        let mut names: Vec<&String> = match &self.columns {
            Some(columns) => columns.iter().collect(),
            None => batch.schema_ref().fields().iter().map(|field| field.name()).collect(),
        };
        // A row is the same whatever order its columns come in.
        names.sort();
        let mut cells = Vec::with_capacity(names.len());
        for name in names {
            let at = at(&self.handler, batch.schema_ref(), name)?;
            cells.push(Cells::new(batch.column(at)).map_err(failed)?);
        }
        let mut bytes = Vec::new();
        for row in 0..batch.num_rows() {
            bytes.clear();
            bytes.extend_from_slice(self.salt.as_bytes());
            for cells in &cells {
                cells.write(row, &mut bytes).map_err(failed)?;
            }
            to(&bytes);
        }
        Ok(())
    }
}

/// A column, in the widest type of its kind.
enum Cells {
    Null,
    Truth(BooleanArray),
    Whole(Int64Array),
    Natural(UInt64Array),
    Float(Float64Array),
    Text(StringArray),
    Bytes(BinaryArray),
    /// Counts of so many nanoseconds.
    Time(Int64Array, i128),
    /// As people see it.
    Other(ArrayRef),
}

impl Cells {
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        Ok(match column.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Truth(column.as_boolean().clone()),
            DataType::UInt64 => Self::Natural(column.as_primitive::<UInt64Type>().clone()),
            whole if whole.is_integer() => {
                Self::Whole(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            float if float.is_floating() => {
                Self::Float(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Text(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Self::Bytes(cast(column, &DataType::Binary)?.as_binary::<i32>().clone())
            }
            DataType::Dictionary(_, values) => return Self::new(&cast(column, values)?),
            DataType::Timestamp(unit, _) => {
                let each = match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1_000,
                    TimeUnit::Nanosecond => 1,
                };
                Self::Time(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), each)
            }
            _ => Self::Other(column.clone()),
        })
    }

    fn write(&self, row: usize, to: &mut Vec<u8>) -> Result<(), ArrowError> {
        let (kind, array): (u8, &dyn Array) = match self {
            Self::Null => {
                to.push(0);
                return Ok(());
            }
            Self::Truth(array) => (b'b', array),
            Self::Whole(array) => (b'i', array),
            Self::Natural(array) => (b'i', array),
            Self::Float(array) => (b'f', array),
            Self::Text(array) => (b's', array),
            Self::Bytes(array) => (b'y', array),
            Self::Time(array, _) => (b't', array),
            Self::Other(array) => (b'o', array),
        };
        if array.is_null(row) {
            to.push(0);
            return Ok(());
        }
        to.push(kind);
        match self {
            Self::Null => {}
            Self::Truth(array) => to.push(array.value(row).into()),
            Self::Whole(array) => to.extend(i128::from(array.value(row)).to_le_bytes()),
            Self::Natural(array) => to.extend(i128::from(array.value(row)).to_le_bytes()),
            // Both zeros are the same number.
            Self::Float(array) => to.extend((array.value(row) + 0.0).to_le_bytes()),
            Self::Text(array) => sized(array.value(row).as_bytes(), to),
            Self::Bytes(array) => sized(array.value(row), to),
            Self::Time(array, each) => to.extend((i128::from(array.value(row)) * each).to_le_bytes()),
            Self::Other(array) => {
                let options = FormatOptions::default().with_null("null");
                let text = ArrayFormatter::try_new(array, &options)?.value(row).try_to_string()?;
                sized(text.as_bytes(), to);
            }
        }
        Ok(())
    }
}

/// With its length, so that the end of one cell cannot pass for the start of the next.
fn sized(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend((bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, TimestampMillisecondArray, TimestampSecondArray};

    use super::*;

    fn of(columns: Vec<(&str, ArrayRef)>) -> Vec<Digest> {
        Digests::over_all("d", &[], "")
            .of(&RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
                .unwrap())
            .unwrap()
    }

    #[test]
    fn the_same_values_have_the_same_digest() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("")]));
        let narrow = of(vec![("n", Arc::new(Int32Array::from(vec![1, 2, 3]))), ("s", text.clone())]);
        let wide = of(vec![("s", text), ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))]);
        assert_eq!(narrow, wide);
        assert_ne!(narrow[0], narrow[1]);
        assert_eq!(hex(narrow[0]), "a1ee84d5");
        let seconds = of(vec![("t", Arc::new(TimestampSecondArray::from(vec![1])))]);
        assert_eq!(seconds, of(vec![("t", Arc::new(TimestampMillisecondArray::from(vec![1000])))]));
        let zeros = of(vec![("f", Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0])))]);
        assert_eq!(zeros[0], zeros[1]);
        let [null, empty]: [Digest; 2] =
            of(vec![("s", Arc::new(StringArray::from(vec![None, Some("")])))]).try_into().unwrap();
        assert_ne!(null, empty);
    }

    fn hex(digest: Digest) -> String {
        digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
