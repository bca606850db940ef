//! Which messages were taken before, for a source that sends again what was not acknowledged.
//!
//! Every message has an id, and the position of every run says which ids were taken up to it, so that they are committed with the
//! messages. An id is *open* from its delivery until the source has been told that the message is durable, then *settled*. Those that
//! were open when the plugin or the host crashed are *doubtful*: the source may send them again, once it notices. Where several readers share
//! the stream, each also knows what the others had committed.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use spout_base::clock::{self, Instant};
use spout_data::{Messages, PartitionId, Period, Position};

use super::whole::StreamToken;

/// The header that the id of a message is in.
const ID: &str = "message-id";

/// Bytes of an id's digest.
const DIGEST: usize = 16;

/// How often as many ids may be in doubt as may be open.
const DOUBTS: usize = 10;

/// Which messages are recognized when a source sends them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DedupeSpec {
    /// How many messages are remembered after they were acknowledged. One that the source sends again later than that is committed
    /// twice.
    pub window: u32,
    /// How many messages may wait to be acknowledged; all of them are remembered. A commit is made before there are more.
    pub unacknowledged: u32,
    /// How long after a crash the source may take to send again what was not acknowledged.
    pub redelivery: Period,
}

impl Default for DedupeSpec {
    fn default() -> Self {
        Self { window: 1000, unacknowledged: 10_000, redelivery: Period(Duration::from_secs(3600)) }
    }
}

pub(super) type Id = [u8; DIGEST];

/// The ids that a position says were taken up to it; none if it cannot be read.
pub(super) fn ids(position: &Position) -> HashSet<Id> {
    let token = position.token.as_ref().and_then(|_| StreamToken::read(position).ok());
    token.map(|token| token.ids.as_chunks::<DIGEST>().0.iter().copied().collect()).unwrap_or_default()
}

/// What is known of an id. A list may have it more than once; the entry that counts has this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Open(u64),
    Doubtful(u64),
    Settled(u64),
}

/// The ids that are remembered.
#[derive(Debug)]
pub(super) struct Seen {
    spec: DedupeSpec,
    known: HashMap<Id, Mark>,
    /// By the offset of their last delivery, which rises.
    open: VecDeque<(u64, Id)>,
    doubtful: VecDeque<(Instant, u64, Id)>,
    settled: VecDeque<(u64, Id)>,
    /// Entries of `settled` that do not count any more.
    stale: usize,
    next: u64,
    /// How many are open, and doubtful, each once.
    counts: (usize, usize),
    /// What other readers of the stream had taken when they were at a position that is durable now, or will be before ours is.
    others: BTreeMap<PartitionId, HashSet<Id>>,
}

impl Seen {
    /// Nothing was seen.
    pub(super) fn new(spec: DedupeSpec) -> Self {
        Self {
            spec,
            known: HashMap::new(),
            open: VecDeque::new(),
            doubtful: VecDeque::new(),
            settled: VecDeque::new(),
            stale: 0,
            next: 0,
            counts: (0, 0),
            others: BTreeMap::new(),
        }
    }

    /// Another reader of the stream is at this position.
    pub(super) fn other(&mut self, reader: PartitionId, at: &Position) {
        self.others.insert(reader, ids(at));
    }

    /// What was seen up to this position.
    pub(super) fn read(spec: DedupeSpec, position: &Position) -> Self {
        // A position of which no more can be read stops the pipeline when it is gone on from.
        let token = position.token.as_ref().and_then(|_| StreamToken::read(position).ok());
        token.map_or_else(|| Self::new(spec.clone()), |token| Self::of(spec.clone(), token.doubtful, &token.ids))
    }

    /// What [`Seen::write`] has written: the first `doubtful` of them may be sent again.
    fn of(spec: DedupeSpec, doubtful: Option<usize>, ids: &[u8]) -> Self {
        let mut seen = Self::new(spec);
        let (all, _) = ids.as_chunks::<DIGEST>();
        let (doubts, settled) = all.split_at_checked(doubtful.unwrap_or(0)).unwrap_or((all, &[]));
        settled.iter().for_each(|id| seen.settle(*id));
        let now = clock::now();
        doubts.iter().for_each(|id| seen.doubt(*id, now));
        seen
    }

    /// The ids, and how many of them, the first ones, are not settled.
    pub(super) fn write(&self) -> (usize, Vec<u8>) {
        let mut ids = Vec::with_capacity(self.known.len() * DIGEST);
        // Where each entry of a list counts, as it does unless something was sent again, none is looked up.
        let (open, doubts) = self.counts;
        let doubtful = self.doubtful.iter().map(|(_, n, id)| (id, Mark::Doubtful(*n)));
        self.add(&mut ids, doubtful, self.doubtful.len() == doubts);
        self.add(&mut ids, self.open.iter().map(|(offset, id)| (id, Mark::Open(*offset))), self.open.len() == open);
        let count = ids.len() / DIGEST;
        self.add(&mut ids, self.settled.iter().map(|(n, id)| (id, Mark::Settled(*n))), self.stale == 0);
        (count, ids)
    }

    /// Adds the ids of entries that count, which all of them do if it is `sure`.
    fn add<'a>(&self, ids: &mut Vec<u8>, entries: impl Iterator<Item = (&'a Id, Mark)>, sure: bool) {
        for (id, mark) in entries {
            if sure || self.known.get(id) == Some(&mark) {
                ids.extend_from_slice(id);
            }
        }
    }

    /// Those of `messages` that were not taken before; the first has this offset of the stream.
    pub(super) fn take(&mut self, messages: Messages, offset: u64) -> Messages {
        let fresh: Vec<bool> =
            (offset..).zip(0..messages.len()).map(|(offset, at)| self.is_new(id(&messages, at), offset)).collect();
        if fresh.iter().all(|fresh| *fresh) {
            return messages;
        }
        let mut kept = Messages::default();
        let mut from = 0;
        for run in fresh.chunk_by(|left, right| left == right) {
            if run.first() == Some(&true) {
                kept.append(messages.slice(from..from + run.len()));
            }
            from += run.len();
        }
        kept
    }

    /// Notes a delivery; whether it is the first of its message. One that another reader has taken stays that one's: ids of two readers are
    /// never the same, by which a message that two of them take is noticed.
    fn is_new(&mut self, id: Id, offset: u64) -> bool {
        if !self.known.contains_key(&id) && self.others.values().any(|ids| ids.contains(&id)) {
            return false;
        }
        let before = self.known.insert(id, Mark::Open(offset));
        self.open.push_back((offset, id));
        match before {
            Some(Mark::Open(_)) => {}
            Some(Mark::Doubtful(_)) => self.counts = (self.counts.0 + 1, self.counts.1.saturating_sub(1)),
            Some(Mark::Settled(_)) => {
                self.stale += 1;
                self.counts.0 += 1;
            }
            None => self.counts.0 += 1,
        }
        before.is_none()
    }

    /// How many more messages may be taken, once what cannot come again is forgotten.
    pub(super) fn room_now(&mut self) -> u32 {
        self.expire();
        self.room()
    }

    /// How many more messages may be taken.
    fn room(&self) -> u32 {
        let open = u32::try_from(self.counts.0).unwrap_or(u32::MAX);
        self.spec.unacknowledged.saturating_sub(open)
    }

    /// Whether a commit should be made soon, because many wait to be acknowledged.
    pub(super) fn is_pressing(&self) -> bool {
        self.room() <= self.spec.unacknowledged / 2
    }

    /// The source was told that everything before this offset of the stream is durable.
    pub(super) fn acknowledged(&mut self, upto: u64) {
        while let Some((offset, id)) = self.open.pop_front_if(|(offset, _)| *offset < upto) {
            // Where it was sent again since, that delivery is to be acknowledged too.
            if self.known.get(&id) == Some(&Mark::Open(offset)) {
                self.counts.0 = self.counts.0.saturating_sub(1);
                self.settle(id);
            }
        }
        while self.settled.len() > (self.spec.window as usize).saturating_add(self.stale) {
            self.forget_settled();
        }
    }

    /// The source could not be told that what is before this offset of the stream is durable, and may send it again. It does not wait to be
    /// acknowledged any more: where nothing else came, no commit would be made that the source could be told of.
    pub(super) fn unacknowledged(&mut self, upto: u64) {
        let now = clock::now();
        while let Some((offset, id)) = self.open.pop_front_if(|(offset, _)| *offset < upto) {
            // Where it was sent again since, that delivery waits still.
            if self.known.get(&id) == Some(&Mark::Open(offset)) {
                self.counts.0 = self.counts.0.saturating_sub(1);
                self.doubt(id, now);
            }
        }
    }

    /// The source has lost what it knew of us: what it delivered and was not told of, it may send again.
    pub(super) fn lost(&mut self) {
        let now = clock::now();
        for (offset, id) in std::mem::take(&mut self.open) {
            if self.known.get(&id) == Some(&Mark::Open(offset)) {
                self.doubt(id, now);
            }
        }
        self.counts.0 = 0;
    }

    /// Forgets what the source would have sent again by now.
    fn expire(&mut self) {
        let (now, most) = (clock::now(), (self.spec.unacknowledged as usize).saturating_mul(DOUBTS));
        while let Some((since, n, id)) = self.doubtful.front().copied() {
            if self.known.get(&id) == Some(&Mark::Doubtful(n)) {
                if now.duration_since(since) < self.spec.redelivery.0 && self.counts.1 <= most {
                    return;
                }
                self.known.remove(&id);
                self.counts.1 = self.counts.1.saturating_sub(1);
            }
            self.doubtful.pop_front();
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn settle(&mut self, id: Id) {
        let n = self.number();
        self.known.insert(id, Mark::Settled(n));
        self.settled.push_back((n, id));
    }

    fn doubt(&mut self, id: Id, since: Instant) {
        let n = self.number();
        self.known.insert(id, Mark::Doubtful(n));
        self.doubtful.push_back((since, n, id));
        self.counts.1 += 1;
    }

    fn forget_settled(&mut self) {
        let Some((n, id)) = self.settled.pop_front() else { return };
        if self.known.get(&id) == Some(&Mark::Settled(n)) {
            self.known.remove(&id);
        } else {
            self.stale = self.stale.saturating_sub(1);
        }
    }
}

/// The digest of a message's id: what its header says, or its partition and offset.
fn id(messages: &Messages, at: usize) -> Id {
    let said = messages.headers_of(at).iter().find(|header| header.name == ID);
    let hash = match said {
        Some(header) => Sha256::new().chain_update([1]).chain_update(&header.value),
        None => {
            let (partition, offset) = (messages.partitions.get(at), messages.offsets.get(at));
            let hash = Sha256::new().chain_update([0]).chain_update(partition.copied().unwrap_or(0).to_le_bytes());
            hash.chain_update(offset.copied().unwrap_or(0).to_le_bytes())
        }
    };
    let mut id = [0; DIGEST];
    id.iter_mut().zip(hash.finalize()).for_each(|(to, byte)| *to = byte);
    id
}

#[cfg(test)]
mod tests {
    use spout_data::Header;

    use super::*;

    fn spec(window: u32, unacknowledged: u32) -> DedupeSpec {
        DedupeSpec { window, unacknowledged, ..DedupeSpec::default() }
    }

    fn messages(ids: &[u32]) -> Messages {
        let mut messages = Messages::default();
        for (at, id) in (0..).zip(ids) {
            messages.values.push(&id.to_le_bytes());
            messages.offsets.push(u64::from(at) + 100);
            messages.headers.push(Header { message: at, name: ID.into(), value: id.to_le_bytes().to_vec() });
        }
        messages
    }

    /// What is left of a delivery.
    fn take(seen: &mut Seen, ids: &[u32], offset: u64) -> Vec<u32> {
        let kept = seen.take(messages(ids), offset);
        let value = |at| u32::from_le_bytes(kept.values.get(at).try_into().unwrap());
        assert!(kept.is_empty() || (kept.headers.len(), kept.offsets.len()) == (kept.len(), kept.len()));
        (0..kept.len()).map(value).collect()
    }

    fn again(seen: &Seen, spec: DedupeSpec) -> Seen {
        let (doubtful, ids) = seen.write();
        Seen::of(spec, Some(doubtful), &ids)
    }

    #[test]
    fn a_message_is_taken_once_and_remembered_until_the_window_is_over() {
        let mut seen = Seen::new(spec(3, 10));
        assert_eq!(take(&mut seen, &[1, 2, 1, 3], 0), [1, 2, 3]);
        assert_eq!((seen.room(), seen.is_pressing()), (7, false));
        // Its first delivery is durable; the second waits still.
        seen.acknowledged(2);
        assert_eq!(seen.room(), 8);
        assert_eq!(take(&mut seen, &[2, 3, 4, 5, 6], 4), [4, 5, 6]);
        assert_eq!((seen.room(), seen.is_pressing()), (4, true));
        seen.acknowledged(9);
        assert_eq!(seen.room(), 10);
        assert_eq!(take(&mut seen, &[6, 5, 4], 9), [] as [u32; 0], "the window");
        assert_eq!(take(&mut seen, &[1], 12), [1], "and beyond it");
    }

    #[test]
    fn what_may_be_sent_again_is_remembered_over_crashes() {
        let mut seen = Seen::new(spec(2, 10));
        take(&mut seen, &[1, 2, 3, 4, 5, 6], 0);
        seen.acknowledged(4);
        // A new host: 5 and 6 may come again, whenever that is.
        let mut seen = again(&seen, spec(2, 10));
        assert_eq!((seen.room(), seen.counts), (10, (0, 2)));
        for turn in 0..20 {
            let other = 100 + turn;
            take(&mut seen, &[other], 6 + u64::from(turn));
            seen.acknowledged(7 + u64::from(turn));
        }
        assert_eq!(take(&mut seen, &[5, 6, 7], 26), [7]);
        // A new instance of the plugin: the same.
        seen.lost();
        assert_eq!((seen.room(), seen.counts), (10, (0, 3)));
        seen.acknowledged(29);
        assert_eq!(take(&mut again(&seen, spec(2, 10)), &[5, 6, 7, 8], 29), [8]);
        assert_eq!(take(&mut seen, &[5, 6, 7, 8], 29), [8]);
        assert_eq!(seen.counts, (4, 0));
    }

    #[test]
    fn what_the_source_could_not_be_told_of_makes_room_and_is_recognized() {
        let mut seen = Seen::new(spec(2, 4));
        take(&mut seen, &[1, 2, 3, 4], 0);
        assert_eq!(seen.room(), 0, "nothing more is fetched, so no commit is made");
        take(&mut seen, &[1], 4);
        seen.unacknowledged(4);
        assert_eq!((seen.room(), seen.counts), (3, (1, 3)));
        let mut later = again(&seen, spec(2, 4));
        assert_eq!(take(&mut later, &[4, 3, 2, 1, 5], 5), [5]);
        assert_eq!(take(&mut seen, &[4, 3, 2, 1, 5], 5), [5]);
        seen.acknowledged(10);
        assert_eq!((seen.room(), seen.counts), (4, (0, 0)));
    }

    /// What is written, each entry looked up.
    fn looked_up(seen: &Seen) -> (usize, Vec<u8>) {
        let mut ids = Vec::new();
        seen.add(&mut ids, seen.doubtful.iter().map(|(_, n, id)| (id, Mark::Doubtful(*n))), false);
        seen.add(&mut ids, seen.open.iter().map(|(offset, id)| (id, Mark::Open(*offset))), false);
        let count = ids.len() / DIGEST;
        seen.add(&mut ids, seen.settled.iter().map(|(n, id)| (id, Mark::Settled(*n))), false);
        (count, ids)
    }

    #[test]
    fn what_is_written_is_what_counts_whatever_was_sent_again() {
        let (mut seen, mut random, mut offset) = (Seen::new(spec(20, 40)), 1_u64, 0);
        let mut dice = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..2000 {
            match dice(8) {
                0..4 => {
                    let ids: Vec<u32> = (0..dice(6)).map(|_| dice(90) as u32).collect();
                    take(&mut seen, &ids, offset);
                    offset += ids.len() as u64;
                }
                4 | 5 => seen.acknowledged(offset.saturating_sub(dice(8))),
                6 => seen.unacknowledged(offset.saturating_sub(dice(20))),
                _ if dice(4) == 0 => seen.lost(),
                _ => seen.expire(),
            }
            let written = seen.write();
            assert_eq!(written, looked_up(&seen));
            assert_eq!(written.1.len() / DIGEST, seen.known.len());
            seen = if dice(50) == 0 { again(&seen, spec(20, 40)) } else { seen };
        }
    }

    #[test]
    fn doubts_end_and_are_bounded() {
        let now = DedupeSpec { redelivery: Period(Duration::ZERO), ..spec(2, 10) };
        let mut seen = Seen::new(now);
        take(&mut seen, &[1, 2], 0);
        seen.lost();
        seen.expire();
        assert_eq!((seen.counts, seen.known.len(), seen.doubtful.len()), ((0, 0), 0, 0));
        let mut seen = Seen::new(spec(2, 10));
        for turn in 0..30 {
            take(&mut seen, &(turn * 10..turn * 10 + 10).collect::<Vec<_>>(), u64::from(turn) * 10);
            seen.lost();
            seen.expire();
        }
        assert_eq!((seen.counts, seen.known.len()), ((0, 100), 100));
        assert_eq!(take(&mut seen, &[0, 299], 300), [0]);
    }

    #[test]
    fn without_an_id_a_place_is_one() {
        let place = |partition: u32, offset: u64| {
            let mut messages = Messages { partitions: vec![partition], offsets: vec![offset], ..Messages::default() };
            messages.values.push(b"x");
            messages
        };
        let mut seen = Seen::new(DedupeSpec::default());
        let mut taken = |partition, offset| !seen.take(place(partition, offset), 0).is_empty();
        assert_eq!([taken(0, 1), taken(1, 1), taken(0, 2), taken(0, 1)], [true, true, true, false]);
    }
}
