//! Fuzz targets: what a server sends, built and then changed.

use spout_fuzz::{Counting, Random, Target};

use crate::{
    frame::{
        Taken,
        tests::{framed, message, taken},
    },
    table::properties,
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Messages in frames, also changed ones: cuts change nothing, and what was not changed is what was sent.
#[test]
fn amqp_frames() {
    Target::new("amqp-frames", 20_000).seeds(frames);
}

/// Properties with tables of all types, changed.
#[test]
fn amqp_properties() {
    Target::new("amqp-properties", 20_000).seeds(tables);
}

fn frames(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    for tag in 0..1 + random.below(4) {
        if random.below(4) == 0 {
            bytes.extend(framed(8, 0, b""));
            continue;
        }
        let payload: Vec<u8> = (0..random.below(300)).map(|_| random.byte()).collect();
        let id = (random.below(2) == 0).then_some("an-id");
        bytes.extend(message(tag as u64, random.below(2) == 0, id, &payload, 1 + random.below(200)));
        sent.push(payload);
    }
    let changed = random.below(2) == 0;
    if changed {
        random.spoil(&mut bytes);
    }
    if bytes.is_empty() {
        return false;
    }
    let whole = taken(&bytes, bytes.len(), 1000);
    assert_eq!(whole, taken(&bytes, 1 + random.below(20), 1000), "cuts change nothing");
    if !changed {
        let body = |one: &Taken| match one {
            Taken::Message(message) => Some(message.body.to_vec()),
            _ => None,
        };
        assert_eq!(whole.0.iter().filter_map(body).collect::<Vec<_>>(), sent);
        assert_eq!(whole.1, None);
    }
    !whole.0.is_empty()
}

fn tables(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let mut table = Vec::new();
    for _ in 0..random.below(6) {
        table.extend([1, b'a' + random.byte() % 26]);
        let kind = b"tbBsuIilLfdDSATFVx"[random.below(18)];
        table.push(kind);
        let fixed = match kind {
            b't' | b'b' | b'B' => 1,
            b's' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'l' | b'L' | b'd' | b'T' => 8,
            b'D' => 5,
            b'V' => 0,
            _ => {
                let length = if matches!(kind, b'S' | b'x') { random.below(9) } else { 0 };
                table.extend((length as u32).to_be_bytes());
                length
            }
        };
        table.extend((0..fixed).map(|_| random.byte()));
    }
    let mut bytes = [&[0x20, 0][..], &(table.len() as u32).to_be_bytes(), &table].concat();
    if random.below(2) == 0 {
        let at = random.below(bytes.len());
        bytes[at] = random.byte();
        drop(properties(&mut bytes.clone().into()));
        bytes[at] = random.byte();
        return properties(&mut bytes.into()).is_some();
    }
    assert!(properties(&mut bytes.clone().into()).is_some(), "{bytes:?}");
    true
}
