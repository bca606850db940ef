//! What a server sends: frames, logical messages, positions that were stored.

use bytes::{Bytes, BytesMut};
use spout_fuzz::{Corpus, Counting, Target};
use spout_guest::{Messages, Position};

use crate::{
    fault, frame,
    pgoutput::{self, Logical},
    place::Place,
    render::{self, Deed, Said, Transaction},
    settings::Format,
    tests::bytes::{begin, commit, delete, insert, relation, truncate, update},
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// A message is read or refused, and what was read can be written.
#[test]
fn pgoutput() {
    let corpus = Corpus::of([
        begin(7, 42, 9),
        commit(7, 8),
        relation(1, "public", "t", b'd', &[("id", 23, true), ("b", 16, false), ("text", 25, false)]),
        insert(1, &[Some("1"), Some("t"), None]),
        update(1, Some((b'K', &[Some("1"), None, None])), &[Some("2"), Some("f"), Some("\"\\\u{1}")]),
        update(1, Some((b'O', &[Some("1"), None, None])), &[Some("\u{0}unchanged"), Some("x"), Some("é")]),
        delete(1, (b'K', &[Some("1"), None, None])),
        truncate(&[1, 2, 3]),
    ]);
    let columns = match pgoutput::read(
        relation(1, "s", "t", b'd', &[("id", 23, true), ("b", 16, false), ("c", 25, false)]).into(),
    ) {
        Ok(Logical::Relation(relation)) => relation.columns,
        other => panic!("{other:?}"),
    };
    Target::new("pgoutput", 20_000).bytes(&corpus, |bytes| {
        let Ok(message) = pgoutput::read(Bytes::copy_from_slice(bytes)) else { return false };
        let (before, after) = match message {
            Logical::Insert(_, after) => (None, Some(after)),
            Logical::Update(_, Some(pgoutput::Old::Key(row) | pgoutput::Old::Full(row)), after) => {
                (Some(row), Some(after))
            }
            Logical::Update(_, None, after) => (None, Some(after)),
            Logical::Delete(_, pgoutput::Old::Key(row) | pgoutput::Old::Full(row)) => (Some(row), None),
            _ => return true,
        };
        for format in [Format::Envelope, Format::Flat] {
            let said = Said {
                deed: Deed::Update,
                schema: "s",
                table: "t",
                columns: &columns,
                key: &["id".to_owned()],
                before: before.as_ref(),
                key_only: true,
                after: after.as_ref(),
                transaction: Some(Transaction::default()),
            };
            let mut messages = Messages::default();
            render::message(&said, format).add(&mut messages, 7);
            let value = messages.value(0);
            let json: Result<serde_json::Value, _> = serde_json::from_slice(value);
            assert!(json.is_ok() || std::str::from_utf8(value).is_err(), "{}", String::from_utf8_lossy(value));
        }
        true
    });
}

/// A stream of frames is cut at the same places however it arrives, and none is longer than it may be.
#[test]
fn frames() {
    let corpus = Corpus::of([
        b"R\0\0\0\x08\0\0\0\0S\0\0\0\x19server_version\x0015.14\0\0Z\0\0\0\x05I".to_vec(),
        b"D\0\0\0\x14\0\x02\0\0\0\x03abc\xff\xff\xff\xffZ\0\0\0\x05I".to_vec(),
        b"E\0\0\0\x12C55006\0Mbusy\0\0Z\0\0\0\x05I".to_vec(),
        b"d\0\0\0\x16k\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\x01".to_vec(),
        b"d\0\0\0\x1fw\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0O".to_vec(),
    ]);
    Target::new("frames", 20_000).bytes(&corpus, |bytes| {
        let whole = cut(bytes, bytes.len());
        assert_eq!(whole, cut(bytes, 1), "other frames byte by byte");
        for frame in &whole {
            drop((frame::row(&frame.body), frame::replicated(frame.body.clone()), fault::report(frame.body.clone())));
        }
        !whole.is_empty()
    });
}

fn cut(bytes: &[u8], size: usize) -> Vec<frame::Frame> {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for part in bytes.chunks(size.max(1)) {
        buffer.extend_from_slice(part);
        loop {
            match frame::take(&mut buffer, 1 << 16) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

/// A token of a commit, which anyone may have written.
#[test]
fn place() {
    let corpus = Corpus::of([
        r#"{"system":"7312","lsn":"16/B374D848","skip":3}"#,
        r#"{"lsn":"0/0","rest":"rows"}"#,
        r#"{"system":"7312","lsn":"0/1A","rest":{"after":{"schema":"public","table":"t","key":[["id","1"]]}}}"#,
    ])
    .words(&["\"rest\":", "\"slot\"", "FFFFFFFF/FFFFFFFF", "\"skip\":18446744073709551615", "null"]);
    Target::new("place", 20_000).bytes(&corpus, |bytes| {
        let position = Position { offset: 9, token: Some(bytes.to_vec()) };
        let Ok(Some(place)) = Place::of(&position, &Place::rows()) else { return false };
        assert_eq!(Place::of(&place.at(9), &Place::rows()), Ok(Some(place)));
        true
    });
}
