//! The example of a handler that waits and forgets.

#[path = "../examples/sessions.rs"]
pub mod sessions;

use spout_guest::{Batch, DataType, Field, Schema, testing::Running};

#[test]
fn a_sessionizer_emits_and_forgets() {
    let batch = |rows: &[(&str, i64)]| {
        let schema = Schema::new(vec![Field::new("user", DataType::Utf8), Field::new("at", DataType::Int64)]);
        let columns = vec![rows.iter().map(|row| row.0).collect(), rows.iter().map(|row| row.1).collect()];
        Batch::new(schema, columns, rows.len()).unwrap()
    };
    let first_and_last = |batch: &Batch| -> Vec<(Option<i64>, Option<i64>)> {
        (0..batch.rows()).map(|row| (batch.columns()[1].i64(row), batch.columns()[2].i64(row))).collect()
    };
    let mut running = Running::<sessions::Sessions>::open(&[("gap", "10")]).unwrap();
    assert_eq!(running.process(&batch(&[("a", 0), ("b", 5), ("a", 8)])).unwrap().rows(), 0);
    let ticked = running.tick(16).unwrap();
    assert_eq!((first_and_last(&ticked.rows.unwrap()), ticked.next_ms), (vec![(Some(5), Some(5))], Some(19)));
    let mut running = Running::<sessions::Sessions>::restore(&[("gap", "10")], &running.save().unwrap()).unwrap();
    assert_eq!(first_and_last(&running.process(&batch(&[("a", 30)])).unwrap()), [(Some(0), Some(8))]);
    assert_eq!(first_and_last(&running.finish().unwrap().unwrap()), [(Some(30), Some(30))]);
    assert!(running.save().unwrap().keyed.is_empty(), "what is over is forgotten");
}
