//! Counts go on over batches and restarts, and do not depend on how rows were cut.

use spout_guest::testing;

use super::*;

fn open(settings: &[(&str, &str)], state: Option<&[u8]>) -> Result<Count> {
    Count::open(testing::settings(settings)?, state)
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
    let mut one = open(&[("keys", r#"["a"]"#)], None).unwrap();
    assert_eq!(counts(&testing::process(&mut one, &batch(&ROWS)).unwrap(), "count"), [1, 1, 2, 1, 2, 3]);
    let mut two = open(&[("keys", r#"["a","b"]"#), ("as", "n")], None).unwrap();
    assert_eq!(counts(&testing::process(&mut two, &batch(&ROWS)).unwrap(), "n"), [1, 1, 1, 1, 2, 2]);
}

#[test]
fn rows_below_the_threshold_are_held_back() {
    let mut count = open(&[("keys", r#"["a"]"#), ("min", "2")], None).unwrap();
    let kept = testing::process(&mut count, &batch(&ROWS)).unwrap();
    assert_eq!(counts(&kept, "count"), [2, 2, 3]);
    assert_eq!(kept.column_by_name("b").unwrap().i64(0), Some(2));
    let none = testing::process(&mut count, &batch(&[(Some("new"), 1)])).unwrap();
    assert_eq!((none.rows(), none.schema()), (0, kept.schema()));
    let all = testing::process(&mut count, &batch(&[(Some("new"), 1)])).unwrap();
    assert_eq!((counts(&all, "count"), all.schema()), (vec![2], kept.schema()));
}

#[test]
fn counts_survive_and_do_not_depend_on_the_cut() {
    let settings = [("keys", r#"["a"]"#)];
    let mut whole = open(&settings, None).unwrap();
    testing::process(&mut whole, &batch(&ROWS)).unwrap();
    let expected = whole.snapshot().unwrap();
    for cut in 0..=ROWS.len() {
        let mut first = open(&settings, None).unwrap();
        testing::process(&mut first, &batch(&ROWS[..cut])).unwrap();
        let state = first.snapshot().unwrap();
        let mut second = open(&settings, Some(&state)).unwrap();
        testing::process(&mut second, &batch(&ROWS[cut..])).unwrap();
        assert_eq!(second.snapshot().unwrap(), expected);
    }
}

#[test]
fn wrong_settings_and_states_are_refused() {
    assert!(open(&[("keys", "[]")], None).is_err());
    assert!(open(&[("keys", r#"["count"]"#)], None).is_err());
    assert!(open(&[], None).is_err());
    let mut count = open(&[("keys", r#"["a"]"#)], None).unwrap();
    testing::process(&mut count, &batch(&ROWS)).unwrap();
    let state = count.snapshot().unwrap();
    assert!(matches!(open(&[("keys", r#"["b"]"#)], Some(&state)), Err(Error::InvalidConfig { .. })));
    for cut in 0..state.len() {
        assert!(open(&[("keys", r#"["a"]"#)], Some(&state[..cut])).is_err(), "cut at {cut}");
    }
    assert!(testing::process(&mut open(&[("keys", r#"["zz"]"#)], None).unwrap(), &batch(&ROWS)).is_err());
}
