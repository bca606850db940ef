//! What arrow-csv reads of sound CSV is what the `csv` decoder reads.

use arrow::{array::RecordBatch, csv::ReaderBuilder};
use proptest::prelude::*;

use super::*;

/// A value of each column of [`SCHEMA`], as it is written; without one it is null.
fn row() -> impl Strategy<Value = [Option<String>; 6]> {
    let text = prop_oneof![
        "[a-z ]{1,20}".prop_map(|text| text),
        "[a-z,\"\n]{1,12}".prop_map(|text| format!("\"{}\"", text.replace('"', "\"\""))),
        Just("é\u{1f600}".to_owned()),
    ];
    let number = any::<i64>().prop_map(|number| number.to_string());
    let float = prop_oneof![
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(|float| format!("{float:e}")),
        (any::<i32>(), 0..1_000_000_u32).prop_map(|(whole, fraction)| format!("{whole}.{fraction:06}")),
    ];
    let time = (0..4_000_000_000_i64, 0..1_000_000_u32).prop_map(|(seconds, micros)| {
        let at = jiff::Timestamp::from_second(seconds).unwrap();
        format!("{}.{micros:06}", at.strftime("%Y-%m-%dT%H:%M:%S"))
    });
    let day = (0..40_000_i64)
        .prop_map(|day| jiff::Timestamp::from_second(day * 86_400).unwrap().strftime("%Y-%m-%d").to_string());
    let truth = prop::sample::select(vec!["true", "false"]).prop_map(str::to_owned);
    let maybe = |value: BoxedStrategy<String>| prop::option::weighted(0.9, value);
    (
        maybe(number.boxed()),
        maybe(text.boxed()),
        maybe(float.boxed()),
        maybe(time.boxed()),
        maybe(day.boxed()),
        maybe(truth.boxed()),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f])
}

const SCHEMA: &str = r#"{"a":"int64","b":"utf8","c":"float64","d":"timestamp(us)","e":"date32","f":"boolean"}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arrow_csv_reads_the_same(rows in prop::collection::vec(row(), 1..30), crlf in any::<bool>()) {
        let end = if crlf { "\r\n" } else { "\n" };
        let records: Vec<String> = rows
            .iter()
            .map(|row| row.iter().map(|value| value.clone().unwrap_or_default()).collect::<Vec<_>>().join(",") + end)
            .collect();
        let schema: SchemaText = serde_json::from_str(SCHEMA).unwrap();
        let mut peer = ReaderBuilder::new(Arc::new(schema.parse().unwrap())).with_batch_size(64).build_decoder();
        let text = records.concat();
        prop_assert_eq!(peer.decode(text.as_bytes()).unwrap(), text.len());
        let theirs: RecordBatch = peer.flush().unwrap().unwrap();
        let spec = format!(r#"{{"type":"csv","header":false,"schema":{SCHEMA}}}"#);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for messages in [messages(&records, None), messages(&[&text], None)] {
            let ours = runtime.block_on(decode(&factory(&spec, std::path::Path::new("")), messages));
            prop_assert!(ours.dead.is_empty(), "{:?}", ours.dead);
            prop_assert_eq!(&ours.records, &theirs);
        }
    }
}
