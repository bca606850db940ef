//! What framers make of bytes, in every number of pieces.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn framer(spec: &str) -> Framer {
    Framer::new(&serde_json::from_str(spec).unwrap()).unwrap()
}

/// The messages of `pieces`, and the error after them.
pub(super) fn frame<'a>(spec: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut framer, mut out) = (framer(spec), Blobs::default());
    let pushed = pieces.into_iter().try_for_each(|piece| framer.push(piece, &mut out));
    let error = pushed.and_then(|()| framer.finish(&mut out)).err().map(|error| error.to_string());
    ((0..out.len()).map(|index| out.get(index).to_vec()).collect(), error)
}

fn check(spec: &str, bytes: &[u8], expected: &[&str], error: Option<&str>) {
    let whole = frame(spec, [bytes]);
    let messages: Vec<_> = whole.0.iter().map(|message| String::from_utf8_lossy(message).into_owned()).collect();
    assert_eq!(messages, expected, "{spec}");
    match (&whole.1, error) {
        (Some(got), Some(part)) => assert!(got.contains(part), "{spec}: {got}"),
        (got, expected) => assert_eq!(got.as_deref(), expected, "{spec}"),
    }
    assert_eq!(frame(spec, bytes.chunks(1)), whole, "{spec}, byte by byte");
}

#[test]
fn lines_end_with_or_without_a_carriage_return() {
    let spec = r#"{"type":"lines"}"#;
    check(spec, b"a\r\nb\n\n\r\nc\rd\nlast", &["a", "b", "c\rd", "last"], None);
    check(spec, b"", &[], None);
    check(spec, b"a\r\r\nlast\r", &["a\r", "last\r"], None);
    check(r#"{"type":"csv"}"#, b"a,b\r\n1,x\r\r\n2,y\r", &["a,b", "1,x\r", "2,y\r"], None);
    let spec = r#"{"type":"lines","maxFrame":3}"#;
    check(spec, b"abc\r\nabc\n", &["abc", "abc"], None);
    check(spec, b"ab\nabcd\nx\n", &["ab"], Some("frame at byte 3: a frame of at least 4 bytes exceeds `maxFrame`"));
}

#[test]
fn the_first_message_is_known_behind_it() {
    let (mut framer, mut out) = (framer(r#"{"type":"csv"}"#), Blobs::default());
    framer.push(b"\r\nb,\"a", &mut out).unwrap();
    assert_eq!(framer.first(), None);
    framer.push(b"\"\n1,2\n3,", &mut out).unwrap();
    assert_eq!(framer.first(), Some(b"b,\"a\"".as_slice()));
    framer.finish(&mut out).unwrap();
    assert_eq!(framer.first(), Some(b"b,\"a\"".as_slice()));
    let mut long = self::framer(r#"{"type":"lines"}"#);
    long.push(&[b'x'; 70_000], &mut out).unwrap();
    long.push(b"\ny\n", &mut out).unwrap();
    assert_eq!(long.first(), Some(b"".as_slice()));
}

#[test]
fn records_keep_the_line_ends_within_quotes() {
    let spec = r#"{"type":"csv"}"#;
    check(spec, b"a,\"x\ny\"\r\nb,\"\"\"\n\"\n\nc\"d,e\n", &["a,\"x\ny\"", "b,\"\"\"\n\"", "c\"d,e"], None);
    check(spec, b"a\nb,\"x\n", &["a"], Some("byte 2: the stream ends inside"));
    let spec = r#"{"type":"csv","delimiter":";","quote":"'"}"#;
    check(spec, b"a;'x\n';b\n\"\n", &["a;'x\n';b", "\""], None);
    // A byte order mark hides no quote, and a record that is wrong ends with its line.
    let spec = r#"{"type":"csv"}"#;
    check(spec, "\u{feff}\"i\nd\",b\n\"1\"x\"\n2\n".as_bytes(), &["\u{feff}\"i\nd\",b", "\"1\"x\"", "2"], None);
}

#[test]
fn lengths_stand_in_front() {
    check(r#"{"type":"length"}"#, b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c", &["ab", "", "c"], None);
    check(r#"{"type":"length","prefix":"u16","order":"little"}"#, b"\x02\0ab\x01\0c", &["ab", "c"], None);
    check(r#"{"type":"length","prefix":"u64"}"#, b"\0\0\0\0\0\0\0\x02ab\0", &["ab"], Some("byte 10: the stream ends"));
    let long = [&[0xac_u8, 0x02], "x".repeat(300).as_bytes(), b"\x01y"].concat();
    check(r#"{"type":"length","prefix":"varint"}"#, &long, &[&"x".repeat(300), "y"], None);
    check(r#"{"type":"length","prefix":"varint"}"#, &[0xff; 11], &[], Some("more than 64 bits"));
    check(r#"{"type":"length"}"#, b"GET / HTTP", &[], Some("1195725856 bytes exceeds `maxFrame`"));
}

#[test]
fn lengths_in_digits() {
    check(r#"{"type":"netstring"}"#, b"5:hello,0:,1:x,", &["hello", "", "x"], None);
    check(r#"{"type":"netstring"}"#, b"1:x,1:xx", &["x"], Some("byte 4: a netstring ends in a comma"));
    check(r#"{"type":"netstring"}"#, b"05:hello,", &[], Some("begins with a zero"));
    check(r#"{"type":"digits"}"#, b"0000000002ab0000000000", &["ab", ""], None);
    check(r#"{"type":"digits"}"#, b"00000x", &[], Some("the character `x`"));
    check(r#"{"type":"octet"}"#, b"5 hello2 <>\n<13>line\n1 x", &["hello", "<>", "<13>line", "x"], None);
}

#[test]
fn counted_messages_of_syslog_may_have_line_ends_and_lines_between_them() {
    let spec = r#"{"type":"octet"}"#;
    // Counts are of bytes: who counts characters is told, and the connection ends.
    check(spec, "9 <34>a\nb c9 <34>grüße".as_bytes(), &["<34>a\nb c", "<34>grü\u{fffd}"], Some("which is not a digit"));
    check(spec, "9 <34>a\nb c11 <34>grüße".as_bytes(), &["<34>a\nb c", "<34>grüße"], None);
    let mixed = "9 <34>a\nb c<34>by line\n11 <34>grüße<34>last, open";
    check(spec, mixed.as_bytes(), &["<34>a\nb c", "<34>by line", "<34>grüße", "<34>last, open"], None);
    let wrong = "the character `c`, which is not a digit; set the framing that the sender uses; or the length of the message before is wrong";
    check(spec, b"8 <34>a\nb c7 <34>x y", &["<34>a\nb "], Some(wrong));
    check(spec, b"10 <34>a\nb c7 <34>x y", &["<34>a\nb c7"], Some("the character ` `"));
    // By lines the counts show, so that the mistake can be seen.
    check(r#"{"type":"lines"}"#, b"9 <34>a\nb c7 <34>x y", &["9 <34>a", "b c7 <34>x y"], None);
}

#[test]
fn the_whole_stream_can_be_one_message() {
    check(r#"{"type":"none"}"#, b"a\nb", &["a\nb"], None);
    check(r#"{"type":"none"}"#, b"", &[], None);
    check(r#"{"type":"none","maxFrame":2}"#, b"abc", &[], Some("exceeds `maxFrame`"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[test]
fn compressed_streams_are_unpacked_first() {
    for (name, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let twice = [pack(b"a\nb"), pack(b"c\nd\n")].concat();
        for compression in [name, "auto"] {
            let spec = format!(r#"{{"compression":"{compression}"}}"#);
            check(&spec, &twice, &["a", "bc", "d"], None);
            check(&spec, b"", &[], None);
            let (messages, error) = frame(&spec, [&twice[..twice.len() - 3]]);
            assert!(!messages.is_empty() && error.unwrap().contains("compression"), "{spec}");
        }
        let (_, error) = frame(&format!(r#"{{"compression":"{name}"}}"#), [&b"plain text\n"[..]]);
        assert!(error.unwrap().contains(name));
    }
    check(r#"{"compression":"auto"}"#, b"plain\n(\n", &["plain", "("], None);
    check(r#"{"compression":"auto"}"#, b"(\xb5", &["(\u{fffd}"], None);
}

#[test]
fn a_message_comes_as_soon_as_its_bytes_are_there() {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(b"one\ntw").unwrap();
    writer.flush().unwrap();
    let (mut framer, mut out) = (framer(r#"{"compression":"gzip"}"#), Blobs::default());
    framer.push(writer.get_ref(), &mut out).unwrap();
    assert_eq!((out.len(), framer.held(), framer.position()), (1, 2, 4));
}

#[test]
fn a_bomb_does_not_go_off() {
    let bomb = "\n".repeat(64 << 20);
    for packed in [gzip(bomb.as_bytes()), zstd(bomb.as_bytes())] {
        let spec = r#"{"compression":"auto","maxFrame":"1KiB","maxGrowth":100}"#;
        let (messages, error) = frame(spec, [&packed[..]]);
        assert!(messages.is_empty() && error.unwrap().contains("raise `maxGrowth`"));
    }
}

#[test]
fn a_broken_stream_stays_broken() {
    let (mut framer, mut out) = (framer(r#"{"type":"digits"}"#), Blobs::default());
    let first = framer.push(b"x", &mut out).unwrap_err().to_string();
    assert_eq!(framer.push(b"0000000000", &mut out).unwrap_err().to_string(), first);
    assert_eq!(framer.finish(&mut out).unwrap_err().to_string(), first);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let check = |text: &str, part: &str| {
        let spec: FramingSpec = serde_json::from_str(text).unwrap();
        assert!(Framer::new(&spec).unwrap_err().to_string().contains(part), "{text}");
    };
    check(r#"{"type":"lines","prefix":"u16"}"#, "`prefix` belongs to type length");
    check(r#"{"type":"csv","delimiter":"\"","quote":"\""}"#, "are the same");
    check(r#"{"type":"length","prefix":"varint","order":"big"}"#, "no `order`");
    check(r#"{"maxFrame":0}"#, "maxFrame");
}

const SPECS: [&str; 8] = [
    r#"{"type":"lines","maxFrame":12}"#,
    r#"{"type":"csv","maxFrame":12}"#,
    r#"{"type":"length","prefix":"u16","maxFrame":600}"#,
    r#"{"type":"length","prefix":"varint"}"#,
    r#"{"type":"netstring"}"#,
    r#"{"type":"digits"}"#,
    r#"{"type":"octet"}"#,
    r#"{"type":"none"}"#,
];

/// Bytes that mean something to one framing or another.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            "\n",
            "\r\n",
            "\"",
            "\"\"",
            ",",
            "a",
            "2:ab,",
            "2 ab",
            "<1>x\n",
            "0000000002ab",
            "\0\x02ab",
            "\x02ab"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn pieces_do_not_matter(bytes in bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        for spec in SPECS {
            prop_assert_eq!(frame(spec, cut(&bytes, &cuts)), frame(spec, [&bytes[..]]), "{}", spec);
        }
    }

    #[test]
    fn pieces_of_compressed_streams_do_not_matter(
        bytes in bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), which in 0..3_usize
    ) {
        let packed = [gzip(&bytes), zstd(&bytes), [gzip(&bytes), gzip(b"x\n")].concat()][which].clone();
        let spec = r#"{"compression":"auto"}"#;
        prop_assert_eq!(frame(spec, cut(&packed, &cuts)), frame(spec, [&packed[..]]));
    }

    #[test]
    fn hostile_streams_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), flip in any::<(u16, u8)>()) {
        for spec in SPECS {
            frame(spec, [&bytes[..]]);
        }
        for mut packed in [gzip(&bytes), zstd(&bytes)] {
            let at = usize::from(flip.0) % packed.len();
            packed[at] ^= flip.1;
            frame(r#"{"compression":"auto"}"#, packed.chunks(7));
        }
    }
}
