//! Compares rows with expected ones, and shows where they differ.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    json::{ReaderBuilder, WriterBuilder, writer::LineDelimited},
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::{Value, json};

use super::Problem;
use crate::spec::{Row, TestSpec, advice};

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
    let expected = match normalised(expected, &names, &columns) {
        Ok(expected) => expected,
        Err(reason) => return Some(Problem::of(format!("{what} cannot be like that: {reason}"))),
    };
    let all = as_rows(got);
    let looked_at: Vec<Row> = all.iter().map(|row| only(row, &names)).collect();
    let same = |left: &Row, right: &Row| same_row(left, right, test.tolerance);
    let diff = match test.unordered {
        true => unordered(&expected, &looked_at, &same),
        false => ordered(&expected, &looked_at, &same),
    };
    if diff.iter().all(|step| matches!(step, Step::Both(..))) {
        return None;
    }
    let (expected_rows, got_rows) = (counted(expected.len() as u64), counted(looked_at.len() as u64));
    let mut problem = Problem::of(format!("{what} are not as expected: {got_rows} came, {expected_rows} should have"));
    for step in &diff {
        match step {
            Step::Missing(at) => problem.missing.push(expected[*at].clone()),
            Step::Unexpected(at) => problem.unexpected.push(looked_at[*at].clone()),
            Step::Both(..) => {}
        }
    }
    problem.diff = lines(&diff, &expected, &looked_at);
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

/// Batches as rows; a column that JSON has no word for as text.
pub(super) fn as_rows(batches: &[RecordBatch]) -> Vec<Row> {
    batches.iter().flat_map(|batch| written(batch).unwrap_or_else(|_| as_text(batch))).collect()
}

fn written(batch: &RecordBatch) -> Result<Vec<Row>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let rows = serde_json::Deserializer::from_slice(&writer.into_inner()).into_iter().collect::<Result<Vec<Row>, _>>();
    rows.map_err(|error| ArrowError::JsonError(error.to_string()))
}

fn as_text(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default().with_null("");
    let schema = batch.schema();
    let cell = |at: usize, row: usize| {
        let column = batch.column(at);
        let text = ArrayFormatter::try_new(column, &options).map(|formatter| formatter.value(row).to_string());
        let value = if column.is_null(row) { Value::Null } else { json!(text.unwrap_or_default()) };
        (schema.field(at).name().clone(), value)
    };
    (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|at| cell(at, row)).collect()).collect()
}

/// The expected rows as they would be written had they come out: `"2026-01-01"` and `1767225600000` are one time.
fn normalised(expected: &[Row], names: &[String], columns: &[Arc<Field>]) -> Result<Vec<Row>, String> {
    let mut out: Vec<Row> = expected.iter().map(|row| only(row, names)).collect();
    for name in names {
        let Some(field) = columns.iter().find(|field| field.name() == name) else { continue };
        let values: Vec<Value> = out.iter().map(|row| row.get(name).cloned().unwrap_or(Value::Null)).collect();
        if let Some(values) =
            typed(&values, field.data_type()).map_err(|reason| format!("column `{name}`: {reason}"))?
        {
            for (row, value) in out.iter_mut().zip(values) {
                row.insert(name.clone(), value);
            }
        }
    }
    Ok(out)
}

/// `values` read as `kind` and written again; `None` if JSON cannot be read as that.
fn typed(values: &[Value], kind: &DataType) -> Result<Option<Vec<Value>>, String> {
    let schema = Arc::new(Schema::new(vec![Field::new("v", kind.clone(), true)]));
    let reader = ReaderBuilder::new(schema).with_batch_size(values.len().max(1)).with_coerce_primitive(true);
    let Ok(mut decoder) = reader.build_decoder() else { return Ok(None) };
    for value in values {
        let text = json!({ "v": value }).to_string();
        decoder.decode(text.as_bytes()).map_err(|error| error.to_string())?;
    }
    let Some(batch) = decoder.flush().map_err(|error| error.to_string())? else { return Ok(Some(Vec::new())) };
    let rows = written(&batch).map_err(|error| error.to_string())?;
    Ok(Some(rows.into_iter().map(|mut row| row.remove("v").unwrap_or(Value::Null)).collect()))
}

fn same_row(left: &Row, right: &Row, tolerance: f64) -> bool {
    left.len() == right.len()
        && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| same(value, other, tolerance)))
}

fn same(left: &Value, right: &Value, tolerance: f64) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b || (a - b).abs() <= tolerance,
            _ => false,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, tolerance)),
        (Value::Object(a), Value::Object(b)) => same_row(a, b, tolerance),
        _ => left == right,
    }
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

fn ordered(expected: &[Row], got: &[Row], same: &dyn Fn(&Row, &Row) -> bool) -> Vec<Step> {
    let begin = expected.iter().zip(got).take_while(|(left, right)| same(left, right)).count();
    let (left, right) = (&expected[begin..], &got[begin..]);
    let mut steps: Vec<Step> = (0..begin).map(Step::Both).collect();
    if left.len().saturating_mul(right.len()) > TABLE {
        steps.extend((begin..expected.len()).map(Step::Missing));
        steps.extend((begin..got.len()).map(Step::Unexpected));
        return steps;
    }
    // The longest run of rows that both have, from the end backwards.
    let width = right.len() + 1;
    let mut longest = vec![0_u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            longest[i * width + j] = match same(&left[i], &right[j]) {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && same(&left[i], &right[j]) {
            steps.push(Step::Both(begin + i));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            steps.push(Step::Missing(begin + i));
            i += 1;
        } else {
            steps.push(Step::Unexpected(begin + j));
            j += 1;
        }
    }
    steps
}

fn unordered(expected: &[Row], got: &[Row], same: &dyn Fn(&Row, &Row) -> bool) -> Vec<Step> {
    let mut free: Vec<usize> = (0..got.len()).collect();
    let mut steps = Vec::new();
    for (at, row) in expected.iter().enumerate() {
        match free.iter().position(|&other| same(row, &got[other])) {
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
                "the rows are not as expected: 3 rows came, 3 rows should have",
                "  {\"n\":1}",
                "+ {\"n\":null}",
                "  {\"n\":3}",
                "- {\"n\":4}",
            ],
        );
        check(plain(), json!([{"m": 1}]), &["the rows have no column `m`, which the test expects; did you mean `n`?"]);
        check(TestSpec { unordered: true, ..plain() }, json!([{"n": 3}, {"n": null}, {"n": 1}]), &[]);
        check(TestSpec { tolerance: 0.01, ..plain() }, json!([{"f": 0.1}, {"f": 0.205}, {"f": 0.3}]), &[]);
        let wrong = rows("the rows", &[Row::from_iter([("n".into(), json!("x"))])], &got(), None, &plain());
        assert!(wrong.unwrap().what.contains("column `n`"));
    }
}
