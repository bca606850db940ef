//! Messages of every kind, as text.

use ::bytes::Bytes;

use super::bytes::{delete, insert, relation, truncate, update};
use crate::{
    Lsn,
    pgoutput::{self, Cell, Logical, Old, Relation},
    render::{self, Deed, Said, Transaction},
    settings::Format,
};

fn table() -> Relation {
    let columns = [("id", 20, true), ("n", 1700, false), ("ok", 16, false), ("note", 25, false)];
    match pgoutput::read(relation(7, "public", "t \"x\"", b'd', &columns).into()) {
        Ok(Logical::Relation(relation)) => relation,
        other => panic!("{other:?}"),
    }
}

/// The message of a change, and its key.
fn rendered(message: Vec<u8>, format: Format) -> (String, Option<String>) {
    let table = table();
    let (deed, old, after) = match pgoutput::read(message.into()).unwrap() {
        Logical::Insert(7, after) => (Deed::Create, None, Some(after)),
        Logical::Update(7, old, after) => (Deed::Update, old, Some(after)),
        Logical::Delete(7, old) => (Deed::Delete, Some(old), None),
        Logical::Truncate(tables) => {
            assert_eq!(tables, [7]);
            (Deed::Truncate, None, None)
        }
        other => panic!("{other:?}"),
    };
    let (before, key_only) = match old {
        Some(Old::Key(row)) => (Some(row), true),
        Some(Old::Full(row)) => (Some(row), false),
        None => (None, false),
    };
    let said = Said {
        deed,
        schema: &table.schema,
        table: &table.table,
        columns: &table.columns,
        key: &["id".into()],
        before: before.as_ref(),
        key_only,
        after: after.as_ref(),
        transaction: Some(Transaction { commit: Lsn(77), time_ms: 5, xid: 9 }),
    };
    let mut messages = spout_guest::Messages::default();
    render::message(&said, format).add(&mut messages, 3);
    assert_eq!((messages.offsets(), messages.timestamp_ms(0)), (&[3][..], Some(5)));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let _: serde_json::Value = serde_json::from_slice(messages.value(0)).unwrap();
    (text(messages.value(0)), messages.key(0).map(text))
}

const SOURCE: &str = r#""source":{"schema":"public","table":"t \"x\"","snapshot":false,"lsn":77,"xid":9,"ts_ms":5}}"#;

fn check(message: Vec<u8>, before_source: &str, key: Option<&str>) {
    let (text, found) = rendered(message, Format::Envelope);
    assert_eq!((text, found.as_deref()), (format!("{before_source},{SOURCE}"), key));
}

#[test]
fn changes_are_envelopes() {
    let row = [Some("-9223372036854775808"), Some("0.10000000000000000000000001"), Some("t"), Some("a\n\"\\\u{1}é")];
    check(
        insert(7, &row),
        r#"{"op":"c","before":null,"after":{"id":-9223372036854775808,"n":"0.10000000000000000000000001","ok":true,"note":"a\n\"\\\u0001é"},"unchanged":null"#,
        Some(r#"{"id":-9223372036854775808}"#),
    );
    // A large value that stays is named, and not null.
    check(
        update(7, None, &[Some("1"), Some("NaN"), None, Some("\0")]),
        r#"{"op":"u","before":null,"after":{"id":1,"n":"NaN","ok":null},"unchanged":["note"]"#,
        Some(r#"{"id":1}"#),
    );
    check(
        update(7, Some((b'K', &[Some("1"), None, None, None])), &[Some("2"), None, Some("f"), Some("")]),
        r#"{"op":"u","before":{"id":1},"after":{"id":2,"n":null,"ok":false,"note":""},"unchanged":null"#,
        Some(r#"{"id":2}"#),
    );
    check(
        delete(7, (b'K', &[Some("1"), None, None, None])),
        r#"{"op":"d","before":{"id":1},"after":null,"unchanged":null"#,
        Some(r#"{"id":1}"#),
    );
    check(
        delete(7, (b'O', &[Some("1"), None, None, Some("x")])),
        r#"{"op":"d","before":{"id":1,"n":null,"ok":null,"note":"x"},"after":null,"unchanged":null"#,
        Some(r#"{"id":1}"#),
    );
    check(truncate(&[7]), r#"{"op":"t","before":null,"after":null,"unchanged":null"#, None);
}

#[test]
fn changes_are_flat_rows() {
    let tail = r#""__lsn":77,"__xid":9,"__ts_ms":5}"#;
    let table = r#""__schema":"public","__table":"t \"x\"""#;
    let check = |message, expected: String| assert_eq!(rendered(message, Format::Flat).0, expected);
    check(
        update(7, Some((b'K', &[Some("1"), None, None, None])), &[Some("2"), Some("1.50"), None, Some("\0")]),
        format!(
            r#"{{"id":2,"n":"1.50","ok":null,"__op":"u",{table},"__unchanged":["note"],"__before":{{"id":1}},{tail}"#
        ),
    );
    check(
        delete(7, (b'K', &[Some("1"), None, None, None])),
        format!(r#"{{"id":1,"__op":"d",{table},"__unchanged":null,"__before":null,{tail}"#),
    );
    check(truncate(&[7]), format!(r#"{{"__op":"t",{table},"__unchanged":null,"__before":null,{tail}"#));
}

#[test]
fn what_is_no_text_is_set_aside() {
    let table = table();
    let row =
        vec![Cell::Text(Bytes::from_static(b"1")), Cell::Null, Cell::Null, Cell::Text(Bytes::from_static(b"\xff"))];
    let said = Said {
        deed: Deed::Create,
        schema: "s",
        table: "t",
        columns: &table.columns,
        key: &[],
        before: None,
        key_only: false,
        after: Some(&row),
        transaction: None,
    };
    let mut messages = spout_guest::Messages::default();
    render::message(&said, Format::Envelope).add(&mut messages, 1);
    render::message(&Said { after: None, ..said }, Format::Envelope).add(&mut messages, 2);
    let faults: Vec<_> = messages.attributes().iter().map(|one| (one.first, one.value.is_empty())).collect();
    assert_eq!(faults, [(0, false), (1, true)]);
    assert_eq!((messages.key(0), messages.timestamp_ms(0)), (None, None));
}
