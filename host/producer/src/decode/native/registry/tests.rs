//! The decoder against a registry that answers as it is told.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use base64::Engine as _;
use prost_reflect::{
    prost::Message as _,
    prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, field_descriptor_proto::Type},
};
use serde_json::{Value, json};
use spout_data::{Header, Messages, Position, Span};

use super::*;
use crate::{
    Error,
    decode::{
        DecoderFactory,
        tests::{decode, factory, messages, told},
    },
};

/// What is answered at a path, as often as it is asked for; the last answer stays.
type Answers = BTreeMap<String, Vec<Vec<u8>>>;

/// A registry in a thread.
#[derive(Clone, Debug, Default)]
struct Server {
    answers: Arc<Mutex<Answers>>,
    /// The paths that were asked for, with the authorization.
    asked: Arc<Mutex<Vec<String>>>,
    url: String,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn response(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, ..Self::default() };
        let of_thread = server.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(of_thread.answer(stream))));
        server
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        for line in BufReader::new(stream.try_clone()?).lines() {
            match line? {
                line if line.is_empty() => break,
                line => head.push(line),
            }
        }
        let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let proof = head.iter().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
        lock(&self.asked).push(format!("{path} {proof}").trim_end().to_owned());
        let answer = match lock(&self.answers).get_mut(&path) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => response("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#),
        };
        if answer == b"ENDLESS" {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            loop {
                stream.write_all(b"10000\r\n")?;
                stream.write_all(&[b' '; 0x10000])?;
                stream.write_all(b"\r\n")?;
            }
        }
        stream.write_all(&answer)
    }

    fn at(&self, path: &str, answers: Vec<Vec<u8>>) -> &Self {
        lock(&self.answers).insert(path.to_owned(), answers);
        self
    }

    fn has(&self, path: &str, answer: &Value) -> &Self {
        self.at(path, vec![response("200 OK", &answer.to_string())])
    }

    fn avro(&self, id: u32, schema: &Value) -> &Self {
        self.has(&format!("/schemas/ids/{id}"), &json!({"schema": schema.to_string()}))
    }

    fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    fn factory(&self, more: &str) -> DecoderFactory {
        let mut factory = factory(&format!(r#"{{"type":"registry","url":"{}"{more}}}"#, self.url), Path::new(""));
        factory.topic = "orders".into();
        factory
    }
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), body].concat()
}

fn record(fields: &Value) -> Value {
    json!({"type": "record", "name": "Order", "namespace": "shop", "fields": fields})
}

fn v1() -> Value {
    record(&json!([{"name": "id", "type": "int"}, {"name": "name", "type": "string"}]))
}

/// The name is gone, the id is wider, and there is a city.
fn v2() -> Value {
    record(&json!([{"name": "id", "type": "long"}, {"name": "city", "type": ["null", "string"], "default": null}]))
}

async fn fails(factory: &DecoderFactory, messages: Messages) -> Error {
    let shelf = factory.shelf().unwrap().unwrap();
    shelf.prepare(&messages, Patience::Once).await.unwrap_err()
}

fn mixed() -> Vec<Vec<u8>> {
    vec![
        framed(1, b"\x02\x02a"),
        framed(2, b"\x04\x02\x02x"),
        framed(3, b"?"),
        framed(1, b"\x06\x02b"),
        b"{}".to_vec(),
        framed(1, b"\x06\x7f"),
        framed(2, b"\x08\0"),
        framed(4, b"\x02"),
    ]
}

const MIXED: [&str; 4] = [r#"{"id":1,"name":"a"}"#, r#"{"id":2,"city":"x"}"#, r#"{"id":3,"name":"b"}"#, r#"{"id":4}"#];
const ASIDE: [(u64, &str); 4] =
    [(12, "registry.unknown"), (14, "registry.frame"), (15, "avro.syntax"), (17, "registry.schema")];

fn registry_of_both() -> Server {
    let server = Server::new();
    server.avro(1, &v1()).avro(2, &v2());
    server.has("/schemas/ids/4", &json!({"schema": "{}", "schemaType": "THRIFT"}));
    server
}

#[tokio::test]
async fn each_message_is_read_with_the_schema_it_was_written_with() {
    let server = registry_of_both();
    let columns = r#","schema":{"id":"int64","name":"utf8","city":"utf8"}"#;
    let aside: Vec<(u64, String)> = ASIDE.iter().map(|(at, code)| (*at, (*code).to_owned())).collect();
    let factory = server.factory(columns);
    let batch = decode(&factory, messages(&mixed(), None)).await;
    assert_eq!(told(&batch), (MIXED.map(str::to_owned).to_vec(), aside.clone()));
    // What is known is not asked for again, and a verdict does not depend on what comes with a message.
    let before = server.asked();
    assert_eq!(before.len(), 4, "{before:?}");
    let (mut rows, mut dead) = (Vec::new(), Vec::new());
    let mut decoder = factory.decoder();
    for (at, value) in (10..).zip(mixed()) {
        let mut one = messages(&[value], None);
        one.offsets = vec![at];
        let span = Span { partition: 1.into(), start: at, next: Position::at(at + 1) };
        let (more, letters) = told(&decoder.decode(one, span).await.unwrap());
        rows.extend(more);
        dead.extend(letters);
    }
    assert_eq!((rows, dead), (MIXED.map(str::to_owned).to_vec(), aside));
    assert_eq!(server.asked(), before);
}

#[tokio::test]
async fn the_latest_schema_of_the_subject_says_the_columns() {
    let server = registry_of_both();
    let latest = record(&json!([{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]));
    server.has("/subjects/orders-value/versions/latest", &json!({"schema": latest.to_string(), "version": 3}));
    let factory = server.factory("");
    let batch = decode(&factory, messages(&mixed()[..2], None)).await;
    assert_eq!(told(&batch).0, [r#"{"id":1,"name":"a"}"#, r#"{"id":2}"#]);
    assert_eq!(batch.unknown, [spout_codec::UnknownField { name: "city".into(), count: 1 }]);
    // Without a subject, the first message does, whatever becomes of it.
    let factory = server.factory(r#","subject":"nothing""#);
    let batch = decode(&factory, messages(&[framed(2, b""), framed(1, b"\x02\x02a")], None)).await;
    assert_eq!((told(&batch).0, batch.records.num_columns()), (vec![r#"{"id":1}"#.to_owned()], 2));
    // At the next start, columns of a later schema are added; what went stays.
    let factory = server.factory("");
    let settled = json!({"name": "utf8", "id": "int64"}).to_string();
    let settled: SchemaText = serde_json::from_str(&settled).unwrap();
    *factory.pin.hold().await = Some(Arc::new(settled.parse().unwrap()));
    server.has("/subjects/orders-value/versions/latest", &json!({"schema": v2().to_string()}));
    let added = factory.add_declared().await.unwrap().unwrap();
    assert_eq!(added.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["city"]);
    assert_eq!(factory.pin.get().await.unwrap().fields().len(), 3);
}

#[tokio::test]
async fn later_fields_become_columns_where_the_spec_says_so() {
    let server = registry_of_both();
    let factory = server.factory(r#","evolve":"add-columns""#);
    let mut decoder = factory.decoder();
    let all = messages(&mixed()[..2], None);
    let span = Span { partition: 1.into(), start: 10, next: Position::at(12) };
    let batch = decoder.decode(all.clone(), span.clone()).await.unwrap();
    let added = decoder.added(&batch).unwrap().unwrap();
    decoder.widen(&added).await;
    drop(decoder.hold_schema().await);
    let batch = decoder.decode(all, span).await.unwrap();
    assert_eq!(told(&batch).0, [r#"{"id":1,"name":"a"}"#, r#"{"id":2,"city":"x"}"#]);
}

#[tokio::test]
async fn a_registry_that_is_down_is_asked_again() {
    let server = registry_of_both();
    let sound = response("200 OK", &json!({"schema": v1().to_string()}).to_string());
    let answers = vec![Vec::new(), response("503 Service Unavailable", ""), response("404 Not Found", "<html>"), sound];
    server.at("/schemas/ids/1", answers);
    let batch = decode(&server.factory(""), messages(&mixed()[..1], None)).await;
    assert_eq!(told(&batch), (vec![MIXED[0].to_owned()], Vec::new()));
    assert_eq!(server.asked().iter().filter(|path| *path == "/schemas/ids/1").count(), 4);
}

#[tokio::test]
async fn a_hostile_registry_is_an_error_that_says_what_it_does() {
    let server = Server::new();
    let check = async |answer: Vec<u8>, code: &str, part: &str| {
        server.at("/schemas/ids/1", vec![answer]);
        let error = fails(&server.factory(""), messages(&[framed(1, b"")], None)).await;
        use spout_base::error::Coded as _;
        assert!(error.code() == code && error.to_string().contains(part), "{part}: {error}");
    };
    check(b"ENDLESS".to_vec(), "E0377", "more than 8388608 bytes").await;
    check(b"".to_vec(), "E0377", "").await;
    check(response("200 OK", "<html>"), "E0377", "not that of a registry").await;
    check(response("200 OK", &"[".repeat(1 << 20)), "E0377", "not that of a registry").await;
    check(response("200 OK", r#"{"schema":"<html>"}"#), "E0377", "not that of a registry").await;
    check(response("200 OK", r#"{"schema":"{\"type\":","schemaType":"JSON"}"#), "E0377", "not that of a registry")
        .await;
    check(response("404 Not Found", ""), "E0377", "without saying").await;
    check(response("500 Oops", ""), "E0377", "500").await;
    check(response("401 Unauthorized", ""), "E0378", "check `user`").await;
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_vec();
    check(redirect, "E0378", "redirects to http://169.254.169.254/").await;
    // A schema that is of no use is the fault of whoever sent messages with it.
    let deep = (0..200).fold(json!("int"), |deep, _| json!({"type": "array", "items": deep}));
    let deep = record(&json!([{"name": "a", "type": deep}]));
    let itself = record(&json!([{"name": "a", "type": ["null", "Order"]}]));
    for (schema, part) in
        [(deep, "JSON"), (itself, "contains itself"), (json!("string"), "not a record"), (json!(5), "")]
    {
        server.avro(1, &schema);
        let batch = decode(&server.factory(""), messages(&[framed(1, b"")], None)).await;
        let [letter] = &batch.dead[..] else { panic!("{:?}", batch.dead) };
        assert!(letter.code == "registry.schema" && letter.reason.contains(part), "{part}: {}", letter.reason);
    }
}

#[tokio::test]
async fn who_asks_is_said_and_never_shown() {
    let server = registry_of_both();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "s3cret\n").unwrap();
    let with = |more: &str| DecoderFactory { base: dir.path().to_owned(), ..server.factory(more) };
    decode(&with(r#","user":"me","password":{"file":"password"}"#), messages(&mixed()[..1], None)).await;
    decode(&with(r#","token":{"file":"password"}"#), messages(&mixed()[..1], None)).await;
    let asked = server.asked();
    let proofs: Vec<&str> = asked.iter().filter_map(|line| line.strip_prefix("/schemas/ids/1 ")).collect();
    assert_eq!(proofs, ["Basic bWU6czNjcmV0", "Bearer s3cret"]);
    let shown = format!("{:?}", with(r#","token":{"file":"password"}"#).shelf().unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
    // Nor is it where the registry sends it back.
    for (who, said) in [
        (r#","user":"me","password":{"file":"password"}"#, "pass=s3cret&proof=bWU6czNjcmV0"),
        (r#","token":{"file":"password"}"#, "token=s3cret"),
    ] {
        let back = format!("HTTP/1.1 302 Found\r\nlocation: /login?{said}\r\ncontent-length: 0\r\n\r\n");
        server.at("/schemas/ids/1", vec![back.into_bytes()]);
        let error = fails(&with(who), messages(&[framed(1, b"")], None)).await.to_string();
        assert!(error.contains("=[secret]") && !error.contains("s3cret") && !error.contains("bWU6"), "{error}");
    }
    let gone = with(r#","token":{"file":"nowhere"}"#).shelf().unwrap_err().to_string();
    assert!(gone.contains("decoder.token"), "{gone}");
}

#[tokio::test]
async fn kept_schemas_need_no_registry() {
    let server = registry_of_both();
    let dir = tempfile::tempdir().unwrap();
    let with =
        || DecoderFactory { base: dir.path().to_owned(), ..server.factory(r#","keep":"schemas","subject":"x""#) };
    let first = told(&decode(&with(), messages(&mixed()[..2], None)).await);
    for path in ["/schemas/ids/1", "/schemas/ids/2"] {
        server.at(path, vec![response("500 Gone", "")]);
    }
    assert_eq!(told(&decode(&with(), messages(&mixed()[..2], None)).await), first);
    // That there is no such schema is not kept.
    assert_eq!(std::fs::read_dir(dir.path().join("schemas")).unwrap().count(), 2);
}

#[tokio::test]
async fn schemas_that_others_refer_to_are_fetched_too() {
    let server = Server::new();
    let city = json!({"type": "record", "name": "geo.City", "fields": [{"name": "name", "type": "string"}]});
    let place = json!({"type": "record", "name": "geo.Place", "fields": [{"name": "city", "type": "geo.City"}]});
    let main = record(&json!([{"name": "to", "type": "geo.Place"}, {"name": "via", "type": "geo.City"}]));
    let refers = |name: &str, subject: &str| json!({"name": name, "subject": subject, "version": 2});
    server.has(
        "/schemas/ids/1",
        &json!({"schema": main.to_string(), "references": [refers("geo.City", "city"), refers("geo.Place", "place")]}),
    );
    server.has("/subjects/city/versions/2?deleted=true", &json!({"schema": city.to_string()}));
    let place = json!({"schema": place.to_string(), "references": [refers("geo.City", "city")]});
    server.has("/subjects/place/versions/2?deleted=true", &place);
    let batch = decode(&server.factory(""), messages(&[framed(1, b"\x02a\x02b")], None)).await;
    assert_eq!(told(&batch).0, [r#"{"to":{"city":{"name":"a"}},"via":{"name":"b"}}"#], "{:?}", batch.dead);
    // One that refers to itself comes to an end.
    let round = json!({"schema": city.to_string(), "references": [refers("geo.City", "city")]});
    server.has("/subjects/city/versions/2?deleted=true", &round);
    let batch = decode(&server.factory(""), messages(&[framed(1, b"\x02a\x02b")], None)).await;
    assert_eq!(batch.records.num_rows(), 1);
}

#[tokio::test]
async fn a_guid_in_a_header_names_a_schema_too() {
    let server = Server::new();
    server.has("/schemas/guids/10111213-1415-1617-1819-1a1b1c1d1e1f", &json!({"schema": v1().to_string()}));
    let mut all = messages(&[&b"\x02\x02a"[..]], None);
    let value = [1].into_iter().chain(0x10..0x20).collect();
    all.headers.push(Header { message: 0, name: "__value_schema_id".into(), value });
    assert_eq!(told(&decode(&server.factory(""), all).await).0, [MIXED[0]]);
}

fn field(name: &str, number: i32, kind: Type, of: Option<&str>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(1),
        type_name: of.map(str::to_owned),
        ..FieldDescriptorProto::default()
    }
}

fn message(name: &str, fields: Vec<FieldDescriptorProto>, inner: Vec<DescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.into()), field: fields, nested_type: inner, ..DescriptorProto::default() }
}

fn file(messages: Vec<DescriptorProto>, imports: &[&str]) -> String {
    let file = FileDescriptorProto {
        name: Some("default".into()),
        package: Some("shop".into()),
        syntax: Some("proto3".into()),
        dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
        message_type: messages,
        ..FileDescriptorProto::default()
    };
    base64::engine::general_purpose::STANDARD.encode(file.encode_to_vec())
}

#[tokio::test]
async fn protobuf_messages_are_found_by_their_indexes() {
    let server = Server::new();
    let inner = message("Inner", vec![field("n", 1, Type::Int32, None)], Vec::new());
    let at = field("at", 2, Type::Message, Some(".google.protobuf.Timestamp"));
    let city = field("city", 3, Type::Message, Some(".shop.City"));
    let order = message("Order", vec![field("id", 1, Type::Int64, None), at, city], vec![inner]);
    let other = message("Other", vec![field("x", 1, Type::String, None)], Vec::new());
    let main = file(vec![order, other], &["google/protobuf/timestamp.proto", "city.proto"]);
    let city = file(vec![message("City", vec![field("name", 1, Type::String, None)], Vec::new())], &[]);
    let references = json!([{"name": "city.proto", "subject": "city", "version": 1}]);
    for (path, schema) in [("/schemas/ids/1", "syntax…"), ("/schemas/ids/1?format=serialized", &main)] {
        server.has(path, &json!({"schemaType": "PROTOBUF", "schema": schema, "references": references}));
    }
    for query in ["?deleted=true", "?deleted=true&format=serialized"] {
        server.has(&format!("/subjects/city/versions/1{query}"), &json!({"schemaType": "PROTOBUF", "schema": city}));
    }
    let columns = r#","schema":{"id":"int64","at":"timestamp(s)","city":{"name":"utf8"},"x":"utf8","n":"int32"}"#;
    let values = [
        framed(1, b"\0\x08\x07\x12\x02\x08\x05\x1a\x03\x0a\x01z"),
        framed(1, b"\x02\x02\x0a\x02hi"),
        framed(1, b"\x04\0\0\x08\x09"),
        framed(1, b"\x02\x08"),
        framed(1, b"\x03"),
    ];
    let batch = decode(&server.factory(columns), messages(&values, None)).await;
    let (rows, dead) = told(&batch);
    assert_eq!(
        rows,
        [r#"{"id":7,"at":"1970-01-01T00:00:05","city":{"name":"z"}}"#, r#"{"x":"hi"}"#, r#"{"n":9}"#],
        "{:?}",
        batch.dead
    );
    assert_eq!(dead, [(13, "registry.schema".to_owned()), (14, "registry.frame".to_owned())]);
    // A registry that knows no descriptors gives texts, and one that gives neither is said to.
    let text = |text: &str| json!({"schemaType": "PROTOBUF", "schema": text, "references": references});
    let order = r#"syntax = "proto3"; package shop;
        import "city.proto"; import "confluent/meta.proto"; import "google/protobuf/timestamp.proto";
        option (confluent.file_meta).doc = "orders";
        message Order {
            int64 id = 1 [(confluent.field_meta) = { tags: ["KEY"] }];
            google.protobuf.Timestamp at = 2;
            City city = 3;
            message Inner { int32 n = 1; }
        }
        message Other { string x = 1; }"#;
    let inner = r#"syntax = "proto3"; package shop; message City { string name = 1; }"#;
    for city in [json!(inner), json!(city)] {
        server.has("/schemas/ids/1?format=serialized", &text(order));
        let path = "/subjects/city/versions/1?deleted=true&format=serialized";
        server.has(path, &json!({"schemaType": "PROTOBUF", "schema": city}));
        let batch = decode(&server.factory(columns), messages(&values[..3], None)).await;
        assert_eq!(told(&batch).0, rows, "{:?}", batch.dead);
    }
    let deep = format!("syntax = \"proto3\"; {}", "message A {".repeat(5000));
    for (wrong, part) in
        [("message A { int32 x = 1 }", "expected"), ("import \"none.proto\";", "none.proto"), (&deep, "deeper than")]
    {
        server.has("/schemas/ids/1?format=serialized", &text(wrong));
        let batch = decode(&server.factory(columns), messages(&values[..1], None)).await;
        assert!(batch.dead[0].reason.contains(part), "{}", batch.dead[0].reason);
    }
}

#[tokio::test]
async fn messages_are_read_with_a_readers_schema_where_there_is_one() {
    use spout_base::error::Coded as _;
    let server = registry_of_both();
    let reader = record(
        &json!([{"name": "id", "type": "double"}, {"name": "town", "type": ["null", "string"], "default": null, "aliases": ["city"]},
        {"name": "by", "type": "string", "default": "us"}]),
    );
    server.has("/subjects/orders-value/versions/latest", &json!({"schema": reader.to_string()}));
    let expected = [
        r#"{"id":1.0,"by":"us"}"#,
        r#"{"id":2.0,"town":"x","by":"us"}"#,
        r#"{"id":3.0,"by":"us"}"#,
        r#"{"id":4.0,"by":"us"}"#,
    ];
    let aside: Vec<(u64, String)> = ASIDE.iter().map(|(at, code)| (*at, (*code).to_owned())).collect();
    for spec in [r#","reader":"latest""#.to_owned(), format!(r#","reader":{reader}"#)] {
        let batch = decode(&server.factory(&spec), messages(&mixed(), None)).await;
        assert_eq!(told(&batch), (expected.map(str::to_owned).to_vec(), aside.clone()), "{spec}");
        // What the reader's schema leaves out was left out on purpose.
        assert!(batch.unknown.is_empty(), "{:?}", batch.unknown);
    }
    // One that a writer's schema does not fit is no reason to stop: its messages are set aside, and the letter says why.
    let other = record(&json!([{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]));
    let batch = decode(&server.factory(&format!(r#","reader":{other}"#)), messages(&mixed()[..2], None)).await;
    assert_eq!(told(&batch).0, [r#"{"id":1,"name":"a"}"#]);
    assert!(batch.dead[0].reason.contains("no field `name`"), "{}", batch.dead[0].reason);
    let missing = server.factory(r#","reader":"latest","subject":"nothing""#);
    let error = fails(&missing, messages(&mixed(), None)).await;
    assert!(error.code() == "E0670" && error.to_string().contains("no subject nothing"), "{error}");
    let error = server.factory(r#","reader":"long""#).shelf().unwrap_err();
    assert!(error.code() == "E0670" && error.to_string().contains("not a record"), "{error}");
}

#[tokio::test]
async fn json_schemas_say_columns_and_formats_may_mix() {
    let server = registry_of_both();
    let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}});
    server.has("/schemas/ids/9", &json!({"schemaType": "JSON", "schema": schema.to_string()}));
    let values = [framed(9, br#"{"name":"j"}"#), framed(1, b"\x02\x02a"), framed(9, b"{"), framed(9, br#"{"id":5}"#)];
    let batch = decode(&server.factory(""), messages(&values, None)).await;
    assert_eq!(told(&batch).0, [r#"{"name":"j"}"#, r#"{"id":1,"name":"a"}"#, r#"{"id":5}"#]);
    assert_eq!(told(&batch).1, [(12, "json.syntax".to_owned())]);
    // What may come can be limited to one format.
    let batch = decode(&server.factory(r#","format":"json""#), messages(&values, None)).await;
    let codes: Vec<String> = told(&batch).1.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["registry.schema", "json.syntax"]);
}

#[tokio::test]
async fn whatever_is_changed_of_a_message_it_is_a_row_or_a_dead_letter() {
    let server = registry_of_both();
    let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}}});
    server.has("/schemas/ids/9", &json!({"schemaType": "JSON", "schema": schema.to_string()}));
    let main = file(vec![message("Order", vec![field("id", 1, Type::Int64, None)], Vec::new())], &[]);
    for query in ["", "?format=serialized"] {
        server.has(&format!("/schemas/ids/3{query}"), &json!({"schemaType": "PROTOBUF", "schema": main}));
    }
    let sound = [framed(1, b"\x02\x02a"), framed(3, b"\x02\x00\x08\x07"), framed(9, br#"{"id":7}"#)];
    let mut values = Vec::new();
    for value in &sound {
        values.extend((0..value.len()).map(|end| value[..end].to_vec()));
        for at in 0..value.len() {
            values.extend([0, 1, 2, 9, 0x7f, 0x80, 0xff].map(|byte| {
                let mut changed = value.clone();
                changed[at] = byte;
                changed
            }));
        }
    }
    let factory = server.factory(r#","schema":{"id":"int64","name":"utf8"}"#);
    let batch = decode(&factory, messages(&values, None)).await;
    let mut seen: Vec<u64> = batch.dead.iter().map(|letter| letter.offset - 10).collect();
    assert_eq!(batch.records.num_rows() + seen.len(), values.len());
    let spout_data::Origins::Taken(rows) = &batch.origins else { panic!("{:?}", batch.origins) };
    seen.extend(rows.iter().map(|&message| u64::from(message)));
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..values.len() as u64));
    assert!(batch.records.num_rows() > 20, "{}", batch.records.num_rows());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let check = |more: &str, part: &str| {
        let url = if more.contains("url") { "" } else { r#","url":"http://a""# };
        let spec =
            serde_json::from_str::<crate::NativeDecoder>(&format!(r#"{{"type":"registry"{url}{more}}}"#)).unwrap();
        let said = spec.check(Path::new("/nowhere")).err().unwrap_or_default();
        assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{more}: {said}");
    };
    check("", "");
    check(r#","url":["http://a","https://b:8081/registry"]"#, "");
    check(r#","url":[]"#, "`url` is empty");
    check(r#","url":"a:8081""#, "starts with https://");
    check(r#","url":"http://me:pw@a""#, "end up in logs");
    check(r#","user":"me""#, "needs `password`");
    check(r#","password":{"env":"P"}"#, "needs `user`");
    check(r#","user":"me","password":{"env":"P"},"token":{"env":"T"}"#, "not both");
    check(r#","strategy":"recordName""#, "`record`");
    check(r#","strategy":"topicRecordName","record":"shop.Order""#, "");
    check(r#","evolve":"add-columns","unknown":"fail""#, "contradict");
    check(r#","evolve":"add-columns","reader":"latest""#, "remove `evolve`");
    check(r#","format":"json","reader":"latest""#, "`reader` is an Avro schema");
    let subject = |more: &str| {
        serde_json::from_str::<RegistrySpec>(&format!(r#"{{"url":"http://a"{more}}}"#)).unwrap().subject("orders")
    };
    assert_eq!(subject("").as_deref(), Some("orders-value"));
    assert_eq!(subject(r#","strategy":"recordName","record":"s.O""#).as_deref(), Some("s.O"));
    assert_eq!(subject(r#","strategy":"topicRecordName","record":"s.O""#).as_deref(), Some("orders-s.O"));
    assert_eq!(subject(r#","subject":"x""#).as_deref(), Some("x"));
}
