//! Which message it is: MQTT numbers messages only while they are unacknowledged, from 1 to 65,535 and then anew.
//!
//! Brokers give these numbers in turn. So a number, and about where in the turn the session is, say how many messages of the session
//! came before: a *serial*, which is another one when the number comes again, and the same when the message does.
//! Where the session is stands in the checkpoint, so it is known after a crash.
//!
//! A broker that gives a number again before its turn is found out by that. Then nothing tells a message that comes again after a
//! crash from another one with its number: each gets a serial of its own, and none is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many numbers there are.
const TURN: i64 = 65_535;
/// A number may be as far ahead of the one before; beyond that, it goes back.
const AHEAD: i64 = 32_767;
/// The first number of a connection is one that is not acknowledged yet, or comes soon after.
const SOON: i64 = 8_191;

/// Where a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Serials {
    /// Which session it is: another one counts anew.
    pub(crate) session: u64,
    /// The serial of the message that came last.
    last: Option<i64>,
    /// Numbers are given before their turn.
    pub(crate) reused: bool,
    /// Serials of messages whose number says nothing.
    own: u64,
}

/// What tells a message from the others of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serial {
    Counted(i64),
    Own(u64),
}

/// Numbers on their way: those of this connection, and what has not been acknowledged of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Something has come on this connection.
    begun: bool,
    /// Numbers that wait to be acknowledged, where they say nothing by themselves.
    waiting: BTreeMap<u16, Serial>,
}

impl Turn {
    /// A new connection: what waits is sent again.
    pub(crate) fn connected(&mut self) {
        self.begun = false;
    }

    /// A new session: nothing is sent again.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The number is acknowledged, and may come again for another message.
    pub(crate) fn acknowledged(&mut self, number: u16) {
        self.waiting.remove(&number);
    }
}

impl Serials {
    pub(crate) fn new(session: u64, reused: bool) -> Self {
        Self { session, reused, ..Self::default() }
    }

    /// The serial of a message without a number.
    pub(crate) fn unnumbered(&mut self) -> Serial {
        self.own += 1;
        Serial::Own(self.own)
    }

    /// The serial of the message with this number; `again` if the broker says that it sent it before.
    pub(crate) fn of(&mut self, number: u16, again: bool, turn: &mut Turn) -> Serial {
        let serial = if self.reused { None } else { self.counted(number, again, turn) };
        turn.begun = true;
        let serial = serial.unwrap_or_else(|| {
            self.reused = true;
            // One that waits cannot be another message; after a crash nothing is known to wait.
            let waiting = turn.waiting.get(&number).copied().filter(|_| again);
            waiting.unwrap_or_else(|| self.unnumbered())
        });
        turn.waiting.insert(number, serial);
        serial
    }

    /// `None` if the number came before its turn.
    fn counted(&mut self, number: u16, again: bool, turn: &Turn) -> Option<Serial> {
        let number = i64::from(number);
        let Some(last) = self.last else {
            self.last = Some(number);
            return Some(Serial::Counted(number));
        };
        let ahead = number.wrapping_sub(last).rem_euclid(TURN);
        let forward = ahead > 0 && ahead <= AHEAD;
        let serial = if !turn.begun {
            // It may be the same as the last one.
            if ahead <= SOON { last.wrapping_add(ahead) } else { last.wrapping_add(ahead - TURN) }
        } else if forward {
            last.wrapping_add(ahead)
        } else if again {
            // Sent again although the connection did not end; where the session is does not change.
            let back = if ahead == 0 { 0 } else { ahead - TURN };
            return Some(Serial::Counted(last.wrapping_add(back)));
        } else {
            return None;
        };
        self.last = Some(serial);
        Some(Serial::Counted(serial))
    }
}

impl Serial {
    /// The id by which a message is known that comes again.
    pub(crate) fn id(self, session: u64, topic: &str, payload: &[u8]) -> String {
        let content = content(topic, payload);
        match self {
            Self::Counted(serial) => format!("{session:x}-{serial}-{content:x}"),
            Self::Own(serial) => format!("{session:x}-own{serial}-{content:x}"),
        }
    }
}

/// FNV-1a of what is in a message. It adds to the serial where a broker has lost its place; no safety rests on it.
fn content(topic: &str, payload: &[u8]) -> u64 {
    let bytes = topic.as_bytes().iter().chain([&0]).chain(payload);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of numbers, those sent again negative; 0 is a new connection.
    fn serials(state: &mut Serials, turn: &mut Turn, numbers: &[i32]) -> Vec<Serial> {
        let mut all = Vec::new();
        for number in numbers {
            match number {
                0 => turn.connected(),
                _ => all.push(state.of(number.unsigned_abs() as u16, *number < 0, turn)),
            }
        }
        all
    }

    fn counted(numbers: &[i64]) -> Vec<Serial> {
        numbers.iter().copied().map(Serial::Counted).collect()
    }

    #[test]
    fn a_message_that_comes_again_has_its_serial_and_another_one_with_its_number_does_not() {
        let (mut state, mut turn) = (Serials::new(1, false), Turn::default());
        assert_eq!(serials(&mut state, &mut turn, &[1, 2, 3, 0, -2, -3, 4]), counted(&[1, 2, 3, 2, 3, 4]));
        // A crash: the state is older than what the broker knows.
        let mut older = state.clone();
        assert_eq!(serials(&mut state, &mut turn, &[5, 6]), counted(&[5, 6]));
        assert_eq!(serials(&mut older, &mut Turn::default(), &[-6, 7]), counted(&[6, 7]));
        // A whole turn later.
        let turns: Vec<i32> = (7..=65_535).chain(1..=6).collect();
        let last = *serials(&mut state, &mut turn, &turns).last().unwrap();
        assert_eq!(last, Serial::Counted(65_535 + 6));
        assert_eq!(
            serials(&mut state, &mut turn, &[0, -65_535, -1, 0, -6, 7]),
            counted(&[65_535, 65_536, 65_541, 65_542])
        );
        assert!(!state.reused);
    }

    #[test]
    fn fifty_thousand_may_wait_when_a_connection_begins() {
        let (mut state, mut turn) = (Serials::new(1, false), Turn::default());
        serials(&mut state, &mut turn, &(1..=60_000).collect::<Vec<_>>());
        let mut crashed = state.clone();
        assert_eq!(serials(&mut crashed, &mut Turn::default(), &[-10_000, -10_001]), counted(&[10_000, 10_001]));
        // Some numbers were passed over while nobody was there: messages that grew too old.
        assert_eq!(serials(&mut state, &mut turn, &[0, 65_000, 65_535, 1]), counted(&[65_000, 65_535, 65_536]));
    }

    #[test]
    fn numbers_before_their_turn_are_found_out_and_then_nothing_is_taken_for_another() {
        let (mut state, mut turn) = (Serials::new(1, false), Turn::default());
        assert_eq!(serials(&mut state, &mut turn, &[1, 2, 3]), counted(&[1, 2, 3]));
        (1..=3).for_each(|number| turn.acknowledged(number));
        assert_eq!(serials(&mut state, &mut turn, &[1]), [Serial::Own(1)]);
        assert!(state.reused);
        // The connection ends: one that waits is the same.
        assert_eq!(serials(&mut state, &mut turn, &[2, 0, -1, -2]), [2, 1, 2].map(Serial::Own));
        // Acknowledged, and its number given again: whether the broker knows of that, nobody does.
        turn.acknowledged(1);
        assert_eq!(serials(&mut state, &mut turn, &[0, -1]), [Serial::Own(3)]);
        // After a crash, no message is taken for one that was there.
        assert_eq!(serials(&mut state, &mut Turn::default(), &[-1, -2]), [4, 5].map(Serial::Own));
        // The same number twice in a row.
        let (mut state, mut turn) = (Serials::new(1, false), Turn::default());
        assert_eq!(
            serials(&mut state, &mut turn, &[1, -1, 1]),
            [Serial::Counted(1), Serial::Counted(1), Serial::Own(1)]
        );
    }

    #[test]
    fn ids_differ_by_session_serial_topic_and_payload() {
        let all = [
            Serial::Counted(1).id(7, "a", b"x"),
            Serial::Counted(2).id(7, "a", b"x"),
            Serial::Own(1).id(7, "a", b"x"),
            Serial::Counted(1).id(8, "a", b"x"),
            Serial::Counted(1).id(7, "b", b"x"),
            Serial::Counted(1).id(7, "a", b"y"),
            Serial::Counted(1).id(7, "ax", b""),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
        assert_eq!(all[0], Serial::Counted(1).id(7, "a", b"x"));
    }
}
