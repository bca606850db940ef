//! The plugin `postgres` against the server it is named after.

mod access;
mod kills;
mod tables;
mod trouble;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use serde_json::Value;
use spout_tests::{Running, Site, postgres::Postgres};

/// A pipeline of a publication's messages as they are.
fn spec(server: &Postgres, settings: &str, fetch: &str, more: &str) -> String {
    let address = server.address();
    format!(
        r#"
pipeline: {{name: rows}}
producer:
  stream:
    plugin: postgres
    topic: pub
    settings: {{database: postgres, user: postgres, slot: spout{settings}}}
    metadata: [key, offset]
    fetch: {{{fetch}}}
  decoder: {{type: raw}}
{more}
grants:
  postgres: {{endpoints: {{server: {{address: "{address}"}}}}}}
"#
    )
}

const QUICK: &str = "commit: {flush: {rows: 500, time: 50ms}}";

/// A message as it is committed.
struct Message {
    key: Option<String>,
    value: Value,
}

impl Message {
    fn op(&self) -> &str {
        self.value["op"].as_str().unwrap_or_default()
    }

    fn xid(&self) -> u64 {
        self.value["source"]["xid"].as_u64().unwrap_or_default()
    }

    fn table(&self) -> &str {
        self.value["source"]["table"].as_str().unwrap_or_default()
    }
}

/// All messages in their order; offsets rise strictly.
fn messages(site: &Site) -> Result<Vec<Message>> {
    let rows = site.rows(
        "select cast(value as varchar) as value, cast(__key as varchar) as key, __offset as at from rows order by __offset",
        None,
    )?;
    let mut before = None;
    let one = |row: String| {
        let mut row: Value = serde_json::from_str(&row)?;
        let at = row["at"].as_u64();
        ensure!(at > before, "offset {at:?} comes after {before:?}");
        before = at;
        let value = serde_json::from_str(row["value"].as_str().context("a value")?)?;
        let key = row["key"].take();
        Ok(Message { key: key.as_str().map(str::to_owned), value })
    };
    rows.into_iter().map(one).collect()
}

/// The rows of tables, by table and `id`.
type Tables = BTreeMap<(String, String), Value>;

/// What becomes of tables by these messages. A row that appears was not there, and one that changes or goes was.
fn replay(messages: &[Message]) -> Result<Tables> {
    let mut tables = Tables::new();
    for message in messages {
        let (before, after) = (&message.value["before"], &message.value["after"]);
        let at = |row: &Value| (message.table().to_owned(), row["id"].to_string());
        let wrong = || format!("{} of a row that is not as before: {}", message.op(), message.value);
        match message.op() {
            "r" | "c" => ensure!(tables.insert(at(after), after.clone()).is_none(), wrong()),
            "u" => {
                let old = tables.remove(&at(if before.is_null() { after } else { before })).with_context(wrong)?;
                let mut new = after.clone();
                for name in message.value["unchanged"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    new[name] = old[name].clone();
                }
                ensure!(tables.insert(at(after), new).is_none(), wrong());
            }
            "d" => drop(tables.remove(&at(before)).with_context(wrong)?),
            "t" => tables.retain(|(table, _), _| table != message.table()),
            other => bail!("what is `{other}`?"),
        }
    }
    Ok(tables)
}

/// The rows of a table as the server has them.
fn truth(server: &Postgres, table: &str, columns: &str) -> Result<Tables> {
    let rows = server.sql(&[&format!("select row_to_json(x) from (select {columns} from {table}) x")])?;
    let one = |row: String| {
        let row: Value = serde_json::from_str(&row)?;
        Ok(((table.to_owned(), row["id"].to_string()), row))
    };
    rows.into_iter().map(one).collect()
}

fn same(found: &Tables, truth: &Tables) -> Result<()> {
    let missing = truth.iter().find(|(at, row)| found.get(*at) != Some(*row));
    ensure!(missing.is_none(), "{missing:?} is {:?}", missing.and_then(|(at, _)| found.get(at)));
    ensure!(found.len() == truth.len(), "{} rows instead of {}", found.len(), truth.len());
    Ok(())
}

/// Reads what there is.
fn read_all(site: &Site) -> Result<String> {
    site.ok(&["run", "spec.yaml", "--until", "idle"])
}

fn host(site: &Site) -> Result<Running> {
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("started")?;
    Ok(running)
}

/// Waits for its next commit.
fn committed(running: &mut Running) -> Result<()> {
    running.wait_for("committed")?.context("it ended").map(drop)
}

/// What the last commit says of where it is.
fn place(site: &Site) -> Result<Value> {
    let commit = site.json(&["inspect", "commit", "rows@master"])?.remove(0);
    let token = commit["marker"]["0"]["token"].as_str().context("a token")?;
    Ok(serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(token)?)?)
}
