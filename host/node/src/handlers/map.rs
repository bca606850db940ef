//! `map`: adds or replaces columns by expressions.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{Field, FieldRef, Schema},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Builder, Error, Handled, Handler, Shape, Source, columns,
    expression::Expression,
    halving::{each, handled},
    spec::{Gap, HandlerSpec, Parts},
    written::Written,
};

/// Expressions by column name, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(pub Vec<(String, String)>);

impl Columns {
    /// The names, for people.
    pub(crate) fn names(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "additionalProperties": {"type": "string"}})
    }
}

impl Serialize for Columns {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, expression)| (name, expression)))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Columns;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of column names to SQL expressions")
            }

            fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Columns, M::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    columns.push(entry);
                }
                Ok(Columns(columns))
            }
        }

        from.deserialize_map(InOrder)
    }
}

/// Adds or replaces columns; every expression sees the input columns only. A row for which one has no value, such as an
/// integer overflow, is set aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// SQL expressions by the name of their column, in order.
    #[serde(default)]
    pub columns: Columns,
    /// Columns to leave out afterwards.
    #[serde(default)]
    pub drop: Vec<String>,
    /// If given, only these columns are kept, in this order.
    #[serde(default)]
    pub select: Vec<String>,
}

#[async_trait]
impl HandlerSpec for MapSpec {
    fn describe(&self) -> String {
        let made = (!self.columns.0.is_empty()).then(|| format!("computes {}", self.columns.names()));
        let without = (!self.drop.is_empty()).then(|| format!("drops {}", self.drop.join(", ")));
        let only = (!self.select.is_empty()).then(|| format!("keeps {}", self.select.join(", ")));
        [made, without, only].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn gap(&self) -> Option<Gap> {
        let MapSpec { columns, drop, select, .. } = self;
        let what = "changes nothing; set `columns`, `drop` or `select`".to_owned();
        (columns.0.is_empty() && drop.is_empty() && select.is_empty()).then_some(Gap { key: None, what })
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        Written::columns("columns", &self.columns, Written::row)
    }

    fn row_by_row(&self) -> bool {
        true
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Map::new(self)))
    }
}

/// A running `map`.
#[derive(Debug)]
struct Map {
    spec: MapSpec,
    columns: Vec<(String, Expression)>,
}

impl Map {
    /// A map as `spec` says.
    fn new(spec: &MapSpec) -> Self {
        let column = |(name, sql): &(String, String)| (name.clone(), Expression::new(&spec.id, sql));
        Self { spec: spec.clone(), columns: spec.columns.0.iter().map(column).collect() }
    }

    fn records(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let schema = batch.schema();
        let mut columns: Vec<(FieldRef, ArrayRef)> =
            schema.fields().iter().cloned().zip(batch.columns().iter().cloned()).collect();
        for (name, expression) in &mut self.columns {
            let value = expression.evaluate(batch)?;
            let field: FieldRef = Arc::new(Field::new(name.as_str(), value.data_type().clone(), true));
            match columns.iter_mut().find(|(known, _)| known.name() == name) {
                Some(column) => *column = (field, value),
                None => columns.push((field, value)),
            }
        }
        let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let records = RecordBatch::try_new_with_options(schema, arrays, &options);
        self.choose(records.map_err(Error::kernel(&self.spec.id, batch.num_rows()))?)
    }

    /// Leaves out what the spec drops or does not select.
    fn choose(&self, mut records: RecordBatch) -> Result<RecordBatch, Error> {
        let MapSpec { id, drop, select, .. } = &self.spec;
        let rows = records.num_rows();
        let at = |records: &RecordBatch, names: &[String]| -> Result<Vec<usize>, Error> {
            names.iter().map(|name| columns::at(id, records.schema_ref(), name)).collect()
        };
        if !drop.is_empty() {
            let dropped = at(&records, drop)?;
            let kept: Vec<usize> = (0..records.num_columns()).filter(|column| !dropped.contains(column)).collect();
            records = records.project(&kept).map_err(Error::kernel(id, rows))?;
        }
        if !select.is_empty() {
            records = records.project(&at(&records, select)?).map_err(Error::kernel(id, rows))?;
        }
        Ok(records)
    }
}

#[async_trait]
impl Handler for Map {
    fn id(&self) -> &str {
        &self.spec.id
    }

    /// No row goes through as any row does, so that both ways agree about the columns.
    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let Some(schema) = &input.schema else { return Ok(input.clone()) };
        let records = self.records(&RecordBatch::new_empty(Arc::clone(schema)))?;
        Ok(input.with_schema(Some(records.schema())))
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        let (runs, faults) = each(&batch, |rows| self.records(&rows))?;
        handled(&self.spec.id, runs, faults)
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::Int64Type,
    };

    use super::*;
    use crate::Kept;

    async fn check(spec: &str, expected: Result<&[(&str, i64)], &str>) {
        let columns =
            [("a", 1), ("b", 2)].map(|(name, value)| (name, Arc::new(Int64Array::from(vec![value])) as ArrayRef));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let spec: MapSpec = serde_json::from_str(spec).unwrap();
        let mut map = Map::new(&spec);
        let handled = match map.shape(&Shape { schema: Some(batch.schema()), ..Shape::default() }) {
            Ok(_) => map.handle(batch, Source::Merged).await,
            Err(error) => Err(error),
        };
        match (handled, expected) {
            (Ok(handled), Ok(expected)) => {
                let records = &handled.outputs[0].0;
                let value = |i: usize| records.column(i).as_primitive::<Int64Type>().value(0);
                let schema = records.schema();
                let got: Vec<(&str, i64)> =
                    schema.fields().iter().enumerate().map(|(i, field)| (field.name().as_str(), value(i))).collect();
                assert_eq!(got, expected);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[tokio::test]
    async fn expressions_see_the_input_columns_only() {
        check(r#"{"columns": {"z": "a + 10", "a": "b", "y": "a"}}"#, Ok(&[("a", 2), ("b", 2), ("z", 11), ("y", 1)]))
            .await;
        check(r#"{"columns": {"c": "a + b"}, "drop": ["a"]}"#, Ok(&[("b", 2), ("c", 3)])).await;
        check(r#"{"columns": {"c": "a * b"}, "select": ["c", "a"]}"#, Ok(&[("c", 2), ("a", 1)])).await;
        check(r#"{"drop": ["nope"]}"#, Err("the columns are a, b")).await;
        check(r#"{"columns": {"c": "nope + 1"}}"#, Err("columns: a, b")).await;
        check(r#"{"columns": {"c": "9223372036854775807 + 1"}}"#, Err("9223372036854775807 + 1")).await;
        check(r#"{"columns": {"c": "a + 9223372036854775806"}}"#, Ok(&[("a", 1), ("b", 2), ("c", i64::MAX)])).await;
    }

    #[tokio::test]
    async fn rows_without_a_value_are_set_aside_where_they_are() {
        let column = Arc::new(Int64Array::from(vec![1, i64::MAX, 3, 0])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let spec: MapSpec =
            serde_json::from_str(r#"{"id": "m", "columns": {"up": "n + 1", "part": "12 / n"}}"#).unwrap();
        let handled = Map::new(&spec).handle(batch.clone(), Source::Merged).await.unwrap();
        let (records, kept) = &handled.outputs[0];
        assert_eq!(kept, &Kept::Rows(vec![0, 2]));
        assert_eq!(records.column(1).as_primitive::<Int64Type>().values(), &[2, 4]);
        let faults: Vec<(u32, bool)> =
            handled.faults.iter().map(|fault| (fault.row, fault.reason.starts_with("`n + 1` "))).collect();
        assert_eq!(faults, [(1, true), (3, false)]);
        let none = Map::new(&spec).handle(batch.slice(1, 1), Source::Merged).await.unwrap();
        assert_eq!((none.outputs.len(), none.faults.len()), (0, 1));
    }
}
