//! Fuzz targets: what a broker sends, built and then changed.

use spout_fuzz::{Counting, Random, Target};
use spout_guest::testing::in_pieces;

use crate::{
    packet::{Packet, Version, packet},
    serial::{Serials, Turn},
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Packets, also changed ones: cuts change nothing, and messages that were not changed are those that were sent.
#[test]
fn mqtt_packets() {
    Target::new("mqtt-packets", 20_000).seeds(packets);
}

/// Numbers in any order: no two messages of a connection that wait have one serial.
#[test]
fn mqtt_serials() {
    Target::new("mqtt-serials", 5_000).seeds(serials);
}

fn text(random: &mut Random, into: &mut Vec<u8>) {
    let length = [0, 1, 3, 40][random.below(4)];
    into.extend((length as u16).to_be_bytes());
    into.extend((0..length).map(|_| b'a' + random.byte() % 26));
}

fn message(random: &mut Random, version: Version) -> (Vec<u8>, Vec<u8>) {
    let qos = random.below(3) as u8;
    let mut body = vec![0, 1, b't'];
    if qos > 0 {
        body.extend((1 + random.below(65_535) as u16).to_be_bytes());
    }
    if version == Version::V5 {
        let mut list = Vec::new();
        for _ in 0..random.below(3) {
            list.push([0x26, 0x03, 0x08, 0x09][random.below(4)]);
            text(random, &mut list);
            if list.len() > 60 {
                break;
            }
        }
        // A pair has two texts, all others here one.
        let sound = !list.contains(&0x26) && list.len() < 128;
        body.push(if sound { list.len() as u8 } else { 0 });
        body.extend(if sound { list } else { Vec::new() });
    }
    let payload: Vec<u8> = (0..random.below(300)).map(|_| random.byte()).collect();
    body.extend(&payload);
    let mut bytes = vec![0x30 | qos << 1 | (random.below(2) as u8) << 3];
    bytes.extend([(body.len() & 127) as u8 | 128, (body.len() >> 7) as u8]);
    bytes.extend(body);
    (bytes, payload)
}

fn packets(seed: u64) -> bool {
    let mut random = Random::new(seed);
    let version = if random.below(2) == 0 { Version::V3 } else { Version::V5 };
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(4) {
        if random.below(3) == 0 {
            let fixed: [&[u8]; 4] = [b"\xd0\0", b"\x62\x02\0\x01", b"\xb0\x02\0\x02", b"\x20\x02\0\0"];
            bytes.extend(random.pick(&fixed));
        } else {
            let (packet, payload) = message(&mut random, version);
            bytes.extend(packet);
            sent.push(payload);
        }
    }
    let changed = random.below(2) == 0;
    if changed {
        random.spoil(&mut bytes);
    }
    let read = |size: usize| in_pieces(&bytes, size, |got| packet(got, version, 1000));
    let whole = read(bytes.len());
    assert_eq!(whole, read(1 + random.below(20)), "cuts change nothing");
    if !changed {
        let payload = |packet: &Packet| match packet {
            Packet::Message(message) => Some(message.payload.to_vec()),
            _ => None,
        };
        assert_eq!(whole.0.iter().filter_map(payload).collect::<Vec<_>>(), sent);
        assert_eq!(whole.1, None);
    }
    !whole.0.is_empty()
}

fn serials(seed: u64) {
    let mut random = Random::new(seed);
    let (mut state, mut turn) = (Serials::new(1, random.below(4) == 0), Turn::default());
    let mut waits = std::collections::BTreeMap::new();
    let mut number = random.below(65_535) as u16;
    for _ in 0..random.below(300) {
        match random.below(8) {
            0 => {
                turn.connected();
                waits.clear();
            }
            1 => {
                if let Some((number, _)) = waits.pop_first() {
                    turn.acknowledged(number);
                }
            }
            _ => {}
        }
        number = match random.below(20) {
            0 => random.below(65_535) as u16 + 1,
            _ => number % 65_535 + 1,
        };
        if waits.contains_key(&number) {
            continue;
        }
        let serial = state.of(number, random.below(2) == 0, &mut turn);
        assert!(waits.values().all(|other| *other != serial), "{serial:?} of {number} waits already");
        waits.insert(number, serial);
    }
}
