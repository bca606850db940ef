//! Streams that were damaged or made up: the same files and the same fault however the bytes arrive, and nothing is held whole.

use flate2::{Compression, write::GzEncoder};
use spout_fuzz::{Corpus, Counting, Target};
use std::io::Write as _;
use tokio::io::AsyncReadExt as _;

use super::{
    tests::{
        Dripping,
        builder::{Made, archive, pax, raw},
    },
    *,
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Content that is read of an entry; what is more is skipped, as a file of holes alone may claim any size.
const READ: u64 = 100_000;
/// Entries and archives that are looked at.
const STEPS: usize = 300;

fn corpus(target: &str) -> Corpus {
    let sparse = "22\u{20}GNU.sparse.major=1\n22\u{20}GNU.sparse.minor=0\n30 GNU.sparse.realsize=100000\n";
    let whole = [
        archive(&[Made::file("a.txt", "one"), Made::directory("d/"), Made::file("d/b", &"x".repeat(1500))]),
        archive(&[Made::pax(&[("path", "long/é"), ("size", "3")]), Made::file("short", "abc")]),
        archive(&[pax(sparse.as_bytes()), Made::file("s", &format!("1\n512\n3\n{}", "\0".repeat(503)))]),
        archive(&[
            Made { kind: b'L', ..Made::file("././@LongLink", &"n".repeat(150)) },
            Made { wide: true, ..Made::file("x", "yz") },
        ]),
        raw(&[Made { signed: true, old: true, ..Made::file("old", "text") }]),
    ];
    let two = [whole[0].clone(), whole[1].clone()].concat();
    Corpus::of_room(env!("CARGO_MANIFEST_DIR"), target).and(whole).and([two]).words(&[
        "GNU.sparse.map=",
        "GNU.sparse.major=1\n",
        "path=../x\n",
        "size=99999999999999\n",
        "\0\0\0\0\0\0\0\0",
        "00000000010\0",
        "ustar\0",
        "ustar  ",
    ])
}

/// The checksum of each header made right, so that what is in it is looked at.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block.get(257..262) == Some(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

/// What is read, and what is wrong after it.
async fn read(bytes: &[u8], at_once: usize) -> (Vec<String>, Option<String>) {
    let (mut archives, mut found) = (Archives::new(Dripping(bytes, at_once), "a stream"), Vec::new());
    for _ in 0..STEPS {
        match archives.next().await {
            Ok(Step::Entry(entry)) => {
                let mut content = Vec::new();
                if archives.content().take(READ).read_to_end(&mut content).await.is_err() {
                    return (found, archives.broken().map(|error| error.to_string()));
                }
                let whole = content.len() as u64 == entry.size.min(READ);
                assert!(whole, "{entry:?} has {} bytes", content.len());
                let sum: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
                found.push(format!("{entry:?} {sum}"));
            }
            Ok(step @ Step::End) => found.push(format!("{step:?}")),
            Ok(Step::Over) => return (found, None),
            Err(error) => return (found, Some(format!("{error}: {}", error.fault))),
        }
    }
    (found, None)
}

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A stream is read in the same way whole and in drops.
#[test]
fn tar() {
    Target::new("tar", 1_500).within(4 << 20).bytes(&corpus("tar"), |bytes| {
        let bytes = summed(bytes);
        now(async {
            let whole = read(&bytes, usize::MAX).await;
            assert_eq!(read(&bytes, 1 + bytes.len() / 3).await, whole);
            if bytes.len() < 4096 {
                assert_eq!(read(&bytes, 1).await, whole);
            }
            !whole.0.is_empty()
        })
    });
}

/// What is unpacked keeps to what it may grow to.
#[test]
fn gzip() {
    let packed = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let two = [packed(b"one"), packed(b"two")].concat();
    let inputs = [packed(&[7; 200_000]), two, b"plain".to_vec()];
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), "gzip").and(inputs);
    Target::new("gzip", 2_000).within(4 << 20).bytes(&corpus, |bytes| {
        now(async {
            let mut plain = Vec::new();
            let read = Unpacked::new(bytes, 100_000).read_to_end(&mut plain).await;
            assert!(read.is_err() || plain.len() <= 100_000, "{} bytes", plain.len());
            read.is_ok()
        })
    });
}
