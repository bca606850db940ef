//! The order of rows by some of their columns, in which rows that are equal stay as they are.
//!
//! Numbers and times, and texts of which there are few, are packed into one number for each row if they fit, with the row's own
//! behind them, and numbers are sorted. Other keys are compared as Arrow's rows.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, UInt32Array},
    buffer::NullBuffer,
    compute::{SortColumn, SortOptions, cast, lexsort_to_indices, sort_to_indices},
    datatypes::{
        DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type,
    },
    error::ArrowError,
    row::{RowConverter, SortField},
};

use super::aggregates::GroupIds;

/// The order of `rows` rows by `keys`; rows that are equal stay as they are.
///
/// # Errors
/// A key of a type that has no order.
pub(super) fn stable_order(
    keys: impl IntoIterator<Item = (ArrayRef, SortOptions)>,
    rows: usize,
) -> Result<UInt32Array, ArrowError> {
    let keys: Vec<(ArrayRef, SortOptions)> = keys.into_iter().collect();
    let count = u32::try_from(rows).unwrap_or(u32::MAX);
    if keys.is_empty() || rows < 2 {
        return Ok((0..count).collect::<Vec<_>>().into());
    }
    let codes: Option<Vec<Codes>> = keys.iter().map(|(key, options)| Codes::of(key, *options)).collect();
    if let Some(codes) = codes {
        let bits = codes.iter().map(|codes| codes.bits).sum::<u32>() + (u64::BITS - (rows as u64 - 1).leading_zeros());
        if bits <= u64::BITS {
            return Ok(packed::<u64>(&codes, rows));
        }
        if bits <= u128::BITS {
            return Ok(packed::<u128>(&codes, rows));
        }
    }
    if keys.iter().any(|(key, _)| key.data_type().is_nested()) {
        return by_value(keys, count);
    }
    by_row(keys, count)
}

/// The order by a word for each row.
fn packed<W: Word>(codes: &[Codes], rows: usize) -> UInt32Array {
    let mut words = vec![W::default(); rows];
    for codes in codes {
        codes.pack(&mut words);
    }
    let own = u64::BITS - (rows as u64 - 1).leading_zeros();
    (0_u64..).zip(&mut words).for_each(|(row, word)| *word = word.with(own, row));
    words.sort_unstable();
    words.into_iter().map(|word| word.low(own)).collect::<Vec<u32>>().into()
}

/// The order by Arrow's rows, whose bytes sort as values do.
fn by_row(keys: Vec<(ArrayRef, SortOptions)>, count: u32) -> Result<UInt32Array, ArrowError> {
    let field =
        |(key, options): &(ArrayRef, SortOptions)| SortField::new_with_options(key.data_type().clone(), *options);
    let fields = keys.iter().map(field).collect();
    let columns: Vec<ArrayRef> = keys.into_iter().map(|(key, _)| key).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    // Most rows differ in the sixteen bytes behind those that all have in common.
    let first = rows.row(0);
    let same = |row: arrow::row::Row<'_>| first.data().iter().zip(row.data()).take_while(|(a, b)| a == b).count();
    let common = rows.iter().map(same).min().unwrap_or(0);
    let head = |row: arrow::row::Row<'_>| {
        let mut head = [0; 16];
        head.iter_mut().zip(row.data().iter().skip(common)).for_each(|(to, byte)| *to = *byte);
        u128::from_be_bytes(head)
    };
    let mut order: Vec<(u128, u32)> = rows.iter().map(head).zip(0..count).collect();
    let row = |number: u32| rows.row(number as usize);
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| row(a.1).cmp(&row(b.1))).then_with(|| a.1.cmp(&b.1)));
    Ok(order.into_iter().map(|(_, row)| row).collect::<Vec<_>>().into())
}

/// The order by comparing values.
fn by_value(keys: Vec<(ArrayRef, SortOptions)>, count: u32) -> Result<UInt32Array, ArrowError> {
    let column = |(values, options)| SortColumn { values, options: Some(options) };
    let mut columns: Vec<SortColumn> = keys.into_iter().map(column).collect();
    let place: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..count));
    columns.push(SortColumn { values: place, options: None });
    lexsort_to_indices(&columns, None)
}

/// The values of a column as numbers from nought that sort as they do.
struct Codes {
    /// Numbers in the order of the values, whatever their size.
    ranks: Vec<u64>,
    nulls: Option<NullBuffer>,
    options: SortOptions,
    least: u64,
    /// The greatest rank, less the least.
    span: u64,
    /// What the codes take.
    bits: u32,
}

/// What keys are packed into.
trait Word: Copy + Default + Ord {
    /// With `bits` more behind it.
    fn with(self, bits: u32, more: u64) -> Self;
    /// The last `bits` of it.
    fn low(self, bits: u32) -> u32;
}

impl Word for u64 {
    fn with(self, bits: u32, more: u64) -> Self {
        self.checked_shl(bits).unwrap_or(0) | more
    }

    fn low(self, bits: u32) -> u32 {
        (self & ((1 << bits) - 1)) as u32
    }
}

impl Word for u128 {
    fn with(self, bits: u32, more: u64) -> Self {
        self << bits | Self::from(more)
    }

    fn low(self, bits: u32) -> u32 {
        (self & ((1 << bits) - 1)) as u32
    }
}

impl Codes {
    /// None for a type that is no number, time or truth, and for numbers too far apart.
    fn of(column: &ArrayRef, options: SortOptions) -> Option<Self> {
        let ranks = ranks(column)?;
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let (mut least, mut most) = (u64::MAX, 0);
        match &nulls {
            None => ranks.iter().for_each(|&rank| (least, most) = (least.min(rank), most.max(rank))),
            Some(nulls) => {
                let valued = ranks.iter().zip(nulls).filter_map(|(&rank, is)| is.then_some(rank));
                valued.for_each(|rank| (least, most) = (least.min(rank), most.max(rank)));
            }
        }
        let span = most.saturating_sub(least);
        let last = if nulls.is_some() { span.checked_add(1)? } else { span };
        Some(Self { ranks, nulls, options, least, span, bits: u64::BITS - last.leading_zeros() })
    }

    /// Puts the code of each row behind what its word has.
    fn pack<W: Word>(&self, words: &mut [W]) {
        // Where nulls come first, they are nought and all values one more.
        let ahead = u64::from(self.nulls.is_some() && self.options.nulls_first);
        let code = |rank: u64| {
            let code = rank.wrapping_sub(self.least);
            ahead + if self.options.descending { self.span - code } else { code }
        };
        match &self.nulls {
            None => {
                words.iter_mut().zip(&self.ranks).for_each(|(word, &rank)| *word = word.with(self.bits, code(rank)))
            }
            Some(nulls) => {
                let null = if ahead > 0 { 0 } else { self.span + 1 };
                for ((word, &rank), is) in words.iter_mut().zip(&self.ranks).zip(nulls) {
                    *word = word.with(self.bits, if is { code(rank) } else { null });
                }
            }
        }
    }
}

/// Numbers that sort as the values do; what stands where there is none is any number.
fn ranks(column: &ArrayRef) -> Option<Vec<u64>> {
    let of = |kind: &DataType| cast(column, kind).ok();
    Some(match column.data_type() {
        DataType::Boolean => column.as_boolean().values().iter().map(u64::from).collect(),
        kind if kind.is_unsigned_integer() => {
            of(&DataType::UInt64)?.as_primitive::<UInt64Type>().values().iter().copied().collect()
        }
        DataType::Date32 | DataType::Time32(_) => {
            let ranks = of(&DataType::Int32)?;
            ranks.as_primitive::<Int32Type>().values().iter().map(|value| signed(i64::from(*value))).collect()
        }
        kind if kind.is_signed_integer()
            || matches!(
                kind,
                DataType::Timestamp(..) | DataType::Date64 | DataType::Time64(_) | DataType::Duration(_)
            ) =>
        {
            of(&DataType::Int64)?.as_primitive::<Int64Type>().values().iter().map(|value| signed(*value)).collect()
        }
        DataType::Float32 => {
            let bits = |value: &f32| value.to_bits().cast_signed();
            let rank = |bits: i32| signed(i64::from(bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()));
            column.as_primitive::<Float32Type>().values().iter().map(bits).map(rank).collect()
        }
        // As floats are ordered: -NaN, -∞ … -0, 0 … ∞, NaN.
        DataType::Float64 => {
            let bits = |value: &f64| value.to_bits().cast_signed();
            let rank = |bits: i64| signed(bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed());
            column.as_primitive::<Float64Type>().values().iter().map(bits).map(rank).collect()
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>();
            let rank = |row: usize| {
                if values.is_null(row) { Some(0) } else { i64::try_from(values.value(row)).ok().map(signed) }
            };
            (0..values.len()).map(rank).collect::<Option<_>>()?
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary => return words(column),
        _ => return None,
    })
}

/// So many rows say whether words come again.
const SAMPLE: usize = 1024;

/// The places of words among all that there are, where most come again and again: it is these few that are compared.
fn words(column: &ArrayRef) -> Option<Vec<u64>> {
    let field: FieldRef = Arc::new(Field::new("word", column.data_type().clone(), true));
    let few = |column: &ArrayRef, most: usize| {
        let mut ids = GroupIds::over(&[Arc::clone(&field)]).ok()?;
        ids.of(std::slice::from_ref(column), column.len()).ok()?;
        (ids.len() <= most).then_some(ids)
    };
    let sample = column.len().min(SAMPLE);
    few(&column.slice(0, sample), sample / 2)?;
    let mut ids = few(column, column.len() / 8)?;
    let words = ids.take().ok()?;
    let order = sort_to_indices(words.first()?, None, None).ok()?;
    let mut places = vec![0; order.len()];
    (0_u64..).zip(order.values()).for_each(|(place, word)| places[*word as usize] = place);
    Some(ids.last().iter().map(|word| places[*word]).collect())
}

/// The least of all numbers becomes nought.
const fn signed(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int64Array, StringArray,
        TimestampSecondArray, UInt64Array,
    };
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    /// A column of one type or another, with few values or many, with nulls or without.
    fn column(dice: &mut StdRng, rows: usize) -> ArrayRef {
        let (nulls, few) = (dice.random_ratio(1, 2), dice.random_ratio(1, 2));
        let kind = dice.random_range(0..11);
        let mut number = || {
            let far = if few { dice.random_range(-3..3) } else { dice.random::<i64>() };
            (!(nulls && dice.random_ratio(1, 4))).then_some(far)
        };
        let numbers: Vec<Option<i64>> = (0..rows).map(|_| number()).collect();
        let odd = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY];
        let float = |n: i64| odd.get((n + 3) as usize % 9).copied().unwrap_or(n as f64 / 3.0);
        let each = || numbers.iter().copied();
        match kind {
            0 | 1 => Arc::new(Int64Array::from(numbers.clone())),
            2 => Arc::new(each().map(|n| n.map(|n| n as i8)).collect::<Int8Array>()),
            3 => Arc::new(each().map(|n| n.map(i64::cast_unsigned)).collect::<UInt64Array>()),
            4 => Arc::new(each().map(|n| n.map(|n| n as i32)).collect::<Date32Array>()),
            5 => Arc::new(each().collect::<TimestampSecondArray>()),
            6 => Arc::new(each().map(|n| n.map(|n| n.rem_euclid(2) == 1)).collect::<BooleanArray>()),
            7 => Arc::new(each().map(|n| n.map(|n| float(n.rem_euclid(30)))).collect::<Float64Array>()),
            8 => Arc::new(each().map(|n| n.map(|n| float(n.rem_euclid(30)) as f32)).collect::<Float32Array>()),
            9 => Arc::new(each().map(|n| n.map(|n| i128::from(n) * 3)).collect::<Decimal128Array>()),
            _ => Arc::new(each().map(|n| n.map(|n| format!("common {n}"))).collect::<StringArray>()),
        }
    }

    #[test]
    fn the_order_is_that_of_comparing_values() {
        let mut dice = StdRng::seed_from_u64(7);
        for round in 0..400 {
            let rows = dice.random_range(0..60);
            let keys: Vec<(ArrayRef, SortOptions)> = (0..dice.random_range(1..4))
                .map(|_| {
                    let options =
                        SortOptions { descending: dice.random_ratio(1, 2), nulls_first: dice.random_ratio(1, 2) };
                    (column(&mut dice, rows), options)
                })
                .collect();
            let expected = by_value(keys.clone(), rows as u32).unwrap();
            let kinds: Vec<_> = keys.iter().map(|(key, options)| (key.data_type().clone(), *options)).collect();
            assert_eq!(stable_order(keys.clone(), rows).unwrap(), expected, "round {round}: {kinds:?} {keys:?}");
            if rows > 0 {
                assert_eq!(by_row(keys, rows as u32).unwrap(), expected, "round {round}: {kinds:?}");
            }
        }
    }
}
