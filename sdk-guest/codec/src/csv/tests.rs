//! Valid, wrong and odd messages: the result, and that it does not depend on their neighbours.

use proptest::prelude::*;

use super::*;
use crate::{Array, Attribute, Data, DataType, Decode, Decoded, Input, Schema, TimeUnit, Unknown, schema_text};

/// Messages of one call, owned.
#[derive(Clone, Debug, Default)]
struct Messages {
    bounds: Vec<u32>,
    bytes: Vec<u8>,
    nulls: Vec<u32>,
    attributes: Vec<Attribute>,
}

impl Messages {
    fn new<M: AsRef<[u8]>>(values: &[M]) -> Self {
        let mut messages = Self { bounds: vec![0], ..Self::default() };
        for value in values {
            messages.bytes.extend_from_slice(value.as_ref());
            messages.bounds.push(messages.bytes.len() as u32);
        }
        messages
    }

    fn from(mut self, first: u32, name: &str, value: &str) -> Self {
        self.attributes.push(Attribute { first, name: name.into(), value: value.into() });
        self
    }

    fn input(&self) -> Input<'_> {
        let (bounds, bytes) = (self.bounds.as_slice(), self.bytes.as_slice());
        Input { bounds, bytes, nulls: &self.nulls, attributes: &self.attributes, ..Input::default() }
    }
}

fn open(settings: &str, settled: Option<&str>) -> crate::Result<Csv> {
    let settings: Settings<serde_json::Value> = serde_json::from_str(settings).unwrap();
    let parse = |text: &str| schema_text::parse(text).unwrap();
    let declared = settings.schema.as_ref().map(|schema| parse(schema.as_str().unwrap()));
    Csv::new(&settings, declared, settled.map(parse))
}

/// The value at `row`, as text.
fn cell(array: &Array, data_type: &DataType, row: usize) -> String {
    if !array.is_valid(row) {
        return "∅".into();
    }
    match (data_type, array.data()) {
        (DataType::Boolean, _) => array.bool(row).unwrap().to_string(),
        (DataType::Float64, _) => format!("{:?}", array.f64(row).unwrap()),
        (DataType::UInt64, _) => array.u64(row).unwrap().to_string(),
        (DataType::Decimal128(..), Data::Fixed { bytes, .. }) => {
            i128::from_le_bytes(bytes[row * 16..][..16].try_into().unwrap()).to_string()
        }
        (_, Data::Fixed { width: 1, .. }) => array.u8(row).unwrap().to_string(),
        (_, Data::Fixed { width: 4, .. }) => array.i32(row).unwrap().to_string(),
        (_, Data::Fixed { width: 8, .. }) => array.i64(row).unwrap().to_string(),
        _ => format!("{:?}", array.str(row).unwrap()),
    }
}

/// Rows and faults as text, each with its message: `0: id=1 name="x"`, `1! csv.type`.
fn told(decoded: &Decoded, messages: usize) -> (Vec<String>, Vec<(u32, String)>) {
    let (batch, faults) = (&decoded.batch, &decoded.faults);
    let mut origins = decoded.origins.clone();
    if origins.is_empty() {
        origins = (0..messages as u32).filter(|message| faults.iter().all(|fault| fault.message != *message)).collect();
    }
    assert!(batch.rows() == 0 || origins.len() == batch.rows(), "{origins:?} of {} rows", batch.rows());
    let row = |(row, origin): (usize, &u32)| {
        let columns = batch.schema().fields().iter().zip(batch.columns());
        let cells = columns.map(|(field, array)| format!("{}={}", field.name, cell(array, &field.data_type, row)));
        format!("{origin}: {}", cells.collect::<Vec<_>>().join(" "))
    };
    let rows = origins.iter().take(batch.rows()).enumerate().map(row).collect();
    (rows, faults.iter().map(|fault| (fault.message, fault.code.to_string())).collect())
}

fn decode(csv: &mut Csv, messages: &Messages) -> Decoded {
    let decoded = csv.decode(&messages.input()).unwrap();
    assert!(decoded.faults.is_sorted_by_key(|fault| fault.message));
    decoded
}

/// Rows, and messages with the codes of their faults.
fn check<M: AsRef<[u8]>>(settings: &str, values: &[M], rows: &[&str], faults: &[(u32, &str)]) {
    check_messages(settings, &Messages::new(values), rows, faults);
}

fn check_messages(settings: &str, messages: &Messages, rows: &[&str], faults: &[(u32, &str)]) {
    let mut csv = open(settings, None).unwrap();
    let decoded = decode(&mut csv, messages);
    let (found, codes) = told(&decoded, messages.bounds.len() - 1);
    let reasons: Vec<&str> = decoded.faults.iter().map(|fault| fault.reason.as_str()).collect();
    assert_eq!(found, rows, "{reasons:#?}");
    assert_eq!(
        codes.iter().map(|(message, code)| (*message, code.as_str())).collect::<Vec<_>>(),
        faults,
        "{reasons:#?}"
    );
}

fn types(csv: &Csv) -> Vec<(String, DataType)> {
    csv.schema().unwrap().fields().iter().map(|field| (field.name.clone(), field.data_type.clone())).collect()
}

fn reasons(settings: &str, values: &[&str]) -> Vec<String> {
    let decoded = decode(&mut open(settings, None).unwrap(), &Messages::new(values));
    decoded.faults.into_iter().map(|fault| fault.reason).collect()
}

const PEOPLE: &str = r#"{"schema":"{\"id\":\"int64\",\"name\":\"utf8\"}"}"#;

#[test]
fn the_first_message_names_the_columns() {
    let lines = ["id,name,ok", "1,\"a,b\",true", "id,name,ok", "2,,false", "3,\"x\ny\",TRUE", ""];
    let rows = ["1: id=1 name=\"a,b\" ok=true", "3: id=2 name=∅ ok=false", "4: id=3 name=\"x\\ny\" ok=true"];
    check("{}", &lines, &rows, &[]);
    let document = rows.map(|row| format!("0{}", &row[1..]));
    check("{}", &[lines.join("\n")], &document.each_ref().map(String::as_str), &[]);
}

#[test]
fn columns_go_by_the_names_of_each_documents_header() {
    let documents =
        ["id,name\n1,a\n", "name,id\nb,2\n", "name,x,id\nc,9,3\nd,8,4\n", "name\ne\n", "nothing\nknown\n", "id,name\n"];
    let rows =
        ["0: id=1 name=\"a\"", "1: id=2 name=\"b\"", "2: id=3 name=\"c\"", "2: id=4 name=\"d\"", "3: id=∅ name=\"e\""];
    check(PEOPLE, &documents, &rows, &[(4, "csv.header")]);
    let mut csv = open(PEOPLE, None).unwrap();
    let unknown = decode(&mut csv, &Messages::new(&documents)).unknown;
    assert_eq!(unknown.iter().map(|field| (field.name.as_str(), field.count)).collect::<Vec<_>>(), [("x", 1)]);
    let strict = PEOPLE.replacen('{', r#"{"unknown":"fail","#, 1);
    check(&strict, &["name,x,id\nc,9,3\n", "name,id\nd,4\n"], &["1: id=4 name=\"d\""], &[(0, "csv.header")]);
    let mut csv = open(&PEOPLE.replacen('{', r#"{"unknown":"capture","unknownColumn":"rest","#, 1), None).unwrap();
    let decoded = decode(&mut csv, &Messages::new(&["rest,id,x\na\"b,1,\n", "name,id\nc,2\n"]));
    let expected =
        ["0: id=1 name=∅ rest=\"{\\\"rest\\\":\\\"a\\\\\\\"b\\\",\\\"x\\\":null}\"", "1: id=2 name=\"c\" rest=∅"];
    assert_eq!(told(&decoded, 2).0, expected);
    // The column that captures is settled with the others, and has no place in records.
    let settled = r#"{"id":"int64","rest":"utf8"}"#;
    let mut csv = open(r#"{"unknown":"capture","unknownColumn":"rest"}"#, Some(settled)).unwrap();
    assert_eq!(told(&decode(&mut csv, &Messages::new(&["5", "id,y\n6,z\n"])), 2).0[0], "0: id=5 rest=∅");
    // Without a schema the headers of the first messages come together.
    check("{}", &["a,b\n1,2\n", "c,a\nx,3\n"], &["0: a=1 b=2 c=∅", "1: a=3 b=∅ c=\"x\""], &[]);
    // One that shares no name is no header of theirs, and one beside a header that stands alone adds nothing to it.
    check("{}", &["a,b\n1,2\n", "4,x\n5,y"], &["0: a=1 b=2"], &[(1, "csv.header")]);
    check("{}", &["a,b", "a,c\n1,2\n", "3,4"], &["1: a=1 b=∅", "2: a=3 b=4"], &[]);
}

#[test]
fn columns_go_by_the_header_that_comes_with_a_message() {
    let messages = Messages::new(&["1,a", "b,2", "c,3\nd,4", "name,id", "5,e", "x,y"])
        .from(0, "header", "id,name\r\n")
        .from(1, "file", "b.csv")
        .from(1, "header", "\u{feff}\"name\",id\n")
        .from(4, "header", "");
    let rows =
        ["0: id=1 name=\"a\"", "1: id=2 name=\"b\"", "2: id=3 name=\"c\"", "2: id=4 name=\"d\"", "4: id=5 name=\"e\""];
    // What repeats the header is left out.
    check_messages(PEOPLE, &messages, &rows, &[(5, "csv.type")]);
    let again = Messages::new(&["1,a", "id,name", "2,b", "name,id", "c,3", "id,name", "4,d", "id,name\n5,e\n"]);
    let rows = ["0: id=1 name=\"a\"", "2: id=2 name=\"b\"", "6: id=4 name=\"d\"", "7: id=5 name=\"e\""];
    let again = again.from(0, "file", "a.csv").from(0, "header", "id,name");
    check_messages(PEOPLE, &again, &rows, &[(3, "csv.header"), (4, "csv.header")]);
    // All that a file has: it is no header, or nothing more.
    for (file, faults) in
        [("1,Ann", &[(0, "csv.header")][..]), ("id,name\r1,Ann", &[(0, "csv.syntax")]), ("id,name", &[])]
    {
        check_messages(PEOPLE, &Messages::new(&[file]).from(0, "header", file), &[], faults);
    }
    let only = Messages::new(&["id,name"]).from(0, "header", "id,name");
    let mut csv = open("{}", None).unwrap();
    assert_eq!(told(&decode(&mut csv, &only), 1), (vec![], vec![]));
    assert!(is_open(csv.schema().unwrap()) && types(&csv).len() == 2);
    let broken = Messages::new(&["1,a", "2,b", "3,c"]).from(0, "header", "id,\"name").from(2, "header", "id,name");
    check_messages(PEOPLE, &broken, &["2: id=3 name=\"c\""], &[(0, "csv.header"), (1, "csv.header")]);
    // Columns are named by it where nothing else does, and typed by all files.
    let files = Messages::new(&["1,x", "00501,2", "3,y"])
        .from(0, "header", "zip,n")
        .from(1, "header", "zip,m")
        .from(2, "header", "zip,n");
    let mut csv = open("{}", None).unwrap();
    decode(&mut csv, &files);
    assert_eq!(
        types(&csv),
        [("zip".into(), DataType::Utf8), ("n".into(), DataType::Utf8), ("m".into(), DataType::Int64)]
    );
    let error = open(r#"{"header":false}"#, None).unwrap().decode(&files.input()).unwrap_err().to_string();
    assert!(error.contains("`header: false`"), "{error}");
    check_messages(
        r#"{"header":["a","b"]}"#,
        &Messages::new(&["1,x"]).from(0, "header", "zip,n"),
        &["0: a=1 b=\"x\""],
        &[],
    );
}

const TEXTS: &str = r#"{"schema":"{\"a\":\"utf8\",\"b\":\"utf8\"}"}"#;

#[test]
fn the_first_record_of_a_stream_names_its_columns() {
    // Bodies, one after the other, and the rest of one in another call.
    let bodies = Messages::new(&["a,b", "A1,B1", "b,a", "B2,A2", "b,a", "B3,A3", "A4,B4"])
        .from(0, "first", "a,b")
        .from(2, "first", "b,a")
        .from(6, "first", "A4,B4");
    let rows = ["1: a=\"A1\" b=\"B1\"", "3: a=\"A2\" b=\"B2\"", "5: a=\"A3\" b=\"B3\"", "6: a=\"A4\" b=\"B4\""];
    check_messages(TEXTS, &bodies, &rows, &[]);
    check_messages("{}", &bodies, &rows, &[]);
    let rest = Messages::new(&["B2,A2"]).from(0, "first", "b,a").from(0, "file", "b.csv");
    check_messages(TEXTS, &rest, &["0: a=\"A2\" b=\"B2\""], &[]);
    // More columns, fewer, others.
    let more = Messages::new(&["x,b,a", "X,B1,A1", "a,c", "A2,C"]).from(0, "first", "x,b,a").from(2, "first", "a,c");
    check_messages(TEXTS, &more, &["1: a=\"A1\" b=\"B1\"", "3: a=\"A2\" b=∅"], &[]);
    let strict = TEXTS.replacen('{', r#"{"unknown":"fail","#, 1);
    check_messages(&strict, &more, &[], &[(0, "csv.header"), (1, "csv.header"), (2, "csv.header"), (3, "csv.header")]);
    // By another spelling of the names no value finds its column.
    let loose = Messages::new(&["b, a", "B1,A1"]).from(0, "first", "b, a");
    check_messages(TEXTS, &loose, &[], &[(0, "csv.header"), (1, "csv.header")]);
    // A header among the records, in another order: what follows has no place.
    let stream = Messages::new(&["a,b", "A1,B1", "b,a", "B2,A2"]).from(0, "first", "a,b");
    check_messages(TEXTS, &stream, &["1: a=\"A1\" b=\"B1\""], &[(2, "csv.header"), (3, "csv.header")]);
    let mut csv = open(TEXTS, None).unwrap();
    decode(&mut csv, &stream);
    let later = Messages::new(&["B3,A3", "a,b", "A4,B4"]).from(0, "first", "a,b");
    let (rows, faults) = told(&decode(&mut csv, &later), 3);
    assert_eq!((rows, faults), (vec!["2: a=\"A4\" b=\"B4\"".into()], vec![(0, "csv.header".into())]));
    // What is data, or cannot be read, names nothing; nor where the settings name the columns.
    let data = Messages::new(&["A1,B1", "\"", "A2,B2"]).from(0, "first", "A1,B1").from(1, "first", "\"");
    check_messages(TEXTS, &data, &["0: a=\"A1\" b=\"B1\"", "2: a=\"A2\" b=\"B2\""], &[(1, "csv.syntax")]);
    check_messages(
        r#"{"header":["a","b"]}"#,
        &Messages::new(&["b,a"]).from(0, "first", "b,a"),
        &["0: a=\"b\" b=\"a\""],
        &[],
    );
}

#[test]
fn a_carriage_return_is_no_end_of_a_value() {
    check(TEXTS, &["1,x\r", "2,y", "a,b\n3,z\r"], &["1: a=\"2\" b=\"y\""], &[(0, "csv.syntax"), (2, "csv.syntax")]);
    check(TEXTS, &["a,b\r\n1,x\r\r\n", "\r"], &[], &[(0, "csv.syntax"), (1, "csv.syntax")]);
    // As the header it would leave the names to the next record.
    let error = open("{}", None).unwrap().decode(&Messages::new(&["a,b\r", "1,x"]).input()).unwrap_err().to_string();
    assert!(error.contains("header cannot be read"), "{error}");
}

#[test]
fn another_order_of_the_header_is_no_row() {
    let lines = ["id,name", "1,a", "name,id", "id,name,age", "ID,NAME", "2,b"];
    let rows = ["1: id=1 name=\"a\"", "5: id=2 name=\"b\""];
    check("{}", &lines, &rows, &[(2, "csv.header"), (3, "csv.header"), (4, "csv.header")]);
    check(PEOPLE, &["name,id", "1,a"], &["1: id=1 name=\"a\""], &[(0, "csv.header")]);
    // It speaks for the lines of its file that follow, and for no others.
    let mut csv = open(r#"{"schema":"{\"a\":\"utf8\",\"b\":\"utf8\"}"}"#, None).unwrap();
    let lines = Messages::new(&["1,x", "b,a", "u,6", "2,y", "3,z"])
        .from(0, "file", "a.csv")
        .from(1, "file", "c.csv")
        .from(3, "file", "a.csv");
    let (rows, faults) = told(&decode(&mut csv, &lines), 5);
    assert_eq!(rows, ["0: a=\"1\" b=\"x\"", "3: a=\"2\" b=\"y\"", "4: a=\"3\" b=\"z\""]);
    assert_eq!(faults, [(1, "csv.header".into()), (2, "csv.header".into())]);
    let decoded = decode(&mut csv, &Messages::new(&["v,7", "a,b", "8,w"]).from(0, "file", "c.csv"));
    assert!(decoded.faults[0].reason.contains("a different header precedes this record"));
    assert_eq!(told(&decoded, 3).0, ["2: a=\"8\" b=\"w\""], "the file was written anew");
    // Nor do they say anything of the types.
    let mut csv = open("{}", None).unwrap();
    let decoded =
        decode(&mut csv, &Messages::new(&["n,t", "1,x", "t,n", "y,2"]).from(0, "file", "a").from(2, "file", "b"));
    assert_eq!(told(&decoded, 4).0, ["1: n=1 t=\"x\""]);
    // A document without rows puts nothing anywhere.
    let document = Messages::new(&["name,id\n"]).from(0, "file", "c.csv");
    check_messages(PEOPLE, &document, &[], &[]);
    check("{}", &["a,b\n1,2\nb,a\n3,4\n", "a,b\n5,6\na,b\n7,8"], &["1: a=5 b=6", "1: a=7 b=8"], &[(0, "csv.header")]);
}

#[test]
fn names_may_come_from_the_settings() {
    let spec = r#"{"header":["a","b"],"delimiter":";","quote":"'","nulls":["","NA"]}"#;
    check(
        spec,
        &["'x;y';NA", "'NA';2.5", "a;b"],
        &["0: a=\"x;y\" b=∅", "1: a=\"NA\" b=\"2.5\"", "2: a=\"a\" b=\"b\""],
        &[],
    );
    check(r#"{"header":false}"#, &["1,x"], &["0: column_1=1 column_2=\"x\""], &[]);
    check(r#"{"header":false,"delimiter":"tab"}"#, &["1\tx"], &["0: column_1=1 column_2=\"x\""], &[]);
    // The schema chooses among them, in its own order.
    let spec = r#"{"header":["a","b","c"],"schema":"{\"c\":\"int64\",\"a\":\"utf8\"}"}"#;
    check(spec, &["x,y,3", "x,3"], &["0: c=3 a=\"x\""], &[(1, "csv.width")]);
}

#[test]
fn wrong_settings_are_named() {
    let refused = |settings: &str, part: &str| {
        let error = open(settings, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(r#"{"quote":"é"}"#, "`quote`");
    refused(r#"{"delimiter":"\n"}"#, "`delimiter`");
    refused(r#"{"delimiter":"\""}"#, "the same");
    refused(r#"{"header":["a","a"]}"#, "one twice");
    refused(r#"{"header":[]}"#, "no column");
    refused(r#"{"header":["a"],"schema":"{\"b\":\"utf8\"}"}"#, "not in `header`");
    refused(r#"{"header":["a","b"],"unknown":"fail","schema":"{\"b\":\"utf8\"}"}"#, "`a`");
    refused(r#"{"schema":"{\"b\":[\"utf8\"]}"}"#, "nested");
    refused(r#"{"schema":"{\"b\":\"null\"}"}"#, "says nothing");
    refused(r#"{"schema":"{\"b\":\"utf8\",\"b\":\"int64\"}"}"#, "twice");
    for wrong in [r#"{"delimiter":",,"}"#, r#"{"colums":1}"#, r#"{"delimiter":""}"#] {
        assert!(serde_json::from_str::<Settings<String>>(wrong).is_err(), "{wrong}");
    }
    let lenient: Settings<String> = serde_json::from_str(r#"{"unknown":"ignore","quoted_nulls":true}"#).unwrap();
    assert!(lenient.unknown == Unknown::Drop && lenient.quoted_nulls);
}

#[test]
fn wrong_messages_take_no_neighbour_down() {
    let values: [&[u8]; 12] = [
        b"1,a",
        b"2",
        b"3,b,",
        b"x,c",
        b"4,\"d",
        b"5,\"e\"f",
        b"6,g\xff",
        b"7,h\ri",
        b"8,\"\"",
        b"9,i\n10,j\nx,k",
        b"9,i\n10,\xc3",
        b"\xa4,11",
    ];
    let faults = [
        (1, "csv.width"),
        (2, "csv.width"),
        (3, "csv.type"),
        (4, "csv.syntax"),
        (5, "csv.syntax"),
        (6, "csv.utf8"),
        (7, "csv.syntax"),
        (9, "csv.type"),
        (10, "csv.utf8"),
        (11, "csv.utf8"),
    ];
    let settings = PEOPLE.replacen('{', r#"{"header":false,"#, 1);
    check(&settings, &values, &["0: id=1 name=\"a\"", "8: id=8 name=\"\""], &faults);
    let (mut alone, mut all) = (open(&settings, None).unwrap(), open(&settings, None).unwrap());
    let together = decode(&mut all, &Messages::new(&values));
    let mut single = Vec::new();
    for value in values {
        single.extend(decode(&mut alone, &Messages::new(&[value])).faults.into_iter().map(|fault| fault.reason));
    }
    assert_eq!(together.faults.into_iter().map(|fault| fault.reason).collect::<Vec<_>>(), single);
}

#[test]
fn reasons_name_column_value_and_place() {
    let said = reasons(
        r#"{"header":false,"schema":"{\"id\":\"int64\",\"name\":\"utf8\"}"}"#,
        &["3.75,x", "1,a\nn/a,b", "\"1,000\",c", "1", "1,\"open", "1,\"a\" ", "1,a\rb", "1,a\n2,b,c\n"],
    );
    let expected = [
        "`id` must be a whole number of 64 bits, not `3.75`: it has a fraction, at byte 0",
        "`id` must be a whole number of 64 bits, not `n/a`, at line 2, column 1",
        "`id` must be a whole number of 64 bits, not `1,000`, at byte 0",
        "the record has 1 value, and there are 2 columns, id, name: `1` at byte 0",
        "the quote of value 2 is not closed: `\"open` at byte 2; a value with line breaks needs `framing: csv`",
        "` ` follows the closing quote of value 2, `\"a\" ` at byte 5",
        "a carriage return outside quotes has no line feed behind it, in value 2, `a\\rb` at byte 3",
        "the record has 3 values, and there are 2 columns, id, name: `2,b,c\\n` at line 2, column 1",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_is_null_is_not_quoted() {
    let schema = r#""schema":"{\"t\":\"utf8\",\"n\":\"int64\"}","header":false"#;
    check(
        &format!("{{{schema}}}"),
        &[",", "\"\",1", "x,\"\"", "NA,"],
        &["0: t=∅ n=∅", "1: t=\"\" n=1", "3: t=\"NA\" n=∅"],
        &[(2, "csv.type")],
    );
    let loose = format!(r#"{{{schema},"nulls":["","NA"],"quotedNulls":true}}"#);
    check(&loose, &["\"\",\"\"", "\"NA\",NA"], &["0: t=∅ n=∅", "1: t=∅ n=∅"], &[]);
    let only = format!(r#"{{{schema},"nulls":["\\N"]}}"#);
    check(&only, &["\\N,\\N", ",1", "x,"], &["0: t=∅ n=∅", "1: t=\"\" n=1"], &[(2, "csv.type")]);
}

#[test]
fn codes_with_leading_zeros_stay_texts() {
    let lines =
        ["zip,phone,sku,n", "00501,0049301234,00000579000098123456,0", "10001,0049301235,00817566020096123456,7"];
    let mut csv = open("{}", None).unwrap();
    let (rows, faults) = told(&decode(&mut csv, &Messages::new(&lines)), 3);
    assert_eq!(rows[0], r#"1: zip="00501" phone="0049301234" sku="00000579000098123456" n=0"#);
    assert!(faults.is_empty());
    // The zero comes after the type is settled: it is not lost.
    let mut csv = open("{}", Some(r#"{"zip":"int64"}"#)).unwrap();
    let decoded = decode(&mut csv, &Messages::new(&["02134", "10002"]));
    assert_eq!(told(&decoded, 2), (vec!["1: zip=10002".into()], vec![(0, "csv.type".into())]));
}

#[test]
fn marks_line_ends_and_quoted_headers_are_no_part_of_names() {
    let files = [
        "\u{feff}\"id\";Datum;Betrag\r\n1;2024-01-01;\"1,50\"\r\n2;2024-01-02;\"2,00\"\r\n",
        "\u{feff}\"id\";Datum;Betrag\r\n3;2024-01-03;\"3,00\"\r\n",
    ];
    let rows = [
        "0: id=1 Datum=19723 Betrag=\"1,50\"",
        "0: id=2 Datum=19724 Betrag=\"2,00\"",
        "1: id=3 Datum=19725 Betrag=\"3,00\"",
    ];
    check(r#"{"delimiter":";"}"#, &files, &rows, &[]);
    let lines: Vec<&str> = files.iter().flat_map(|file| file.lines()).collect();
    let by_line = [
        "1: id=1 Datum=19723 Betrag=\"1,50\"",
        "2: id=2 Datum=19724 Betrag=\"2,00\"",
        "4: id=3 Datum=19725 Betrag=\"3,00\"",
    ];
    check(r#"{"delimiter":";"}"#, &lines, &by_line, &[]);
    check("{}", &["\"the\nname\",b\n1,2\n"], &["0: the\nname=1 b=2"], &[]);
}

#[test]
fn a_value_with_line_breaks_is_one_value_or_none() {
    let document = "ref,note,qty\nA1,plain,1\nA2,\"first line\nsecond, line\",2\nA3,\"see\nB7,copied,9\nend\",3\nA4,\"ends\n\",4\n";
    let rows = [
        "0: ref=\"A1\" note=\"plain\" qty=1",
        "0: ref=\"A2\" note=\"first line\\nsecond, line\" qty=2",
        "0: ref=\"A3\" note=\"see\\nB7,copied,9\\nend\" qty=3",
        "0: ref=\"A4\" note=\"ends\\n\" qty=4",
    ];
    check("{}", &[document], &rows, &[]);
    // By lines nothing can know that the quote goes on; it is said.
    let mut csv = open("{}", None).unwrap();
    decode(&mut csv, &Messages::new(&document.lines().collect::<Vec<_>>()));
    assert!(csv.take_advice().is_some_and(|advice| advice.contains("`framing: csv`")));
    assert_eq!(csv.take_advice(), None);
    let torn = Messages::new(&["\"ref", "no\",note", "1,x"]);
    let error = open("{}", None).unwrap().decode(&torn.input()).unwrap_err().to_string();
    assert!(error.contains("header cannot be read") && error.contains("`framing: csv`"), "{error}");
}

#[test]
fn times_keep_what_they_say() {
    let mut csv = open("{}", None).unwrap();
    let first = Messages::new(&["id,ts,day", "1,2023-01-18 23:05:10,2023-01-18", "2,2023-01-18,2023-01-19"]);
    let (rows, _) = told(&decode(&mut csv, &first), 3);
    assert_eq!(rows, ["1: id=1 ts=1674083110000000 day=19375", "2: id=2 ts=1674000000000000 day=19376"]);
    let later = Messages::new(&[
        "3,2023-01-18 23:05:10.250,2023-01-18",
        "4,2023-01-18,2023-01-19 01:02:03",
        "5,2023-01-18 23:05:10.0000001,",
    ]);
    let (rows, faults) = told(&decode(&mut csv, &later), 3);
    assert_eq!(rows, ["0: id=3 ts=1674083110250000 day=19375"]);
    assert_eq!(faults, [(1, "csv.type".into()), (2, "csv.type".into())]);
}

#[test]
fn a_settled_type_holds() {
    let mut csv = open("{}", None).unwrap();
    let first = Messages::new(&["id,qty,big", "1,5,14857091259186476033", "2,7,9223372036854775807"]);
    let (rows, _) = told(&decode(&mut csv, &first), 3);
    assert_eq!(rows, ["1: id=1 qty=5 big=14857091259186476033", "2: id=2 qty=7 big=9223372036854775807"]);
    let later = ["3,3.75,1", "4,n/a,1", "5,\"1,000\",1", "6, 8 ,1", "7,+9,1", "8,1e3,1", "9,4.0,1", "10,8,-1"];
    let (rows, faults) = told(&decode(&mut csv, &Messages::new(&later)), later.len());
    assert_eq!(rows, ["5: id=8 qty=1000 big=1", "6: id=9 qty=4 big=1"]);
    assert!(
        faults.iter().map(|(message, _)| *message).eq([0, 1, 2, 3, 4, 7])
            && faults.iter().all(|(_, code)| code == "csv.type")
    );
    check(
        r#"{"header":["q"],"schema":"{\"q\":\"int64\"}","coerce":{"trim":true,"looseNumbers":true}}"#,
        &[" +08 "],
        &["0: q=8"],
        &[],
    );
}

#[test]
fn names_come_before_types() {
    // The header alone settles names; the types come with the first records, also after a restart.
    let mut csv = open("{}", None).unwrap();
    let decoded = decode(&mut csv, &Messages::new(&["id,name"]));
    assert!(decoded.batch.rows() == 0 && is_open(csv.schema().unwrap()));
    let open_schema: Schema = csv.schema().unwrap().clone();
    let settings: Settings<String> = Settings::default();
    let mut csv = Csv::new(&settings, None, Some(open_schema)).unwrap();
    let (rows, faults) = told(&decode(&mut csv, &Messages::new(&["1,a", "id,name", "2,b"])), 3);
    assert_eq!((rows, faults), (vec!["0: id=1 name=\"a\"".into(), "2: id=2 name=\"b\"".into()], vec![]));
    assert!(!is_open(csv.schema().unwrap()));
    // Columns without any value are texts.
    let mut csv = open("{}", None).unwrap();
    decode(&mut csv, &Messages::new(&["a,b", "1,", "2,"]));
    assert_eq!(types(&csv), [("a".into(), DataType::Int64), ("b".into(), DataType::Utf8)]);
    // A record of another width settles nothing.
    let mut csv = open("{}", None).unwrap();
    let (rows, faults) = told(&decode(&mut csv, &Messages::new(&["a,b", "1"])), 2);
    assert_eq!((rows.len(), faults), (0, vec![(1, "csv.width".into())]));
    assert!(is_open(csv.schema().unwrap()));
}

#[test]
fn tombstones_and_blank_lines_have_no_row() {
    let mut messages = Messages::new(&["1,a", "", "\n", "", "\r\n", "\u{feff}", "2,b"]);
    messages.nulls = vec![3];
    let settings = PEOPLE.replacen('{', r#"{"header":false,"#, 1);
    check_messages(&settings, &messages, &["0: id=1 name=\"a\"", "6: id=2 name=\"b\""], &[]);
    check("{}", &Vec::<&str>::new(), &[], &[]);
}

#[test]
fn all_types_are_read() {
    let schema = r#"{"schema":"{\"a\":\"uint8\",\"b\":\"decimal128(9, 2)\",\"c\":\"timestamp(ms, UTC)\",\"d\":\"boolean\",\"e\":\"float64\",\"f\":\"date32\"}","header":false}"#;
    check(
        schema,
        &["255,-12.50,2021-07-21T06:00:00Z,true,1e3,1970-01-02"],
        &["0: a=255 b=-1250 c=1626847200000 d=true e=1000.0 f=1"],
        &[],
    );
    check(
        schema,
        &["256,1,,,,", "1,0.001,,,,", ",,soon,,,", ",,,yes,,", ",,,,1e999,", ",,,,,1970-02-30"],
        &[],
        &[(0, "csv.type"), (1, "csv.type"), (2, "csv.type"), (3, "csv.type"), (4, "csv.type"), (5, "csv.type")],
    );
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut csv = open(r#"{"header":["t"]}"#, None).unwrap();
    decode(&mut csv, &Messages::new(&["2021-07-21T06:00:00Z"]));
    assert_eq!(types(&csv)[0].1, timestamp);
}

/// Text with meaning in CSV.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "a", "b", "id", "name", ",", ",", "\"", "\"\"", "\n", "\r\n", "\r", "1", "2.5", "007", " ", "\u{feff}", "é",
        "\0", "12345678",
    ];
    let word = prop_oneof![
        12 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(word, 0..14).prop_map(|words| words.concat())
}

fn settings() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        r#"{"schema":"{\"id\":\"int64\",\"name\":\"utf8\"}"}"#,
        r#"{"header":false,"schema":"{\"id\":\"utf8\",\"name\":\"utf8\",\"n\":\"float64\"}"}"#,
        r#"{"header":["name","id"],"schema":"{\"id\":\"utf8\"}","unknown":"drop"}"#,
        r#"{"schema":"{\"id\":\"utf8\"}","unknown":"fail"}"#,
    ])
}

/// Rows and faults of `values`, cut into calls at `cuts`; messages from `header` on come with one.
fn cut(
    settings: &str,
    values: &[Vec<u8>],
    header: usize,
    cuts: &[usize],
    attribute: &str,
) -> (Vec<String>, Vec<(usize, String, String)>) {
    let mut csv = open(settings, None).unwrap();
    let mut ends: Vec<usize> = cuts.iter().copied().filter(|&cut| cut < values.len()).chain([values.len()]).collect();
    ends.sort_unstable();
    let (mut from, mut rows, mut faults) = (0, Vec::new(), Vec::new());
    for end in ends {
        let mut messages = Messages::new(&values[from..end]);
        if header < end && !settings.contains(r#""header":false"#) {
            messages = messages.from(header.saturating_sub(from) as u32, attribute, "name,id,x");
        }
        let decoded = decode(&mut csv, &messages);
        let (found, _) = told(&decoded, end - from);
        rows.extend(found.into_iter().map(|row| {
            let (message, cells) = row.split_once(": ").unwrap();
            format!("{}: {cells}", message.parse::<usize>().unwrap() + from)
        }));
        faults.extend(
            decoded
                .faults
                .into_iter()
                .map(|fault| (fault.message as usize + from, fault.code.into_owned(), fault.reason)),
        );
        from = end;
    }
    (rows, faults)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn cuts_and_neighbours_do_not_matter(
        settings in settings(),
        values in prop::collection::vec(text(), 1..8),
        header in 0..9_usize,
        cuts in prop::collection::vec(0..8_usize, 0..5),
        attribute in prop::sample::select(vec!["header", "first"]),
    ) {
        let every: Vec<usize> = (0..values.len()).collect();
        let whole = cut(settings, &values, header, &[], attribute);
        prop_assert_eq!(&cut(settings, &values, header, &cuts, attribute), &whole);
        prop_assert_eq!(&cut(settings, &values, header, &every, attribute), &whole);
    }

    /// Without a schema too, everything is a row, a fault, or an unknown header.
    #[test]
    fn strange_text_settles_something_or_nothing(values in prop::collection::vec(text(), 1..8), header in any::<bool>()) {
        let mut csv = open(if header { "{}" } else { r#"{"header":false}"# }, None).unwrap();
        match csv.decode(&Messages::new(&values).input()) {
            Ok(decoded) => drop(told(&decoded, values.len())),
            Err(error) => prop_assert!(header && error.to_string().contains("header cannot be read"), "{}", error),
        }
    }

    /// What the finder frames and the reader then reads is what the reader finds in the whole.
    #[test]
    fn finder_and_reader_agree(stream in prop::collection::vec(text(), 1..6).prop_map(|parts| parts.concat()), cuts in prop::collection::vec(0..80_usize, 0..5)) {
        let (mut finder, mut reader) = (RecordFinder::new(Style::default()), Reader::default());
        let mut ends = Vec::new();
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < stream.len()).chain([stream.len()]).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts {
            while let Some(end) = finder.find(&stream[from..cut]) {
                from += end;
                ends.push(from);
            }
            from = cut;
        }
        let torn = finder.is_quoted();
        ends.push(stream.len());
        let records = |reader: &Reader, bytes: &[u8]| -> Vec<Vec<(Vec<u8>, bool)>> {
            let all = 0..reader.len();
            all.map(|record| reader.values(bytes, record).map(|value| (value.bytes.to_vec(), value.quoted)).collect()).collect()
        };
        let whole = reader.read(&stream, 0, stream.len()).map(|()| records(&reader, &stream));
        let (mut framed, mut wrong, mut begin) = (Vec::new(), None, 0);
        for end in ends {
            match reader.read(&stream, begin, end) {
                Ok(()) => {
                    prop_assert!(reader.len() <= 1, "a frame is a record");
                    framed.extend(records(&reader, &stream));
                }
                Err(found) => wrong = wrong.or(Some(found)),
            }
            begin = end;
        }
        match (whole, wrong) {
            (Ok(whole), None) => prop_assert_eq!(whole, framed),
            (Err(whole), Some(first)) => prop_assert_eq!(whole, first),
            (whole, wrong) => prop_assert!(false, "{:?} and {:?}", whole, wrong),
        }
        prop_assert_eq!(torn && wrong.is_none(), false);
    }
}
