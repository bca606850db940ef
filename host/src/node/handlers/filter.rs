//! `filter`: keeps the rows for which an expression is true.

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{filter_record_batch, prep_null_mask_filter},
    datatypes::DataType,
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::node::{Error, Handled, Handler, Kept, Shape, Source, expression::Expression};

/// Keeps the rows for which `where` is true; null counts as not true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// A boolean SQL expression over the columns, as in `type = 'PushEvent' and actor['login'] <> 'bot'`.
    pub r#where: String,
}

/// A running `filter`.
#[derive(Debug)]
pub struct Filter {
    id: String,
    sql: String,
    condition: Expression,
}

impl Filter {
    /// A filter as `spec` says.
    #[must_use]
    pub fn new(spec: &FilterSpec) -> Self {
        Self { id: spec.id.clone(), sql: spec.r#where.clone(), condition: Expression::new(&spec.id, &spec.r#where) }
    }

    fn no_condition(&self, kind: &DataType) -> Error {
        Error::Expression {
            handler: self.id.clone(),
            expression: self.sql.clone(),
            reason: format!("it gives {kind}, but a filter needs true or false; compare it with something"),
        }
    }
}

#[async_trait]
impl Handler for Filter {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        if let Some(schema) = &input.schema {
            let kind = self.condition.data_type(schema)?;
            if kind != DataType::Boolean {
                return Err(self.no_condition(&kind));
            }
        }
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        let value = self.condition.evaluate(&batch)?;
        if value.data_type() != &DataType::Boolean {
            return Err(self.no_condition(value.data_type()));
        }
        let mask = true_rows(value.as_boolean());
        if mask.true_count() == batch.num_rows() {
            return Ok(Handled::one(batch, Kept::All));
        }
        let kept = filter_record_batch(&batch, &mask).map_err(|source| Error::Kernel {
            handler: self.id.clone(),
            rows: batch.num_rows(),
            source,
        })?;
        Ok(Handled::one(kept, Kept::Rows(set_rows(&mask))))
    }
}

/// `mask` with null taken as false.
fn true_rows(mask: &BooleanArray) -> BooleanArray {
    match mask.null_count() {
        0 => mask.clone(),
        _ => prep_null_mask_filter(mask),
    }
}

/// The indices of the rows that `mask` selects.
pub(in crate::node) fn set_rows(mask: &BooleanArray) -> Vec<u32> {
    mask.values().set_indices_u32().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::Int64Array, util::pretty::pretty_format_batches};

    use super::*;

    async fn check(expression: &str, expected: Result<&[u32], &str>) {
        let numbers = Int64Array::from(vec![Some(1), None, Some(3), Some(-4)]);
        let batch = RecordBatch::try_from_iter([("userId", Arc::new(numbers) as _)]).unwrap();
        let spec = FilterSpec { id: "f".into(), r#where: expression.into() };
        match (Filter::new(&spec).handle(batch, Source::Merged).await, expected) {
            (Ok(handled), Ok(rows)) => {
                let (records, kept) = &handled.outputs[0];
                let all: Vec<u32> = (0..4).collect();
                assert_eq!(
                    match kept {
                        Kept::Rows(rows) => rows,
                        _ => &all,
                    },
                    rows,
                    "{expression}"
                );
                assert_eq!(
                    records.num_rows(),
                    rows.len(),
                    "{}",
                    pretty_format_batches(std::slice::from_ref(records)).unwrap()
                );
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{expression}: {error}"),
            (got, _) => panic!("{expression}: {got:?}"),
        }
    }

    #[tokio::test]
    async fn rows_pass_only_where_the_condition_is_true() {
        check("userId > 0", Ok(&[0, 2])).await;
        check("userId is not null or true", Ok(&[0, 1, 2, 3])).await;
        check("userId > 100", Ok(&[])).await;
        check("not (userId > 0)", Ok(&[3])).await;
        check("coalesce(userId, 9) > 2", Ok(&[1, 2])).await;
        check("nvl(userId, 9) > 2 and 1 + 1 = 2", Ok(&[1, 2])).await;
        check("userId", Err("needs true or false")).await;
        check("usrId > 0", Err("columns: userId")).await;
        check("random() > 0.5", Err("random()")).await;
        check("now() > to_timestamp(0)", Err("now()")).await;
        check("userId >", Err("f")).await;
    }
}
