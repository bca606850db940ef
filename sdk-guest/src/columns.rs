//! Writes a batch column by column, and decodes messages of one row each into such columns.

use crate::{
    Array, ArrayBuilder, Batch, DataType, Decoded, Field, Message, Messages, Result, RowFault, Schema, TimeUnit,
};

/// Columns by name, each from an iterator over values or `Option`s of values, in the order of the batch.
///
/// ```
/// use spout_guest::Columns;
///
/// let visits = [("ann", Some(3_i64)), ("bob", None)];
/// let batch = Columns::new()
///     .str("name", visits.iter().map(|visit| visit.0))
///     .i64("pages", visits.iter().map(|visit| visit.1))
///     .batch()?;
/// assert_eq!((batch.rows(), batch.columns()[1].i64(0)), (2, Some(3)));
/// # Ok::<(), spout_guest::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Columns {
    fields: Vec<Field>,
    columns: Vec<Array>,
}

macro_rules! numbers {
    ($($name:ident: $type:ty => $data_type:ident;)*) => {
        $(
            #[doc = concat!("Adds a column of `", stringify!($type), "`.")]
            #[must_use]
            pub fn $name<V: Into<Option<$type>>>(self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
                self.column(name, DataType::$data_type, values.into_iter().map(Into::into).collect())
            }
        )*
    };
}

impl Columns {
    /// No column yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    numbers! {
        i8: i8 => Int8;
        i16: i16 => Int16;
        i32: i32 => Int32;
        i64: i64 => Int64;
        u8: u8 => UInt8;
        u16: u16 => UInt16;
        u32: u32 => UInt32;
        u64: u64 => UInt64;
        f32: f32 => Float32;
        f64: f64 => Float64;
    }

    /// Adds a column of strings.
    #[must_use]
    pub fn str<'a, V: Into<Option<&'a str>>>(self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
        self.column(name, DataType::Utf8, values.into_iter().map(Into::into).collect())
    }

    /// Adds a column of binaries.
    #[must_use]
    pub fn bytes<'a, V: Into<Option<&'a [u8]>>>(self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
        self.each(name, DataType::Binary, values, |builder, value: &[u8]| builder.push_bytes(value))
    }

    /// Adds a column of booleans.
    #[must_use]
    pub fn bool<V: Into<Option<bool>>>(self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
        self.each(name, DataType::Boolean, values, ArrayBuilder::push_bool)
    }

    /// Adds a column of times in UTC, from milliseconds since 1970.
    #[must_use]
    pub fn timestamp_ms<V: Into<Option<i64>>>(self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
        let data_type = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        self.column(name, data_type, values.into_iter().map(Into::into).collect())
    }

    /// Adds a column of any type.
    #[must_use]
    pub fn column(mut self, name: &str, data_type: DataType, column: Array) -> Self {
        self.fields.push(Field::new(name, data_type));
        self.columns.push(column);
        self
    }

    fn each<T, V: Into<Option<T>>>(
        self,
        name: &str,
        data_type: DataType,
        values: impl IntoIterator<Item = V>,
        push: impl Fn(&mut ArrayBuilder, T) -> bool,
    ) -> Self {
        let mut builder = ArrayBuilder::new(&data_type);
        for value in values {
            if !value.into().is_some_and(|value| push(&mut builder, value)) {
                builder.push_null();
            }
        }
        let column = builder.finish();
        self.column(name, data_type, column)
    }

    /// Names and types so far: the [output](crate::Decoder::output) to declare, from columns without rows.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema::new(self.fields.clone())
    }

    /// The batch.
    ///
    /// # Errors
    /// Columns of different lengths, or an array that does not fit its type; the message names the column.
    pub fn batch(self) -> Result<Batch> {
        let rows = self.columns.first().map_or(0, Array::len);
        Ok(Batch::new(Schema::new(self.fields), self.columns, rows)?)
    }
}

/// Why a message has no row: a code, stable and dotted, such as `access.time`; and what is wrong, for humans.
pub type Fault = (&'static str, String);

impl Messages {
    /// Decodes messages of one row each: `parse` turns a message into a row or a fault, `columns` turns rows into columns.
    ///
    /// # Errors
    /// The columns do not make a [batch](Columns::batch).
    pub fn decode<'a, T>(
        &'a self,
        mut parse: impl FnMut(Message<'a>) -> std::result::Result<T, Fault>,
        columns: impl FnOnce(&[T]) -> Columns,
    ) -> Result<Decoded> {
        let (mut rows, mut faults) = (Vec::with_capacity(self.len()), Vec::new());
        for (index, message) in self.iter().enumerate() {
            match parse(message) {
                Ok(row) => rows.push(row),
                Err((code, reason)) => faults.push(RowFault { message: index as u32, code: code.into(), reason }),
            }
        }
        Ok(Decoded { batch: columns(&rows).batch()?, faults, ..Decoded::default() })
    }
}

impl<'a> Message<'a> {
    /// The payload as text.
    ///
    /// # Errors
    /// It is not UTF-8: a fault `text.utf8`.
    pub fn text(&self) -> std::result::Result<&'a str, Fault> {
        std::str::from_utf8(self.value()).map_err(|error| ("text.utf8", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn columns_take_values_and_options_of_values() {
        let batch = Columns::new()
            .i64("i", [1, 2])
            .u8("u", [None, Some(3)])
            .f64("f", [0.5, 1.5])
            .bool("b", [Some(true), None])
            .str("s", ["x", "y"])
            .bytes("y", [Some(&b"z"[..]), None])
            .timestamp_ms("at", [5, 6])
            .batch()
            .unwrap();
        let [i, u, f, b, s, y, at] = batch.columns() else { panic!("{batch:?}") };
        assert_eq!((i.i64(1), u.u8(0), u.u8(1), f.f64(1), b.bool(0)), (Some(2), None, Some(3), Some(1.5), Some(true)));
        assert_eq!(
            (b.bool(1), s.str(1), y.bytes(0), y.bytes(1), at.i64(0)),
            (None, Some("y"), Some(&b"z"[..]), None, Some(5))
        );
        let uneven = Columns::new().i64("i", [1, 2]).str("s", ["x"]).batch().unwrap_err().to_string();
        assert!(uneven.contains("`s`"), "{uneven}");
        assert_eq!(Columns::new().i64("i", [0; 0]).schema(), Schema::new(vec![Field::new("i", DataType::Int64)]));
    }

    #[test]
    fn a_message_is_a_row_or_a_fault() {
        let number =
            |message: Message<'_>| message.text()?.parse::<i64>().map_err(|error| ("number.syntax", error.to_string()));
        let columns = |rows: &[i64]| Columns::new().i64("n", rows.iter().copied());
        let decoded = testing::messages(&[&b"1"[..], b"x", b"\xff", b"4"]).decode(number, columns).unwrap();
        assert_eq!((decoded.batch.rows(), decoded.batch.columns()[0].i64(1)), (2, Some(4)));
        let faults: Vec<_> = decoded.faults.iter().map(|fault| (fault.message, fault.code.as_ref())).collect();
        assert_eq!(faults, [(1, "number.syntax"), (2, "text.utf8")]);
    }
}
