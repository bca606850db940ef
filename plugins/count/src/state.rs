//! Counts as bytes: the same counts always give the same bytes.

use std::collections::HashMap;

use spout_guest::{Error, Result};

/// What a state begins with; the last byte is the version of the form.
const MAGIC: &[u8; 6] = b"count\x01";

/// The counts, sorted by key: names of the columns, number of keys, then length, key and count of each.
pub(crate) fn write(counts: &HashMap<Vec<u8>, u64>, keys: &[String]) -> Vec<u8> {
    let mut sorted: Vec<(&Vec<u8>, &u64)> = counts.iter().collect();
    sorted.sort_unstable();
    let mut state = MAGIC.to_vec();
    run(&mut state, keys.join("\0").as_bytes());
    state.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
    for (key, count) in sorted {
        run(&mut state, key);
        state.extend_from_slice(&count.to_le_bytes());
    }
    state
}

fn run(state: &mut Vec<u8>, bytes: &[u8]) {
    state.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    state.extend_from_slice(bytes);
}

/// The counts of a state that was written for `keys`.
///
/// # Errors
/// A state that is damaged, or of other keys.
pub(crate) fn read(state: &[u8], keys: &[String]) -> Result<HashMap<Vec<u8>, u64>> {
    let damaged = || Error::fatal("count.state", "the stored counts are damaged; start the pipeline on a new branch");
    let mut rest = state.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let names = next(&mut rest).ok_or_else(damaged)?;
    if names != keys.join("\0").as_bytes() {
        let had = String::from_utf8_lossy(names).replace('\0', ", ");
        let what = format!(
            "the stored counts are of the keys {had}, not {}; restore `keys` or start on a new branch",
            keys.join(", ")
        );
        return Err(Error::invalid_config(what));
    }
    let (entries, after) = rest.split_first_chunk().ok_or_else(damaged)?;
    rest = after;
    let mut counts = HashMap::new();
    while !rest.is_empty() {
        let key = next(&mut rest).ok_or_else(damaged)?.to_vec();
        let (count, after) = rest.split_first_chunk().ok_or_else(damaged)?;
        rest = after;
        counts.insert(key, u64::from_le_bytes(*count));
    }
    if counts.len() as u64 == u64::from_le_bytes(*entries) { Ok(counts) } else { Err(damaged()) }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(bytes)
}
