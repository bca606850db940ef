//! Numbers for the keys of groups, from nought in order of appearance.
//!
//! Whole numbers and times, the most frequent keys, are looked up here; DataFusion's [`GroupValues`] do the rest.

use std::{
    hash::{BuildHasher as _, RandomState},
    mem::take,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, PrimitiveArray},
    buffer::NullBuffer,
    datatypes::{
        DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
        DurationSecondType, FieldRef, Int8Type, Int16Type, Int32Type, Int64Type, Schema, Time32MillisecondType,
        Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use datafusion::{
    common::{DataFusionError, Result, not_impl_err},
    logical_expr::EmitTo,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

/// Numbers the groups of rows; without keys there is one.
pub(crate) struct GroupIds {
    keys: Option<Box<dyn GroupValues>>,
    /// Those of the rows that came last.
    ids: Vec<usize>,
    /// Whether there is a group where there are no keys.
    any: bool,
}

impl std::fmt::Debug for GroupIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupIds").field("groups", &self.len()).finish()
    }
}

impl GroupIds {
    /// For rows whose keys are of these types.
    ///
    /// # Errors
    /// What DataFusion says of keys that cannot be.
    pub(crate) fn over(keys: &[FieldRef]) -> Result<Self> {
        let many = || new_group_values(Arc::new(Schema::new(keys.to_vec())), &GroupOrdering::None);
        let keys = match keys {
            [] => None,
            [key] => Some(whole(key.data_type()).map_or_else(many, Ok)?),
            _ => Some(many()?),
        };
        Ok(Self { keys, ids: Vec::new(), any: false })
    }

    /// Finds the number of each row's group, in `rows` rows with these keys; -0.0 is 0.0.
    ///
    /// # Errors
    /// Keys of other types, or more groups than can be numbered.
    pub(crate) fn of(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        match &mut self.keys {
            Some(known) => known.intern(keys, &mut self.ids)?,
            None => {
                self.any |= rows > 0;
                self.ids.clear();
                self.ids.resize(rows, 0);
            }
        }
        Ok(())
    }

    /// The numbers that [`GroupIds::of`] found last.
    pub(crate) fn last(&self) -> &[usize] {
        &self.ids
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.as_ref().map_or(usize::from(self.any), |keys| keys.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.size())
    }

    /// The keys of all groups; none are left.
    ///
    /// # Errors
    /// What DataFusion says; never in practice.
    pub(crate) fn take(&mut self) -> Result<Vec<ArrayRef>> {
        self.any = false;
        self.keys.as_mut().map_or_else(|| Ok(Vec::new()), |keys| keys.emit(EmitTo::All))
    }
}

fn whole(kind: &DataType) -> Option<Box<dyn GroupValues>> {
    Some(match kind {
        DataType::Int8 => Whole::<Int8Type>::boxed(kind),
        DataType::Int16 => Whole::<Int16Type>::boxed(kind),
        DataType::Int32 => Whole::<Int32Type>::boxed(kind),
        DataType::Int64 => Whole::<Int64Type>::boxed(kind),
        DataType::UInt8 => Whole::<UInt8Type>::boxed(kind),
        DataType::UInt16 => Whole::<UInt16Type>::boxed(kind),
        DataType::UInt32 => Whole::<UInt32Type>::boxed(kind),
        DataType::UInt64 => Whole::<UInt64Type>::boxed(kind),
        DataType::Date32 => Whole::<Date32Type>::boxed(kind),
        DataType::Date64 => Whole::<Date64Type>::boxed(kind),
        DataType::Time32(TimeUnit::Second) => Whole::<Time32SecondType>::boxed(kind),
        DataType::Time32(TimeUnit::Millisecond) => Whole::<Time32MillisecondType>::boxed(kind),
        DataType::Time64(TimeUnit::Microsecond) => Whole::<Time64MicrosecondType>::boxed(kind),
        DataType::Time64(TimeUnit::Nanosecond) => Whole::<Time64NanosecondType>::boxed(kind),
        DataType::Timestamp(TimeUnit::Second, _) => Whole::<TimestampSecondType>::boxed(kind),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Whole::<TimestampMillisecondType>::boxed(kind),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Whole::<TimestampMicrosecondType>::boxed(kind),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Whole::<TimestampNanosecondType>::boxed(kind),
        DataType::Duration(TimeUnit::Second) => Whole::<DurationSecondType>::boxed(kind),
        DataType::Duration(TimeUnit::Millisecond) => Whole::<DurationMillisecondType>::boxed(kind),
        DataType::Duration(TimeUnit::Microsecond) => Whole::<DurationMicrosecondType>::boxed(kind),
        DataType::Duration(TimeUnit::Nanosecond) => Whole::<DurationNanosecondType>::boxed(kind),
        _ => return None,
    })
}

/// A number as 64 bits, another for another number.
trait Bits: Copy + PartialEq {
    fn bits(self) -> u64;
}

macro_rules! bits {
    ($($number:ty),+) => {
        $(impl Bits for $number {
            fn bits(self) -> u64 {
                self as u64
            }
        })+
    };
}

bits!(i8, i16, i32, i64, u8, u16, u32, u64);

/// Places of a table that is new.
const FEW: usize = 64;

/// What hashes start with: senders of keys cannot know it.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0) | 1);

/// The groups of one column of whole numbers.
///
/// `places` is a hash table with open addresses; it holds the number of a group plus one, nought where nothing is.
struct Whole<T: ArrowPrimitiveType> {
    kind: DataType,
    values: Vec<T::Native>,
    null: Option<usize>,
    places: Vec<u32>,
    seed: u64,
}

impl<T: ArrowPrimitiveType> Whole<T>
where
    T::Native: Bits,
{
    fn boxed(kind: &DataType) -> Box<dyn GroupValues> {
        let kind = kind.clone();
        Box::new(Self { kind, values: Vec::new(), null: None, places: vec![0; FEW], seed: *SEED })
    }

    /// Where the search for a value begins.
    fn start(&self, value: T::Native) -> usize {
        let product = u128::from(value.bits() ^ self.seed) * u128::from(self.seed.rotate_left(32) | 1);
        (product >> 64) as usize ^ product as usize
    }

    fn id(&mut self, value: T::Native) -> usize {
        let most = self.places.len() - 1;
        let mut place = self.start(value) & most;
        loop {
            match self.places[place] {
                0 => break,
                id if self.values[id as usize - 1] == value => return id as usize - 1,
                _ => place = (place + 1) & most,
            }
        }
        let id = self.add(value);
        self.places[place] = u32::try_from(id + 1).unwrap_or(u32::MAX);
        if id * 2 >= most {
            self.grow();
        }
        id
    }

    fn add(&mut self, value: T::Native) -> usize {
        self.values.push(value);
        self.values.len() - 1
    }

    /// Makes room, and puts everything in its new place.
    fn grow(&mut self) {
        self.places = vec![0; self.places.len() * 4];
        let most = self.places.len() - 1;
        for (id, &value) in self.values.iter().enumerate().filter(|(id, _)| self.null != Some(*id)) {
            let mut place = self.start(value) & most;
            while self.places[place] != 0 {
                place = (place + 1) & most;
            }
            self.places[place] = u32::try_from(id + 1).unwrap_or(u32::MAX);
        }
    }

    fn null(&mut self) -> usize {
        match self.null {
            Some(id) => id,
            None => {
                let id = self.add(T::default_value());
                self.null = Some(id);
                id
            }
        }
    }

    fn emitted(&self, values: Vec<T::Native>, null: Option<usize>) -> ArrayRef {
        let nulls = null.map(|null| NullBuffer::from_iter((0..values.len()).map(|id| id != null)));
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(self.kind.clone()))
    }
}

impl<T: ArrowPrimitiveType> GroupValues for Whole<T>
where
    T::Native: Bits,
{
    fn intern(&mut self, columns: &[ArrayRef], groups: &mut Vec<usize>) -> Result<()> {
        groups.clear();
        let column = columns.first().and_then(|column| column.as_primitive_opt::<T>());
        let column = column.ok_or_else(|| DataFusionError::Internal(format!("keys are not {}", self.kind)))?;
        if u32::try_from(self.values.len() + column.len() + 1).is_err() {
            return Err(DataFusionError::ResourcesExhausted("more than four billion groups".into()));
        }
        match column.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => groups.extend(column.values().iter().map(|&value| self.id(value))),
            Some(nulls) => {
                let rows = column.values().iter().zip(nulls);
                groups.extend(rows.map(|(&value, is)| if is { self.id(value) } else { self.null() }));
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.places.capacity() * size_of::<u32>()
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        if emit_to != EmitTo::All {
            return not_impl_err!("only all groups are emitted at once");
        }
        let (values, null) = (take(&mut self.values), self.null.take());
        self.places = vec![0; FEW];
        Ok(vec![self.emitted(values, null)])
    }

    fn clear_shrink(&mut self, _: usize) {
        (self.values, self.null, self.places) = (Vec::new(), None, vec![0; FEW]);
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Float64Array, Int64Array, StringArray, TimestampSecondArray},
        datatypes::Field,
    };

    use super::*;

    /// Numbers two batches of keys, and gives the keys back.
    fn check(keys: ArrayRef, expected: &[usize], distinct: &ArrayRef) {
        let mut ids = GroupIds::over(&[Arc::new(Field::new("k", keys.data_type().clone(), true))]).unwrap();
        for _ in 0..2 {
            for round in 0..2 {
                ids.of(&[Arc::clone(&keys)], keys.len()).unwrap();
                assert_eq!(ids.last(), expected, "{round}");
            }
            assert_eq!(ids.len(), distinct.len());
            assert_eq!(&ids.take().unwrap()[0], distinct);
            assert_eq!(ids.len(), 0);
        }
    }

    #[test]
    fn keys_are_numbered_as_they_appear_and_nulls_are_a_key() {
        let numbers = |numbers: &[Option<i64>]| Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef;
        let (min, max) = (Some(i64::MIN), Some(i64::MAX));
        let distinct = numbers(&[Some(0), None, min, max, Some(-1)]);
        check(numbers(&[Some(0), None, min, max, None, Some(-1), max]), &[0, 1, 2, 3, 1, 4, 3], &distinct);
        let many: Vec<Option<i64>> = (0..5_000).map(|n| Some(n * 1_000_003 - 7)).collect();
        check(numbers(&many), &(0..5_000).collect::<Vec<_>>(), &numbers(&many));
        let time = |times: &[Option<i64>]| {
            Arc::new(TimestampSecondArray::from(times.to_vec()).with_timezone("UTC")) as ArrayRef
        };
        check(time(&[Some(5), Some(5), None]), &[0, 0, 1], &time(&[Some(5), None]));
        let text = |texts: &[&str]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
        check(text(&["b", "a", "b"]), &[0, 1, 0], &text(&["b", "a"]));
        let float = |floats: &[f64]| Arc::new(Float64Array::from(floats.to_vec())) as ArrayRef;
        check(float(&[1.5, f64::NAN, 1.5]), &[0, 1, 0], &float(&[1.5, f64::NAN]));
    }

    #[test]
    fn without_keys_there_is_one_group() {
        let mut ids = GroupIds::over(&[]).unwrap();
        ids.of(&[], 3).unwrap();
        assert_eq!((ids.last(), ids.len()), ([0, 0, 0].as_slice(), 1));
        assert!(ids.take().unwrap().is_empty() && ids.len() == 0);
    }
}
