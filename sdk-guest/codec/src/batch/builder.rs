//! Builds one column row by row, of any type, nested ones included.

use super::{Array, Bits, Data, DataType, Field};

/// Builds one column. Exactly one `push…` a row; what does not fit the column's type becomes null and says so.
#[derive(Clone, Debug)]
pub struct ArrayBuilder {
    validity: Bits,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Null,
    Bits(Bits),
    Fixed { width: usize, bytes: Vec<u8> },
    Bytes { offsets: Vec<i32>, bytes: Vec<u8>, large: bool },
    List { offsets: Vec<i32>, items: Box<ArrayBuilder>, large: bool },
    FixedList { length: usize, items: Box<ArrayBuilder> },
    Struct(Vec<ArrayBuilder>),
}

impl ArrayBuilder {
    /// A builder for columns of `data_type`.
    #[must_use]
    pub fn new(data_type: &DataType) -> Self {
        let bytes = |large| Values::Bytes { offsets: vec![0], bytes: Vec::new(), large };
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
        Self { validity: Bits::default(), values }
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
        self.validity.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A null.
    pub fn push_null(&mut self) {
        self.validity.push(false);
        match &mut self.values {
            Values::Null => {}
            Values::Bits(bits) => bits.push(false),
            Values::Fixed { width, bytes } => bytes.resize(bytes.len() + *width, 0),
            Values::Bytes { offsets, .. } | Values::List { offsets, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
            Values::FixedList { length, items } => (0..*length).for_each(|_| items.push_null()),
            Values::Struct(fields) => fields.iter_mut().for_each(Self::push_null),
        }
    }

    /// A truth; whether the column takes one.
    #[inline]
    pub fn push_bool(&mut self, value: bool) -> bool {
        match &mut self.values {
            Values::Bits(bits) => {
                bits.push(value);
                self.validity.push(true);
                true
            }
            _ => false,
        }
    }

    /// A value of exactly as many bytes as the column's type has, little-endian; whether the column takes it.
    #[inline]
    pub fn push_fixed<const N: usize>(&mut self, value: [u8; N]) -> bool {
        match &mut self.values {
            Values::Fixed { width, bytes } if *width == N => {
                bytes.extend_from_slice(&value);
                self.validity.push(true);
                true
            }
            _ => false,
        }
    }

    /// A text or a binary; whether the column takes one.
    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) -> bool {
        self.write_bytes(|bytes| {
            bytes.extend_from_slice(value);
            true
        })
    }

    /// A text or a binary that `write` appends in place; it is taken back if `write` says false.
    #[inline]
    pub fn write_bytes(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        match &mut self.values {
            Values::Bytes { offsets, bytes, .. } => {
                let before = bytes.len();
                if !write(bytes) {
                    bytes.truncate(before);
                    return false;
                }
                offsets.push(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
                self.validity.push(true);
                true
            }
            _ => false,
        }
    }

    /// The builder of a list's items, if the column is one; [`ArrayBuilder::end_list`] ends the row.
    pub fn items(&mut self) -> Option<&mut Self> {
        match &mut self.values {
            Values::List { items, .. } | Values::FixedList { items, .. } => Some(items),
            _ => None,
        }
    }

    /// Ends a row of a list or map: the items pushed since the last row are its own. Lists of one length are filled up with
    /// nulls, or cut.
    pub fn end_list(&mut self) {
        match &mut self.values {
            Values::List { offsets, items, .. } => offsets.push(i32::try_from(items.len()).unwrap_or(i32::MAX)),
            Values::FixedList { length, items } => {
                let end = (self.validity.len() + 1) * *length;
                items.truncate(end);
                (items.len()..end).for_each(|_| items.push_null());
            }
            _ => return,
        }
        self.validity.push(true);
    }

    /// The builders of a struct's fields, if the column is one; [`ArrayBuilder::end_struct`] ends the row.
    pub fn fields(&mut self) -> Option<&mut [Self]> {
        match &mut self.values {
            Values::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// Ends a row of a struct: fields that have no value for it get null.
    pub fn end_struct(&mut self) {
        let rows = self.validity.len() + 1;
        if let Values::Struct(fields) = &mut self.values {
            for field in fields {
                while field.len() < rows {
                    field.push_null();
                }
            }
            self.validity.push(true);
        }
    }

    /// Takes back all rows from `len` on: what was pushed of a row that turned out to be bad.
    pub fn truncate(&mut self, len: usize) {
        self.validity.truncate(len);
        match &mut self.values {
            Values::Null => {}
            Values::Bits(bits) => bits.truncate(len),
            Values::Fixed { width, bytes } => bytes.truncate(len * *width),
            Values::Bytes { offsets, bytes, .. } => {
                offsets.truncate(len + 1);
                bytes.truncate(offsets.last().and_then(|&end| usize::try_from(end).ok()).unwrap_or(0));
            }
            Values::List { offsets, items, .. } => {
                offsets.truncate(len + 1);
                items.truncate(offsets.last().and_then(|&end| usize::try_from(end).ok()).unwrap_or(0));
            }
            Values::FixedList { length, items } => items.truncate(len * *length),
            Values::Struct(fields) => fields.iter_mut().for_each(|field| field.truncate(len)),
        }
    }

    /// The column; the builder is empty afterwards and keeps its type.
    pub fn finish(&mut self) -> Array {
        let validity = std::mem::take(&mut self.validity);
        let data = match &mut self.values {
            Values::Null => Data::Null,
            Values::Bits(bits) => Data::Bits(std::mem::take(bits)),
            Values::Fixed { width, bytes } => Data::Fixed { width: *width, bytes: std::mem::take(bytes) },
            Values::Bytes { offsets, bytes, large } => Data::Bytes {
                offsets: std::mem::replace(offsets, vec![0]),
                bytes: std::mem::take(bytes),
                large: *large,
            },
            Values::List { offsets, items, large } => Data::List {
                offsets: std::mem::replace(offsets, vec![0]),
                items: Box::new(items.finish()),
                large: *large,
            },
            Values::FixedList { length, items } => Data::FixedList { length: *length, items: Box::new(items.finish()) },
            Values::Struct(fields) => Data::Struct(fields.iter_mut().map(Self::finish).collect()),
        };
        Array::new(validity.len(), Some(validity), data)
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
