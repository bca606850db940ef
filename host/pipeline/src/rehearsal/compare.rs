//! Compares rows with expected ones, and shows where they differ.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Field, SchemaRef},
};
use serde_json::Value;
use spout_spec::{Row, TestSpec, advice};

use super::{
    Problem,
    cell::{Cell, shown},
};

/// Rows shown around one that differs.
const AROUND: usize = 2;

/// What is wrong with the rows of `got`, called `what`; `known` are its columns if it has no batch.
pub(super) fn rows(
    what: &str,
    expected: &[Row],
    got: &[RecordBatch],
    known: Option<&SchemaRef>,
    test: &TestSpec,
) -> Option<Problem> {
    let columns = columns(got, known);
    let names = named(expected);
    if let Some(name) = names.iter().find(|name| !columns.is_empty() && !columns.iter().any(|c| c.name() == *name)) {
        let advice = advice(name, columns.iter().map(|column| column.name().as_str()));
        return Some(Problem::of(format!("{what} have no column `{name}`, which the test expects; {advice}")));
    }
    let wanted = match wanted(expected, &names, &columns) {
        Ok(wanted) => wanted,
        Err(reason) => return Some(Problem::of(format!("{what} cannot match: {reason}"))),
    };
    let shown = expected.iter().map(|row| only(row, &names)).collect();
    differ(what, &Side { cells: wanted, shown }, &Side::of(got, &names), test)
}

/// What is wrong with the rows of `got`, called `what`, which should be those of `other`.
pub(super) fn batches(what: &str, other: &[RecordBatch], got: &[RecordBatch], test: &TestSpec) -> Option<Problem> {
    let all: Vec<RecordBatch> = other.iter().chain(got).cloned().collect();
    let names: Vec<String> = columns(&all, None).iter().map(|column| column.name().clone()).collect();
    differ(what, &Side::of(other, &names), &Side::of(got, &names), test)
}

/// Rows of one side of a comparison.
struct Side {
    cells: Vec<Vec<Cell>>,
    /// The same for people.
    shown: Vec<Row>,
}

impl Side {
    /// The columns `names` of batches, null where one has none of that name.
    fn of(batches: &[RecordBatch], names: &[String]) -> Self {
        let mut side = Self { cells: Vec::new(), shown: Vec::new() };
        for batch in batches {
            let columns: Vec<Option<&ArrayRef>> = names.iter().map(|name| batch.column_by_name(name)).collect();
            for row in 0..batch.num_rows() {
                let cell = |column: &Option<&ArrayRef>| column.map_or(Cell::Null, |column| Cell::read(column, row));
                let shown = |(name, column): (&String, &Option<&ArrayRef>)| {
                    (name.clone(), column.map_or(Value::Null, |column| shown(column, row)))
                };
                side.cells.push(columns.iter().map(cell).collect());
                side.shown.push(names.iter().zip(&columns).map(shown).collect());
            }
        }
        side
    }
}

fn differ(what: &str, expected: &Side, got: &Side, test: &TestSpec) -> Option<Problem> {
    let (left, right) = (expected.cells.len(), got.cells.len());
    let same = |at: usize, other: usize| {
        let cells = expected.cells[at].iter().zip(&got.cells[other]);
        cells.into_iter().all(|(one, other)| one.same(other, test.tolerance))
    };
    let diff = if test.unordered { unordered(left, right, &same) } else { ordered(left, right, &same) };
    if diff.iter().all(|step| matches!(step, Step::Both(..))) {
        return None;
    }
    let (expected_rows, got_rows) = (counted(left as u64), counted(right as u64));
    let mut problem = Problem::of(format!("{what} are not as expected: got {got_rows}, expected {expected_rows}"));
    for step in &diff {
        match step {
            Step::Missing(at) => problem.missing.push(expected.shown[*at].clone()),
            Step::Unexpected(at) => problem.unexpected.push(got.shown[*at].clone()),
            Step::Both(..) => {}
        }
    }
    problem.diff = lines(&diff, &expected.shown, &got.shown);
    Some(problem)
}

/// Rows in words.
pub(super) fn counted(rows: u64) -> String {
    match rows {
        1 => "1 row".into(),
        rows => format!("{rows} rows"),
    }
}

/// Every column of `got`, the first of each name.
fn columns(got: &[RecordBatch], known: Option<&SchemaRef>) -> Vec<Arc<Field>> {
    let mut columns: Vec<Arc<Field>> = Vec::new();
    let schemas = got.iter().map(|batch| batch.schema());
    for field in schemas.chain(known.cloned()).flat_map(|schema| schema.fields().to_vec()) {
        if columns.iter().all(|column| column.name() != field.name()) {
            columns.push(field);
        }
    }
    columns
}

/// The columns that the expected rows speak of.
fn named(expected: &[Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in expected.iter().flat_map(|row| row.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// `row` with these columns, null where it has none.
fn only(row: &Row, names: &[String]) -> Row {
    names.iter().map(|name| (name.clone(), row.get(name).cloned().unwrap_or(Value::Null))).collect()
}

/// The values of each row, for people.
pub(crate) fn as_values(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let row = |row| batch.columns().iter().map(|column| shown(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// Batches as rows for people.
pub(crate) fn as_rows(batches: &[RecordBatch]) -> Vec<Row> {
    let names: Vec<String> = columns(batches, None).iter().map(|column| column.name().clone()).collect();
    Side::of(batches, &names).shown
}

/// The expected rows as values of the columns: `"2026-01-01"` and `1767225600000` may be one time, `"21"` and `21` are
/// never one value.
fn wanted(expected: &[Row], names: &[String], columns: &[Arc<Field>]) -> Result<Vec<Vec<Cell>>, String> {
    let kinds: Vec<Option<&DataType>> = names
        .iter()
        .map(|name| columns.iter().find(|field| field.name() == name).map(|field| field.data_type()))
        .collect();
    let cell = |row: &Row, (name, kind): (&String, &Option<&DataType>)| {
        let value = row.get(name).unwrap_or(&Value::Null);
        match kind {
            Some(kind) => Cell::wanted(value, kind).map_err(|reason| format!("column `{name}`: {reason}")),
            None => Ok(Cell::untyped(value)),
        }
    };
    expected.iter().map(|row| names.iter().zip(&kinds).map(|at| cell(row, at)).collect()).collect()
}

/// One step from the expected rows to those that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Expected and there.
    Both(usize),
    Missing(usize),
    Unexpected(usize),
}

/// Cells of the table that the longest common run of rows is looked up in.
const TABLE: usize = 4 << 20;

fn ordered(expected: usize, got: usize, same: &dyn Fn(usize, usize) -> bool) -> Vec<Step> {
    let begin = (0..expected.min(got)).take_while(|&at| same(at, at)).count();
    let (left, right) = (expected - begin, got - begin);
    let same = |i: usize, j: usize| same(begin + i, begin + j);
    let mut steps: Vec<Step> = (0..begin).map(Step::Both).collect();
    if left.saturating_mul(right) > TABLE {
        steps.extend((begin..expected).map(Step::Missing));
        steps.extend((begin..got).map(Step::Unexpected));
        return steps;
    }
    // The longest run of rows that both have, from the end backwards.
    let width = right + 1;
    let mut longest = vec![0_u32; (left + 1) * width];
    for i in (0..left).rev() {
        for j in (0..right).rev() {
            longest[i * width + j] = if same(i, j) {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < left || j < right {
        if i < left && j < right && same(i, j) {
            steps.push(Step::Both(begin + i));
            (i, j) = (i + 1, j + 1);
        } else if j == right || (i < left && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            steps.push(Step::Missing(begin + i));
            i += 1;
        } else {
            steps.push(Step::Unexpected(begin + j));
            j += 1;
        }
    }
    steps
}

fn unordered(expected: usize, got: usize, same: &dyn Fn(usize, usize) -> bool) -> Vec<Step> {
    let mut free: Vec<usize> = (0..got).collect();
    let mut steps = Vec::new();
    for at in 0..expected {
        match free.iter().position(|&other| same(at, other)) {
            Some(found) => {
                free.remove(found);
                steps.push(Step::Both(at));
            }
            None => steps.push(Step::Missing(at)),
        }
    }
    steps.extend(free.into_iter().map(Step::Unexpected));
    steps
}

/// The steps as lines; what is as expected is shown only around what is not.
fn lines(diff: &[Step], expected: &[Row], got: &[Row]) -> Vec<String> {
    let near = |at: usize| {
        let around = at.saturating_sub(AROUND)..(at + AROUND + 1).min(diff.len());
        diff[around].iter().any(|step| !matches!(step, Step::Both(_)))
    };
    let text = |row: &Row| Value::Object(row.clone()).to_string();
    let mut lines = Vec::new();
    let mut left_out = 0_u64;
    for (at, step) in diff.iter().enumerate() {
        if !near(at) {
            left_out += 1;
            continue;
        }
        if left_out > 0 {
            lines.push(format!("  … {} as expected", counted(left_out)));
            left_out = 0;
        }
        lines.push(match *step {
            Step::Both(row) => format!("  {}", text(&expected[row])),
            Step::Missing(row) => format!("- {}", text(&expected[row])),
            Step::Unexpected(row) => format!("+ {}", text(&got[row])),
        });
    }
    if left_out > 0 {
        lines.push(format!("  … {} as expected", counted(left_out)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, TimestampMillisecondArray};
    use serde_json::json;

    use super::*;

    fn got() -> Vec<RecordBatch> {
        let numbers = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let floats = Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3]));
        let times = Arc::new(TimestampMillisecondArray::from(vec![0, 1000, 2000]));
        vec![RecordBatch::try_from_iter([("n", numbers as _), ("f", floats as _), ("t", times as _)]).unwrap()]
    }

    fn check(test: TestSpec, expected: Value, problem: &[&str]) {
        let expected: Vec<Row> = serde_json::from_value(expected).unwrap();
        let found = rows("the rows", &expected, &got(), None, &test);
        let said = found.map(|found| [vec![found.what], found.diff].concat()).unwrap_or_default();
        assert_eq!(said, problem);
    }

    #[test]
    fn rows_are_compared_by_the_columns_that_are_named() {
        let plain = TestSpec::default;
        check(plain(), json!([{"n": 1}, {}, {"n": 3}]), &[]);
        check(plain(), json!([{"t": 0}, {"t": "1970-01-01T00:00:01"}, {"t": "1970-01-01T00:00:02Z"}]), &[]);
        check(
            plain(),
            json!([{"n": 1}, {"n": 3}, {"n": 4}]),
            &[
                "the rows are not as expected: got 3 rows, expected 3 rows",
                "  {\"n\":1}",
                "+ {\"n\":null}",
                "  {\"n\":3}",
                "- {\"n\":4}",
            ],
        );
        check(plain(), json!([{"m": 1}]), &["the rows have no column `m`, which the test expects; did you mean `n`?"]);
        check(TestSpec { unordered: true, ..plain() }, json!([{"n": 3}, {"n": null}, {"n": 1}]), &[]);
        check(TestSpec { tolerance: 0.01, ..plain() }, json!([{"f": 0.1}, {"f": 0.205}, {"f": 0.3}]), &[]);
        for value in [json!("x"), json!("1"), json!(1.9)] {
            let wrong = rows("the rows", &[Row::from_iter([("n".into(), value)])], &got(), None, &plain());
            assert!(wrong.unwrap().what.contains("column `n`"));
        }
    }

    #[test]
    fn runs_are_compared_value_by_value() {
        let (plain, all) = (TestSpec::default(), got());
        let halves = [all[0].slice(0, 1), all[0].slice(1, 2)];
        assert!(batches("the rows", &all, &halves, &plain).is_none());
        let problem = batches("the rows", &all, &halves[..1], &plain).unwrap();
        assert_eq!(problem.missing.len(), 2);
        let large = |n: i64| RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![n])) as _)]).unwrap();
        assert!(batches("the rows", &[large(1 << 53)], &[large((1 << 53) + 1)], &plain).is_some());
    }
}
