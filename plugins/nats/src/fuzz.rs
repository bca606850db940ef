//! A fuzz target: what a server sends, however it is cut.

use spout_fuzz::{Corpus, Counting, Target};
use spout_guest::{Messages, testing::in_pieces};

use crate::protocol::{Frame, Place, frame};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Most bytes of a message here.
const MOST: usize = 4096;

/// Frames, the same however they come and never larger than they may be; and what is made of messages.
#[test]
fn nats_frames() {
    let inputs: [&[u8]; 6] = [
        b"INFO {\"server_id\":\"X\",\"headers\":true}\r\nPING\r\n+OK\r\n",
        b"MSG a 2 $JS.ACK.S.c.1.5.1.1000000.1 2\r\nm1\r\nPONG\r\n",
        b"MSG a 2 $JS.ACK.domain.hash.S.c.1.5.1.1000000.1.x 2\r\nm1\r\n",
        b"HMSG b 2 $JS.ACK.S.c.1.6.2.2999999.0 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nm2\r\n",
        b"HMSG x 2 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n",
        b"-ERR 'Authorization Violation'\r\n",
    ];
    let words = [
        "\r\n",
        "MSG ",
        "HMSG ",
        "$JS.ACK.",
        "NATS/1.0",
        " 99999999999",
        "18446744073709551615",
        " 0\r\n\r\n",
        "PING\r\n",
        "\t",
    ];
    let read = |bytes: &[u8], size: usize| in_pieces(bytes, size, |got| frame(got, MOST));
    Target::new("nats-frames", 20_000).within(2 << 20).bytes(&Corpus::of(inputs).words(&words), |bytes| {
        let whole = read(bytes, usize::MAX);
        assert_eq!(whole, read(bytes, 1 + bytes.len() % 13), "cuts change nothing");
        for frame in &whole.0 {
            let Frame::Message(message) = frame else { continue };
            assert!(message.payload.len() + message.head.len() <= MOST, "{message:?}");
            assert!(message.status().is_none_or(|(_, says)| says.len() <= MOST), "{message:?}");
            if let Some(place) = message.reply.as_deref().and_then(|reply| Place::parse(reply, "c")) {
                message.add(place.sequence, place, &mut Messages::default());
            }
        }
        !whole.0.is_empty()
    });
}
