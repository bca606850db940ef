//! `default`: gives values to columns that are missing, and to nulls if asked.
//!
//! ```yaml
//! - {type: default, columns: {dc: "'eu1'", load: 0.5, n: "cast(0 as int)"}, fillNulls: true}
//! ```

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, can_cast_types, cast_with_options, is_null, kernels::zip::zip},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
    util::display::FormatOptions,
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Columns;
use crate::{
    Builder, Error, Handled, Handler, Shape, Source,
    expression::Expression,
    halving::{each, handled},
    spec::{Gap, HandlerSpec, Parts},
    written::Written,
};

/// Adds columns that are missing; with `fillNulls`, also replaces nulls in those that exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefaultSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// SQL expressions by column, in order, as in `{dc: "'eu1'", load: 0.5, n: "cast(0 as int)"}`: a string needs quotes of
    /// its own, a name without them is another column.
    pub columns: Columns,
    /// Whether nulls in existing columns get the value too, cast to the column's type.
    #[serde(default, alias = "fill_nulls")]
    pub fill_nulls: bool,
}

#[async_trait]
impl HandlerSpec for DefaultSpec {
    fn describe(&self) -> String {
        let nulls = if self.fill_nulls { ", and for nulls" } else { "" };
        format!("values for missing columns {}{nulls}", self.columns.names())
    }

    fn gap(&self) -> Option<Gap> {
        Gap::within("columns", self.columns.0.is_empty(), "name a column and its value")
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        Written::columns("columns", &self.columns, Written::row)
    }

    fn row_by_row(&self) -> bool {
        true
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Defaults::new(self)))
    }
}

/// A running `default`.
#[derive(Debug)]
struct Defaults {
    id: String,
    fill_nulls: bool,
    columns: Vec<(String, String, Expression)>,
}

/// A value that is not of the column's type is an error, never a null.
const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

impl Defaults {
    /// A default as `spec` says.
    fn new(spec: &DefaultSpec) -> Self {
        let column = |(name, sql): &(String, String)| (name.clone(), sql.clone(), Expression::new(&spec.id, sql));
        Self { id: spec.id.clone(), fill_nulls: spec.fill_nulls, columns: spec.columns.0.iter().map(column).collect() }
    }

    fn records(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let schema = batch.schema();
        let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
        let mut arrays = batch.columns().to_vec();
        for (name, sql, expression) in &mut self.columns {
            let at = fields.iter().position(|field| field.name() == name);
            let refused = |reason| Error::Expression { handler: self.id.clone(), expression: sql.clone(), reason };
            match at {
                None => {
                    let value = expression.evaluate(batch)?;
                    fields.push(Arc::new(Field::new(name.as_str(), value.data_type().clone(), true)));
                    arrays.push(value);
                }
                Some(at) if self.fill_nulls => {
                    let kind = fields[at].data_type();
                    // Types are compared also while there is no null, so that the check at start sees what a run would.
                    let given = expression.data_type(&schema)?;
                    if !can_cast_types(&given, kind) {
                        return Err(refused(format!("it returns {given}, but column `{name}` is {kind}")));
                    }
                    if arrays[at].null_count() > 0 {
                        let value = expression.evaluate(batch)?;
                        arrays[at] = filled(&arrays[at], &value, kind).map_err(|error| {
                            expression.no_value(format!("it does not fit column `{name}`, which is {kind}: {error}"))
                        })?;
                    }
                }
                Some(_) => {}
            }
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema, arrays, &options).map_err(Error::kernel(&self.id, batch.num_rows()))
    }
}

/// `column` with `value` where it is null.
fn filled(column: &ArrayRef, value: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let value = cast_with_options(value, kind, &STRICT)?;
    zip(&is_null(column)?, &value, column)
}

/// One row of nulls, which every value that does not depend on rows shows itself at.
fn probe(schema: &SchemaRef) -> Option<RecordBatch> {
    let nulls = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::clone(schema), nulls, &options).ok()
}

#[async_trait]
impl Handler for Defaults {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let Some(schema) = &input.schema else { return Ok(input.clone()) };
        let rows = probe(schema).unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema)));
        Ok(input.with_schema(Some(self.records(&rows)?.schema())))
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        let (runs, faults) = each(&batch, |rows| self.records(&rows))?;
        handled(&self.id, runs, faults)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use serde_json::json;

    use super::*;
    use crate::tests::cuts::{Trial, lines, readings};

    fn check(spec: serde_json::Value, rows: &[Option<i64>], expected: Result<&[&str], &str>) {
        let numbers = Arc::new(Int64Array::from(rows.to_vec()));
        let texts = Arc::new(StringArray::from(vec![None::<&str>; rows.len()]));
        let batch =
            RecordBatch::try_from_iter_with_nullable([("n", numbers as _, true), ("s", texts as _, true)]).unwrap();
        let spec: DefaultSpec = serde_json::from_value(spec).unwrap();
        let mut handler = Defaults::new(&spec);
        let shape = handler.shape(&Shape { schema: Some(batch.schema()), ..Shape::default() });
        match (shape.and_then(|shape| Ok((shape, handler.records(&batch)?))), expected) {
            (Ok((shape, records)), Ok(expected)) => {
                assert_eq!(lines(&records), expected);
                assert_eq!(shape.schema.unwrap(), records.schema());
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn missing_columns_are_added_and_nulls_stay_unless_asked() {
        let three = json!({"columns": {"a": "42", "b": "3.14", "c": "'Hello, world!'"}});
        check(three.clone(), &[], Ok(&[]));
        check(three, &[Some(1)], Ok(&["n=1 s=null a=42 b=3.14 c=Hello, world!"]));
        check(json!({"columns": {"n": "7"}}), &[None, Some(1)], Ok(&["n=null s=null", "n=1 s=null"]));
        check(json!({"columns": {"n": "7"}, "fillNulls": true}), &[None, Some(1)], Ok(&["n=7 s=null", "n=1 s=null"]));
        check(json!({"columns": {"s": "n"}, "fillNulls": true}), &[Some(5)], Ok(&["n=5 s=5"]));
        check(json!({"columns": {"n": "'x'"}, "fillNulls": true}), &[Some(1)], Err("column `n`, which is Int64"));
        check(json!({"columns": {"dc": "eu1"}}), &[Some(1)], Err("columns: n, s"));
        check(json!({"columns": {"dc": "random()"}}), &[Some(1)], Err("random()"));
    }

    #[tokio::test]
    async fn a_row_whose_value_does_not_fit_is_set_aside() {
        let numbers = Arc::new(Int64Array::from(vec![None, Some(2), None])) as ArrayRef;
        let texts = Arc::new(StringArray::from(vec!["7", "x", "x"])) as ArrayRef;
        let batch = RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("s", texts, true)]).unwrap();
        let spec = serde_json::from_value(json!({"id": "d", "columns": {"n": "s"}, "fillNulls": true})).unwrap();
        let handled = Defaults::new(&spec).handle(batch, Source::Merged).await.unwrap();
        assert_eq!(lines(&handled.outputs[0].0), ["n=7 s=7", "n=2 s=x"]);
        assert_eq!(handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [2]);
        assert!(handled.faults[0].reason.contains("column `n`, which is Int64"), "{:?}", handled.faults);
    }

    #[tokio::test]
    async fn the_same_rows_under_any_cut() {
        let nodes = json!([{"type": "default", "columns": {"dc": "'eu1'", "value": "n / 2"}, "fillNulls": true}]);
        let trial = Trial { ordered: false, ..Trial::new(nodes, &[readings(1, 40), readings(2, 30)]) };
        trial.same_under_any_cut(10).await;
    }
}
