//! What a spec says about a database.

use std::{cell::Cell, rc::Rc};

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// Settings of the source. The topic is the publication.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// The endpoint of the spec's grants, or a host and a port that they allow.
    #[serde(default = "server")]
    pub address: String,
    /// The database.
    pub database: String,
    /// The role, which needs `REPLICATION` and may `SELECT` from the tables.
    pub user: String,
    /// The secret of the spec's grants that is the password of the role; none if the server trusts us.
    #[serde(default)]
    pub secret: Option<String>,
    /// The replication slot, which belongs to this pipeline alone: lower-case letters, digits and underscores. It is created
    /// before the first row is read.
    pub slot: String,
    /// Whether the rows that are there come first (`initial`), or changes only (`never`).
    #[serde(default)]
    pub snapshot: Snapshot,
    /// What a message looks like.
    #[serde(default)]
    pub format: Format,
    /// Only these tables of the publication, each as `schema.table`; all of them if it is empty.
    #[serde(default)]
    pub tables: Vec<String>,
    /// Longest message of the server in bytes, and so the largest row.
    #[serde(default = "largest")]
    pub max_message: u32,
    /// Whether it is known that the endpoint has no TLS.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) clear: Rc<Cell<bool>>,
}

fn server() -> String {
    "server".into()
}

fn largest() -> u32 {
    32 << 20
}

/// Whether rows come before changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Snapshot {
    /// The rows of all tables, then every change since.
    #[default]
    Initial,
    /// Changes since the slot was created.
    Never,
}

/// What a message looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `op`, `before`, `after` and `source`, as Debezium has them.
    #[default]
    Envelope,
    /// The columns of the row, and what is known of the change as `__op`, `__lsn` and so on.
    Flat,
}

impl Settings {
    /// Whether they can be meant.
    ///
    /// # Errors
    /// Which cannot.
    pub fn check(&self, topic: &str) -> Result<()> {
        let slot = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        // Names travel as C strings, and none of these can have a zero byte.
        let zero = [&self.database, &self.user, &topic.to_owned()].into_iter().any(|name| name.contains('\0'));
        let wrong = match self {
            _ if !(1..=63).contains(&self.slot.len()) || !self.slot.bytes().all(slot) => {
                "`slot` has 1 to 63 lower-case letters, digits and underscores"
            }
            _ if self.database.is_empty() || self.user.is_empty() || zero => "`database` and `user` are names",
            _ if topic.is_empty() => "the topic is the name of a publication",
            _ if self.max_message < 1 << 16 => "`maxMessage` is at least 65536",
            _ if self.tables.iter().any(|table| !table.contains('.')) => "`tables` are written as schema.table",
            _ => return Ok(()),
        };
        Err(Error::invalid_config(wrong))
    }

    /// Whether changes of this table are wanted.
    #[must_use]
    pub fn wants(&self, schema: &str, table: &str) -> bool {
        let same = |name: &String| name.strip_prefix(schema).and_then(|rest| rest.strip_prefix('.')) == Some(table);
        self.tables.is_empty() || self.tables.iter().any(same)
    }
}
