//! Aggregates in parts and at once, typed before they run.

use arrow::{
    array::{Float64Array, Int64Array, StringArray},
    datatypes::{DataType, Field},
    util::display::array_value_to_string,
};

use super::*;
use crate::{Source, state::Held};

fn rows() -> RecordBatch {
    let times = Int64Array::from(vec![3, 1, 2, 4]);
    let columns: [(&str, ArrayRef); 4] = [
        ("word", Arc::new(StringArray::from(vec![Some("c"), Some("a"), None, Some("c")]))),
        ("n", Arc::new(Int64Array::from(vec![Some(3), Some(1), None, Some(4)]))),
        ("f", Arc::new(Float64Array::from(vec![0.1, 0.2, -0.0, 0.3]))),
        ("userId", Arc::new(Int64Array::from(vec![7, 7, 8, 7]))),
    ];
    let records = RecordBatch::try_from_iter(columns).unwrap();
    Held::new("h", "rows").mark(&records, &times, Source::Partition(0.into()), &[]).unwrap()
}

fn compile(sql: &str) -> Result<Compiled, Error> {
    let columns = Columns(vec![("x".to_owned(), sql.to_owned())]);
    let key: FieldRef = Arc::new(Field::new("userId", DataType::Int64, true));
    Aggregates::new("h", &columns, true).compile(&rows().schema(), &[key])
}

/// The result for one group, whose rows come in two parts cut after `cut`.
fn in_parts(compiled: &Compiled, cut: usize) -> String {
    let mut whole = compiled.start().unwrap();
    let rows = rows();
    for part in [rows.slice(cut, rows.num_rows() - cut), rows.slice(0, cut)] {
        let mut accumulators = compiled.start().unwrap();
        compiled.update(&mut accumulators, &part, &vec![0; part.num_rows()], 1).unwrap();
        let state = compiled.state(&mut accumulators).unwrap();
        let kinds: Vec<DataType> = compiled.state_fields().unwrap().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(state.iter().map(|column| column.data_type().clone()).collect::<Vec<_>>(), kinds);
        compiled.merge(&mut whole, &state, &[0], 1).unwrap();
    }
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    array_value_to_string(&compiled.evaluate(&mut whole, &[keys], 1).unwrap()[0], 0).unwrap()
}

fn check(sql: &str, expected: Result<&str, &str>) {
    match (compile(sql), expected) {
        (Ok(compiled), Ok(expected)) => {
            assert!(compiled.order_free(), "{sql}");
            (0..=4).for_each(|cut| assert_eq!(in_parts(&compiled, cut), expected, "{sql}, cut at {cut}"));
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{sql}: {error}"),
        (got, _) => panic!("{sql}: {got:?}"),
    }
}

#[test]
fn parts_in_any_order_give_what_all_rows_give() {
    check("count(*)", Ok("4"));
    check("count(n)", Ok("3"));
    check("count(distinct word)", Ok("2"));
    check("sum(n)", Ok("8"));
    check("sum(f)", Ok("0.6"));
    check("mean(n)", Ok("2.6666666666666665"));
    check("min(f)", Ok("0.0"));
    check("max(word)", Ok("c"));
    check("first(word)", Ok("a"));
    check("last(n)", Ok("4"));
    check("first(n) ignore nulls", Ok("1"));
    check("last(word order by n nulls first)", Ok("c"));
    check("stddev(n)", Ok("1.5275252316519468"));
    check("median(n)", Ok("3.0"));
    check("quantile(n, 0.5)", Ok("3.0"));
    check("max(n) filter (where word = 'a')", Ok("1"));
    check("sum(n * 2) - count(*) + userId", Ok("19"));
    check("bool_and(n > 0)", Ok("true"));
}

#[test]
fn what_cannot_be_exact_says_so_and_keeps_to_the_order_of_rows() {
    for sql in ["array_agg(n)", "approx_percentile_cont(n, 0.5)", "corr(n, f)", "string_agg(word, ',')"] {
        assert!(!compile(sql).unwrap().order_free(), "{sql}");
    }
}

#[test]
fn wrong_expressions_are_refused_with_what_to_do() {
    check("n", Err("max(price)"));
    check("max(nope)", Err("columns: word, n, f, userId"));
    check("max(n) + f", Err("grouped by (userId)"));
    check("max(random())", Err("random()"));
    check("sum(word)", Err("sum"));
    check("sum(distinct f)", Err("DISTINCT"));
    let twice = Columns(vec![("userId".to_owned(), "max(n)".to_owned())]);
    let key: FieldRef = Arc::new(Field::new("userId", DataType::Int64, true));
    let error = Aggregates::new("h", &twice, true).compile(&rows().schema(), &[key]).unwrap_err();
    assert!(error.to_string().contains("already"), "{error}");
}
