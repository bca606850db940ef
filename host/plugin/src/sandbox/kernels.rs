//! Kernels of the host, through a guest of the SDK: what they compute, and what a guest cannot do with them.

use arrow::array::{Array as _, AsArray as _, BooleanArray, Int64Array, StringArray, StringViewArray};

use super::*;

/// A task for the guest `kernels`.
async fn doing(deed: &str) -> Task {
    let settings = vec![("deed".to_owned(), deed.to_owned())];
    let limits = LimitsSpec { call: Period(Duration::from_secs(10)), ..task("", "").await.limits };
    Task { plugin: PLUGINS.get("kernels").await.expect("a plugin"), settings, limits, ..task("", "").await }
}

fn batch(from: i64, rows: i64) -> RecordBatch {
    let numbers = (from..from + rows).map(|row| (row % 7 != 3).then_some(row * 100));
    let texts = (from..from + rows).map(|row| (row % 5 != 4).then(|| format!("text {row}")));
    let n: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
    let t: ArrayRef = Arc::new(texts.collect::<StringArray>());
    RecordBatch::try_from_iter([("n", n), ("t", t)]).unwrap()
}

async fn rows(deed: &str, records: &RecordBatch) -> Vec<bool> {
    let mut handler = HandlerInstance::open(doing(deed).await, None, None).await.unwrap();
    let answer = handler.process(records).await.unwrap();
    let Some(Rows::Masked(mask)) = answer else { panic!("{answer:?}") };
    assert_eq!(mask.null_count(), 0);
    mask.values().iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_chosen_where_they_are() {
    // The larger one is computed by a thread of the plugin.
    for records in [batch(0, 12), batch(0, 30).slice(7, 12), batch(0, 12).slice(0, 0), batch(0, 100_000)] {
        let n = records.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        let t = records.column(1).as_string::<i32>();
        let large: Vec<bool> = n.iter().map(|n| n.is_some_and(|n| n >= 500)).collect();
        assert_eq!(rows("select", &records).await, large);
        assert_eq!(rows("bits", &records).await, large);
        let small = n.iter().zip(t).map(|(n, t)| {
            n.is_some_and(|n| n < 500) && t.is_none_or(|t| t.contains(|digit: char| digit.is_ascii_digit()))
        });
        assert_eq!(rows("combine", &records).await, small.collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_are_made_where_they_are() {
    let mut handler = HandlerInstance::open(doing("columns").await, None, None).await.unwrap();
    let plain = batch(0, 12);
    let views: ArrayRef = Arc::new(plain.column(1).as_string::<i32>().iter().collect::<StringViewArray>());
    let seen = RecordBatch::try_from_iter([("n", plain.column(0).clone()), ("t", views)]).unwrap();
    for records in [plain, seen, batch(0, 50_000)] {
        let Some(Rows::WithColumns(made)) = handler.process(&records).await.unwrap() else { panic!("no columns") };
        let names: Vec<&str> = made.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["masked", "hashed", "replaced", "n", "same"]);
        let text = |column: usize, row: usize| {
            let column = made.column(column).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        assert_eq!(text(0, 2).as_deref(), Some("t****2"));
        assert_eq!(text(2, 2).as_deref(), Some("text <2>"));
        let hash = "e8d2f0af9f4f846748f3e8154003d8837bf8617f33e3930bcadf7809123dc64b";
        assert_eq!(text(1, 2).as_deref(), Some(hash), "the SHA-256 of `salttext 2`");
        assert_eq!((text(0, 4), text(1, 4), text(2, 4)), (None, None, None));
        assert_eq!((text(3, 2).as_deref(), text(3, 3)), (Some("200"), None));
        let same: &BooleanArray = made.column(4).as_boolean();
        assert_eq!((same.is_null(3), same.value(2)), (true, true));
        // As a handler of the host: all rows, and what was made beside or in the place of what was there.
        let applied = Rows::WithColumns(made).apply(&records).unwrap();
        assert_eq!((applied.num_columns(), applied.num_rows()), (6, records.num_rows()));
    }
}

/// What the second batch comes to.
async fn fails(deed: &str) -> Error {
    let mut handler = HandlerInstance::open(doing(deed).await, None, None).await.unwrap();
    for (from, count) in [(0, 12), (0, 11)] {
        if let Err(error) = handler.process(&batch(from, count)).await {
            return error;
        }
    }
    panic!("{deed} passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_computed_is_an_error_of_the_plugin() {
    for (deed, expected) in [("wrong-type", "kernel.type"), ("wide-pattern", "kernel.pattern"), ("grow", "kernel.size")]
    {
        let error = fails(deed).await;
        assert!(!error.is_crash() && error.to_string().contains(expected), "{deed}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_do_not_fit_are_refused() {
    for (deed, expected) in [
        ("older", "a column of 12 rows for a batch of 11"),
        ("twice", "two columns are named `x`"),
        ("numbers", "booleans"),
    ] {
        let error = fails(deed).await;
        assert!(matches!(error, Error::Contract { .. }) && error.to_string().contains(expected), "{deed}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_holds_no_more_than_its_answer() {
    let mut handler = HandlerInstance::open(doing("hoard").await, None, None).await.unwrap();
    let mut held = 0;
    let error = loop {
        let records = batch(0, 10_000);
        match handler.process(&records).await {
            Ok(_) => held += records.get_array_memory_size(),
            Err(error) => break error,
        }
        assert!(held < 64 << 20, "it holds {held} bytes");
    };
    assert!(error.to_string().contains("limits.answer"), "{error}");
    let error = fails("share").await;
    assert!(error.to_string().contains("limits."), "{error}");
}
