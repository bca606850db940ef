//! What one entry of a spec's `node` list is, and all that the host asks of it before it runs.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Builder, Error, Handler, NodeSpec, TableName, plugin::PluginSpec, written::Written};

/// The parts of a handler's state, by name.
pub(crate) type Parts = BTreeMap<String, Bytes>;

/// What users write of one kind of handler.
///
/// All of a handler is in its own file: what can be written of it, this, and how it runs ([`Handler`]). Besides, it has a line
/// in the list of [`handlers`](super::handlers). Its struct needs a field `id: String`.
#[async_trait]
pub(crate) trait HandlerSpec: Debug + Sync {
    /// What this one does, in a few words, for `spout check`.
    fn describe(&self) -> String;

    /// The first key that it cannot do without and that says nothing.
    fn gap(&self) -> Option<Gap> {
        None
    }

    /// The SQL in it.
    fn expressions(&self) -> Vec<Written<'_>> {
        Vec::new()
    }

    /// Whether every row that comes out is one that went in, or was made of one, in order.
    fn row_by_row(&self) -> bool {
        false
    }

    /// As [`NodeSpec::stateful`].
    fn stateful(&self) -> bool {
        !self.row_by_row()
    }

    /// As [`NodeSpec::keeps_keys_apart`].
    fn keeps_keys_apart(&self, _first: bool) -> bool {
        self.row_by_row() && self.plugin().is_none() && self.table().is_none()
    }

    /// As [`NodeSpec::by_all_columns`].
    fn by_all_columns(&self) -> bool {
        false
    }

    /// As [`NodeSpec::within`].
    fn within(&self) -> &[NodeSpec] {
        &[]
    }

    /// The same, to give them ids.
    fn within_mut(&mut self) -> &mut [NodeSpec] {
        &mut []
    }

    /// As [`NodeSpec::plugin`].
    fn plugin(&self) -> Option<&PluginSpec> {
        None
    }

    /// As [`NodeSpec::table`].
    fn table(&self) -> Option<TableName> {
        None
    }

    /// The handler that runs. It may take parts of its state that it needs at once; the others are restored, if there are any.
    ///
    /// # Errors
    /// What is wrong with the spec by itself; a plugin that cannot be opened.
    async fn open(&self, builder: &Builder, parts: &mut Parts) -> Result<Box<dyn Handler>, Error>;
}

/// ` of each host, port`, where rows are grouped by columns.
pub(crate) fn of_each(columns: &[String]) -> String {
    if columns.is_empty() { String::new() } else { format!(" of each {}", columns.join(", ")) }
}

/// Something that a handler cannot do without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The key that says nothing; none where one of several would do.
    pub key: Option<&'static str>,
    /// What follows from that, and what to do, as in `has nothing in …`.
    pub what: String,
}

impl Gap {
    /// Says that there is nothing in `key`, if so.
    pub(crate) fn within(key: &'static str, empty: bool, advice: &str) -> Option<Self> {
        empty.then(|| Self { key: Some(key), what: format!("has nothing in `{key}`; {advice}") })
    }
}

/// The kinds of handlers by their word in a spec, each with a sentence for those who choose one: it goes into the JSON schema.
macro_rules! handlers {
    ($($word:literal => $kind:ident($spec:ty), $sentence:literal,)*) => {
        /// One handler of the chain.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "type")]
        pub enum NodeSpec {
            $(
                #[serde(rename = $word)]
                #[schemars(description = $sentence)]
                $kind($spec),
            )*
        }

        impl NodeSpec {
            /// The id the user gave it.
            #[must_use]
            pub fn id(&self) -> &str {
                match self {
                    $(Self::$kind(spec) => &spec.id,)*
                }
            }

            /// Its word in a spec.
            #[must_use]
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $word,)*
                }
            }

            /// Its word in a spec, and the place of its id.
            pub fn named(&mut self) -> (&'static str, &mut String) {
                match self {
                    $(Self::$kind(spec) => ($word, &mut spec.id),)*
                }
            }

            pub(crate) fn spec(&self) -> &dyn $crate::spec::HandlerSpec {
                match self {
                    $(Self::$kind(spec) => spec,)*
                }
            }

            pub(crate) fn spec_mut(&mut self) -> &mut dyn $crate::spec::HandlerSpec {
                match self {
                    $(Self::$kind(spec) => spec,)*
                }
            }
        }
    };
}
pub(crate) use handlers;

impl NodeSpec {
    /// Its id and what it does, on one line.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}: {}", self.id(), self.spec().describe())
    }

    /// The first thing that it cannot do without and that is not there.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        self.spec().gap()
    }

    /// Whether its output depends on earlier batches, or on what a batch is. Such a handler runs where the partitions'
    /// lanes meet, and so do all after it.
    #[must_use]
    pub fn stateful(&self) -> bool {
        self.spec().stateful()
    }

    /// Whether it gives the same rows behind handlers that were split by key ([`Handler::keys`]) as behind one that has all keys; `first`
    /// if nothing is between them.
    #[must_use]
    pub fn keeps_keys_apart(&self, first: bool) -> bool {
        self.spec().keeps_keys_apart(first)
    }

    /// Whether it compares rows by all their columns, so that a row with one more counts as a different one.
    #[must_use]
    pub fn by_all_columns(&self) -> bool {
        self.spec().by_all_columns()
    }

    /// The plugin that it is, if it is one.
    #[must_use]
    pub fn plugin(&self) -> Option<&PluginSpec> {
        self.spec().plugin()
    }

    /// The table of a repo that it looks in, if it does.
    #[must_use]
    pub fn table(&self) -> Option<TableName> {
        self.spec().table()
    }

    /// The plugins it runs: its own, and those of handlers within it.
    #[must_use]
    pub fn plugins(&self) -> Vec<&PluginSpec> {
        let within = self.within().iter().flat_map(Self::plugins);
        self.plugin().into_iter().chain(within).collect()
    }

    /// The handlers within it.
    #[must_use]
    pub fn within(&self) -> &[Self] {
        self.spec().within()
    }

    /// The same, to give them ids.
    pub fn within_mut(&mut self) -> &mut [Self] {
        self.spec_mut().within_mut()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_handler_says_in_a_line_what_it_does() {
        let cases: [(Value, &str); 26] = [
            (json!({"type": "aggregate", "columns": {"n": "count(*)", "top": "max(price)"}}), "aggregate n, top"),
            (json!({"type": "dedupe", "within": "30s"}), "the first of equal rows within 30s"),
            (
                json!({"type": "dedupe", "by": ["id"], "last": 9}),
                "the first row of each id among the last 9 of a partition",
            ),
            (json!({"type": "default", "columns": {"dc": "'eu1'"}}), "values for missing columns dc"),
            (
                json!({"type": "derivative", "columns": {"speed": {"column": "place"}}, "neighbourhood": "2s"}),
                "derivatives speed from place, per 1s",
            ),
            (
                json!({"type": "dispatch", "groupBy": ["host"], "nodes": [{"type": "log", "id": "l", "rows": 0}]}),
                "for each host, l: logs the columns",
            ),
            (json!({"type": "dynamic-window", "period": "p", "every": "e"}), "window of column p"),
            (json!({"type": "filter", "where": "n > 1"}), "rows where n > 1"),
            (json!({"type": "group", "columns": ["host", "type"]}), "groups by host, type"),
            (json!({"type": "join", "on": ["host"]}), "rows merged by host"),
            (
                json!({"type": "join", "on": {"id": "auction", "x": "x"}, "left": "a", "right": "b"}),
                "pairs of left and right by id = auction, x",
            ),
            (json!({"type": "log"}), "logs the columns and up to 5 rows of each batch"),
            (json!({"type": "lookup", "repo": "zones", "on": "zone"}), "all columns of zones@master by zone"),
            (
                json!({"type": "lookup", "repo": "people", "at": "v1", "on": {"who": "id"}, "columns": {"name": "full"}}),
                "name of people@v1 by who = id",
            ),
            (json!({"type": "map", "columns": {"a": "b + 1"}, "drop": ["b"]}), "computes a; drops b"),
            (json!({"type": "map", "select": ["a", "c"]}), "keeps a, c"),
            (json!({"type": "plugin", "plugin": "redact@sha256:00"}), "plugin redact"),
            (json!({"type": "sample", "fraction": 0.1, "by": ["user"]}), "0.1 of the rows, by user"),
            (json!({"type": "sample", "every": 100}), "one in 100 rows"),
            (json!({"type": "sort", "by": ["at", {"column": "load", "order": "desc"}]}), "sorts by at, load desc"),
            (json!({"type": "sql", "query": "select a\n  from input"}), "select a from input"),
            (
                json!({"type": "threshold", "watch": "busy", "as": "level", "default": 30.0, "groupBy": ["host"]}),
                "level follows busy of each host",
            ),
            (json!({"type": "throttle", "per": "1s"}), "the first 1 rows in 1s"),
            (
                json!({"type": "throttle", "per": "30s", "rows": 3, "keep": "last", "groupBy": ["h"]}),
                "the last 3 rows in 30s of each h",
            ),
            (json!({"type": "window", "period": "10s"}), "window of 10s"),
            (json!({"type": "window", "session": "30s"}), "window of sessions 30s apart"),
        ];
        let mut kinds: Vec<String> = Vec::new();
        for (spec, expected) in cases {
            kinds.extend(spec["type"].as_str().map(str::to_owned));
            let mut node: NodeSpec = serde_json::from_value(spec).unwrap();
            let (kind, id) = node.named();
            *id = kind.to_owned();
            assert_eq!(node.describe(), format!("{kind}: {expected}"));
        }
        // The schema names every kind, and says what it is for.
        let schema = schemars::schema_for!(NodeSpec).to_value();
        for kind in schema["oneOf"].as_array().unwrap() {
            let word = kind["properties"]["type"]["const"].as_str().unwrap();
            assert!(kinds.iter().any(|known| known == word), "no case for {word}");
            assert!(kind["description"].as_str().is_some_and(|text| text.ends_with('.')), "{kind}");
        }
    }
}
