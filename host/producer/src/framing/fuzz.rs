//! Streams cut into messages: the same messages and the same fault however the bytes arrive.

use std::io::Write as _;

use spout_fuzz::{Corpus, Target};

use super::tests::frame;

const SPECS: [&str; 9] = [
    r#"{"type":"lines","maxFrame":1000}"#,
    r#"{"type":"csv","maxFrame":1000,"delimiter":";"}"#,
    r#"{"type":"length","maxFrame":1000,"prefix":"u16","order":"little"}"#,
    r#"{"type":"length","maxFrame":1000,"prefix":"varint"}"#,
    r#"{"type":"length","maxFrame":1000,"prefix":"u64"}"#,
    r#"{"type":"netstring","maxFrame":1000}"#,
    r#"{"type":"digits","maxFrame":1000}"#,
    r#"{"type":"octet","maxFrame":1000}"#,
    r#"{"type":"none","maxFrame":1000}"#,
];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// One byte says which framing and which compression; the others are the stream.
fn corpus(target: &str) -> Corpus {
    let streams: [&[u8]; 9] = [
        b"one\r\n\ntwo\nlast",
        b"a;\"x\ny\"\r\nb;c\n\"open",
        b"\x03\0abc\0\0\x01\0x",
        b"\x03abc\0\xac\x02",
        b"\0\0\0\0\0\0\0\x02ab",
        b"5:hello,0:,",
        b"0000000003abc0000000000",
        b"5 hello<34>1 line\n3 abc",
        b"all of it",
    ];
    let with = |(number, stream): (usize, Vec<u8>)| [vec![u8::try_from(number).unwrap()], stream].concat();
    let plain = streams.iter().map(|stream| stream.to_vec());
    let gzipped = streams.iter().map(|stream| gzip(stream));
    let zstd = streams.iter().map(|stream| zstd::encode_all(*stream, 1).unwrap());
    let all = plain.chain(gzipped).chain(zstd).enumerate().map(with);
    Corpus::of_room(env!("CARGO_MANIFEST_DIR"), target).and(all.collect::<Vec<_>>())
}

#[test]
fn framing() {
    Target::new("framing", 4_000).within(8 << 20).bytes(&corpus("framing"), |bytes| {
        let Some((number, stream)) = bytes.split_first() else { return false };
        let (spec, packed) = (usize::from(*number) % SPECS.len(), usize::from(*number) / SPECS.len() % 3);
        let compression = [r#""none""#, r#""gzip""#, r#""zstd""#][packed];
        let spec = SPECS[spec].replace('}', &format!(r#","compression":{compression}}}"#));
        let whole = frame(&spec, [stream]);
        for pieces in [1, 7, 64] {
            let (messages, error) = frame(&spec, stream.chunks(pieces));
            // How far a stream was unpacked when it was found to be broken is a matter of its pieces.
            let broken = packed > 0 && error.is_some() && whole.1.is_some();
            let fewer = messages.len().min(whole.0.len());
            assert_eq!(messages[..fewer], whole.0[..fewer], "{spec}, {pieces} bytes at a time");
            assert!(broken || messages.len() == whole.0.len(), "{spec}, {pieces} bytes at a time");
            let same = broken || error == whole.1;
            assert!(same, "{spec}, {pieces} bytes at a time: {error:?}, and whole {:?}", whole.1);
        }
        assert!(whole.0.iter().all(|message| message.len() <= 1000), "{spec}");
        !whole.0.is_empty()
    });
}
