//! When a level moves: the state machine of one group.

use super::ThresholdSpec;

/// What a level is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Values are where they should be.
    Calm,
    /// They have been above the level since this time.
    Rising(i64),
    /// They have been far below it since this time.
    Falling(i64),
}

/// The level of one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    pub(super) level: f64,
    pub(super) phase: Phase,
}

/// A spec with its times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) default: f64,
    /// By how much, and after how long.
    rise: Option<(f64, i64)>,
    /// Below which part of the level, by how much, and after how long.
    fall: Option<(f64, f64, i64)>,
    min: f64,
    max: f64,
}

impl Machine {
    pub(super) fn new(spec: &ThresholdSpec) -> Self {
        Self {
            default: spec.default,
            rise: spec.increase.map(|increase| (increase.scale, super::nanoseconds(increase.after))),
            fall: spec.decrease.map(|decrease| (decrease.below, decrease.scale, super::nanoseconds(decrease.after))),
            min: spec.min.unwrap_or(f64::NEG_INFINITY),
            max: spec.max.unwrap_or(f64::INFINITY),
        }
    }

    pub(super) fn start(&self) -> Level {
        Level { level: self.default, phase: Phase::Calm }
    }

    /// The level once `value` has been seen at `time`: the one to measure the value by.
    pub(super) fn step(&self, before: Level, value: f64, time: i64) -> Level {
        let level = before.level;
        let moved = match before.phase {
            Phase::Rising(since) => self
                .rise
                .filter(|(_, after)| value > level && time.saturating_sub(since) > *after)
                .map(|(scale, _)| (level * scale).min(self.max)),
            Phase::Falling(since) => self
                .fall
                .filter(|(below, _, after)| value <= level * below && time.saturating_sub(since) > *after)
                .map(|(_, scale, _)| (level * scale).max(self.min)),
            Phase::Calm => None,
        };
        // The value that moved the level is measured by the new one.
        let (level, phase) = moved.map_or((level, before.phase), |level| (level, Phase::Calm));
        let above = value > level && self.rise.is_some();
        let far_below = self.fall.is_some_and(|(below, ..)| value <= level * below);
        let phase = match phase {
            Phase::Rising(_) if value > level => phase,
            Phase::Falling(_) if far_below => phase,
            // A value that ends the rise does not begin a fall.
            Phase::Rising(_) => Phase::Calm,
            Phase::Calm | Phase::Falling(_) if above => Phase::Rising(time),
            Phase::Calm if far_below => Phase::Falling(time),
            Phase::Calm | Phase::Falling(_) => Phase::Calm,
        };
        Level { level, phase }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values at seconds, and the level each is measured by.
    fn check(spec: &str, expected: &[(i64, f64, f64)]) {
        let spec: ThresholdSpec = serde_json::from_str(spec).unwrap();
        let machine = Machine::new(&spec);
        let mut level = machine.start();
        for &(second, value, measure) in expected {
            level = machine.step(level, value, second * 1_000_000_000);
            assert_eq!(level.level, measure, "{value} at {second}s: {level:?}");
        }
    }

    const DOUBLING: &str = r#"{"watch": "v", "as": "l", "default": 10, "increase": {"scale": 2, "after": "5s"},
        "decrease": {"below": 0.3, "scale": 0.5, "after": "5s"}}"#;

    #[test]
    fn a_level_rises_when_values_stay_above_it_for_longer() {
        check(DOUBLING, &[(100, 7.0, 10.0)]);
        check(DOUBLING, &[(100, 15.0, 10.0), (106, 17.0, 20.0)]);
        check(DOUBLING, &[(100, 15.0, 10.0), (105, 17.0, 10.0), (106, 17.0, 20.0)]);
        check(DOUBLING, &[(100, 15.0, 10.0), (102, 9.0, 10.0), (107, 17.0, 10.0)]);
    }

    #[test]
    fn a_level_falls_when_values_stay_far_below_it_for_longer() {
        check(DOUBLING, &[(100, 2.9, 10.0), (106, 2.8, 5.0)]);
        check(DOUBLING, &[(100, 2.9, 10.0), (103, 3.1, 10.0), (106, 2.8, 10.0), (112, 2.8, 5.0)]);
        check(DOUBLING, &[(100, 2.9, 10.0), (101, 30.0, 10.0), (107, 30.0, 20.0)]);
    }

    #[test]
    fn levels_stay_within_their_bounds() {
        let max = r#"{"watch": "v", "as": "l", "default": 20, "increase": {"scale": 2, "after": "1s"}, "max": 30}"#;
        check(max, &[(100, 40.0, 20.0), (102, 50.0, 30.0), (104, 50.0, 30.0)]);
        let min = r#"{"watch": "v", "as": "l", "default": 20,
            "decrease": {"below": 0.3, "scale": 0.5, "after": "1s"}, "min": 15}"#;
        check(min, &[(100, 5.0, 20.0), (102, 3.0, 15.0), (104, 3.0, 15.0)]);
        check(min, &[(100, 5.0, 20.0), (101, 10.0, 20.0), (102, 10.0, 20.0)]);
    }

    #[test]
    fn the_value_that_moved_the_level_may_begin_the_next_move() {
        check(DOUBLING, &[(100, 15.0, 10.0), (106, 90.0, 20.0), (112, 90.0, 40.0)]);
    }
}
