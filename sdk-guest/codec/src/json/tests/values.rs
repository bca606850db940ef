//! The right values, and the right reasons.

use super::*;
use crate::{DataType, Error, Field, TimeUnit};

const PLAIN: &str = r#"{"a":"int64","b":{"c":"utf8","d":["float64"]},"at":"timestamp(ms, UTC)"}"#;

#[test]
fn values_arrive_as_they_are() {
    let lines = [
        r#"{"a":-7,"b":{"c":"x\n\u00e4\ud83d\ude00\/","d":[1,2.5,null]},"at":"2021-07-21T06:00:00Z"}"#,
        r#" { "b" : { "d" : [] , "zzz" : [{"q":1}] } , "unknown": "…" , "a" : 9223372036854775807 } "#,
        r#"{"at":1626847200000,"b":null}"#,
    ];
    let decoded = decode(PLAIN, "{}", &lines);
    assert_eq!(codes(&decoded), []);
    let a = column(&decoded, "a");
    assert_eq!((a.i64(0), a.i64(1), a.i64(2)), (Some(-7), Some(i64::MAX), None));
    let b = column(&decoded, "b");
    assert_eq!((b.fields()[0].str(0), b.fields()[0].str(1)), (Some("x\nä😀/"), None));
    assert_eq!((b.is_valid(1), b.is_valid(2)), (true, false));
    let at = column(&decoded, "at");
    assert_eq!((at.i64(0), at.i64(1), at.i64(2)), (Some(1_626_847_200_000), None, Some(1_626_847_200_000)));
}

#[test]
fn bad_messages_leave_no_trace() {
    let lines = [
        r#"{"a":1,"b":{"c":"one","d":[1]}}"#,
        r#"{"a":2,"b":{"c":"two","d":[1,"x"]}}"#,
        r#"{"a":3,"b":{"c":"three""#,
        r#"{"a":4.5}"#,
        "",
        "[]",
        r#"{"a":5}{"a":6}"#,
        r#"{"a":01}"#,
        r#"{"a":7,"b":{"c":"seven","d":[7]}}"#,
        r#"{"a":"x","#,
    ];
    let decoded = decode(PLAIN, "{}", &lines);
    let expected = [
        (1, "json.type"),
        (2, "json.syntax"),
        (3, "json.type"),
        (4, "json.syntax"),
        (5, "json.type"),
        (6, "json.syntax"),
        (7, "json.syntax"),
        // That it is no JSON counts before the value that does not fit.
        (9, "json.syntax"),
    ];
    assert_eq!(codes(&decoded), expected);
    assert_eq!(reason(&decoded, 0), "`b.d[1]` must be a number, not `\"x\"`, at byte 29");
    assert_eq!(reason(&decoded, 2), "`a` must be a whole number of 64 bits, not `4.5`: it has a fraction, at byte 5");
    assert_eq!(reason(&decoded, 3), "the message is empty, at byte 0");
    assert_eq!(reason(&decoded, 4), "the message is not an object but `[]`, at byte 0");
    assert_eq!(reason(&decoded, 5), "several values stand on one line; send one a message, or a line, at byte 7");
    assert_eq!(decoded.batch.rows(), 2);
    assert_eq!((column(&decoded, "a").i64(0), column(&decoded, "a").i64(1)), (Some(1), Some(7)));
    let texts = &column(&decoded, "b").fields()[0];
    assert_eq!((texts.str(0), texts.str(1)), (Some("one"), Some("seven")));
}

/// Whether a column of `data_type` takes each of these, and how it then prints.
#[track_caller]
fn check(data_type: &str, settings: &str, cases: &[(&str, Option<&str>)]) {
    for (value, expected) in cases {
        let schema = format!(
            r#"{{"x":{}}}"#,
            if data_type.starts_with(['{', '[']) { data_type.into() } else { format!("{data_type:?}") }
        );
        let decoded = decode(&schema, settings, &[format!(r#"{{"x":{value}}}"#)]);
        let shown = (decoded.batch.rows() == 1)
            .then(|| show(column(&decoded, "x"), &decoded.batch.schema().fields()[0].data_type));
        assert_eq!(shown.as_deref(), *expected, "{data_type} {value}: {:?}", decoded.faults);
        assert!(expected.is_some() || decoded.faults[0].reason.starts_with("`x`"), "{:?}", decoded.faults);
    }
}

fn show(array: &Array, data_type: &DataType) -> String {
    let number = |value: Option<i128>| value.map_or("null".into(), |value| value.to_string());
    match data_type {
        DataType::Int8 => number(array.i8(0).map(Into::into)),
        DataType::Int16 => number(array.i16(0).map(Into::into)),
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => number(array.i32(0).map(Into::into)),
        DataType::UInt8 => number(array.u8(0).map(Into::into)),
        DataType::UInt64 => number(array.u64(0).map(Into::into)),
        DataType::Float32 => array.f32(0).map_or("null".into(), |value| value.to_string()),
        DataType::Float64 => array.f64(0).map_or("null".into(), |value| value.to_string()),
        DataType::Boolean => array.bool(0).map_or("null".into(), |value| value.to_string()),
        DataType::Utf8 => array.str(0).unwrap_or("null").into(),
        DataType::Binary => format!("{:?}", array.bytes(0)),
        DataType::Decimal128(..) => match array.data() {
            crate::Data::Fixed { bytes, .. } => i128::from_le_bytes(bytes.as_slice().try_into().unwrap()).to_string(),
            other => panic!("{other:?}"),
        },
        _ => number(array.i64(0).map(Into::into)),
    }
}

#[test]
fn whole_numbers_are_exact() {
    let max = "9223372036854775807";
    let cases = [
        ("0", Some("0")),
        ("-0", Some("0")),
        ("1e3", Some("1000")),
        ("4.0", Some("4")),
        ("12e-1", None),
        ("21.7", None),
        ("-0.9", None),
        ("9007199254740993", Some("9007199254740993")),
        (max, Some(max)),
        ("9223372036854775808", None),
        ("1E400", None),
        ("\"22\"", None),
        ("true", None),
        ("{}", None),
        ("null", Some("null")),
        ("123456789012345678", Some("123456789012345678")),
        ("12345678", Some("12345678")),
        ("1234567890", Some("1234567890")),
    ];
    check("int64", "{}", &cases);
    check("int8", "{}", &[("-128", Some("-128")), ("128", None), ("1e2", Some("100")), ("1e3", None)]);
    check("uint64", "{}", &[("18446744073709551615", Some("18446744073709551615")), ("-1", None), ("-0", Some("0"))]);
    let strings = r#"{"coerce":{"numbersFromStrings":true}}"#;
    check(
        "int64",
        strings,
        &[("\"22\"", Some("22")), ("\"2\\u0032\"", Some("22")), ("\"+5\"", None), ("\" 5\"", None), ("\"\"", None)],
    );
    let loose = r#"{"coerce":{"numbersFromStrings":true,"looseNumbers":true,"trim":true}}"#;
    check("int64", loose, &[("\" +05 \"", Some("5"))]);
}

#[test]
fn decimals_keep_their_digits() {
    check(
        "decimal128(6, 2)",
        "{}",
        &[("12.5", Some("1250")), ("1e3", Some("100000")), ("0.005", None), ("10000", None), ("\"1\"", None)],
    );
    let up = r#"{"coerce":{"roundDecimals":"halfUp"}}"#;
    check("decimal128(6, 2)", up, &[("0.005", Some("1")), ("-0.005", Some("-1"))]);
}

#[test]
fn floats_are_the_nearest_and_finite() {
    let cases = [
        ("0.1", Some("0.1")),
        ("-0.0", Some("-0")),
        ("1e400", None),
        ("1e-400", Some("0")),
        ("9007199254740993", Some("9007199254740992")),
        ("123456789.123456789123456789", Some("123456789.12345679")),
        ("\"1.5\"", None),
    ];
    check("float64", "{}", &cases);
    check("float32", "{}", &[("1.00000017881393432617187499", Some("1.0000001")), ("1e39", None)]);
}

#[test]
fn texts_hold_anything_byte_for_byte() {
    let cases = [
        ("\"a\"", Some("a")),
        ("1.50", Some("1.50")),
        ("true", Some("true")),
        ("{}", Some("{}")),
        ("[1, {\"a\" : \"\\n\"}]", Some("[1, {\"a\" : \"\\n\"}]")),
        ("null", Some("null")),
        ("\"sixteen bytes ok\"", Some("sixteen bytes ok")),
        ("\"seventeen bytes o\"", Some("seventeen bytes o")),
    ];
    check("utf8", "{}", &cases);
}

#[test]
fn times_have_texts_and_numbers() {
    let cases = [
        ("\"1970-01-01T00:00:01.5Z\"", Some("1500")),
        ("\"1970-01-01T00:00:01.0005Z\"", None),
        ("1500", Some("1500")),
        ("1.5e3", Some("1500")),
        ("1.5", None),
        ("9223372036854775807", None),
        ("\"soon\"", None),
        ("\"1500\"", None),
        ("\"1970\\u002d01-01\"", Some("0")),
        ("true", None),
    ];
    check("timestamp(ms)", "{}", &cases);
    check(
        "timestamp(ms, Europe/Berlin)",
        "{}",
        &[("\"1970-01-01T00:00:00\"", None), ("\"1970-01-01T01:00:00+01:00\"", Some("0"))],
    );
    check(
        "timestamp(us)",
        r#"{"coerce":{"epoch":"s"}}"#,
        &[("1.5", Some("1500000")), ("\"1.5\"", Some("1500000")), ("1.00000001", None)],
    );
    check(
        "date32",
        "{}",
        &[("\"1970-01-02\"", Some("1")), ("1", Some("1")), ("\"1970-02-30\"", None), ("99999999", None)],
    );
    check(
        "time(ms)",
        "{}",
        &[("\"00:00:01\"", Some("1000")), ("1000", Some("1000")), ("86400000", None), ("-1", None)],
    );
    check("duration(s)", "{}", &[("90", Some("90")), ("\"90\"", None)]);
}

#[test]
fn bytes_and_booleans_have_their_texts() {
    check("binary", "{}", &[("\"00ff\"", Some("Some([0, 255])")), ("\"xy\"", None), ("1", None)]);
    check("binary", r#"{"coerce":{"binary":"base64"}}"#, &[("\"AP8=\"", Some("Some([0, 255])"))]);
    check("bool", "{}", &[("true", Some("true")), ("false", Some("false")), ("1", None), ("\"true\"", None)]);
    check("bool", r#"{"coerce":{"booleanWords":true}}"#, &[("1", Some("true")), ("0", Some("false")), ("2", None)]);
}

#[test]
fn objects_become_maps() {
    let lines = [
        r#"{"m":{"a":1,"b":null}}"#,
        r#"{"m":{}}"#,
        r#"{"m":{"a":1,"a":1}}"#,
        r#"{"m":{"a":"x"}}"#,
        r#"{}"#,
        r#"{"m":{"c":3}}"#,
    ];
    let decoded = decode(r#"{"m":"map(utf8, int64)"}"#, "{}", &lines);
    assert_eq!(codes(&decoded), [(2, "json.duplicate"), (3, "json.type")]);
    assert!(reason(&decoded, 1).starts_with("`m.a` must be a whole number"), "{}", reason(&decoded, 1));
    match column(&decoded, "m").data() {
        crate::Data::List { offsets, items, .. } => {
            assert_eq!(offsets, &[0, 2, 2, 2, 3]);
            let keys: Vec<_> = (0..3).map(|row| items.fields()[0].str(row)).collect();
            assert_eq!(keys, [Some("a"), Some("b"), Some("c")]);
            assert_eq!((items.fields()[1].i64(0), items.fields()[1].i64(1)), (Some(1), None));
        }
        other => panic!("{other:?}"),
    }
    let numbers = decode(r#"{"m":"map(int64, utf8)"}"#, "{}", &[r#"{"m":{"1":"a"}}"#, r#"{"m":{"x":"a"}}"#]);
    assert_eq!(codes(&numbers), [(1, "json.type")]);
}

#[test]
fn lists_of_one_length_have_it() {
    let item = crate::Field::new("item", DataType::Int64);
    let schema = Schema::new(vec![crate::Field::new("p", DataType::FixedSizeList(Box::new(item), 2))]);
    let mut json = Json::new(&Settings::<()>::default(), Some(schema), None).unwrap();
    let lines = [r#"{"p":[1,2]}"#, r#"{"p":[1]}"#, r#"{"p":[1,2,3]}"#, "{}", r#"{"p":[3,null]}"#];
    let decoded = json.decode(&Messages::new(&lines).input()).unwrap();
    assert_eq!(codes(&decoded), [(1, "json.type"), (2, "json.type")]);
    match column(&decoded, "p").data() {
        crate::Data::FixedList { items, .. } => {
            let values: Vec<_> = (0..items.len()).map(|row| items.i64(row)).collect();
            assert_eq!(values, [Some(1), Some(2), None, None, Some(3), None]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_message() {
    let lines = ["\u{feff}{\"a\":1}", "{\"a\":2}\u{feff}", "{\"a\":\u{feff}3}", "\u{feff}\u{feff}{\"a\":4}"];
    let decoded = decode(r#"{"a":"int64"}"#, "{}", &lines);
    assert_eq!(codes(&decoded), [(1, "json.syntax"), (2, "json.syntax"), (3, "json.syntax")]);
    assert_eq!(reason(&decoded, 2), "expected a value, at byte 3");
}

#[test]
fn a_key_that_stands_twice_is_a_fault_or_the_last_counts() {
    let lines = [r#"{"a":1,"b":true,"a":2,"b":false}"#, r#"{"a":1,"z":1,"z":2}"#, r#"{"o":{"x":1,"x":1}}"#];
    let schema = r#"{"a":"int64","b":"boolean","o":{"x":"int64"}}"#;
    let decoded = decode(schema, "{}", &lines);
    assert_eq!(codes(&decoded), [(0, "json.duplicate"), (2, "json.duplicate")]);
    assert_eq!(reason(&decoded, 1), "`o.x` stands twice in its object, at byte 16; `duplicates: last` takes the last");
    let decoded = decode(schema, r#"{"duplicates":"last"}"#, &lines);
    assert_eq!((column(&decoded, "a").i64(0), column(&decoded, "b").bool(0)), (Some(2), Some(false)));
    assert_eq!(codes(&decoded), []);
}

#[test]
fn keys_of_one_value_are_one_key_however_they_are_written() {
    for (schema, twice) in [
        (r#"{"m":"map(int64, int64)"}"#, r#"{"m":{"1":2,"1.0":3}}"#),
        (r#"{"m":"map(int64, int64)"}"#, r#"{"m":{"10":2,"1e1":3}}"#),
        (r#"{"m":"map(int64, int64)"}"#, r#"{"m":{"-0":2,"0":3}}"#),
        (r#"{"m":"map(timestamp(us), int64)"}"#, r#"{"m":{"2024-01-01":1,"2024-01-01T00:00:00":2}}"#),
    ] {
        let decoded = decode(schema, "{}", &[twice, r#"{"m":{}}"#]);
        assert_eq!(codes(&decoded), [(0, "json.duplicate")], "{twice}");
    }
}

#[test]
fn captured_names_are_told_from_paths() {
    let lines = [r#"{"a":1,"s":{"x":1,"y":2},"s.y":7}"#, r#"{"s":{"a.b":{"c":1}},"l[0]":1,"b\\":2}"#];
    let decoded = decode(r#"{"a":"int64","s":{"x":"int64"}}"#, r#"{"unknown":"capture"}"#, &lines);
    let captured = column(&decoded, "_unknown");
    assert_eq!(captured.str(0), Some(r#"{"s.y":2,"s\\.y":7}"#));
    assert_eq!(captured.str(1), Some(r#"{"s.a\\.b":{"c":1},"l\\[0]":1,"b\\\\":2}"#));
}

#[test]
fn unknown_fields_are_counted_refused_or_captured() {
    let lines = [
        r#"{"a":1,"price":2.50,"o":{"x":1,"team":"t"}}"#,
        r#"{"price":1,"a":2,"price":3}"#,
        r#"{"a":"x","price":1}"#,
        r#"{"l":[{"x":1},{"y":[2]},{"x":2,"z\"":3}],"a":3,"o":{"team":null}}"#,
    ];
    let schema = r#"{"a":"int64","o":{"x":"int64"},"l":[{"x":"int64"}]}"#;
    for settings in ["{}", r#"{"unknown":"ignore"}"#, r#"{"unknown":"capture"}"#] {
        let mut json = open(schema, settings);
        for cut in [1, 2, 4] {
            let mut counts = std::collections::BTreeMap::new();
            for lines in lines.chunks(cut) {
                let decoded = json.decode(&Messages::new(lines).input()).unwrap();
                decoded.unknown.into_iter().for_each(|field| *counts.entry(field.name).or_insert(0) += field.count);
            }
            let expected =
                [("l.y", 1), ("l.z\"", 1), ("o.team", 2), ("price", 2)].map(|(name, count)| (name.to_owned(), count));
            assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected, "{settings}");
        }
    }
    let decoded = decode(schema, r#"{"unknown":"capture"}"#, &lines);
    let captured = column(&decoded, "_unknown");
    assert_eq!(captured.str(0), Some(r#"{"price":2.50,"o.team":"t"}"#));
    assert_eq!(captured.str(1), Some(r#"{"price":1,"price":3}"#));
    assert_eq!(captured.str(2), Some(r#"{"l[1].y":[2],"l[2].z\"":3,"o.team":null}"#));
    let decoded = decode(schema, r#"{"unknown":"fail"}"#, &lines);
    assert_eq!(codes(&decoded), [(0, "json.unknown"), (1, "json.unknown"), (2, "json.type"), (3, "json.unknown")]);
    assert_eq!(reason(&decoded, 0), "`price` is not in the schema, at byte 7");
    assert_eq!(reason(&decoded, 3), "`l[1].y` is not in the schema, at byte 15");
}

#[test]
fn the_capturing_column_is_nobody_elses() {
    let lines = [r#"{"a":1,"_unknown":"mine","b":2}"#, r#"{"a":2}"#];
    for schema in [r#"{"a":"int64"}"#, r#"{"_unknown":"utf8","a":"int64"}"#] {
        let decoded = decode(schema, r#"{"unknown":"capture"}"#, &lines);
        let captured = column(&decoded, "_unknown");
        assert_eq!((captured.str(0), captured.str(1)), (Some(r#"{"_unknown":"mine","b":2}"#), None));
    }
    let refused = Json::new(&settings(r#"{"unknown":"capture"}"#), Some(schema(r#"{"_unknown":"int64"}"#)), None);
    assert!(matches!(refused, Err(Error::Config(_))));
}

#[test]
fn columns_that_nobody_wants_are_checked_and_not_built() {
    let schema = schema(r#"{"a":"int64","b":"int64","c":{"x":"utf8"}}"#);
    let mut json = Json::new(&Settings::<()>::default(), Some(schema), Some(vec!["b".into()])).unwrap();
    let lines = [r#"{"a":1,"b":2,"c":{"x":"y"}}"#, r#"{"b":3,"c":{"x":"\ud800"}}"#, r#"{"a":"x","b":4,"d":1}"#];
    let decoded = json.decode(&Messages::new(&lines).input()).unwrap();
    assert_eq!(codes(&decoded), [(1, "json.syntax"), (2, "json.type")]);
    assert_eq!((decoded.batch.columns().len(), decoded.batch.rows(), column(&decoded, "b").i64(0)), (1, 1, Some(2)));
}

/// Messages that are sound, and wrong in every way that a column can be.
const FATES: [&str; 24] = [
    r#"{"a":1,"t":"x","f":1.5,"ok":true,"at":"2026-01-31T12:00:00Z","o":{"x":1},"l":[1],"m":{"k":1},"d":1.5,"n":1}"#,
    r#"{"a":null,"t":null,"f":null,"ok":null,"at":null,"o":null,"l":null,"m":null,"d":null,"n":1}"#,
    r#"{"a":"x","n":1}"#,
    r#"{"a":9223372036854775808,"n":1}"#,
    r#"{"a":1.5,"n":1}"#,
    r#"{"a":1,"a":2,"n":1}"#,
    r#"{"n":1,"n":1}"#,
    r#"{"n":null}"#,
    r#"{"a":4}"#,
    r#"{"t":{"any": [1, null]},"n":1}"#,
    r#"{"t":"\ud800","n":1}"#,
    r#"{"f":1e999,"n":1}"#,
    r#"{"f":7,"t":"\u00e4","n":1}"#,
    r#"{"ok":"true","n":1}"#,
    r#"{"ok":truth,"n":1}"#,
    r#"{"at":"yesterday","n":1}"#,
    r#"{"at":1769860800000000,"n":1}"#,
    r#"{"o":{"x":"1"},"n":1}"#,
    r#"{"o":{"x":1,"y":2},"p":[3],"n":1}"#,
    r#"{"l":[1,"2"],"n":1}"#,
    r#"{"m":{"k":1,"k":2},"n":1}"#,
    r#"{"m":{"k":{"z":1}},"n":1}"#,
    r#"{"d":1.123,"n":1}"#,
    r#"{"a":1,"n":1"#,
];

#[test]
fn what_is_wanted_changes_no_verdict() {
    let text = r#"{"a":"int64","t":"utf8","f":"float64","ok":"boolean","at":"timestamp(us, UTC)","o":{"x":"int64"},"l":["int64"],"d":"decimal128(10, 2)","n":"int64"}"#;
    let mut fields = schema(text).fields().to_vec();
    fields.iter_mut().filter(|field| field.name == "n").for_each(|field| field.nullable = false);
    fields.push(Field::new("m", text_map()));
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    for settings_text in ["{}", r#"{"duplicates":"last"}"#, r#"{"unknown":"fail"}"#, r#"{"unknown":"capture"}"#] {
        let open = |wanted| Json::new(&settings(settings_text), Some(Schema::new(fields.clone())), wanted).unwrap();
        let messages = Messages::new(&FATES);
        let all = open(None).decode(&messages.input()).unwrap();
        assert!(all.faults.len() > 9 && all.batch.rows() > 2, "{settings_text}: {:?}", all.faults);
        for wanted in 0..1_usize << names.len() {
            let chosen = names.iter().enumerate().filter(|(at, _)| wanted >> at & 1 == 1);
            let chosen: Vec<String> = chosen.map(|(_, name)| name.clone()).collect();
            let mut json = open(Some(chosen.clone()));
            // Twice, so that nothing of the first call is left.
            for _ in 0..2 {
                let some = json.decode(&messages.input()).unwrap();
                assert_eq!(some.faults, all.faults, "{settings_text} {chosen:?}");
                assert_eq!((some.batch.rows(), &some.unknown), (all.batch.rows(), &all.unknown), "{chosen:?}");
                assert_eq!(some.batch.columns().len(), chosen.len());
                for name in &chosen {
                    assert_eq!(column(&some, name), column(&all, name), "{name} of {chosen:?}");
                }
            }
        }
    }
}

fn text_map() -> DataType {
    let entry =
        vec![Field { nullable: false, ..Field::new("key", DataType::Utf8) }, Field::new("value", DataType::Int64)];
    DataType::Map(Box::new(Field { nullable: false, ..Field::new("entries", DataType::Struct(entry)) }))
}

#[test]
fn tombstones_have_no_row() {
    let mut messages = Messages::new(&[r#"{"a":1}"#, "", "x", r#"{"a":2}"#]);
    messages.nulls = vec![1];
    let decoded = open(r#"{"a":"int64"}"#, "{}").decode(&messages.input()).unwrap();
    assert_eq!((codes(&decoded), decoded.origins.clone()), (vec![(2, "json.syntax")], vec![0, 3]));
}

#[test]
fn what_cannot_work_is_refused_at_once() {
    let refused = |text: &str| Json::new(&Settings::<()>::default(), Some(schema(text)), None).unwrap_err().to_string();
    assert!(refused(r#"{"a":"null"}"#).contains("`a` has the type null"));
    assert!(refused(r#"{"o":{"a":"int64","a":"utf8"}}"#).contains("`o.a` stands twice"));
    let wide = Schema::new(vec![Field::new("a", DataType::Decimal128(39, 2))]);
    let error = Json::new(&Settings::<()>::default(), Some(wide), None).unwrap_err();
    assert!(error.to_string().contains("38 digits"), "{error}");
    assert!(Json::new(&settings(r#"{"depth":0}"#), None, None).is_err());
    assert!(serde_json::from_str::<Settings<()>>(r#"{"unkown":"fail"}"#).is_err());
}

#[test]
fn an_int_column_is_settled_by_what_came() {
    let types = |lines: &[&str]| {
        let decoded = decode("", "{}", lines);
        assert_eq!(codes(&decoded), [], "{lines:?}");
        decoded.batch.schema().fields()[0].data_type.clone()
    };
    let x = |values: &[&str]| {
        let lines: Vec<String> = values.iter().map(|value| format!(r#"{{"x":{value}}}"#)).collect();
        types(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let list = |item| DataType::List(Box::new(crate::Field::new("item", item)));
    assert_eq!(x(&["1", "-5"]), DataType::Int64);
    assert_eq!(x(&["1", "18446744073709551615"]), DataType::UInt64);
    assert_eq!(x(&["-1", "18446744073709551615"]), DataType::Decimal128(38, 0));
    assert_eq!(x(&["18446744073709551616"]), DataType::Decimal128(38, 0));
    assert_eq!(x(&["-9223372036854775809"]), DataType::Decimal128(38, 0));
    assert_eq!(x(&[&"9".repeat(38)]), DataType::Decimal128(38, 0));
    assert_eq!(x(&[&"9".repeat(39)]), DataType::Utf8);
    assert_eq!(x(&["1", "2.5"]), DataType::Float64);
    assert_eq!(x(&["4.0"]), DataType::Float64);
    assert_eq!(x(&["9007199254740993", "2.5"]), DataType::Utf8);
    assert_eq!(x(&["1e400"]), DataType::Utf8);
    assert_eq!(x(&["1", "\"a\""]), DataType::Utf8);
    assert_eq!(x(&["\"007\""]), DataType::Utf8);
    assert_eq!(x(&["\"2026-01-31\""]), DataType::Utf8);
    assert_eq!(x(&["true", "false", "null"]), DataType::Boolean);
    assert_eq!(x(&["true", "1"]), DataType::Utf8);
    assert_eq!(x(&["null"]), DataType::Utf8);
    assert_eq!(x(&["{}", "[]"]), DataType::Utf8);
    assert_eq!(x(&["{}"]), DataType::Utf8);
    assert_eq!(x(&["[]", "[1]"]), list(DataType::Int64));
    assert_eq!(x(&["[]", "[1]", "3"]), DataType::Utf8);
    assert_eq!(x(&["[null]"]), list(DataType::Utf8));
    assert_eq!(x(&["{}", "{\"y\":1}"]), DataType::Struct(vec![crate::Field::new("y", DataType::Int64)]));
    assert_eq!(x(&["{\"y\":1}", "\"s\""]), DataType::Utf8);
}

#[test]
fn what_says_nothing_takes_everything_later() {
    let mut json = open("", "{}");
    let first = json.decode(&Messages::new(&[r#"{"meta":{},"labels":[],"owner":null,"id":1}"#]).input()).unwrap();
    assert_eq!((column(&first, "meta").str(0), column(&first, "labels").str(0)), (Some("{}"), Some("[]")));
    assert!(!column(&first, "owner").is_valid(0));
    let later = [
        r#"{"id":2,"meta":{"a": 1},"labels":["x"],"owner":{"n":"o"}}"#,
        r#"{"id":3,"meta":null,"labels":7,"owner":"text"}"#,
    ];
    let later = json.decode(&Messages::new(&later).input()).unwrap();
    assert_eq!(codes(&later), []);
    assert_eq!((column(&later, "meta").str(0), column(&later, "meta").is_valid(1)), (Some(r#"{"a": 1}"#), false));
    assert_eq!((column(&later, "labels").str(0), column(&later, "labels").str(1)), (Some(r#"["x"]"#), Some("7")));
    assert_eq!((column(&later, "owner").str(0), column(&later, "owner").str(1)), (Some(r#"{"n":"o"}"#), Some("text")));
}

#[test]
fn messages_without_a_field_settle_nothing() {
    let mut json = open("", "{}");
    let decoded = json.decode(&Messages::new(&["{\"a\":", "[]", "{}", "", "{}x"]).input()).unwrap();
    let expected = [(0, "json.syntax"), (1, "json.type"), (2, "json.type"), (3, "json.syntax"), (4, "json.syntax")];
    assert_eq!((codes(&decoded), json.schema()), (expected.to_vec(), None));
    let decoded = json.decode(&Messages::new(&[r#"{"a":1}"#, "{}"]).input()).unwrap();
    assert_eq!((column(&decoded, "a").i64(0), codes(&decoded)), (Some(1), vec![]));
}

#[test]
fn inference_is_bounded() {
    let many: Vec<String> = (0..50).map(|n| format!("\"k{n}\":{{\"a\":1}}")).collect();
    let line = format!("{{{},\"{}\":1}}", many.join(","), "n".repeat(300));
    let decoded = decode("", r#"{"columns":10}"#, &[line.as_str()]);
    assert_eq!(codes(&decoded), []);
    assert_eq!(decoded.batch.schema().fields().len(), 5);
    assert_eq!(decoded.unknown.len(), 46);
    let deep = format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(100), "}".repeat(100));
    let decoded = decode("", "{}", &[deep.as_str()]);
    assert_eq!((codes(&decoded), decoded.batch.rows()), (vec![], 1));
}

#[test]
fn nothing_is_too_deep_or_too_strange_to_refuse() {
    let deep = "[".repeat(100_000);
    let nested = |depth: usize| format!("{{\"z\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let lines = [
        format!("{{\"z\":{deep}"),
        "{\"a\":\"\u{1}\"}".into(),
        "{\"a\":\"\\ud800\"}".into(),
        "{\"a\":1,}".into(),
        nested(128),
        nested(127),
    ];
    let decoded = decode(r#"{"a":"utf8"}"#, "{}", &lines);
    let expected: Vec<(u32, &str)> = (0..5).map(|message| (message, "json.syntax")).collect();
    assert_eq!(codes(&decoded), expected);
    let decoded = decode(r#"{"a":"utf8"}"#, r#"{"depth":1024}"#, &[nested(1023), nested(1024)]);
    assert_eq!(codes(&decoded), [(1, "json.syntax")]);
}

#[test]
fn utf8_is_checked_message_by_message() {
    let lines: [&[u8]; 5] =
        [b"{\"a\":\"\xc3\"}", b"{\"a\":\"\xc3\xa4\"}", b"{\"a\":\"x\xc3", b"\xa4\"}", b"{\"b\xff\":1}"];
    let decoded = decode(r#"{"a":"utf8"}"#, "{}", &lines);
    assert_eq!(codes(&decoded), [(0, "json.syntax"), (2, "json.syntax"), (3, "json.syntax"), (4, "json.syntax")]);
    assert_eq!(column(&decoded, "a").str(0), Some("ä"));
    // Together they are UTF-8, each by itself is not.
    let decoded = decode(r#"{"a":"utf8"}"#, "{}", &[b"{\"a\":\"x\xc3".as_slice(), b"\xa4\"}"]);
    assert_eq!(codes(&decoded), [(0, "json.syntax"), (1, "json.syntax")]);
}

#[test]
fn keys_that_look_like_more_are_one() {
    let name = "a\":1,\"b";
    let schema = Schema::new(vec![crate::Field::new(name, DataType::Int64), crate::Field::new("b", DataType::Int64)]);
    let mut json = Json::new(&Settings::<()>::default(), Some(schema), None).unwrap();
    let decoded = json.decode(&Messages::new(&[r#"{"a":1,"b":2}"#, r#"{"a\":1,\"b":3}"#]).input()).unwrap();
    assert_eq!((column(&decoded, name).i64(0), column(&decoded, "b").i64(0)), (None, Some(2)));
    assert_eq!((column(&decoded, name).i64(1), column(&decoded, "b").i64(1)), (Some(3), None));
}

#[test]
fn columns_without_nulls_must_be_there() {
    let field =
        crate::Field { name: "a".into(), data_type: DataType::Timestamp(TimeUnit::Second, None), nullable: false };
    let mut json = Json::new(&Settings::<()>::default(), Some(Schema::new(vec![field])), None).unwrap();
    let decoded = json.decode(&Messages::new(&["{}", r#"{"a":null}"#, r#"{"a":5}"#]).input()).unwrap();
    assert_eq!(codes(&decoded), [(0, "json.type"), (1, "json.type")]);
}
