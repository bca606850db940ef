//! Messages that were set aside: how many, by reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::error::{Coded as _, chain};
use spout_repo::Reference;

use crate::{Api, Encoder, Error, Format, Query, Result};

/// Dead letters of a commit that have a stage, a code and what they hold in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetters {
    /// `decode`, or the id of the handler that could not process them.
    pub stage: String,
    /// Stable and dotted, such as `json.syntax`.
    pub code: String,
    /// What each holds: a whole `message`, a part of one, or a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
    /// How many there are.
    pub letters: u64,
    /// What was wrong with one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The dead letters of a commit, as a query names them.
#[must_use]
pub fn table_of_letters(commit: &Reference) -> String {
    let whole = Reference { path: Some("/dead-letter".to_owned()), ..commit.clone() }.to_string();
    format!("\"{}\"", whole.replace('"', "\"\""))
}

/// The dead letters of a commit, the commonest first, at most `limit` kinds of them; none where nothing was ever set aside.
pub(super) async fn dead_letters(api: &dyn Api, commit: &Reference, limit: usize) -> Result<Vec<DeadLetters>> {
    let columns = "stage, code, holds, count(*) as letters, min(reason) as reason";
    let order = "letters desc, stage, code, holds";
    let query = format!(
        "select {columns} from {} group by stage, code, holds order by {order} limit {limit}",
        table_of_letters(commit)
    );
    let mut found = match api.sql(&Query { query, at: Vec::new(), verify: false }).await {
        Err(error) if error.code() == "E0552" => return Ok(Vec::new()),
        other => other?,
    };
    let mut encoder = Encoder::new(Format::Ndjson, found.schema())?;
    while let Some(batch) = found.next().await {
        encoder.write(&batch?)?;
    }
    let lines = encoder.finish()?;
    let line = |line: &[u8]| serde_json::from_slice(line).map_err(wrong);
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(line).collect()
}

fn wrong(error: serde_json::Error) -> Error {
    Error::Convert { file: "the dead letters".into(), format: Format::Ndjson.name(), why: chain(&error) }
}
