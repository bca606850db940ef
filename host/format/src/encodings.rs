//! Which columns of a Parquet file have a dictionary, and which numbers are kept as differences: told from its first rows.
//!
//! A dictionary of values that hardly repeat costs a third of the time that a file takes, and makes it larger. DuckDB has none where
//! more than a fifth of the values are different; a file's first rows are a sample of that.
//!
//! **Invariant**: what is chosen depends on the first [`SAMPLE`] rows alone, however these come in batches; nothing is where fewer than
//! these are larger than [`LARGE`].

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, StructArray},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType,
    },
};
use parquet::{basic::Encoding, file::properties::WriterPropertiesBuilder, schema::types::ColumnPath};

use super::row_groups::size;

/// Rows that are looked at.
pub(super) const SAMPLE: usize = 4096;
/// Bytes of rows that are waited for at most: fewer rows that are as large are written as if there were no more.
const LARGE: usize = 64 << 20;
/// A column with fewer values in the sample keeps its dictionary.
const FEWEST: usize = SAMPLE / 2;
/// One value of so many in the sample was there before, where a fifth of 131,072 values are different.
const REPEATED: usize = 16;
/// Numbers of which differences are packed with the same number of bits.
const PACKED: usize = 64;

/// How the values of one column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Dictionary,
    Plain,
    Differences,
}

/// Sets in `properties` what the first rows of a file, `sample`, tell of its columns.
pub(super) fn chosen(mut properties: WriterPropertiesBuilder, sample: &RecordBatch) -> WriterPropertiesBuilder {
    for (field, column) in sample.schema_ref().fields().iter().zip(sample.columns()) {
        properties = set(properties, vec![field.name().clone()], column);
    }
    properties
}

fn set(mut properties: WriterPropertiesBuilder, path: Vec<String>, column: &ArrayRef) -> WriterPropertiesBuilder {
    if let Some(parts) = column.as_any().downcast_ref::<StructArray>() {
        for (field, part) in parts.fields().iter().zip(parts.columns()) {
            let below = path.iter().chain([field.name()]).cloned().collect();
            properties = set(properties, below, part);
        }
        return properties;
    }
    let encoding = match choice(column) {
        Choice::Dictionary => return properties,
        Choice::Plain => Encoding::PLAIN,
        Choice::Differences => Encoding::DELTA_BINARY_PACKED,
    };
    let path = ColumnPath::new(path);
    properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
}

fn choice(column: &ArrayRef) -> Choice {
    match column.data_type() {
        DataType::Int8 => of_numbers::<Int8Type>(column),
        DataType::Int16 => of_numbers::<Int16Type>(column),
        DataType::Int32 => of_numbers::<Int32Type>(column),
        DataType::Int64 => of_numbers::<Int64Type>(column),
        DataType::Date32 => of_numbers::<Date32Type>(column),
        DataType::Timestamp(TimeUnit::Second, _) => of_numbers::<TimestampSecondType>(column),
        DataType::Timestamp(TimeUnit::Millisecond, _) => of_numbers::<TimestampMillisecondType>(column),
        DataType::Timestamp(TimeUnit::Microsecond, _) => of_numbers::<TimestampMicrosecondType>(column),
        DataType::Float32 => plain_if(&of_floats(column.as_primitive::<Float32Type>(), |value| value.to_bits().into())),
        DataType::Float64 => plain_if(&of_floats(column.as_primitive::<Float64Type>(), f64::to_bits)),
        DataType::Utf8 => plain_if(&seen(column.as_string::<i32>().iter().flatten())),
        DataType::LargeUtf8 => plain_if(&seen(column.as_string::<i64>().iter().flatten())),
        DataType::Utf8View => plain_if(&seen(column.as_string_view().iter().flatten())),
        DataType::Binary => plain_if(&seen(column.as_binary::<i32>().iter().flatten())),
        DataType::LargeBinary => plain_if(&seen(column.as_binary::<i64>().iter().flatten())),
        DataType::BinaryView => plain_if(&seen(column.as_binary_view().iter().flatten())),
        _ => Choice::Dictionary,
    }
}

/// How many values there were, and how many different ones.
#[derive(Debug)]
struct Seen {
    values: usize,
    different: usize,
}

impl Seen {
    fn hardly_repeat(&self) -> bool {
        self.values >= FEWEST && (self.values - self.different) * REPEATED < self.values
    }

    /// Bits of an entry's number in the dictionary of these values.
    fn bits(&self) -> u32 {
        usize::BITS - self.different.saturating_sub(1).leading_zeros()
    }
}

fn seen<V: Eq + std::hash::Hash>(values: impl Iterator<Item = V>) -> Seen {
    let mut count = 0;
    let different: HashSet<V> = values.inspect(|_| count += 1).collect();
    Seen { values: count, different: different.len() }
}

fn of_floats<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, bits: impl Fn(T::Native) -> u64) -> Seen {
    seen(column.iter().flatten().map(bits))
}

fn plain_if(seen: &Seen) -> Choice {
    if seen.hardly_repeat() { Choice::Plain } else { Choice::Dictionary }
}

/// Differences win where they take fewer bits than a number of the dictionary, as those of ids and times that rise do.
fn of_numbers<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &ArrayRef) -> Choice {
    let values: Vec<i64> = column.as_primitive::<T>().iter().flatten().map(Into::into).collect();
    let seen = seen(values.iter());
    if seen.values < FEWEST {
        return Choice::Dictionary;
    }
    let width = if size_of::<T::Native>() == size_of::<i64>() { i64::BITS } else { i32::BITS };
    let packed = bits_of_differences(&values);
    if seen.hardly_repeat() {
        // Numbers without an order are read faster as they are.
        if packed < width / 4 * 3 { Choice::Differences } else { Choice::Plain }
    } else if packed + 1 < seen.bits() {
        Choice::Differences
    } else {
        Choice::Dictionary
    }
}

/// Bits that a difference takes on average, rounded up, where so many at a time are packed alike.
fn bits_of_differences(values: &[i64]) -> u32 {
    let packs = values.chunks(PACKED).map(|values| {
        let differences =
            values.iter().zip(values.iter().skip(1)).map(|(before, after)| i128::from(*after) - i128::from(*before));
        let (least, greatest) = differences.fold((i128::MAX, i128::MIN), |(least, greatest), difference| {
            (least.min(difference), greatest.max(difference))
        });
        let spread = u64::try_from(greatest.saturating_sub(least)).unwrap_or(u64::MAX);
        if least > greatest { 0 } else { u64::BITS - spread.leading_zeros() }
    });
    let (count, bits) = packs.fold((0u32, 0u32), |(count, bits), pack| (count + 1, bits + pack));
    bits.div_ceil(count.max(1))
}

/// The first rows of a file, until there are enough.
#[derive(Debug, Default)]
pub(super) struct Sample {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Sample {
    pub(super) fn take(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        self.bytes += batch.columns().iter().map(|column| size(column)).sum::<usize>();
        self.batches.push(batch.clone());
    }

    pub(super) fn is_whole(&self) -> bool {
        self.rows >= SAMPLE || self.bytes >= LARGE
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first [`SAMPLE`] rows as one batch; none if there are fewer.
    pub(super) fn first(&self) -> Option<RecordBatch> {
        if self.rows < SAMPLE {
            return None;
        }
        let schema = Arc::clone(self.batches.first()?.schema_ref());
        let mut left = SAMPLE;
        let parts: Vec<RecordBatch> = self
            .batches
            .iter()
            .map(|batch| {
                let rows = left.min(batch.num_rows());
                left -= rows;
                batch.slice(0, rows)
            })
            .collect();
        arrow::compute::concat_batches(&schema, &parts).ok()
    }

    pub(super) fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use arrow::{
        array::{
            ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
            TimestampMillisecondArray,
        },
        compute::concat_batches,
        datatypes::{DataType, Field},
    };
    use parquet::{
        basic::Encoding,
        file::reader::{FileReader, SerializedFileReader},
    };
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::{Choice, LARGE, SAMPLE, Sample, choice};
    use crate::{Format, TableWriter, decode};

    const ROWS: usize = 3 * SAMPLE;

    /// Columns of every kind, as many rows as asked for, and how each is to be written.
    fn rows(count: usize) -> (RecordBatch, BTreeMap<&'static str, Choice>) {
        let mut random = StdRng::seed_from_u64(7);
        let ids = Int64Array::from_iter_values((0..).take(count));
        let wild = Int64Array::from_iter_values((0..count).map(|_| random.random()));
        let ends = Int64Array::from_iter_values((0..count).map(|n| if n % 2 == 0 { i64::MIN } else { i64::MAX }));
        let few = Int32Array::from_iter((0..count).map(|n| (n % 5 != 0).then(|| random.random_range(0..300))));
        let times = TimestampMillisecondArray::from_iter_values((0..count as i64).map(|n| 1_700_000_000_000 + n / 10));
        let kinds = StringArray::from_iter_values((0..count).map(|_| ["click", "view"][random.random_range(0..2)]));
        let users = StringArray::from_iter_values((0..count).map(|n| format!("user-{n:x}")));
        let rare = StringArray::from_iter((0..count).map(|n| (n % 100 == 0).then(|| format!("note {n}"))));
        let money = Float64Array::from_iter_values((0..count).map(|_| random.random::<f64>()));
        let inner = Arc::new(Field::new("id", DataType::Int64, true));
        let within = StructArray::from(vec![(inner, Arc::new(ids.clone()) as ArrayRef)]);
        let columns: [(&str, ArrayRef, Choice); 10] = [
            ("ids", Arc::new(ids), Choice::Differences),
            ("wild", Arc::new(wild), Choice::Plain),
            ("ends", Arc::new(ends), Choice::Dictionary),
            ("few", Arc::new(few), Choice::Dictionary),
            ("times", Arc::new(times), Choice::Differences),
            ("kinds", Arc::new(kinds), Choice::Dictionary),
            ("users", Arc::new(users), Choice::Plain),
            ("rare", Arc::new(rare), Choice::Dictionary),
            ("money", Arc::new(money), Choice::Plain),
            ("within.id", Arc::new(within), Choice::Differences),
        ];
        let wanted = columns.iter().map(|(name, _, choice)| (*name, *choice)).collect();
        let named = columns.into_iter().map(|(name, column, _)| (name.split('.').next().unwrap(), column));
        (RecordBatch::try_from_iter_with_nullable(named.map(|(name, column)| (name, column, true))).unwrap(), wanted)
    }

    /// How each column of a file is written, and the rows that it gives back.
    fn written(rows: &RecordBatch, batch: usize) -> (BTreeMap<String, Choice>, RecordBatch) {
        let mut writer = TableWriter::new(Format::Parquet, rows.schema()).unwrap();
        for begin in (0..rows.num_rows()).step_by(batch) {
            writer.write(&rows.slice(begin, batch.min(rows.num_rows() - begin))).unwrap();
        }
        assert!(writer.bytes_buffered() > 0);
        let file = writer.finish().unwrap();
        let reader = SerializedFileReader::new(file.bytes.clone()).unwrap();
        let columns = reader.metadata().row_group(0).columns().iter().map(|column| {
            let encodings: Vec<Encoding> = column.encodings().collect();
            let choice = match () {
                () if encodings.contains(&Encoding::RLE_DICTIONARY) => Choice::Dictionary,
                () if encodings.contains(&Encoding::DELTA_BINARY_PACKED) => Choice::Differences,
                () => Choice::Plain,
            };
            (column.column_path().string(), choice)
        });
        let back: Vec<_> = decode("it", Format::Parquet, &rows.schema(), file.bytes.clone(), None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        (columns.collect(), concat_batches(&rows.schema(), &back).unwrap())
    }

    #[test]
    fn rows_that_are_large_are_not_waited_for() {
        let text = StringArray::from(vec!["x".repeat(1 << 20); 16]);
        let batch = RecordBatch::try_from_iter([("t", Arc::new(text) as ArrayRef)]).unwrap();
        let mut sample = Sample::default();
        for whole in [false, false, false, true] {
            sample.take(&batch);
            assert_eq!(sample.is_whole(), whole);
        }
        assert!(sample.first().is_none() && sample.bytes() >= LARGE);
    }

    #[test]
    fn each_column_is_written_as_its_first_values_ask_for_however_they_come() {
        let (rows, wanted) = rows(ROWS);
        let wanted: BTreeMap<String, Choice> =
            wanted.into_iter().map(|(name, choice)| (name.to_owned(), choice)).collect();
        for batch in [ROWS, SAMPLE, SAMPLE - 1, 1000, 37] {
            let (choices, back) = written(&rows, batch);
            assert_eq!(choices, wanted, "in batches of {batch}");
            assert_eq!(back, rows, "in batches of {batch}");
        }
    }

    #[test]
    fn a_short_file_has_a_dictionary_for_each_column() {
        let (rows, _) = rows(SAMPLE - 1);
        let (choices, back) = written(&rows, 1000);
        assert!(choices.values().all(|choice| *choice == Choice::Dictionary), "{choices:?}");
        assert_eq!(back, rows);
    }

    #[test]
    fn differences_beyond_the_type_are_counted_all_the_same() {
        let far = [i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN];
        let values = (0..SAMPLE as i64).map(|n| far[n as usize % far.len()].wrapping_add(n * 16));
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        assert_eq!(choice(&column), Choice::Plain);
    }
}
