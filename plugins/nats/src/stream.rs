//! What a server says of a stream, and how one asks.

use serde::Deserialize;
use serde_json::{Value as Json, json};
use spout_guest::{Error, Position};

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Stream {
    /// When it was made: another one of the same name has another time.
    pub(crate) created: String,
    pub(crate) state: State,
}

/// Which messages it has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct State {
    /// The first message that is there; in an empty stream, the one after the last there was.
    pub(crate) first_seq: u64,
    /// The last message there ever was.
    pub(crate) last_seq: u64,
}

/// What the server made for one who reads.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    pub(crate) name: String,
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Sequence(u64),
    /// Milliseconds since 1970.
    Time(u64),
}

/// What a consumer is asked to be: gone by itself soon after nobody asks it any more, and nothing is acknowledged.
pub(crate) fn consumer(stream: &str, subject: Option<&str>, begin: Begin) -> Json {
    let mut config = json!({
        "ack_policy": "none", "replay_policy": "instant", "inactive_threshold": INACTIVE.as_nanos() as u64,
        "mem_storage": true, "num_replicas": 1, "max_deliver": -1,
    });
    match begin {
        Begin::Sequence(sequence) => {
            config["deliver_policy"] = "by_start_sequence".into();
            config["opt_start_seq"] = sequence.max(1).into();
        }
        Begin::Time(ms) => {
            config["deliver_policy"] = "by_start_time".into();
            config["opt_start_time"] = rfc3339(ms).into();
        }
    }
    if let Some(subject) = subject {
        config["filter_subject"] = subject.into();
    }
    json!({ "stream_name": stream, "config": config })
}

/// How long a consumer lives that nobody asks.
pub(crate) const INACTIVE: std::time::Duration = std::time::Duration::from_secs(120);

impl Stream {
    /// Whether `position` is not of this stream, or messages from it on are gone.
    pub(crate) fn lost(&self, position: &Position) -> bool {
        let another = position.token.as_ref().is_some_and(|token| token != self.created.as_bytes());
        let (first, after) = (self.state.first_seq, self.state.last_seq.saturating_add(1));
        another || (position.offset > 0 && (position.offset < first || position.offset > after))
    }

    /// The position of a message of this stream.
    pub(crate) fn at(&self, sequence: u64) -> Position {
        Position { offset: sequence, token: Some(self.created.clone().into_bytes()) }
    }

    pub(crate) fn after(&self) -> u64 {
        self.state.last_seq.saturating_add(1)
    }

    pub(crate) fn out_of_range(&self) -> Error {
        Error::OutOfRange { earliest: self.at(self.state.first_seq.max(1)), latest: self.at(self.after()) }
    }
}

/// A time as JetStream reads it.
fn rfc3339(ms: u64) -> String {
    // The year 9999 ends there.
    let ms = ms.min(253_402_300_799_999);
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", of_day % 1000)
}

/// Year, month and day of a number of days since 1970, in eras of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn a_position_is_of_one_stream_and_what_it_has() {
        let stream = Stream { created: "now".into(), state: State { first_seq: 5, last_seq: 9 } };
        for (offset, lost) in [(0, false), (1, true), (4, true), (5, false), (10, false), (11, true)] {
            assert_eq!(stream.lost(&Position::at(offset)), lost, "{offset}");
            assert_eq!(stream.lost(&stream.at(offset)), lost, "{offset}");
        }
        assert!(stream.lost(&Position { offset: 5, token: Some(b"then".to_vec()) }));
        let empty = Stream { state: State { first_seq: 10, last_seq: 9 }, ..stream };
        assert!(!empty.lost(&Position::at(10)) && empty.lost(&Position::at(9)) && !empty.lost(&Position::at(0)));
    }
}
