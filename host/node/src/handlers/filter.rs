//! `filter`: keeps the rows for which an expression is true.

use std::ops::Range;

use arrow::array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Builder, Error, Handled, Handler, Shape, Source,
    expression::Expression,
    halving::each,
    spec::{Gap, HandlerSpec, Parts},
    written::Written,
};

/// Keeps the rows for which `where` is true; null counts as not true.
///
/// A row for which it has no value, such as an integer overflow or a division by zero, is set aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// A boolean SQL expression over the columns, as in `type = 'PushEvent' and actor['login'] <> 'bot'`.
    pub r#where: String,
}

#[async_trait]
impl HandlerSpec for FilterSpec {
    fn describe(&self) -> String {
        format!("rows where {}", self.r#where)
    }

    fn gap(&self) -> Option<Gap> {
        let what = "has no condition; set `where` to an expression".to_owned();
        self.r#where.trim().is_empty().then_some(Gap { key: Some("where"), what })
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        vec![Written::row("where", &self.r#where)]
    }

    fn row_by_row(&self) -> bool {
        true
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Filter::new(self)))
    }
}

/// What needs a condition, in errors.
const USER: &str = "a filter";

/// A running `filter`.
#[derive(Debug)]
struct Filter {
    id: String,
    condition: Expression,
}

impl Filter {
    /// A filter as `spec` says.
    fn new(spec: &FilterSpec) -> Self {
        Self { id: spec.id.clone(), condition: Expression::new(&spec.id, &spec.r#where) }
    }
}

#[async_trait]
impl Handler for Filter {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        if let Some(schema) = &input.schema {
            self.condition.condition(schema, USER)?;
        }
        Ok(input.clone())
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        let (masks, faults) = each(&batch, |rows| {
            let value = self.condition.evaluate(&rows)?;
            self.condition.mask(&value, USER)
        })?;
        let handled = match masks.as_slice() {
            [(_, mask)] if faults.is_empty() => Handled::masked(&self.id, batch, mask)?,
            pieces => {
                let mask = whole(batch.num_rows(), pieces);
                Handled::masked(&self.id, batch, &mask)?
            }
        };
        Ok(Handled { faults, ..handled })
    }
}

/// One mask of those of runs; rows in none are left out.
fn whole(rows: usize, pieces: &[(Range<usize>, BooleanArray)]) -> BooleanArray {
    let mut all = vec![false; rows];
    for (run, mask) in pieces {
        mask.values().set_indices().for_each(|row| all[run.start + row] = true);
    }
    BooleanArray::from(all)
}

/// The indices of the rows that `mask` selects.
pub(crate) fn set_rows(mask: &BooleanArray) -> Vec<u32> {
    mask.values().set_indices_u32().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{AsArray as _, Int64Array},
        datatypes::Int64Type,
        util::pretty::pretty_format_batches,
    };

    use super::*;
    use crate::{Kept, halving::CODE};

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
        // A deep tree, where frames are large.
        let deep = (3..1000).map(|n| format!("userId = {n}")).collect::<Vec<_>>().join(" or ");
        check(&deep, Ok(&[2])).await;
    }

    /// The rows that pass, and those that are set aside.
    async fn overflow(expression: &str, numbers: &[i64], passed: &[i64], aside: &[(u32, &str)]) {
        let column = Arc::new(Int64Array::from(numbers.to_vec())) as arrow::array::ArrayRef;
        let batch = RecordBatch::try_from_iter([("bytes", column)]).unwrap();
        let spec = FilterSpec { id: "f".into(), r#where: expression.into() };
        let handled = Filter::new(&spec).handle(batch, Source::Merged).await.unwrap();
        let (records, kept) = &handled.outputs[0];
        assert_eq!(records.column(0).as_primitive::<Int64Type>().values(), passed, "{expression}");
        let rows: Vec<i64> = match kept {
            Kept::All => numbers.to_vec(),
            Kept::Rows(rows) => rows.iter().map(|&row| numbers[row as usize]).collect(),
            Kept::Fresh => unreachable!("a filter makes no rows"),
        };
        assert_eq!(rows, passed, "{expression}");
        assert_eq!(
            handled.faults.iter().map(|fault| fault.row).collect::<Vec<_>>(),
            aside.iter().map(|a| a.0).collect::<Vec<_>>()
        );
        for (fault, (_, part)) in handled.faults.iter().zip(aside) {
            assert!(
                fault.code == CODE && fault.reason.contains(part) && fault.reason.contains(expression),
                "{fault:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_row_that_overflows_is_set_aside_and_its_neighbours_are_not() {
        let most = i64::MAX;
        overflow("bytes + 1 > 0", &[1, most, -5, 7], &[1, 7], &[(1, "9223372036854775807 + 1")]).await;
        overflow("bytes - 1 < 0", &[i64::MIN, 0], &[0], &[(0, "-9223372036854775808 - 1")]).await;
        overflow("bytes * 2 > 0", &[most / 2, most / 2 + 1], &[most / 2], &[(1, "4611686018427387904 * 2")]).await;
        overflow("-bytes < 0", &[1, i64::MIN], &[1], &[(1, "9223372036854775808")]).await;
        overflow("abs(bytes) > 1", &[-2, i64::MIN], &[-2], &[(1, "abs")]).await;
        overflow("cast(bytes as int) < 5", &[1, 1 << 40], &[1], &[(1, "1099511627776")]).await;
        overflow("cast(bytes * 1e0 as int) < 5", &[1, 1 << 40], &[1], &[(1, "1099511627776")]).await;
        overflow("10 / bytes > 1", &[5, 0, 20], &[5], &[(1, "zero")]).await;
        // What guards a row guards it beside others too.
        overflow("bytes < 100 and bytes + 1 > 0", &[1, most, 7], &[1, 7], &[]).await;
        overflow("case when bytes < 100 then bytes + 1 > 0 else true end", &[1, most], &[1, most], &[]).await;
    }
}
