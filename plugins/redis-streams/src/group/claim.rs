//! What a group looks at now and then: entries of consumers that are gone, and how far it is behind.

use std::time::Instant;

use spout_guest::{Result, metrics};

use super::Group;
use crate::{
    client::{Commands, Failed},
    entry::claimed,
    id::EntryId,
    resp::Value,
};

/// Entries that are claimed at a time from one stream.
const CLAIMED: usize = 100;
/// Most bytes of what the server says of the groups of a stream.
const GROUPS: usize = 1 << 20;

impl Group {
    /// Takes over what other consumers were given and have not acknowledged for so long.
    pub(super) fn claim(&mut self, until: Instant) -> Result<()> {
        let Some(min_idle) = self.min_idle else { return Ok(()) };
        for key in self.streams.keys().cloned().collect::<Vec<_>>() {
            let from = self.streams.get(&key).map_or(EntryId::default(), |stream| stream.claim);
            let mut words: Vec<String> = ["XAUTOCLAIM", &key, &self.name, &self.consumer].map(str::to_owned).into();
            words.extend([min_idle.as_millis().to_string(), from.to_string(), "COUNT".into(), CLAIMED.to_string()]);
            let bytes = self.average.saturating_mul(CLAIMED * 4);
            // What is too large to be read as one reply is this consumer's now, and read as such.
            let Some(reply) = self.given(&words, bytes, until)? else { continue };
            let (next, entries) = claimed(reply).ok_or_else(|| self.garbled("XAUTOCLAIM"))?;
            if let Some(stream) = self.streams.get_mut(&key) {
                stream.claim = next;
            }
            self.take(&key, entries);
        }
        Ok(())
    }

    /// Says how many entries nobody was given yet, and how many are not acknowledged.
    pub(super) fn measure(&mut self, until: Instant) -> Result<()> {
        let mut commands = Commands::default();
        let keys: Vec<&String> = self.streams.keys().collect();
        keys.iter().for_each(|key| commands.add(&["XINFO", "GROUPS", key]));
        if keys.is_empty() {
            return Ok(());
        }
        let replies = match self.client.replies(&commands, GROUPS, until) {
            Ok(replies) => replies,
            // So many groups that nobody can read of them: there is no figure.
            Err(Failed::TooLarge) => return Ok(()),
            Err(Failed::Other(error)) => return Err(error),
        };
        let (mut behind, mut pending) = (Some(0), 0);
        for reply in &replies {
            let Some((lag, unacknowledged)) = standing(reply, &self.name) else { continue };
            behind = behind.zip(lag).map(|(behind, lag)| behind + lag);
            pending += unacknowledged;
        }
        if let Some(behind) = behind {
            metrics::set("behind", behind as f64);
        }
        metrics::set("pending", pending as f64);
        Ok(())
    }
}

/// How many entries a group was not given yet, if the server knows, and how many it has not acknowledged.
fn standing(reply: &Value, name: &str) -> Option<(Option<u64>, u64)> {
    for group in reply.items()? {
        let pairs = group.items()?;
        let field = |wanted: &str| {
            pairs.chunks_exact(2).find_map(|pair| match pair {
                [name, value] if name.text() == Some(wanted) => Some(value),
                _ => None,
            })
        };
        if field("name").and_then(Value::text) == Some(name) {
            // A server before Redis 7 does not say it, nor one that has lost count because entries were deleted.
            return Some((field("lag").and_then(Value::count), field("pending").and_then(Value::count)?));
        }
    }
    None
}
