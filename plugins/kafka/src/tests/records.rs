//! From bytes to messages.

use bytes::Bytes;
use spout_guest::Messages;

use super::build::{Bat, CONTROL, GZIP, LOG_TIME, LZ4, Rec, SNAPPY, ZSTD, batch, marker, plain, xerial};
use crate::{
    records::{Budget, Records, Unreadable},
    wire::Aborted,
};

const ALL: Budget = Budget { messages: 1000, bytes: 1 << 20, first: true };

fn records(batches: &[Bat], next: u64, aborted: Option<Vec<Aborted>>) -> Records {
    let bytes: Vec<u8> = batches.iter().flat_map(Bat::bytes).collect();
    Records::new(bytes.into(), next, aborted, true)
}

fn drained(mut records: Records) -> Result<(Messages, u64), Unreadable> {
    let mut messages = Messages::default();
    records.drain(&mut messages, &mut ALL.clone(), None)?;
    Ok((messages, records.next()))
}

/// Offsets and values.
fn seen(messages: &Messages) -> Vec<(u64, String)> {
    messages
        .iter()
        .map(|message| (message.offset().unwrap(), String::from_utf8_lossy(message.value()).into_owned()))
        .collect()
}

fn check(batches: &[Bat], next: u64, aborted: Option<Vec<Aborted>>, expected: &[(u64, &str)], after: u64) {
    let (messages, then) = drained(records(batches, next, aborted)).unwrap();
    let expected: Vec<_> = expected.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect();
    assert_eq!((seen(&messages), then), (expected, after));
}

fn full() -> Bat {
    let mut full = batch(7, &["first", "", "third"]);
    full.records[0].key = Some(b"k".to_vec());
    full.records[0].headers =
        vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None), (b"".to_vec(), Some(vec![0xff]))];
    full.records[0].time = 3;
    full.records[1].value = None;
    full.records[1].key = Some(b"gone".to_vec());
    full.records[2].time = -2_000;
    full
}

#[test]
fn a_message_has_all_that_was_sent() {
    for codec in [0, GZIP, SNAPPY, LZ4, ZSTD] {
        let (messages, next) = drained(records(&[full().with(codec)], 0, None)).unwrap();
        assert_eq!(seen(&messages), [(7, "first".into()), (8, String::new()), (9, "third".into())]);
        assert_eq!((messages.nulls(), next), (&[1][..], 10));
        let keys: Vec<_> = (0..3).map(|at| messages.key(at)).collect();
        assert_eq!(keys, [Some(&b"k"[..]), Some(b"gone"), None]);
        let headers: Vec<_> = messages.headers(0).collect();
        assert_eq!(headers, [("a", &b"1"[..]), ("a", b""), ("", &[0xff][..])]);
        // A time before 1970 is none.
        let times: Vec<_> = (0..3).map(|at| messages.timestamp_ms(at)).collect();
        assert_eq!(times, [Some(1_003), Some(1_000), None]);
    }
    let (messages, _) = drained(records(&[full().with(LOG_TIME)], 0, None)).unwrap();
    assert!((0..3).all(|at| messages.timestamp_ms(at) == Some(1_050)), "the time of the log is that of all");
}

#[test]
fn snappy_comes_whole_and_in_blocks() {
    let bat = full().with(SNAPPY);
    for size in [1, 5, 1000] {
        let bytes = bat.around(&xerial(&plain(&bat), size));
        let (messages, next) = drained(Records::new(bytes.into(), 0, None, true)).unwrap();
        assert_eq!((messages.len(), next), (3, 10));
    }
}

#[test]
fn what_is_not_there_is_passed_over() {
    // Compaction removed offsets, up to whole batches; the head still says which they were.
    let mut holes = batch(10, &["a", "b"]);
    holes.records[0].delta = 2;
    holes.records[1].delta = 5;
    holes.last_delta = 9;
    let mut empty = batch(20, &[]);
    empty.last_delta = 4;
    check(&[holes.clone(), empty.clone()], 10, None, &[(12, "a"), (15, "b")], 25);
    // From within a batch, and from after its last message.
    check(&[holes.clone(), empty.clone()], 13, None, &[(15, "b")], 25);
    check(&[holes, empty.clone()], 17, None, &[], 25);
    check(&[marker(3, 1, true)], 3, None, &[], 4);
    check(&[batch(0, &["x"]), marker(1, 1, false).with(CONTROL), batch(2, &["y"])], 0, None, &[(0, "x"), (2, "y")], 3);
    check(&[], 5, None, &[], 5);
}

#[test]
fn aborted_transactions_are_left_out_and_others_are_not() {
    let log = [
        batch(0, &["a0"]).of(1),
        batch(1, &["b0"]).of(2),
        batch(2, &["plain"]),
        marker(3, 1, false),
        batch(4, &["a1"]).of(1),
        marker(5, 2, true),
        marker(6, 1, true),
        batch(7, &["a2", "a3"]).of(1),
        marker(9, 1, false),
        batch(10, &["c"]).of(3),
    ];
    let aborted = |producer, first| Aborted { producer, first };
    // In no order, as brokers may send them.
    let list = vec![aborted(1, 7), aborted(1, 0)];
    check(&log, 0, Some(list.clone()), &[(1, "b0"), (2, "plain"), (4, "a1"), (10, "c")], 11);
    // Whoever reads everything gets everything.
    let (all, _) = drained(records(&log, 0, None)).unwrap();
    assert_eq!(all.len(), 7);
    // From within: the broker says it of the transaction that had begun before.
    check(&log[7..], 8, Some(vec![aborted(1, 7)]), &[(10, "c")], 11);
    // A few at a time.
    let mut few = records(&log, 0, Some(list));
    let mut offsets = Vec::new();
    while !few.is_empty() {
        let mut messages = Messages::default();
        few.drain(&mut messages, &mut Budget { messages: 1, ..ALL }, None).unwrap();
        offsets.extend_from_slice(messages.offsets());
    }
    assert_eq!((offsets, few.next()), (vec![1, 2, 4, 10], 11));
}

#[test]
fn limits_hold_and_one_message_may_be_larger() {
    let mut records = records(&[batch(0, &["aaaa", "bb", "cccccccccc", "d"])], 0, None);
    let mut take = |bytes, messages| {
        let mut got = Messages::default();
        records.drain(&mut got, &mut Budget { messages, bytes, first: true }, None).unwrap();
        (seen(&got).into_iter().map(|(_, value)| value).collect::<Vec<_>>(), records.next())
    };
    assert_eq!(take(6, 10), (vec!["aaaa".to_owned(), "bb".into()], 2));
    assert_eq!(take(3, 10), (vec!["cccccccccc".to_owned()], 3));
    assert_eq!(take(100, 0), (vec![], 3));
    assert_eq!(take(100, 1), (vec!["d".to_owned()], 4));
}

fn refused(bytes: impl Into<Bytes>, expected: &str) {
    match drained(Records::new(bytes.into(), 0, None, true)) {
        Err(Unreadable::Malformed(what)) => assert!(what.to_string().contains(expected), "{what}, not {expected}"),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let good = batch(0, &["aaaa", "bb"]);
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = good.bytes();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    refused(changed(70, b"!"), "checksum");
    refused(changed(8, &(-5_i32).to_be_bytes()), "negative length");
    refused(changed(8, &48_i32.to_be_bytes()), "shorter than its head");
    // It would be the only batch, so it cannot have been cut off to fit.
    refused(changed(8, &i32::MAX.to_be_bytes()), "beyond the end");
    refused(good.bytes()[..30].to_vec(), "beyond the end");
    // From here on the checksum is right, so it is what the producer has sent.
    refused(Bat { last_delta: -1, ..good.clone() }.bytes(), "offsets that there are not");
    refused(Bat { base: -5, ..good.clone() }.bytes(), "offsets that there are not");
    refused(Bat { base: i64::MAX, ..good.clone() }.bytes(), "offsets that there are not");
    refused(Bat { last_delta: 0, ..good.clone() }.bytes(), "more records than offsets");
    refused(good.clone().with(5).bytes(), "compressed in a way");
    for codec in [GZIP, SNAPPY, LZ4, ZSTD] {
        let broken = if codec == SNAPPY { "Snappy" } else { "of a batch is broken" };
        refused(good.clone().with(codec).around(b"\x02\xff\xffnothing"), broken);
    }
    let payload = plain(&good);
    refused(good.around(&payload[..payload.len() - 1]), "beyond the end");
    // Only the first of two.
    refused(good.around(&payload[..11]), "ends too early");
    refused(good.around(&[&payload[..], b"\0"].concat()), "goes on after its records");
    let mut twice = good.clone();
    twice.records[1].delta = 0;
    refused(twice.bytes(), "do not rise");
    let mut beyond = good.clone();
    beyond.records[1].delta = 7;
    refused(beyond.bytes(), "do not rise");
    refused(good.around(&[20, 0, 0, 0, 1, 1, 3]), "beyond the end");
    // A length of 2^62 and headers without end.
    refused(good.around(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), "beyond the end");
    refused(good.around(&[0xff; 12]), "varint");
    let headers = Bat { records: vec![Rec::default()], ..batch(0, &["x"]) };
    refused(headers.around(&[12, 0, 0, 0, 1, 1, 0xfe]), "ends too early");
    refused(headers.around(&[12, 0, 0, 0, 1, 1, 1]), "fewer headers");
}

#[test]
fn messages_before_what_is_wrong_are_returned_first() {
    let mut bytes = batch(0, &["a"]).bytes();
    let mut wrong = batch(1, &["b"]).bytes();
    wrong[67] ^= 1;
    bytes.extend(wrong);
    let mut records = Records::new(bytes.into(), 0, None, true);
    let mut messages = Messages::default();
    assert!(records.drain(&mut messages, &mut ALL.clone(), None).is_err());
    assert_eq!((messages.len(), records.next()), (1, 1));
}

#[test]
fn old_formats_are_named() {
    for magic in [0_u8, 1, 3] {
        let mut bytes = batch(0, &["a"]).bytes();
        bytes[16] = magic;
        let got = drained(Records::new(bytes.into(), 0, None, true)).unwrap_err();
        assert_eq!(got, Unreadable::Magic(i8::try_from(magic).unwrap()));
    }
}

#[test]
fn an_answer_may_be_cut_after_its_first_batch() {
    let (one, two) = (batch(0, &["a"]).bytes(), batch(1, &["b"]).bytes());
    for cut in [1, 16, 17, 40, two.len() - 1] {
        let bytes = [&one[..], &two[..cut]].concat();
        let (messages, next) = drained(Records::new(bytes.into(), 0, None, true)).unwrap();
        assert_eq!((messages.len(), next), (1, 1), "cut at {cut}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = vec![0; 65 << 20];
    let bomb = Bat { records: Vec::new(), ..batch(0, &["x"]) };
    for codec in [GZIP, LZ4, ZSTD] {
        refused(bomb.clone().with(codec).around(&super::build::compress(codec, &zeros)), "more than 64 MiB");
    }
    refused(bomb.clone().with(SNAPPY).around(&super::build::compress(SNAPPY, &zeros)), "more than 64 MiB");
    // The head alone says so.
    refused(bomb.clone().with(SNAPPY).around(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]), "longer than it can be");
    refused(bomb.with(SNAPPY).around(&[0xff, 0xff, 0xff, 0x1f, 0, 0]), "longer than it can be");
}
