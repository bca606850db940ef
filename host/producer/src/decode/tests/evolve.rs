//! Columns that are added while several decoders run.

use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use spout_data::{Batch, Position, Span};

use super::{factory, messages, told};
use crate::{Decoder, DecoderFactory, MetadataColumn, SchemaPin};

fn json(more: &str) -> DecoderFactory {
    factory(&format!(r#"{{"type":"json","evolve":"add-columns"{more}}}"#), std::path::Path::new(""))
}

/// What a lane does with one run: decodes it, once more if columns are added.
async fn take(decoder: &mut Decoder, lines: &[&str]) -> Batch {
    loop {
        let steady = decoder.hold_schema().await;
        let span = Span { partition: 1.into(), start: 10, next: Position::at(10 + lines.len() as u64) };
        let batch = decoder.decode(messages(lines, None), span).await.unwrap();
        match decoder.added(&batch).unwrap() {
            None => return batch,
            Some(added) => {
                drop(steady);
                decoder.widen(&added).await;
            }
        }
    }
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[tokio::test]
async fn a_new_field_becomes_a_column_of_all_decoders() {
    let factory = json("");
    let (mut one, mut other) = (factory.decoder(), factory.decoder());
    assert_eq!(told(&take(&mut one, &[r#"{"a":1}"#]).await).0, [r#"{"a":1}"#]);
    assert_eq!(told(&take(&mut other, &[r#"{"a":2}"#]).await).0, [r#"{"a":2}"#]);
    let wider = take(&mut one, &[r#"{"a":3}"#, r#"{"a":4,"b":1}"#, r#"{"a":5,"b":"x"}"#]).await;
    assert_eq!(told(&wider).0, [r#"{"a":3}"#, r#"{"a":4,"b":"1"}"#, r#"{"a":5,"b":"x"}"#]);
    assert!(wider.unknown.is_empty(), "nothing was left out");
    let after = take(&mut other, &[r#"{"a":6}"#]).await;
    assert_eq!(after.records.schema(), wider.records.schema());
    assert_eq!((one.hold_schema().await.edition(), other.hold_schema().await.edition()), (1, 1));
    assert_eq!(names(&factory.schema().await.unwrap()), ["a", "b"]);
    // A value that does not fit it is a dead letter, as in any column.
    let (rows, dead) = told(&take(&mut one, &[r#"{"a":7,"c":1}"#, r#"{"a":8,"c":2}"#]).await);
    assert_eq!((rows.len(), dead.len()), (2, 0));
    let (rows, dead) = told(&take(&mut other, &[r#"{"a":9,"c":"x"}"#, r#"{"a":9,"c":null}"#]).await);
    assert_eq!((rows, dead), (vec![r#"{"a":9}"#.to_owned()], vec![(10, "json.type".to_owned())]));
}

#[tokio::test]
async fn a_declared_schema_is_added_to_and_taken_up_again() {
    let declared = json(r#","schema":{"a":"int64"}"#);
    let mut decoder = declared.decoder();
    take(&mut decoder, &[r#"{"a":1,"b":1}"#]).await;
    let pinned = declared.pin.get().await.unwrap();
    assert_eq!(names(&pinned), ["a", "b"]);
    // After a restart, also where the declared columns were changed meanwhile.
    let mut again = json(r#","schema":{"a":"float64","c":"utf8"}"#);
    again.pin = SchemaPin::new(Some(pinned));
    let known = again.schema().await.unwrap();
    assert_eq!(names(&known), ["a", "c", "b"]);
    assert_eq!(*known.field(0).data_type(), DataType::Float64);
    let batch = take(&mut again.decoder(), &[r#"{"a":1,"b":2,"d":3}"#]).await;
    assert_eq!(names(&batch.records.schema()), ["a", "c", "b", "d"]);
}

#[tokio::test]
async fn a_column_of_the_message_itself_keeps_its_name() {
    let mut factory = json("");
    factory.metadata = vec![MetadataColumn::Offset];
    let mut decoder = factory.decoder();
    take(&mut decoder, &[r#"{"a":1}"#]).await;
    let batch = take(&mut decoder, &[r#"{"a":1,"__offset":7,"b":2}"#]).await;
    assert_eq!(names(&batch.records.schema()), ["a", "b", "__offset"]);
    assert_eq!(batch.unknown.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["__offset"]);
}

#[tokio::test]
async fn points_of_nothing_but_new_fields_are_no_dead_letters() {
    for (spec, first, second) in [
        (r#"{"type":"influx","evolve":"add-columns"}"#, "cpu,host=a idle=1 10", "mem,rack=b used=2i 20"),
        (
            r#"{"type":"graphite","evolve":"add-columns","templates":["measurement.field"]}"#,
            "cpu.idle 1 10",
            "mem.used 2 20",
        ),
    ] {
        let factory = factory(spec, std::path::Path::new(""));
        let mut decoder = factory.decoder();
        take(&mut decoder, &[first]).await;
        let (rows, dead) = told(&take(&mut decoder, &[second]).await);
        assert!(dead.is_empty() && rows[0].contains("used"), "{rows:?} {dead:?}");
        assert_eq!(decoder.hold_schema().await.edition(), 1);
    }
}

#[tokio::test]
async fn nothing_is_added_while_rows_are_passed_on() {
    let factory = json("");
    let (mut one, mut other) = (factory.decoder(), factory.decoder());
    take(&mut one, &[r#"{"a":1}"#]).await;
    let steady = other.hold_schema().await;
    let widening = tokio::spawn(async move { take(&mut one, &[r#"{"b":1}"#]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!widening.is_finished(), "the other one still has rows of before");
    assert_eq!(names(&factory.schema().await.unwrap()), ["a"]);
    drop(steady);
    assert_eq!(names(&widening.await.unwrap().records.schema()), ["a", "b"]);
}

#[tokio::test]
async fn of_two_that_add_columns_at_once_none_is_lost() {
    let factory = json("");
    let (mut one, mut other) = (factory.decoder(), factory.decoder());
    take(&mut one, &[r#"{"a":1}"#]).await;
    let steady = factory.decoder().hold_schema().await;
    let first = tokio::spawn(async move { take(&mut one, &[r#"{"b":1}"#]).await });
    let second = tokio::spawn(async move { take(&mut other, &[r#"{"c":1}"#]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(steady);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((told(&first).0, told(&second).0), (vec![r#"{"b":1}"#.to_owned()], vec![r#"{"c":1}"#.to_owned()]));
    let mut all = names(&factory.schema().await.unwrap()).into_iter().map(str::to_owned).collect::<Vec<_>>();
    all.sort();
    assert_eq!(all, ["a", "b", "c"]);
}
