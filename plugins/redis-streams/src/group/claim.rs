//! What a group looks at now and then: entries of consumers that are gone, and how far it is behind.

use std::time::Instant;

use spout_guest::{Result, metrics};

use super::Group;
use crate::{
    client::{Commands, Failed},
    entry::claimed,
    id::EntryId,
    info::Info,
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

    /// Says how many entries nobody was given yet, and how many are not acknowledged. What of these was not returned here waits: it was
    /// given to consumers that are gone, or to this one when a reply got lost.
    pub(super) fn measure(&mut self, until: Instant) -> Result<()> {
        let keys: Vec<String> = self.streams.keys().cloned().collect();
        let Some(replies) = self.inspect("GROUPS", &keys, GROUPS, until)? else {
            // So many groups that nobody can read of them: there is no figure.
            self.behind.measured(None);
            return Ok(());
        };
        // One that was deleted has nothing.
        let refused = |reply: &Value| matches!(reply, Value::Error(said) if !said.starts_with("ERR no such key"));
        let known = !replies.iter().any(refused);
        let mut standings: Vec<(&String, Standing)> = Vec::new();
        for (key, reply) in keys.iter().zip(&replies) {
            standings.extend(standing(reply, &self.name).map(|standing| (key, standing)));
        }
        let uncounted: Vec<String> =
            standings.iter().filter(|(_, one)| one.lag.is_none()).map(|(key, _)| (*key).clone()).collect();
        let most = self.max_entry.saturating_mul(2).saturating_add(GROUPS);
        let infos = self.inspect("STREAM", &uncounted, most, until)?.unwrap_or_default();
        for (key, info) in uncounted.iter().zip(infos.iter().map(Info::parse)) {
            // Whoever was given the newest entry is not behind, whether or not the server counts.
            let given = |one: &Standing| info.as_ref().is_some_and(|info| one.delivered == Some(info.newest));
            standings.iter_mut().filter(|(of, one)| *of == key && given(one)).for_each(|(_, one)| one.lag = Some(0));
        }
        let pending = standings.iter().fold(0, |sum: u64, (_, one)| sum.saturating_add(one.pending));
        let lag = |sum: u64, (_, one): &(_, Standing)| Some(sum.saturating_add(one.lag?));
        let behind = standings.iter().try_fold(0, lag).filter(|_| known);
        if let Some(behind) = behind {
            metrics::set("behind", behind as f64);
        }
        metrics::set("pending", pending as f64);
        let returned = u64::try_from(self.returned.len()).unwrap_or(u64::MAX);
        self.behind.measured(behind.map(|behind| behind.saturating_add(pending.saturating_sub(returned))));
        Ok(())
    }

    /// What `XINFO` says of each of these streams, in `most` bytes at the most; `None` if that is too much.
    fn inspect(&mut self, what: &str, keys: &[String], most: usize, until: Instant) -> Result<Option<Vec<Value>>> {
        let mut commands = Commands::default();
        keys.iter().for_each(|key| commands.add(&["XINFO", what, key]));
        if keys.is_empty() {
            return Ok(Some(Vec::new()));
        }
        match self.client.replies(&commands, most, until) {
            Ok(replies) => Ok(Some(replies)),
            Err(Failed::TooLarge) => Ok(None),
            Err(Failed::Other(error)) => Err(error),
        }
    }
}

/// How a group stands in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    /// How many entries it was not given yet. A server before Redis 7 does not say it, nor one that has lost count because entries were deleted.
    lag: Option<u64>,
    /// How many it was given and has not acknowledged.
    pending: u64,
    /// The newest entry that it was given.
    delivered: Option<EntryId>,
}

/// How the group of this name stands, after `XINFO GROUPS`.
fn standing(reply: &Value, name: &str) -> Option<Standing> {
    for group in reply.items()? {
        let pairs = group.items()?;
        let field = |wanted: &str| {
            pairs.chunks_exact(2).find_map(|pair| match pair {
                [name, value] if name.text() == Some(wanted) => Some(value),
                _ => None,
            })
        };
        if field("name").and_then(Value::text) == Some(name) {
            return Some(Standing {
                lag: field("lag").and_then(Value::count),
                pending: field("pending").and_then(Value::count)?,
                delivered: field("last-delivered-id").and_then(|id| id.text()?.parse().ok()),
            });
        }
    }
    None
}
