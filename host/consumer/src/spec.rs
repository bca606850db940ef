//! What one entry of a spec's `consumers` list is, and all that the host asks of it before it runs.

use std::fmt::Debug;

use async_trait::async_trait;
use spout_base::{reach::Reach, secret::SecretSpec};

use super::{Consumer, ConsumerContext, ConsumerSpec, Error, QueueSpec, WhenFull};

/// What users write of one kind of consumer.
///
/// All of a consumer is in its own file: what can be written of it, this, and how it runs ([`Consumer`]). Besides, it has a
/// line in the list of the [crate](crate).
#[async_trait]
pub(crate) trait ConsumerKind: Debug + Sync {
    /// An example, which a test reads.
    #[cfg(test)]
    fn example() -> &'static str
    where
        Self: Sized;

    /// What this one does, in a few words, for `spout check`.
    fn describe(&self) -> String;

    /// What of the machine the rows go to.
    fn reach(&self) -> Reach;

    /// The secret that it needs.
    fn secret(&self) -> Option<&SecretSpec> {
        None
    }

    /// How often whoever gets the rows sees each of them, as long as its queue drops nothing.
    fn guarantee(&self) -> &'static str;

    /// The first key whose value cannot work, and what to do about it.
    fn problem(&self) -> Option<(&'static str, String)> {
        None
    }

    /// Where rows wait, if it has a queue.
    fn queue(&self) -> Option<&QueueSpec> {
        None
    }

    /// As [`ConsumerSpec::prints`].
    fn prints(&self) -> bool {
        false
    }

    /// As [`ConsumerSpec::fixed_columns`].
    fn fixed_columns(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// The running consumer.
    ///
    /// # Errors
    /// What it cannot be opened for: a file, a port, a secret.
    async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error>;
}

/// The kinds of consumers by their word in a spec, each with a sentence for those who choose one: it goes into the JSON schema.
macro_rules! consumers {
    ($($word:literal => $kind:ident($spec:ty), $sentence:literal,)*) => {
        /// Where batches go besides the repo. All of these are at least once or less; only the repo is exactly once.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "type")]
        pub enum ConsumerSpec {
            $(
                #[doc = $sentence]
                #[serde(rename = $word)]
                $kind($spec),
            )*
        }

        impl ConsumerSpec {
            fn kind(&self) -> &dyn $crate::spec::ConsumerKind {
                match self {
                    $(Self::$kind(spec) => spec,)*
                }
            }
        }

        /// An example of each.
        #[cfg(test)]
        const EXAMPLES: &[fn() -> &'static str] = &[$(<$spec as $crate::spec::ConsumerKind>::example,)*];
    };
}
pub(crate) use consumers;

impl ConsumerSpec {
    /// The first key whose value cannot work, and what to do about it.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        self.kind().problem().or_else(|| {
            let queue = self.kind().queue()?;
            let zero = queue.bytes.0 == 0 || queue.timeout.0.is_zero();
            zero.then(|| {
                ("queue", "its `bytes` and `timeout` must be more than 0; leave them out for the defaults".into())
            })
        })
    }

    /// The running consumer.
    ///
    /// # Errors
    /// What it cannot be opened for: a file, a port, a secret.
    pub async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        self.kind().open(context).await
    }

    /// What it reaches beyond the store.
    #[must_use]
    pub fn reach(&self) -> Vec<Reach> {
        let secret = self.kind().secret().map(SecretSpec::reach);
        [self.kind().reach()].into_iter().chain(secret).collect()
    }

    /// What it does, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        self.kind().describe()
    }

    /// How often whoever gets the rows sees each of them.
    #[must_use]
    pub fn guarantee(&self) -> &'static str {
        if self.kind().queue().is_some_and(|queue| queue.when_full == WhenFull::Drop) {
            return "none: rows that do not fit into the queue are counted and dropped";
        }
        self.kind().guarantee()
    }

    /// Whether it writes to standard output.
    #[must_use]
    pub fn prints(&self) -> bool {
        self.kind().prints()
    }

    /// Where it cannot take rows with more columns than the first ones had: the key that causes it, and why, with what to do.
    #[must_use]
    pub fn fixed_columns(&self) -> Option<(&'static str, &'static str)> {
        self.kind().fixed_columns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EXAMPLES;

    #[test]
    fn every_example_can_be_read_and_has_no_problem() {
        for example in EXAMPLES {
            let example = example();
            let spec: ConsumerSpec = serde_json::from_str(example).unwrap();
            assert_eq!(spec.problem(), None, "{example}");
            assert!(!spec.describe().is_empty() && !spec.guarantee().is_empty());
            let again: ConsumerSpec = serde_json::from_value(serde_json::to_value(&spec).unwrap()).unwrap();
            assert_eq!(again, spec);
        }
    }

    #[test]
    fn a_queue_holds_something_for_some_time() {
        for queue in [r#"{"bytes": "0B"}"#, r#"{"timeout": "0s"}"#] {
            let text = format!(r#"{{"type": "tcp", "address": "h:1", "queue": {queue}}}"#);
            let spec: ConsumerSpec = serde_json::from_str(&text).unwrap();
            assert_eq!(spec.problem().map(|(key, _)| key), Some("queue"));
        }
    }
}
