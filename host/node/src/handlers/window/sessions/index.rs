//! Which sessions are open, and where that is what each adds up to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    iter::successors,
    ops::Bound::{Excluded, Included},
};

/// No session, no piece.
const NONE: u32 = u32::MAX;

/// Open sessions by the number of their key, and the pieces of each.
///
/// The latest session of a key is found at once, those before it by their start: most keys have one. Sessions and pieces that
/// are over stay until the index is made anew.
#[derive(Debug)]
pub(super) struct Index {
    gap: i64,
    latest: Vec<u32>,
    earlier: BTreeMap<(u32, i64), u32>,
    sessions: Vec<Session>,
    pieces: Vec<Piece>,
    /// No session ends before the time that is here for it.
    ends: BinaryHeap<Reverse<(i64, u32)>>,
    open: usize,
    keys: usize,
}

/// Rows of one key of which each is less than the gap from the next.
#[derive(Clone, Copy, Debug)]
struct Session {
    key: u32,
    open: bool,
    first: i64,
    last: i64,
    head: u32,
    tail: u32,
    /// Where its newest piece is.
    newest: Option<Place>,
}

/// A row of a block of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) row: u32,
}

/// A part of what a session adds up to.
#[derive(Clone, Copy, Debug)]
struct Piece {
    place: Place,
    next: u32,
}

impl Index {
    /// No session yet.
    pub(super) fn new(gap: i64) -> Self {
        Self {
            gap,
            latest: Vec::new(),
            earlier: BTreeMap::new(),
            sessions: Vec::new(),
            pieces: Vec::new(),
            ends: BinaryHeap::new(),
            open: 0,
            keys: 0,
        }
    }

    /// How many sessions are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// How many keys have a session that is open.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    /// How many sessions there are, with those that are over.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many pieces there are, of sessions that are over too.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.latest.capacity() * size_of::<u32>()
            + self.earlier.len() * 2 * size_of::<(u32, i64, u32)>()
            + self.sessions.capacity() * size_of::<Session>()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.ends.len() * size_of::<Reverse<(i64, u32)>>()
    }

    /// The session of a key that counts rows from `first` to `last`; those that these join become one.
    pub(super) fn session(&mut self, key: u32, first: i64, last: i64) -> u32 {
        if let Some(&latest) = self.latest.get(key as usize)
            && let Some(session) = self.sessions.get_mut(latest as usize)
            && session.first <= first
            && first < session.last.saturating_add(self.gap)
        {
            session.last = session.last.max(last);
            return latest;
        }
        self.joined(key, first, last)
    }

    /// As [`Index::session`], wherever these rows are.
    fn joined(&mut self, key: u32, first: i64, last: i64) -> u32 {
        let before = self.before(key, first);
        let touched = before.filter(|&before| first < self.end_of(before));
        let own = touched.unwrap_or_else(|| self.begin(key, first, last));
        if let Some(session) = self.sessions.get_mut(own as usize) {
            session.last = session.last.max(last);
        }
        while let Some(next) = self.after(key, self.first_of(own))
            && self.first_of(next) < self.end_of(own)
        {
            self.join(own, next);
        }
        own
    }

    /// The session of a key that starts last of those that start no later than `time`.
    fn before(&self, key: u32, time: i64) -> Option<u32> {
        let latest = self.latest_of(key)?;
        if self.first_of(latest) <= time {
            return Some(latest);
        }
        let earlier = self.earlier.range((key, i64::MIN)..=(key, time)).next_back();
        earlier.map(|(_, &session)| session)
    }

    /// The session of a key that starts first of those that start after `time`.
    fn after(&self, key: u32, time: i64) -> Option<u32> {
        let earlier = self.earlier.range((Excluded((key, time)), Included((key, i64::MAX)))).next();
        let latest = self.latest_of(key).filter(|&latest| self.first_of(latest) > time);
        earlier.map(|(_, &session)| session).or(latest)
    }

    fn latest_of(&self, key: u32) -> Option<u32> {
        self.latest.get(key as usize).copied().filter(|&latest| latest != NONE)
    }

    fn first_of(&self, session: u32) -> i64 {
        self.sessions.get(session as usize).map_or(i64::MAX, |session| session.first)
    }

    fn end_of(&self, session: u32) -> i64 {
        self.sessions.get(session as usize).map_or(i64::MIN, |session| session.last.saturating_add(self.gap))
    }

    /// A new session, which has no piece yet.
    fn begin(&mut self, key: u32, first: i64, last: i64) -> u32 {
        let number = self.sessions.len() as u32;
        self.sessions.push(Session { key, open: true, first, last, head: NONE, tail: NONE, newest: None });
        self.ends.push(Reverse((last.saturating_add(self.gap), number)));
        self.open += 1;
        if self.latest.len() <= key as usize {
            self.latest.resize(key as usize + 1, NONE);
        }
        match self.latest_of(key) {
            Some(latest) if self.first_of(latest) > first => {
                self.earlier.insert((key, first), number);
                return number;
            }
            Some(latest) => {
                self.earlier.insert((key, self.first_of(latest)), latest);
            }
            None => self.keys += 1,
        }
        self.set_latest(key, number);
        number
    }

    fn set_latest(&mut self, key: u32, session: u32) {
        if let Some(latest) = self.latest.get_mut(key as usize) {
            *latest = session;
        }
    }

    /// Makes one session of two of the same key; `next` starts later.
    fn join(&mut self, own: u32, next: u32) {
        let Some(gone) = self.sessions.get_mut(next as usize) else { return };
        gone.open = false;
        let gone = *gone;
        self.open -= 1;
        if self.latest_of(gone.key) == Some(next) {
            self.earlier.remove(&(gone.key, self.first_of(own)));
            self.set_latest(gone.key, own);
        } else {
            self.earlier.remove(&(gone.key, gone.first));
        }
        let Some(session) = self.sessions.get_mut(own as usize) else { return };
        session.last = session.last.max(gone.last);
        session.newest = session.newest.max(gone.newest);
        if gone.head == NONE {
            return;
        }
        match self.pieces.get_mut(session.tail as usize) {
            Some(tail) => tail.next = gone.head,
            None => session.head = gone.head,
        }
        session.tail = gone.tail;
    }

    /// The row of the piece that a session has in `block`, if it is its newest one.
    pub(super) fn row_in(&self, session: u32, block: u32) -> Option<u32> {
        let newest = self.sessions.get(session as usize)?.newest?;
        (newest.block == block).then_some(newest.row)
    }

    /// Gives a session one more piece.
    pub(super) fn add(&mut self, session: u32, place: Place) {
        let number = self.pieces.len() as u32;
        let Some(session) = self.sessions.get_mut(session as usize) else { return };
        match self.pieces.get_mut(session.tail as usize) {
            Some(tail) => tail.next = number,
            None => session.head = number,
        }
        (session.tail, session.newest) = (number, session.newest.max(Some(place)));
        self.pieces.push(Piece { place, next: NONE });
    }

    /// The pieces of a session.
    pub(super) fn pieces_of(&self, session: u32) -> impl Iterator<Item = Place> {
        let piece = |number: u32| self.pieces.get(number as usize);
        let head = self.sessions.get(session as usize).and_then(|session| piece(session.head));
        successors(head, move |last| piece(last.next)).map(|piece| piece.place)
    }

    /// The first and the last time of a session.
    pub(super) fn times(&self, session: u32) -> (i64, i64) {
        self.sessions.get(session as usize).map_or((0, 0), |session| (session.first, session.last))
    }

    /// The sessions that are open, in the order in which they began to be known.
    pub(super) fn opened(&self) -> impl Iterator<Item = u32> {
        let open = self.sessions.iter().enumerate().filter(|(_, session)| session.open);
        open.map(|(number, _)| number as u32)
    }

    /// A time before which no session ends.
    pub(super) fn due(&self) -> i64 {
        self.ends.peek().map_or(i64::MAX, |Reverse((end, _))| *end)
    }

    /// Ends the sessions whose end is at or before `upto`.
    pub(super) fn end(&mut self, upto: i64) -> Vec<u32> {
        let mut ended = Vec::new();
        while let Some(&Reverse((end, number))) = self.ends.peek()
            && end <= upto
        {
            self.ends.pop();
            let real = self.end_of(number);
            let Some(session) = self.sessions.get_mut(number as usize).filter(|session| session.open) else { continue };
            // It went on since that was noted.
            if real > upto && real > end {
                self.ends.push(Reverse((real, number)));
                continue;
            }
            session.open = false;
            self.open -= 1;
            let (key, first) = (session.key, session.first);
            if self.latest_of(key) == Some(number) {
                // Those before it have ended too: they end before it starts.
                self.set_latest(key, NONE);
                self.keys -= 1;
            } else {
                self.earlier.remove(&(key, first));
            }
            ended.push(number);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sessions of one key by looking at all times.
    fn plain(times: &[i64], gap: i64) -> Vec<(i64, i64)> {
        let mut times = times.to_vec();
        times.sort_unstable();
        let runs = times.chunk_by(|one, next| *next < one.saturating_add(gap));
        runs.map(|run| (run[0], run[run.len() - 1])).collect()
    }

    fn open(index: &Index) -> Vec<(i64, i64)> {
        let mut open: Vec<(i64, i64)> = index.opened().map(|session| index.times(session)).collect();
        open.sort_unstable();
        open
    }

    #[test]
    fn sessions_are_those_of_all_times_in_any_order() {
        let mut dice = 7_u64;
        let mut number = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((dice >> 33) % below) as i64
        };
        for round in 0..1_000 {
            let (gap, spread) = (number(9) + 1, number(150) as u64 + 1);
            let mut index = Index::new(gap);
            let mut given: [Vec<i64>; 2] = Default::default();
            for row in 0..40 {
                let (key, first) = (number(2) as u32, number(spread));
                // A piece of more than one row has no gap in it.
                let last = if number(4) == 0 { first + number(3) * (gap - 1) } else { first };
                let session = index.session(key, first, last);
                index.add(session, Place { block: 0, row });
                given[key as usize].extend((first..=last).step_by((gap - 1).max(1) as usize).chain([last]));
            }
            let mut expected: Vec<(i64, i64)> = given.iter().flat_map(|times| plain(times, gap)).collect();
            expected.sort_unstable();
            assert_eq!(open(&index), expected, "round {round}, gap {gap}");
            assert_eq!(index.open(), expected.len());
            let mut rows: Vec<u32> = index.opened().flat_map(|s| index.pieces_of(s)).map(|place| place.row).collect();
            rows.sort_unstable();
            assert_eq!(rows, (0..40).collect::<Vec<_>>(), "each piece is of one session");
            let upto = number(spread);
            let ended = index.end(upto).into_iter().map(|session| index.times(session));
            let mut ended: Vec<(i64, i64)> = ended.collect();
            ended.sort_unstable();
            let over: Vec<(i64, i64)> = expected.iter().copied().filter(|(_, last)| last + gap <= upto).collect();
            assert_eq!(ended, over);
            assert_eq!(open(&index).len(), expected.len() - over.len());
            assert!(index.due() > upto);
        }
    }

    #[test]
    fn a_key_is_counted_while_it_has_a_session() {
        let mut index = Index::new(5);
        index.session(0, 0, 0);
        index.session(0, 20, 20);
        index.session(3, 9, 9);
        assert_eq!((index.keys(), index.open()), (2, 3));
        assert_eq!(index.end(14).len(), 2);
        assert_eq!((index.keys(), index.open()), (1, 1));
        index.session(3, 30, 30);
        assert_eq!((index.keys(), index.open(), index.due()), (2, 2, 25));
        assert_eq!(index.end(i64::MAX).len(), 2);
        assert_eq!((index.keys(), index.open(), index.due()), (0, 0, i64::MAX));
    }
}
