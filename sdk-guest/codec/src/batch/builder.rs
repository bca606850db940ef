//! Builds one column row by row, of any type, nested ones included.

use super::{Array, Bits, Data, DataType, Field};

/// Builds one column. Call exactly one `push…` per row; a value that does not fit the column's type is not pushed, and
/// the call reports it.
///
/// Nulls cost nothing until the next value: columns of a struct are padded with nulls when a value follows, or at the
/// end, so many sparse columns are cheap.
#[derive(Clone, Debug)]
pub struct ArrayBuilder {
    len: usize,
    /// One bit for each of the first rows, from the first null on.
    validity: Option<Bits>,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Null,
    Bits(Bits),
    Fixed {
        width: usize,
        bytes: Vec<u8>,
    },
    Bytes {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
        large: bool,
        /// The length of the last column.
        last: usize,
    },
    List {
        offsets: Vec<i32>,
        items: Box<ArrayBuilder>,
        large: bool,
    },
    FixedList {
        length: usize,
        items: Box<ArrayBuilder>,
    },
    /// Columns may be shorter than the struct: the missing rows are null.
    Struct(Vec<ArrayBuilder>),
}

impl ArrayBuilder {
    /// A builder for columns of `data_type`.
    #[must_use]
    pub fn new(data_type: &DataType) -> Self {
        let bytes = |large| Values::Bytes { offsets: vec![0], bytes: Vec::new(), large, last: 0 };
        let list =
            |item: &Field, large| Values::List { offsets: vec![0], items: Box::new(Self::new(&item.data_type)), large };
        let values = match data_type {
            DataType::Boolean => Values::Bits(Bits::default()),
            DataType::Utf8 | DataType::Binary => bytes(false),
            DataType::LargeUtf8 | DataType::LargeBinary => bytes(true),
            DataType::List(item) | DataType::Map(item) => list(item, false),
            DataType::LargeList(item) => list(item, true),
            DataType::FixedSizeList(item, length) => {
                Values::FixedList { length: *length as usize, items: Box::new(Self::new(&item.data_type)) }
            }
            DataType::Struct(fields) => Values::Struct(Self::all(fields)),
            other => other.width().map_or(Values::Null, |width| Values::Fixed { width, bytes: Vec::new() }),
        };
        Self { len: 0, validity: None, values }
    }

    /// A builder for each of `fields`.
    #[must_use]
    pub fn all(fields: &[Field]) -> Vec<Self> {
        fields.iter().map(|field| Self::new(&field.data_type)).collect()
    }

    /// Rows so far.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reserves space for `rows` more rows: for types of known size, and for strings as long as those of the last
    /// column.
    ///
    /// # Errors
    /// Out of memory.
    pub fn try_reserve(&mut self, rows: usize) -> crate::Result<()> {
        let room = match &mut self.values {
            Values::Null => Ok(()),
            Values::Bits(bits) => bits.try_reserve(rows),
            Values::Fixed { width, bytes } => bytes.try_reserve(rows.saturating_mul(*width)),
            Values::Bytes { offsets, bytes, last, .. } => {
                offsets.try_reserve(rows).and_then(|()| bytes.try_reserve(*last))
            }
            Values::List { offsets, .. } => offsets.try_reserve(rows),
            Values::FixedList { length, items } => return items.try_reserve(rows.saturating_mul(*length)),
            Values::Struct(fields) => return fields.iter_mut().try_for_each(|field| field.try_reserve(rows)),
        };
        room.map_err(|_| crate::Error::batch("batch.memory", format!("no memory for {rows} more rows of a column")))
    }

    /// About the bytes of the column with `rows` rows, of which those that are missing are null.
    #[must_use]
    pub fn size(&self, rows: usize) -> usize {
        let rows = rows.max(self.len);
        match &self.values {
            Values::Null => 0,
            Values::Bits(_) => rows / 8,
            Values::Fixed { width, .. } => rows.saturating_mul(*width),
            Values::Bytes { bytes, .. } => bytes.len().saturating_add(rows.saturating_mul(4)),
            Values::List { items, .. } => items.size(0).saturating_add(rows.saturating_mul(4)),
            Values::FixedList { length, items } => items.size(rows.saturating_mul(*length)),
            Values::Struct(fields) => fields.iter().map(|field| field.size(rows)).fold(0, usize::saturating_add),
        }
    }

    #[inline]
    fn one_more(&mut self) {
        self.len += 1;
        if let Some(bits) = &mut self.validity {
            bits.push(true);
        }
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        self.push_nulls(1);
    }

    /// Adds this many nulls.
    pub fn push_nulls(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let bits = self.validity.get_or_insert_with(|| {
            let mut bits = Bits::default();
            bits.extend(true, self.len);
            bits
        });
        bits.extend(false, count);
        self.len += count;
        match &mut self.values {
            Values::Null | Values::FixedList { .. } | Values::Struct(_) => {}
            Values::Bits(bits) => bits.extend(false, count),
            Values::Fixed { width, bytes } => bytes.resize(bytes.len() + count * *width, 0),
            Values::Bytes { offsets, .. } | Values::List { offsets, .. } => {
                offsets.resize(offsets.len() + count, offsets.last().copied().unwrap_or(0));
            }
        }
    }

    /// Adds nulls up to row `len`, if there are fewer rows.
    #[inline]
    pub fn fill(&mut self, len: usize) {
        if self.len < len {
            self.push_nulls(len - self.len);
        }
    }

    /// Adds a boolean; returns whether the column takes one.
    #[inline]
    pub fn push_bool(&mut self, value: bool) -> bool {
        match &mut self.values {
            Values::Bits(bits) => {
                bits.push(value);
                self.one_more();
                true
            }
            _ => false,
        }
    }

    /// Adds a value with exactly the byte width of the column's type, little-endian; returns whether the column takes
    /// it.
    #[inline]
    pub fn push_fixed<const N: usize>(&mut self, value: [u8; N]) -> bool {
        match &mut self.values {
            Values::Fixed { width, bytes } if *width == N => {
                bytes.extend_from_slice(&value);
                self.one_more();
                true
            }
            _ => false,
        }
    }

    /// Adds a string or binary; returns whether the column takes one.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) -> bool {
        self.write_bytes(|bytes| {
            bytes.extend_from_slice(value);
            true
        })
    }

    /// Adds a string or binary: the first `len` bytes of `from`. Short ones are copied in one go if `from` has more.
    #[inline]
    pub fn push_start(&mut self, from: &[u8], len: usize) -> bool {
        self.write_bytes(|bytes| {
            let end = bytes.len() + len;
            // Copies whose length is known are a few instructions, others a call, which is dear in plugins.
            match from.get(..len.next_multiple_of(16)).filter(|_| len <= 64) {
                Some(rounded) => {
                    rounded.as_chunks::<16>().0.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
                    bytes.truncate(end);
                }
                None => bytes.extend_from_slice(from.get(..len).unwrap_or_default()),
            }
            bytes.len() == end
        })
    }

    /// Adds a string or binary that `write` appends in place. It is removed again if `write` returns false, if the
    /// column's values have another length, or if the offsets would overflow.
    #[inline]
    pub fn write_bytes(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        match &mut self.values {
            Values::Bytes { offsets, bytes, .. } => {
                let before = bytes.len();
                let written = write(bytes);
                match i32::try_from(bytes.len()) {
                    Ok(end) if written => offsets.push(end),
                    _ => {
                        bytes.truncate(before);
                        return false;
                    }
                }
            }
            Values::Fixed { width, bytes } => {
                let before = bytes.len();
                if !write(bytes) || bytes.len() != before + *width {
                    bytes.truncate(before);
                    return false;
                }
            }
            _ => return false,
        }
        self.one_more();
        true
    }

    /// The string, the binary or the bytes of the number at `row`, among those pushed so far; empty for other types.
    #[must_use]
    pub fn bytes(&self, row: usize) -> &[u8] {
        match &self.values {
            Values::Bytes { offsets, bytes, .. } => match (offsets.get(row), offsets.get(row + 1)) {
                (Some(&from), Some(&to)) => bytes.get(from as usize..to as usize).unwrap_or_default(),
                _ => &[],
            },
            Values::Fixed { width, bytes } => bytes.get(row * width..(row + 1) * width).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The builder of a list's items, if the column is one; [`ArrayBuilder::end_list`] ends the row.
    #[inline]
    pub fn items(&mut self) -> Option<&mut Self> {
        match &mut self.values {
            Values::List { items, .. } => Some(items),
            Values::FixedList { length, items } => {
                items.fill(self.len * *length);
                Some(items)
            }
            _ => None,
        }
    }

    /// Ends a row of a list or map, made of the items pushed since the last row. Fixed-size lists are padded with
    /// nulls, or cut.
    pub fn end_list(&mut self) {
        match &mut self.values {
            Values::List { offsets, items, .. } => offsets.push(i32::try_from(items.len()).unwrap_or(i32::MAX)),
            Values::FixedList { length, items } => {
                let end = (self.len + 1) * *length;
                items.truncate(end);
                items.fill(end);
            }
            _ => return,
        }
        self.one_more();
    }

    /// The builders of a struct's fields, each at the struct's next row; [`ArrayBuilder::end_struct`] ends the row.
    pub fn fields(&mut self) -> Option<&mut [Self]> {
        let len = self.len;
        let fields = self.late_fields()?;
        fields.iter_mut().for_each(|field| field.fill(len));
        Some(fields)
    }

    /// The builders of a struct's fields, which may be shorter than the struct: the caller [fills](ArrayBuilder::fill)
    /// those that it has a value for.
    #[inline]
    pub fn late_fields(&mut self) -> Option<&mut [Self]> {
        match &mut self.values {
            Values::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// Ends a row of a struct: fields without a value get null.
    #[inline]
    pub fn end_struct(&mut self) {
        if let Values::Struct(_) = &self.values {
            self.one_more();
        }
    }

    /// Removes all rows from `len` on: what was pushed for a row that turned out to be bad.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Null => {}
            // Also where the struct itself is not longer: its columns may have begun the next row.
            Values::Struct(fields) => fields.iter_mut().for_each(|field| field.truncate(len)),
            Values::FixedList { length, items } => items.truncate(len * *length),
            Values::List { offsets, items, .. } => {
                offsets.truncate(len + 1);
                items.truncate(offsets.last().and_then(|&end| usize::try_from(end).ok()).unwrap_or(0));
            }
            _ if len >= self.len => return,
            Values::Bits(bits) => bits.truncate(len),
            Values::Fixed { width, bytes } => bytes.truncate(len * *width),
            Values::Bytes { offsets, bytes, .. } => {
                offsets.truncate(len + 1);
                bytes.truncate(offsets.last().and_then(|&end| usize::try_from(end).ok()).unwrap_or(0));
            }
        }
        if len < self.len {
            self.len = len;
            if let Some(bits) = &mut self.validity {
                bits.truncate(len);
            }
        }
    }

    /// Returns the column; the builder is then empty and keeps its type.
    pub fn finish(&mut self) -> Array {
        let len = std::mem::take(&mut self.len);
        let data = match &mut self.values {
            Values::Null => Data::Null,
            Values::Bits(bits) => Data::Bits(std::mem::take(bits)),
            Values::Fixed { width, bytes } => Data::Fixed { width: *width, bytes: std::mem::take(bytes) },
            Values::Bytes { offsets, bytes, large, last } => {
                *last = bytes.len();
                Data::Bytes {
                    offsets: std::mem::replace(offsets, vec![0]),
                    bytes: std::mem::take(bytes),
                    large: *large,
                }
            }
            Values::List { offsets, items, large } => Data::List {
                offsets: std::mem::replace(offsets, vec![0]),
                items: Box::new(items.finish()),
                large: *large,
            },
            Values::FixedList { length, items } => {
                items.fill(len * *length);
                Data::FixedList { length: *length, items: Box::new(items.finish()) }
            }
            Values::Struct(fields) => {
                let column = |field: &mut Self| {
                    field.fill(len);
                    field.finish()
                };
                Data::Struct(fields.iter_mut().map(column).collect())
            }
        };
        Array::new(len, self.validity.take(), data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_is_taken_back_whole() {
        let inner = DataType::Struct(vec![Field::new("a", DataType::Int64), Field::new("t", DataType::Utf8)]);
        let mut builder = ArrayBuilder::new(&inner);
        for row in 0..10_i64 {
            let fields = builder.fields().unwrap();
            assert!(fields[0].push_fixed(row.to_le_bytes()));
            assert!(fields[1].push_bytes(b"x"));
            builder.end_struct();
        }
        let fields = builder.fields().unwrap();
        assert!(fields[0].push_fixed(99_i64.to_le_bytes()));
        assert!(!fields[1].push_bool(true));
        builder.truncate(10);
        builder.push_null();
        let array = builder.finish();
        assert_eq!(array.len(), 11);
        assert_eq!((array.fields()[0].i64(9), array.fields()[0].i64(10)), (Some(9), None));
        assert!(array.is_valid(9) && !array.is_valid(10));
    }

    #[test]
    fn late_columns_are_filled_in() {
        let inner = DataType::Struct(vec![Field::new("a", DataType::Int64), Field::new("b", DataType::Utf8)]);
        let mut builder = ArrayBuilder::new(&inner);
        for row in 0..20_i64 {
            match row % 5 {
                0 => builder.push_null(),
                1 => {
                    let field = &mut builder.late_fields().unwrap()[0];
                    field.fill(usize::try_from(row).unwrap());
                    assert!(field.push_fixed(row.to_le_bytes()));
                    builder.end_struct();
                }
                _ => builder.end_struct(),
            }
        }
        let array = builder.finish();
        assert_eq!((array.fields()[0].len(), array.fields()[1].len()), (20, 20));
        let values: Vec<Option<i64>> = (0..20).map(|row| array.fields()[0].i64(row)).collect();
        let expected: Vec<Option<i64>> = (0..20).map(|row| (row % 5 == 1).then_some(row)).collect();
        assert_eq!(values, expected);
        assert!((0..20).all(|row| array.is_valid(row) == (row % 5 != 0)));
    }

    #[test]
    fn lists_own_the_items_pushed_since() {
        let mut builder = ArrayBuilder::new(&DataType::List(Box::new(Field::new("item", DataType::Int64))));
        assert!(builder.items().unwrap().push_fixed(1_i64.to_le_bytes()));
        builder.end_list();
        builder.push_null();
        builder.end_list();
        let array = builder.finish();
        match array.data() {
            Data::List { offsets, items, .. } => {
                assert_eq!((offsets.as_slice(), items.len()), ([0, 1, 1, 1].as_slice(), 1))
            }
            other => panic!("{other:?}"),
        }
    }
}
