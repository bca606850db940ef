//! Counts go on over batches and restarts, and do not depend on how rows were cut.

use spout_guest::testing::{Running, Saved, conformance};

use super::*;

fn open(settings: &[(&str, &str)]) -> Result<Running<Count>> {
    Running::open(settings)
}

fn batch(rows: &[(Option<&str>, i64)]) -> Batch {
    let schema = Schema::new(vec![Field::new("a", DataType::Utf8), Field::new("b", DataType::Int64)]);
    let columns = vec![rows.iter().map(|row| row.0).collect(), rows.iter().map(|row| row.1).collect()];
    Batch::new(schema, columns, rows.len()).unwrap()
}

fn counts(batch: &Batch, name: &str) -> Vec<u64> {
    let column = batch.column_by_name(name).unwrap();
    (0..batch.rows()).filter_map(|row| column.u64(row)).collect()
}

const ROWS: [(Option<&str>, i64); 6] =
    [(Some("x"), 1), (None, 1), (Some("x"), 2), (Some(""), 1), (None, 1), (Some("x"), 1)];

#[test]
fn a_row_gets_the_count_of_its_key_so_far() {
    let mut one = open(&[("keys", r#"["a"]"#)]).unwrap();
    assert_eq!(counts(&one.process(&batch(&ROWS)).unwrap(), "count"), [1, 1, 2, 1, 2, 3]);
    assert_eq!(one.state_calls(), 1, "a batch is one call of the host");
    let mut two = open(&[("keys", r#"["a","b"]"#), ("as", "n")]).unwrap();
    assert_eq!(counts(&two.process(&batch(&ROWS)).unwrap(), "n"), [1, 1, 1, 1, 2, 2]);
}

#[test]
fn rows_below_the_threshold_are_held_back() {
    let mut count = open(&[("keys", r#"["a"]"#), ("min", "2")]).unwrap();
    let kept = count.process(&batch(&ROWS)).unwrap();
    assert_eq!(counts(&kept, "count"), [2, 2, 3]);
    assert_eq!(kept.column_by_name("b").unwrap().i64(0), Some(2));
    let none = count.process(&batch(&[(Some("new"), 1)])).unwrap();
    assert_eq!((none.rows(), none.schema()), (0, kept.schema()));
    let all = count.process(&batch(&[(Some("new"), 1)])).unwrap();
    assert_eq!((counts(&all, "count"), all.schema()), (vec![2], kept.schema()));
}

#[test]
fn counts_survive_and_do_not_depend_on_the_cut() {
    conformance::<Count>(&[("keys", r#"["a"]"#)], &batch(&ROWS)).unwrap();
    conformance::<Count>(&[("keys", r#"["a","b"]"#), ("min", "2")], &batch(&ROWS)).unwrap();
}

#[test]
fn wrong_settings_and_states_are_refused() {
    assert!(open(&[("keys", "[]")]).is_err());
    assert!(open(&[("keys", r#"["count"]"#)]).is_err());
    assert!(open(&[]).is_err());
    let mut count = open(&[("keys", r#"["a"]"#)]).unwrap();
    count.process(&batch(&ROWS)).unwrap();
    let saved = count.save().unwrap();
    assert!(matches!(Running::<Count>::restore(&[("keys", r#"["b"]"#)], &saved), Err(Error::InvalidConfig { .. })));
    let damaged = Saved { snapshot: saved.snapshot[1..].to_vec(), ..saved };
    assert!(Running::<Count>::restore(&[("keys", r#"["a"]"#)], &damaged).is_err());
    assert!(open(&[("keys", r#"["zz"]"#)]).unwrap().process(&batch(&ROWS)).is_err());
}
