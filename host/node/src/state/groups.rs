//! Numbers for the keys of groups.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, UInt32Array},
    datatypes::{DataType, Field, FieldRef, Schema, UInt32Type},
    row::{RowConverter, SortField},
};
use bytes::Bytes;
use datafusion::common::utils::normalize_float_zero;
use spout_data::Part;

use super::{Limits, Segments, segments::concat};
use crate::Error;

/// Column of a group's number in its parts.
const NUMBER: &str = "__group";

/// The keys of groups and a number for each, counted from nought in order of appearance.
///
/// Nulls are a key like any other, and -0.0 is 0.0. [`Groups::key`] gives bytes that sort as the keys do, nulls first: what
/// is shown to anybody goes by them, never by the numbers, which depend on what came first.
#[derive(Debug)]
pub(crate) struct Groups {
    handler: String,
    columns: Vec<String>,
    limits: Limits,
    known: Option<Known>,
    ids: HashMap<Arc<[u8]>, u32>,
    keys: Vec<Arc<[u8]>>,
    bytes: usize,
    segments: Segments,
    /// How many of the keys are in the last snapshot.
    written: usize,
}

#[derive(Debug)]
struct Known {
    fields: Vec<FieldRef>,
    converter: RowConverter,
}

impl Groups {
    /// Groups by `columns`; parts are called `<name>-<number>`.
    pub(crate) fn new(handler: &str, name: &'static str, columns: &[String], limits: Limits) -> Self {
        Self {
            handler: handler.to_owned(),
            columns: columns.to_vec(),
            limits,
            known: None,
            ids: HashMap::new(),
            keys: Vec::new(),
            bytes: 0,
            segments: Segments::new(handler, name),
            written: 0,
        }
    }

    /// The number of each row's group; new ones for keys not seen before.
    pub(crate) fn ids(&mut self, batch: &RecordBatch) -> Result<Vec<u32>, Error> {
        let rows = self.rows(batch)?;
        let Some(rows) = rows else {
            if self.keys.is_empty() && batch.num_rows() > 0 {
                self.insert(&[])?;
            }
            return Ok(vec![0; batch.num_rows()]);
        };
        let mut ids = Vec::with_capacity(rows.num_rows());
        for row in &rows {
            ids.push(match self.ids.get(row.data()) {
                Some(&id) => id,
                None => self.insert(row.data())?,
            });
        }
        Ok(ids)
    }

    /// The bytes of a group's key: they sort as keys do.
    pub(crate) fn key(&self, id: u32) -> &[u8] {
        self.keys.get(id as usize).map_or(&[], |key| key)
    }

    /// The keys of these groups as columns.
    pub(crate) fn keys(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, Error> {
        let Some(known) = self.known.as_ref().filter(|known| !known.fields.is_empty()) else { return Ok(Vec::new()) };
        let parser = known.converter.parser();
        let rows = ids.iter().map(|&id| parser.parse(self.key(id)));
        known.converter.convert_rows(rows).map_err(Error::kernel(&self.handler, ids.len()))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.keys.len() * 64
    }

    /// Keeps the groups for which `keep` is true; the new number of each old one.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) -> Vec<Option<u32>> {
        let old = std::mem::take(&mut self.keys);
        (self.bytes, self.written) = (0, 0);
        self.ids.clear();
        let number = |(id, key): (usize, Arc<[u8]>)| {
            keep(id as u32).then(|| {
                let new = self.keys.len() as u32;
                self.bytes += key.len();
                self.ids.insert(Arc::clone(&key), new);
                self.keys.push(key);
                new
            })
        };
        let moved = old.into_iter().enumerate().map(number).collect();
        drop(self.segments.take_all());
        moved
    }

    /// Its parts: the keys that are new since the last time, and the names of the others.
    pub(crate) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        if self.written < self.keys.len() && self.known.is_some() {
            let ids: Vec<u32> = (self.written as u32..self.keys.len() as u32).collect();
            let keys = self.keys(&ids)?;
            let fields = self.known.iter().flat_map(|known| known.fields.iter().cloned());
            let number = Arc::new(Field::new(NUMBER, DataType::UInt32, false));
            let schema = Schema::new(std::iter::once(number).chain(fields).collect::<Vec<_>>());
            let columns = std::iter::once(Arc::new(UInt32Array::from(ids)) as ArrayRef).chain(keys).collect();
            let rows = self.keys.len() - self.written;
            let batch = RecordBatch::try_new(Arc::new(schema), columns).map_err(Error::kernel(&self.handler, rows))?;
            self.segments.push(batch);
            self.written = self.keys.len();
        }
        let handler = self.handler.clone();
        self.segments.snapshot(&mut |batches| concat(&handler, batches))
    }

    /// Takes its own parts out of those of a snapshot.
    pub(crate) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.segments.restore(parts)?;
        let batches: Vec<RecordBatch> = self.segments.batches().cloned().collect();
        let mut numbered: Vec<(u32, Vec<u8>)> = Vec::new();
        for batch in &batches {
            let numbers = batch.column_by_name(NUMBER).and_then(|column| column.as_primitive_opt::<UInt32Type>());
            let numbers = numbers.ok_or_else(|| Error::state(&self.handler, "its groups have no numbers"))?;
            match self.rows(batch)? {
                Some(rows) => {
                    numbered.extend(rows.iter().zip(numbers.values()).map(|(row, &id)| (id, row.data().to_vec())))
                }
                None => numbered.extend(numbers.values().iter().map(|&id| (id, Vec::new()))),
            }
        }
        numbered.sort_unstable();
        for (id, key) in numbered {
            if id != self.insert(&key)? {
                return Err(Error::state(&self.handler, "some of its groups are missing"));
            }
        }
        self.written = self.keys.len();
        Ok(())
    }

    fn insert(&mut self, key: &[u8]) -> Result<u32, Error> {
        self.limits.groups(self.keys.len() + 1)?;
        let id = self.keys.len() as u32;
        let key: Arc<[u8]> = key.into();
        self.bytes += key.len();
        self.ids.insert(Arc::clone(&key), id);
        self.keys.push(key);
        Ok(id)
    }

    /// The keys of all rows; none if there is nothing to group by.
    fn rows(&mut self, batch: &RecordBatch) -> Result<Option<arrow::row::Rows>, Error> {
        let handler = &self.handler;
        let fields = fields(handler, &self.columns, batch.schema_ref())?;
        let same = |known: &Known| known.fields.iter().map(|f| f.data_type()).eq(fields.iter().map(|f| f.data_type()));
        if !self.known.as_ref().is_some_and(same) {
            if let Some(known) = self.known.as_ref().filter(|_| !self.keys.is_empty()) {
                return Err(other_types(handler, &known.fields, &fields));
            }
            let sort = fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
            let converter = RowConverter::new(sort).map_err(Error::kernel(handler, batch.num_rows()))?;
            self.known = Some(Known { fields, converter });
        }
        let Some(known) = self.known.as_ref().filter(|known| !known.fields.is_empty()) else { return Ok(None) };
        let columns = known.fields.iter().filter_map(|field| batch.column_by_name(field.name()));
        let columns: Vec<ArrayRef> = columns.map(normalize_float_zero).collect();
        known.converter.convert_columns(&columns).map(Some).map_err(Error::kernel(handler, batch.num_rows()))
    }
}

/// The fields of `columns` in `schema`; keys may be null whatever the schema says.
pub(crate) fn fields(handler: &str, columns: &[String], schema: &Schema) -> Result<Vec<FieldRef>, Error> {
    let field = |name: &String| {
        let field = crate::columns::field(handler, schema, name, "to group by")?;
        Ok(Arc::new(field.clone().with_nullable(true)))
    };
    columns.iter().map(field).collect()
}

fn other_types(handler: &str, before: &[FieldRef], now: &[FieldRef]) -> Error {
    let types = |fields: &[FieldRef]| {
        fields.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>().join(", ")
    };
    let reason = format!(
        "the columns it groups by were {}, now they are {}; cast them to one type with a map before it",
        types(before),
        types(now)
    );
    Error::spec(handler, reason)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;
    use crate::state::LimitsSpec;

    fn groups(columns: &[&str], limit: u64) -> Groups {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        let limits = LimitsSpec { groups: limit, ..LimitsSpec::default() };
        Groups::new("h", "groups", &columns, limits.of("h"))
    }

    fn batch(words: &[Option<&str>], floats: &[f64]) -> RecordBatch {
        let words: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
        let floats: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
        RecordBatch::try_from_iter([("w", words), ("f", floats)]).unwrap()
    }

    fn restored(groups: &mut Groups, columns: &[&str]) -> Groups {
        let parts = groups.snapshot().unwrap().into_iter();
        let mut parts = parts.filter_map(|(key, part)| match part {
            Part::New(bytes) => Some((key, bytes)),
            Part::Kept => None,
        });
        let mut back = self::groups(columns, 10);
        back.restore(&mut parts.by_ref().collect()).unwrap();
        back
    }

    #[test]
    fn nulls_and_zeros_are_groups_like_others() {
        let mut groups = groups(&["w", "f"], 10);
        let words = [None, Some("b"), None, Some("a"), Some("b")];
        let batch = batch(&words, &[0.0, 1.0, -0.0, 1.0, 1.0]);
        assert_eq!(groups.ids(&batch).unwrap(), [0, 1, 0, 2, 1]);
        assert!(groups.key(0) < groups.key(2) && groups.key(2) < groups.key(1), "nulls first");
        let keys = groups.keys(&[0, 1, 2]).unwrap();
        assert_eq!(keys[0].as_ref(), &StringArray::from(vec![None, Some("b"), Some("a")]));
        let mut back = restored(&mut groups, &["w", "f"]);
        assert_eq!((back.len(), back.ids(&batch).unwrap()), (3, vec![0, 1, 0, 2, 1]));
        assert!(groups.snapshot().unwrap().values().all(|part| *part == Part::Kept));
    }

    #[test]
    fn without_columns_there_is_one_group() {
        let mut groups = groups(&[], 10);
        let batch = batch(&[None, Some("b")], &[0.0, 1.0]);
        assert_eq!((groups.ids(&batch).unwrap(), groups.len()), (vec![0, 0], 1));
        assert_eq!(restored(&mut groups, &[]).len(), 1);
        assert!(groups.keys(&[0]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_grouped_is_refused() {
        let mut groups = groups(&["w"], 1);
        groups.ids(&batch(&[None], &[0.0])).unwrap();
        let error = groups.ids(&batch(&[Some("b")], &[0.0])).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
        let number: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let other = RecordBatch::try_from_iter([("w", number)]).unwrap();
        assert!(groups.ids(&other).unwrap_err().to_string().contains("were w Utf8, now they are w Float64"));
        let missing = batch(&[], &[]).project(&[1]).unwrap();
        assert!(groups.ids(&missing).unwrap_err().to_string().contains("the columns are f"));
    }

    #[test]
    fn groups_that_are_let_go_of_make_room() {
        let mut groups = groups(&["w"], 3);
        let ids = groups.ids(&batch(&[Some("a"), Some("b"), Some("c")], &[0.0; 3])).unwrap();
        assert_eq!(ids, [0, 1, 2]);
        groups.snapshot().unwrap();
        assert_eq!(groups.retain(|id| id != 1), [Some(0), None, Some(1)]);
        assert_eq!(groups.ids(&batch(&[Some("c"), Some("d")], &[0.0; 2])).unwrap(), [1, 2]);
        assert_eq!(restored(&mut groups, &["w"]).len(), 3);
    }
}
