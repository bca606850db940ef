//! A snapshot that only the plugin can read, in parts that follow its content: what did not change is not written again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use spout_data::Part;

/// The part that is a small snapshot, whole.
const WHOLE: &str = "snapshot";
/// The part that lists the chunks of a larger one.
const LIST: &str = "chunks";
/// What a chunk's part is called, before its hash.
const CHUNK: &str = "chunk-";

/// Snapshots up to this size are one part.
const SMALL: usize = 64 << 10;
/// Chunks have at least, and at most, so many bytes, 64 KiB on average.
const LEAST: usize = 16 << 10;
const MOST: usize = 256 << 10;
/// A chunk ends where these bits of the rolling hash are nought.
const MASK: u64 = 0xffff << 48;

/// Which chunks the last snapshot has.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    written: BTreeSet<String>,
}

impl Chunks {
    /// The parts of `snapshot`; none if it is empty.
    pub(super) fn parts(&mut self, snapshot: &Bytes) -> BTreeMap<String, Part> {
        let before = std::mem::take(&mut self.written);
        if snapshot.is_empty() {
            return BTreeMap::new();
        }
        if snapshot.len() <= SMALL {
            return [(WHOLE.to_owned(), Part::from(snapshot.clone()))].into();
        }
        let (mut parts, mut names, mut from) = (BTreeMap::new(), Vec::new(), 0);
        while from < snapshot.len() {
            let to = from + cut(snapshot.get(from..).unwrap_or_default());
            let chunk = snapshot.slice(from..to);
            let hash: String = Sha256::digest(&chunk).iter().map(|byte| format!("{byte:02x}")).collect();
            let name = format!("{CHUNK}{hash}");
            let part = if before.contains(&name) { Part::Kept } else { Part::from(chunk) };
            parts.insert(name.clone(), part);
            self.written.insert(name);
            names.push(hash);
            from = to;
        }
        parts.insert(LIST.into(), Part::from(names.join("\n").into_bytes()));
        parts
    }

    /// Takes its own parts out of those of a snapshot: the snapshot, which is empty if there was none.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<Bytes, String> {
        let Some(list) = parts.remove(LIST) else { return Ok(parts.remove(WHOLE).unwrap_or_default()) };
        let list = str::from_utf8(&list).map_err(|_| format!("its part `{LIST}` is not text"))?;
        let names: Vec<String> = list.lines().map(|hash| format!("{CHUNK}{hash}")).collect();
        let mut snapshot = Vec::new();
        for name in &names {
            snapshot.extend_from_slice(parts.get(name).ok_or_else(|| format!("its part `{name}` is missing"))?);
        }
        self.written = names.into_iter().collect();
        parts.retain(|name, _| !self.written.contains(name));
        Ok(snapshot.into())
    }
}

/// Length of the chunk that `bytes` begin with. It depends on the 64 bytes before its end alone, so an insertion changes the
/// chunk it is in and perhaps the next.
fn cut(bytes: &[u8]) -> usize {
    let mut hash = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(MOST).skip(LEAST - 64) {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if at >= LEAST && hash & MASK == 0 {
            return at;
        }
    }
    bytes.len().min(MOST)
}

/// A random number for each byte (SplitMix64 from nought).
static GEAR: [u64; 256] = {
    let (mut table, mut at, mut state) = ([0; 256], 0, 0_u64);
    while at < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    /// Stores parts as a commit does; how many bytes were written.
    fn save(chunks: &mut Chunks, snapshot: &[u8], stored: &mut BTreeMap<String, Bytes>) -> usize {
        let mut written = 0;
        let part = |(name, part): (String, Part)| match part {
            Part::New(bytes) => {
                written += bytes.len();
                (name, bytes)
            }
            Part::Kept => (name.clone(), stored[&name].clone()),
        };
        *stored = chunks.parts(&snapshot.to_vec().into()).into_iter().map(part).collect();
        let restored = Chunks::default().restore(&mut stored.clone()).unwrap();
        assert!(restored == snapshot, "{} bytes", snapshot.len());
        written
    }

    #[test]
    fn a_large_snapshot_that_changes_little_costs_little() {
        let mut dice = StdRng::seed_from_u64(7);
        let mut state: Vec<u8> = (0..8 << 20).map(|_| dice.random()).collect();
        let (mut chunks, mut stored) = (Chunks::default(), BTreeMap::new());
        let whole = save(&mut chunks, &state, &mut stored);
        assert!((8 << 20..9 << 20).contains(&whole), "{whole}");
        assert!((40..300).contains(&stored.len()), "{} chunks", stored.len());
        assert!(save(&mut chunks, &state, &mut stored) < 20_000, "nothing changed");
        state[1 << 20] ^= 1;
        state.splice(5 << 20..5 << 20, *b"more");
        let changed = save(&mut chunks, &state, &mut stored);
        assert!(changed < 20_000 + 4 * MOST && changed * 8 < whole, "{changed} of {whole}");
        let (mut again, mut parts) = (Chunks::default(), stored.clone());
        parts.insert("other".into(), Bytes::new());
        again.restore(&mut parts).unwrap();
        assert_eq!(parts.len(), 1, "it takes its own parts alone");
        assert!(save(&mut again, &state, &mut stored) < 20_000, "a restart knows what is written");
    }

    #[test]
    fn snapshots_of_any_size_come_back() {
        let (mut chunks, mut stored) = (Chunks::default(), BTreeMap::new());
        for size in [0, 1, SMALL, SMALL + 1, 3 * MOST, MOST * 5 + 1, 10] {
            save(&mut chunks, &vec![7; size], &mut stored);
        }
        let mut missing = [(LIST.to_owned(), Bytes::from_static(b"aa"))].into();
        assert!(Chunks::default().restore(&mut missing).unwrap_err().contains("chunk-aa"));
    }
}
