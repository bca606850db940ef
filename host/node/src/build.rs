//! From what users wrote to handlers that can run, with the state of the last commit.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use spout_plugin::Task;

use super::{Chain, Error, Handler, NodeSpec, Tables};

/// Part of a state that says what spec it was made under.
pub(super) const CONFIG: &str = "config";

/// The handlers' states of the last commit: `<handler>` or `<handler>/<part>`.
pub type States = BTreeMap<String, Bytes>;

/// Makes chains of handlers.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    /// The tasks of plugin handlers, by handler id.
    pub tasks: BTreeMap<String, Task>,
    /// The tables that handlers look in.
    pub tables: Tables,
    /// Handlers that start empty, whatever the last commit holds of them.
    pub reset: BTreeSet<String>,
}

impl Builder {
    /// A chain of `nodes`; their states are taken out of `states`.
    ///
    /// # Errors
    /// A plugin that cannot be opened; state that does not fit the spec.
    pub async fn chain(&self, nodes: &[NodeSpec], states: &mut States) -> Result<Chain, Error> {
        let mut handlers: Vec<Box<dyn Handler>> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let parts = take(states, node.id());
            let parts = if self.reset.contains(node.id()) { BTreeMap::new() } else { parts };
            handlers.push(self.handler(node, parts).await?);
        }
        Ok(Chain::new(handlers))
    }

    /// Checks that no state is left that no handler took.
    ///
    /// # Errors
    /// [`Error::Gone`], unless it is to be discarded.
    pub fn nothing_left(&self, states: &States) -> Result<(), Error> {
        let left = states.keys().map(|key| key.split('/').next().unwrap_or(key));
        match left.into_iter().find(|id| !self.reset.contains(*id)) {
            Some(id) => Err(Error::Gone { handler: id.to_owned() }),
            None => Ok(()),
        }
    }

    async fn handler(&self, node: &NodeSpec, mut parts: BTreeMap<String, Bytes>) -> Result<Box<dyn Handler>, Error> {
        let mut handler = node.spec().open(self, &mut parts).await?;
        if !parts.is_empty() {
            under_the_same_spec(handler.as_ref(), parts.remove(CONFIG))?;
            handler.restore(parts).await?;
        }
        Ok(handler)
    }
}

/// The parts of the state of `id`, without its name.
fn take(states: &mut States, id: &str) -> BTreeMap<String, Bytes> {
    let below = format!("{id}/");
    let keys: Vec<String> = states.keys().filter(|key| *key == id || key.starts_with(&below)).cloned().collect();
    let part = |key: String| {
        let name = key.strip_prefix(&below).unwrap_or_default().to_owned();
        states.remove(&key).map(|bytes| (name, bytes))
    };
    keys.into_iter().filter_map(part).collect()
}

fn under_the_same_spec(handler: &dyn Handler, stored: Option<Bytes>) -> Result<(), Error> {
    let Some(stored) = stored else { return Ok(()) };
    let before: Value = serde_json::from_slice(&stored).map_err(|error| Error::state(handler.id(), error))?;
    if handler.compatible(&before) {
        return Ok(());
    }
    let now = handler.config().unwrap_or_default();
    Err(Error::Changed { handler: handler.id().to_owned(), what: difference(&before, &now) })
}

/// The keys that differ, with both values.
fn difference(before: &Value, now: &Value) -> String {
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        return format!("it was {before}, now it is {now}");
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differ = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let word = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
    let each = differ.map(|key| format!("`{key}` was {}, now it is {}", word(old.get(key)), word(new.get(key))));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_takes_its_own_parts_and_no_other() {
        let mut states: States =
            ["w", "w/config", "w/rows", "w2", "x/1"].iter().map(|key| (key.to_string(), Bytes::new())).collect();
        let parts = take(&mut states, "w");
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["", "config", "rows"]);
        assert_eq!(states.keys().collect::<Vec<_>>(), ["w2", "x/1"]);
        let builder = Builder { reset: ["w2".to_owned()].into(), ..Builder::default() };
        assert!(matches!(builder.nothing_left(&states), Err(Error::Gone { handler }) if handler == "x"));
    }

    #[test]
    fn what_differs_is_named() {
        let (before, now) = (serde_json::json!({"period": "5s", "a": 1}), serde_json::json!({"period": "7s", "a": 1}));
        assert_eq!(difference(&before, &now), "`period` was \"5s\", now it is \"7s\"");
    }
}
