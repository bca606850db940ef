//! `join`: puts rows together that have the same key and are near in time.
//!
//! A pipeline has one producer, so both sides of a join come in one stream. Two ways to tell them apart make two joins:
//!
//! - without `left` and `right`, [`merge`]: rows of one key fill each other's nulls;
//! - with them, [`pairs`]: an expression each says which rows are of that side, and each pair makes a row.
//!
//! Both take rows in the order of event time, so that what they give depends on the rows alone.

mod merge;
mod output;
mod pairs;
mod side;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spout_data::Period;

use self::{merge::Merge, pairs::Pairs};
use super::Columns;
use crate::{
    Builder, Error, Handler, LimitsSpec, TimeSpec,
    keys::On,
    sequence::Sequence,
    spec::{HandlerSpec, Parts},
    written::Written,
};

/// Joins rows that have the same key and are near in time.
///
/// With `left` and `right`, every row of the one is paired with every row of the other that has the same key and is near
/// enough, as in SQL. The new row has the later of both event times, under its name; then the columns of `on` with the same
/// name on both sides; then the other columns of the left, and those of the right. `inner` gives pairs only, `left` also
/// rows of the left without a partner, once none can come any more, and `full` those of both sides. A row that belongs to
/// neither side is left out; one that belongs to both is paired with itself, too.
///
/// Without them, rows of one key within `tolerance` of the first of them become one row, at its time: each column has the
/// first value that is not null. Two rows with a value in the same column count as the same side and are not merged; where
/// sides share columns, `side` distinguishes them. `full` gives every row, `inner` those merged from two or more.
///
/// A key with a null matches nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// Which rows come out: `inner`, `left` or `full`; `inner` if there are two sides, otherwise `full`.
    #[serde(default)]
    pub kind: Option<JoinKind>,
    /// The columns of the key, as in `[host]`, or where their names differ between the sides, `{id: auction}`.
    pub on: On,
    /// Which rows belong to the left side, as in `kind = 'auction'`, or a map with more settings.
    #[serde(default)]
    pub left: Option<SideSpec>,
    /// Which rows belong to the right side, as in `kind = 'bid'`, or a map with more settings.
    #[serde(default)]
    pub right: Option<SideSpec>,
    /// Without `left` and `right`: how far apart from the first row others may be, as in `5s`; 0 by default.
    #[serde(default)]
    pub tolerance: Option<Period>,
    /// How far apart the two may be, as in `10m`.
    #[serde(default)]
    pub within: Option<Period>,
    /// How much earlier than the left row the right one may be, instead of `within`.
    #[serde(default)]
    pub before: Option<Period>,
    /// How much later than the left row the right one may be, instead of `within`.
    #[serde(default)]
    pub after: Option<Period>,
    /// A further condition on pairs, over the output columns, as in `price > reserve`.
    #[serde(default)]
    pub r#where: Option<String>,
    /// Without `left` and `right`: rows with the same value of this belong to one side, as in `sensor`.
    #[serde(default)]
    pub side: Option<String>,
    /// The event time, if it is not that of the pipeline.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// How much it may hold.
    #[serde(default)]
    pub limits: LimitsSpec,
}

#[async_trait]
impl HandlerSpec for JoinSpec {
    fn describe(&self) -> String {
        let on = self.on.describe();
        if self.left.is_some() || self.right.is_some() {
            format!("pairs of left and right by {on}")
        } else {
            format!("rows merged by {on}")
        }
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        let pair = self.r#where.iter().map(|sql| Written::other("where", sql));
        let side = self.side.iter().map(|sql| Written::row("side", sql));
        let sides = [("left", &self.left), ("right", &self.right)].into_iter();
        let sides = sides.flat_map(|(key, side)| side.iter().flat_map(move |side| side.expressions(key)));
        pair.chain(side).chain(sides).collect()
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(self.handler())
    }
}

/// Which rows come out of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JoinKind {
    /// Those that found a partner.
    Inner,
    /// And those of the left that found none.
    Left,
    /// And those of the right that found none.
    Full,
}

/// Which rows belong to a side: an expression, or a map with more settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SideSpec {
    /// An expression that is true for them.
    Where(String),
    /// The expression, and what of the rows is used.
    Settings(SideSettings),
}

/// Which rows belong to a side, and which of their columns are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SideSettings {
    /// An expression that is true for rows of this side, as in `kind = 'bid'`.
    pub r#where: String,
    /// Its columns by name, as in `{auction: "bid['auction']", price: "bid['price']"}`; all if none are given. Only these are held.
    #[serde(default)]
    pub columns: Columns,
    /// Prefix for columns that the other side has, too, as in `bid_`; by default `right_` on the right and none on the left.
    #[serde(default)]
    pub prefix: Option<String>,
}

impl SideSpec {
    /// The SQL of the side that stands at `key`.
    fn expressions<'a>(&'a self, key: &str) -> Vec<Written<'a>> {
        match self {
            Self::Where(condition) => vec![Written::row(key, condition)],
            Self::Settings(SideSettings { r#where, columns, .. }) => {
                let condition = Written::row(format!("{key}.where"), r#where);
                let columns = Written::columns(&format!("{key}.columns"), columns, Written::row);
                std::iter::once(condition).chain(columns).collect()
            }
        }
    }

    fn settings(&self) -> SideSettings {
        match self {
            Self::Where(condition) => {
                SideSettings { r#where: condition.clone(), columns: Columns::default(), prefix: None }
            }
            Self::Settings(settings) => settings.clone(),
        }
    }
}

impl JoinSpec {
    fn handler(&self) -> Box<dyn Handler> {
        let time = self.time.as_ref();
        match (&self.left, &self.right) {
            (None, None) => Box::new(Sequence::new(&self.id, time, &[], self.limits, Merge::new(self))),
            (left, right) => {
                let side = |side: &Option<SideSpec>| side.as_ref().map(SideSpec::settings);
                let pairs = Pairs::new(self, side(left), side(right));
                Box::new(Sequence::new(&self.id, time, &[], self.limits, pairs))
            }
        }
    }

    fn refused(&self, reason: impl Into<String>) -> Error {
        Error::spec(&self.id, reason)
    }

    /// All of the spec that its state depends on.
    fn config(&self) -> Value {
        let mut config = serde_json::to_value(self).unwrap_or_default();
        if let Some(config) = config.as_object_mut() {
            config.retain(|name, _| !["id", "time", "limits"].contains(&name.as_str()));
        }
        config
    }
}
