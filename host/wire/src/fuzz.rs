//! What a peer may send to a relay, and what users write of sockets.

use spout_fuzz::{Corpus, Counting, Target};

use super::{Endpoint, relay};

#[global_allocator]
static MEMORY: Counting = Counting;

const CAP: u64 = 4096;

/// What passes is a beginning of what came, and no message in it is larger than the limit.
#[test]
fn zmtp() {
    let greeting = [b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec(), vec![0; 64 - 16]].concat();
    let ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB".to_vec();
    let long = [vec![2, 0, 0, 0, 0, 0, 0, 1, 0], vec![7; 256]].concat();
    let whole = [greeting.clone(), ready, b"\x01\x03abc\0\x02de".to_vec(), long].concat();
    let many = [greeting, [1_u8, 0].repeat(80), vec![0, 1, b'x']].concat();
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), "zmtp").and([whole, many]);
    Target::new("zmtp", 4_000).within(2 << 20).bytes(&corpus, |bytes| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut out = Vec::new();
        let sound = runtime.block_on(relay::inwards(bytes, &mut out, CAP, None)).is_ok();
        // A length may come as one byte or as eight, and leaves as it came.
        assert!(bytes.starts_with(&out), "{:?} came of {:?}", out.escape_ascii(), bytes.escape_ascii());
        let mut rest = out.get(64..).unwrap_or_default();
        let mut message = 0;
        while let [flags, after @ ..] = rest {
            let (length, after) = match (flags & 2, after) {
                (0, [length, after @ ..]) => (u64::from(*length), after),
                (_, [a, b, c, d, e, f, g, h, after @ ..]) => {
                    (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), after)
                }
                _ => break,
            };
            message += length;
            assert!(message <= CAP, "a message of {message} bytes passed");
            rest = after.get(usize::try_from(length).unwrap()..).unwrap_or_default();
            if flags & 1 == 0 {
                message = 0;
            }
        }
        sound && out.len() > 64
    });
}

/// A socket that was read is written so that it is read again.
#[test]
fn endpoint() {
    let inputs = ["tcp://127.0.0.1:5556", "tcp://[::1]:0", "tcp://*:70", "ipc:///run/rows.sock", "ipc://a/b"];
    let corpus = Corpus::of(inputs).words(&["tcp://", "ipc://", ":", "[", "]", "*", "@", "/", "65536", "é"]);
    Target::new("endpoint", 20_000).bytes(&corpus, |bytes| {
        let Some(read) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Endpoint>().ok()) else {
            return false;
        };
        assert_eq!(read.to_string().parse::<Endpoint>(), Ok(read));
        true
    });
}
