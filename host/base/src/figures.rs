//! Figures for those who watch: each by its name, what it is, and one value for each set of labels.

use std::collections::BTreeMap;

/// Whether a figure only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, until the process is another.
    Counter,
    /// It rises and falls.
    Gauge,
    /// What was observed: quantiles of it, and parts that only rise, its sum and its count.
    Summary,
}

impl Kind {
    /// What Prometheus calls by this word; a gauge, if it is another.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "counter" => Self::Counter,
            "summary" => Self::Summary,
            _ => Self::Gauge,
        }
    }

    /// It in Prometheus' words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

/// One value of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What its name has at its end, as the parts of a summary do.
    pub part: &'static str,
    /// What it is of.
    pub labels: Vec<(String, String)>,
    /// It.
    pub value: f64,
}

/// A figure with all its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Whether it only rises.
    pub kind: Kind,
    /// What it is, for people.
    pub help: &'static str,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// Figures by their names.
pub type Families = BTreeMap<String, Family>;
