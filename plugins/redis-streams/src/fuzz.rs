//! A fuzz target: what a server replies, however it is cut.

use bytes::BytesMut;
use spout_fuzz::{Corpus, Counting, Target};

use crate::{
    entry::{claimed, entries, streams},
    info::Info,
    resp::{Parser, Value, Wrong},
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Most bytes of a reply here.
const MOST: usize = 4096;

/// Replies, the same however they come and never larger than they may be; and what is made of those that are whole.
#[test]
fn redis_replies() {
    let inputs: [&[u8]; 7] = [
        b"*1\r\n*2\r\n$1\r\ns\r\n*2\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\n6-0\r\n*-1\r\n",
        b"*10\r\n+length\r\n:2\r\n+last-generated-id\r\n+6-0\r\n+entries-added\r\n:2\r\n+first-entry\r\n*2\r\n+5-1\r\n*0\r\n+last-entry\r\n*2\r\n+6-0\r\n*0\r\n",
        b"%1\r\n$1\r\na\r\n~2\r\n:1\r\n#t\r\n",
        b"|1\r\n+ttl\r\n:1\r\n>2\r\n+message\r\n+x\r\n_\r\n",
        b"-WRONGPASS invalid\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"*2\r\n(123\r\n,1.5\r\n",
    ];
    let words = [
        "\r\n",
        "*-1\r\n",
        "$-1\r\n",
        "*1\r\n",
        "*9223372036854775807\r\n",
        "$4096\r\n",
        "%2\r\n",
        "5-1",
        "0-0",
        "18446744073709551615-0",
    ];
    let read = |bytes: &[u8], size: usize| -> Result<Option<Value>, Wrong> {
        let (mut parser, mut got) = (Parser::new(MOST), BytesMut::new());
        for piece in bytes.chunks(size) {
            got.extend_from_slice(piece);
            if let Some(value) = parser.advance(&mut got)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    Target::new("redis-replies", 20_000).within(2 << 20).bytes(&Corpus::of(inputs).words(&words), |bytes| {
        let whole = read(bytes, usize::MAX);
        assert_eq!(whole, read(bytes, 1 + bytes.len() % 13), "cuts change nothing");
        let Ok(Some(value)) = whole else { return false };
        // No count of a stream is larger than one that fits.
        assert!(Info::parse(&value).is_none_or(|info| info.length <= u64::MAX / 2));
        drop(streams(value.clone()));
        drop(claimed(value.clone()));
        drop(entries(value));
        true
    });
}
