//! What a source can promise: may it be asked again, does it forget, or does it only send.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a source does about messages that no commit holds yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Any earlier position can be asked for again.
    Replayable,
    /// It sends again what was not acknowledged, and forgets the rest.
    Acked,
    /// Somebody sends to us, and may be told that it arrived.
    Push,
    /// It makes its own commits, each with the marker that it continues from.
    SelfDriven,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replayable => "replayable",
            Self::Acked => "acked",
            Self::Push => "push",
            Self::SelfDriven => "self-driven",
        })
    }
}

/// How often a message of a source appears in committed data. A later one is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// A message may appear twice.
    AtLeastOnce,
    /// Duplicates are recognized by message id within a window.
    EffectivelyOnce,
    /// Every message appears once.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at-least-once",
            Self::EffectivelyOnce => "effectively-once",
            Self::ExactlyOnce => "exactly-once",
        })
    }
}

/// What a source, set up as its spec says, can promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// What it does about messages that no commit holds yet.
    pub class: Class,
    /// The strongest guarantee it can keep; `None` if messages may be lost.
    pub guarantee: Option<Guarantee>,
    /// Why not more, and what to do for more; empty where there is nothing more.
    pub but: &'static str,
}

impl Promise {
    /// What a source promises that can be asked for any earlier position again.
    pub const REPLAYABLE: Self = Self { class: Class::Replayable, guarantee: Some(Guarantee::ExactlyOnce), but: "" };

    /// What a source promises that sends again what was not acknowledged.
    pub const ACKED: Self = Self {
        class: Class::Acked,
        guarantee: Some(Guarantee::EffectivelyOnce),
        but: "what it sends again later than `dedupe` remembers is taken twice",
    };

    /// Whether it is at least `wanted`.
    #[must_use]
    pub fn keeps(&self, wanted: Guarantee) -> bool {
        self.guarantee.is_some_and(|guarantee| guarantee >= wanted)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.guarantee {
            Some(guarantee) => write!(f, "{guarantee}")?,
            None => f.write_str("none")?,
        }
        write!(f, " ({} source", self.class)?;
        if !self.but.is_empty() {
            write!(f, ": {}", self.but)?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_promise_keeps_a_weaker_guarantee() {
        let check = |promised: Option<Guarantee>, wanted, expected| {
            let promise = Promise { class: Class::Push, guarantee: promised, but: "" };
            assert_eq!(promise.keeps(wanted), expected, "{promise} {wanted}");
        };
        check(Some(Guarantee::ExactlyOnce), Guarantee::AtLeastOnce, true);
        check(Some(Guarantee::EffectivelyOnce), Guarantee::EffectivelyOnce, true);
        check(Some(Guarantee::AtLeastOnce), Guarantee::EffectivelyOnce, false);
        check(None, Guarantee::AtLeastOnce, false);
    }
}
