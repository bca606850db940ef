//! One column, in Arrow's layout, with readers by row.

use super::Bits;

/// The values of an array, by layout. The column's type says what they mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Only nulls.
    Null,
    /// One bit per row.
    Bits(Bits),
    /// Values of `width` bytes each, little-endian: numbers, times, dates.
    Fixed {
        /// Bytes of one value.
        width: usize,
        /// All values.
        bytes: Vec<u8>,
    },
    /// Strings and binaries: `rows + 1` offsets from 0 into `bytes`; `large` offsets cross as 64 bits.
    Bytes {
        /// Where each value begins, and where the last one ends.
        offsets: Vec<i32>,
        /// All values.
        bytes: Vec<u8>,
        /// Whether the type is one of the large ones.
        large: bool,
    },
    /// Lists and maps: `rows + 1` offsets from 0 into `items`; `large` offsets cross as 64 bits.
    List {
        /// Where each list begins, and where the last one ends.
        offsets: Vec<i32>,
        /// All items.
        items: Box<Array>,
        /// Whether the type is one of the large ones.
        large: bool,
    },
    /// Fixed-size lists: `rows * length` items.
    FixedList {
        /// Items of each list.
        length: usize,
        /// All items.
        items: Box<Array>,
    },
    /// One array per field.
    Struct(Vec<Array>),
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    len: usize,
    /// One bit per row, set if there is a value; `None` if every row has one.
    validity: Option<Bits>,
    data: Data,
}

macro_rules! reader {
    ($($name:ident: $type:ty;)*) => {
        $(
            #[doc = concat!("The value at `row` as `", stringify!($type), "`; `None` if it is null or of another width.")]
            #[must_use]
            #[inline]
            pub fn $name(&self, row: usize) -> Option<$type> {
                const WIDTH: usize = size_of::<$type>();
                match &self.data {
                    Data::Fixed { width: WIDTH, bytes } if self.is_valid(row) => {
                        let bytes = bytes.get(row * WIDTH..(row + 1) * WIDTH)?;
                        Some(<$type>::from_le_bytes(bytes.try_into().ok()?))
                    }
                    _ => None,
                }
            }
        )*
    };
}

impl Array {
    /// An array of `len` rows. Only the layout is checked here; the host checks everything.
    #[must_use]
    pub fn new(len: usize, validity: Option<Bits>, data: Data) -> Self {
        Self { len, validity: validity.filter(|bits| bits.unset() > 0), data }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of rows without a value.
    #[must_use]
    pub fn nulls(&self) -> usize {
        match self.data {
            Data::Null => self.len,
            _ => self.validity.as_ref().map_or(0, Bits::unset),
        }
    }

    /// The values.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Length, validity and values.
    #[must_use]
    pub fn into_parts(self) -> (usize, Option<Bits>, Data) {
        (self.len, self.validity, self.data)
    }

    /// Whether `row` has a value.
    #[must_use]
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        row < self.len && !matches!(self.data, Data::Null) && self.validity.as_ref().is_none_or(|bits| bits.get(row))
    }

    reader! {
        i8: i8;
        i16: i16;
        i32: i32;
        i64: i64;
        u8: u8;
        u16: u16;
        u32: u32;
        u64: u64;
        f32: f32;
        f64: f64;
    }

    /// The boolean at `row`.
    #[must_use]
    pub fn bool(&self, row: usize) -> Option<bool> {
        match &self.data {
            Data::Bits(bits) if self.is_valid(row) => Some(bits.get(row)),
            _ => None,
        }
    }

    /// The bytes at `row`, of a string or binary.
    #[must_use]
    pub fn bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.data {
            Data::Bytes { offsets, bytes, .. } if self.is_valid(row) => {
                let (from, to) = (*offsets.get(row)?, *offsets.get(row + 1)?);
                bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
            }
            _ => None,
        }
    }

    /// The string at `row`.
    #[must_use]
    pub fn str(&self, row: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(row)?).ok()
    }

    /// The fields of a struct column.
    #[must_use]
    pub fn fields(&self) -> &[Self] {
        match &self.data {
            Data::Struct(fields) => fields,
            _ => &[],
        }
    }

    /// The value at `row`, of any type, as bytes that are equal if the values are: for keys and hashes.
    pub fn write_key(&self, row: usize, key: &mut Vec<u8>) {
        if !self.is_valid(row) {
            key.push(0);
            return;
        }
        key.push(1);
        match &self.data {
            Data::Null => {}
            Data::Bits(bits) => key.push(u8::from(bits.get(row))),
            Data::Fixed { width, bytes } => {
                key.extend_from_slice(bytes.get(row * width..(row + 1) * width).unwrap_or_default())
            }
            Data::Bytes { .. } => {
                let bytes = self.bytes(row).unwrap_or_default();
                key.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                key.extend_from_slice(bytes);
            }
            Data::List { offsets, items, .. } => {
                let at = |index: usize| offsets.get(index).and_then(|&at| usize::try_from(at).ok()).unwrap_or(0);
                let (from, to) = (at(row), at(row + 1));
                key.extend_from_slice(&((to - from) as u64).to_be_bytes());
                (from..to).for_each(|item| items.write_key(item, key));
            }
            Data::FixedList { length, items } => {
                (row * length..(row + 1) * length).for_each(|item| items.write_key(item, key));
            }
            Data::Struct(fields) => fields.iter().for_each(|field| field.write_key(row, key)),
        }
    }

    /// These rows, in this order.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        let validity = self.validity.as_ref().map(|_| {
            let mut bits = Bits::default();
            rows.iter().for_each(|&row| bits.push(self.is_valid(row as usize)));
            bits
        });
        let data = match &self.data {
            Data::Null => Data::Null,
            Data::Bits(bits) => {
                let mut taken = Bits::default();
                rows.iter().for_each(|&row| taken.push(bits.get(row as usize)));
                Data::Bits(taken)
            }
            Data::Fixed { width, bytes } => {
                let value =
                    |&row: &u32| bytes.get(row as usize * width..(row as usize + 1) * width).unwrap_or_default();
                Data::Fixed { width: *width, bytes: rows.iter().flat_map(value).copied().collect() }
            }
            Data::Bytes { large, .. } => {
                let (mut offsets, mut bytes) = (vec![0], Vec::new());
                for &row in rows {
                    bytes.extend_from_slice(self.bytes(row as usize).unwrap_or_default());
                    offsets.push(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
                }
                Data::Bytes { offsets, bytes, large: *large }
            }
            Data::List { offsets, items, large } => {
                let at = |index: u32| offsets.get(index as usize).and_then(|&at| u32::try_from(at).ok()).unwrap_or(0);
                let (mut taken, mut wanted) = (vec![0], Vec::new());
                for &row in rows {
                    wanted.extend(at(row)..at(row + 1));
                    taken.push(i32::try_from(wanted.len()).unwrap_or(i32::MAX));
                }
                Data::List { offsets: taken, items: Box::new(items.take(&wanted)), large: *large }
            }
            Data::FixedList { length, items } => {
                let width = u32::try_from(*length).unwrap_or(u32::MAX);
                let wanted: Vec<u32> = rows.iter().flat_map(|&row| row * width..(row + 1) * width).collect();
                Data::FixedList { length: *length, items: Box::new(items.take(&wanted)) }
            }
            Data::Struct(fields) => Data::Struct(fields.iter().map(|field| field.take(rows)).collect()),
        };
        Self::new(rows.len(), validity, data)
    }
}

macro_rules! from_values {
    ($($type:ty),*) => {
        $(
            impl FromIterator<$type> for Array {
                fn from_iter<I: IntoIterator<Item = $type>>(values: I) -> Self {
                    let bytes: Vec<u8> = values.into_iter().flat_map(<$type>::to_le_bytes).collect();
                    let width = size_of::<$type>();
                    Self::new(bytes.len() / width, None, Data::Fixed { width, bytes })
                }
            }

            impl FromIterator<Option<$type>> for Array {
                fn from_iter<I: IntoIterator<Item = Option<$type>>>(values: I) -> Self {
                    let (mut bits, mut bytes) = (Bits::default(), Vec::new());
                    for value in values {
                        bits.push(value.is_some());
                        bytes.extend_from_slice(&value.unwrap_or_default().to_le_bytes());
                    }
                    Self::new(bits.len(), Some(bits), Data::Fixed { width: size_of::<$type>(), bytes })
                }
            }
        )*
    };
}

from_values!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

impl<'a> FromIterator<Option<&'a str>> for Array {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(values: I) -> Self {
        let (mut bits, mut offsets, mut bytes) = (Bits::default(), vec![0], Vec::new());
        for value in values {
            bits.push(value.is_some());
            bytes.extend_from_slice(value.unwrap_or_default().as_bytes());
            offsets.push(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        }
        Self::new(bits.len(), Some(bits), Data::Bytes { offsets, bytes, large: false })
    }
}

impl<'a> FromIterator<&'a str> for Array {
    fn from_iter<I: IntoIterator<Item = &'a str>>(values: I) -> Self {
        values.into_iter().map(Some).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let numbers: Array = [Some(1_i64), None, Some(-3)].into_iter().collect();
        assert_eq!((numbers.i64(0), numbers.i64(1), numbers.i64(2), numbers.i64(3)), (Some(1), None, Some(-3), None));
        assert_eq!(numbers.i32(0), None);
        let texts: Array = [Some("a"), None, Some("ß")].into_iter().collect();
        assert_eq!((texts.str(0), texts.str(1), texts.str(2)), (Some("a"), None, Some("ß")));
        let taken = texts.take(&[2, 0]);
        assert_eq!((taken.len(), taken.str(0), taken.str(1)), (2, Some("ß"), Some("a")));
    }

    #[test]
    fn runs_of_bits_are_the_same_as_bit_by_bit() {
        let (mut runs, mut single) = (Bits::default(), Bits::default());
        for (bit, count) in [(true, 3), (false, 0), (false, 21), (true, 8), (true, 64), (false, 1), (true, 7)] {
            runs.extend(bit, count);
            (0..count).for_each(|_| single.push(bit));
            assert_eq!(runs, single);
        }
        runs.truncate(30);
        single.truncate(30);
        assert_eq!(runs, single);
    }

    #[test]
    fn keys_are_equal_where_values_are() {
        let key = |array: &Array, row| {
            let mut key = Vec::new();
            array.write_key(row, &mut key);
            key
        };
        let texts: Array = [Some("a"), None, Some(""), Some("a")].into_iter().collect();
        assert_eq!(key(&texts, 0), key(&texts, 3));
        assert_ne!(key(&texts, 1), key(&texts, 2));
    }
}
