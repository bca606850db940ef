//! The `tests:` of a spec: rows that go in, and the rows that have to come out.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spout_data::Period;
use spout_producer::SchemaText;

use super::{Error, Loaded, check::all_handlers, near::advice};

/// A row as it is written in a test: values by column.
pub type Row = Map<String, Value>;

/// One test of the pipeline's handlers; `spout test` runs it without the source and the repo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestSpec {
    /// What it tests, as in `pushes of bots are dropped`.
    pub name: String,
    /// The handler that the rows go into, by id; the first one by default.
    #[serde(default)]
    pub from: Option<String>,
    /// The handler whose output is compared, by id; the last one by default.
    #[serde(default)]
    pub to: Option<String>,
    /// Columns of the input rows and their types, as in `{id: int64, at: "timestamp(ms)"}`. By default what the decoder
    /// declares, or else what the rows suggest.
    #[serde(default)]
    pub schema: Option<SchemaText>,
    /// Rows as the first handler sees them, as in `[{id: 1, kind: push}]`; a column left out is null.
    #[serde(default)]
    pub input: Vec<Row>,
    /// Messages as they arrive, for the decoder, as in `['{"id": 1}', 'broken']`.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Messages as they arrive that are no text, each in hexadecimal, as in `['02 06 616e6e']`; spaces between digits do not count.
    #[serde(default)]
    pub hex: Vec<String>,
    /// Messages as they arrive, one per line, as in `text: |`, the way a file holds them. Where the source has `framing: csv`,
    /// one per record; with `header: true` the first record names the columns, as in a file.
    #[serde(default)]
    pub text: Option<String>,
    /// Where there are `producers`: the name of the one that the messages or rows come from.
    #[serde(default)]
    pub producer: Option<String>,
    /// The tables that handlers look in, by repo, as in `{customers: [{id: 1, name: ann}]}`.
    #[serde(default)]
    pub tables: BTreeMap<String, TestTable>,
    /// Instead of all these: input in steps, where partitions, commits or quiet sources matter.
    #[serde(default)]
    pub steps: Vec<StepSpec>,
    /// The rows that come out, in order, as in `[{id: 1}]`. Columns that no row names are not compared; one that only
    /// some rows name is null in the others. Values are compared exactly: numbers by their digits, a text is never a number. A
    /// decimal can be written as text, `NaN` and `inf` as such, a time as text or as what its column counts.
    #[serde(default)]
    pub expect: Option<Vec<Row>>,
    /// The columns that come out with their types, in order, as in `{id: int64, kind: utf8}`.
    #[serde(default, alias = "expect_schema")]
    pub expect_schema: Option<SchemaText>,
    /// The rows that come too late, or how many; none by default.
    #[serde(default, alias = "expect_late")]
    pub expect_late: Option<LateSpec>,
    /// The messages or rows that are set aside, in order, as in `[{stage: decode, code: json.syntax}]`; none by default.
    #[serde(default, alias = "expect_errors")]
    pub expect_errors: Vec<FaultSpec>,
    /// The code or a part of the message of the error that stops the pipeline, as in `E0409`.
    #[serde(default, alias = "expect_failure")]
    pub expect_failure: Option<String>,
    /// Whether rows may come out in any order.
    #[serde(default)]
    pub unordered: bool,
    /// By how much a floating-point number may differ, as in `1e-9`.
    #[serde(default)]
    pub tolerance: f64,
    /// Whether it runs a second time with every message or row going into the decoder alone, which must give the same rows
    /// and set the same aside.
    #[serde(default = "yes", alias = "one_by_one")]
    pub one_by_one: bool,
}

fn yes() -> bool {
    true
}

/// A table of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TestTable {
    /// Its rows, oldest first; its columns are what they look like.
    Rows(Vec<Row>),
    /// Its rows, and what its columns are.
    Typed(TypedTable),
}

/// A table of a test whose columns are declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypedTable {
    /// Its columns and their types, as in `{id: int64, since: date}`.
    pub schema: SchemaText,
    /// Its rows, oldest first; a column left out is null.
    #[serde(default)]
    pub rows: Vec<Row>,
}

impl TestTable {
    /// Its columns, where they are declared, and its rows.
    #[must_use]
    pub fn parts(&self) -> (Option<&SchemaText>, &[Row]) {
        match self {
            Self::Rows(rows) => (None, rows),
            Self::Typed(table) => (Some(&table.schema), &table.rows),
        }
    }
}

/// One step of a test: rows of one partition, then what happens after them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StepSpec {
    /// The name of the producer that they come from, as that of the test.
    pub producer: Option<String>,
    /// The partition that the rows come from, as in `1`.
    pub partition: u32,
    /// Rows as the first handler sees them.
    pub input: Vec<Row>,
    /// Messages as they arrive, for the decoder.
    pub lines: Vec<String>,
    /// Messages as they arrive that are no text, each in hexadecimal.
    pub hex: Vec<String>,
    /// Messages as they arrive, one a line, or as the test's own `text`.
    pub text: Option<String>,
    /// How long the partition is idle afterwards, as in `1m`.
    pub idle: Option<Period>,
    /// Whether the partition has no more rows.
    pub ended: bool,
    /// Whether a commit is cut after this step.
    pub cut: bool,
    /// The rows that come out during this step, if that matters.
    pub expect: Option<Vec<Row>>,
}

/// Late rows of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LateSpec {
    /// How many there are.
    Count(u64),
    /// The rows, in order.
    Rows(Vec<Row>),
}

/// A message or row that is set aside; omitted fields are not compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultSpec {
    /// `decode`, or the id of the handler.
    pub stage: Option<String>,
    /// The stable code, as in `json.syntax`.
    pub code: Option<String>,
    /// A part of the reason.
    pub reason: Option<String>,
}

impl TestSpec {
    /// The input as steps, however it was written.
    #[must_use]
    pub fn all_steps(&self) -> Vec<StepSpec> {
        if self.steps.is_empty() {
            vec![StepSpec {
                input: self.input.clone(),
                lines: self.lines.clone(),
                hex: self.hex.clone(),
                text: self.text.clone(),
                producer: self.producer.clone(),
                ..StepSpec::default()
            }]
        } else {
            let of = |step: &StepSpec| step.producer.clone().or_else(|| self.producer.clone());
            self.steps.iter().map(|step| StepSpec { producer: of(step), ..step.clone() }).collect()
        }
    }

    /// Whether the rows come out of the decoder.
    #[must_use]
    pub fn decodes(&self) -> bool {
        self.all_steps().iter().any(|step| !step.messages().is_empty())
    }

    fn expects(&self) -> bool {
        self.expect.is_some()
            || self.expect_schema.is_some()
            || self.expect_late.is_some()
            || !self.expect_errors.is_empty()
            || self.expect_failure.is_some()
            || self.steps.iter().any(|step| step.expect.is_some())
    }
}

impl StepSpec {
    /// Its messages; empty if it gives rows.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let text = self.text.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty());
        let lines = self.lines.iter().map(String::as_str).chain(text).map(|line| line.as_bytes().to_vec());
        lines.chain(self.hex.iter().filter_map(|digits| bytes(digits))).collect()
    }

    fn written(&self) -> usize {
        let given = [!self.input.is_empty(), !self.lines.is_empty(), !self.hex.is_empty(), self.text.is_some()];
        given.into_iter().map(usize::from).sum()
    }
}

/// What hexadecimal digits stand for; none if they are no such digits, or half a byte is left.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    pairs.collect()
}

/// A number as its digits, without what does not matter: `1.50`, `0015e-1` and `+1.5` are all `1.5`. None if it is no number.
#[must_use]
pub fn digits(number: &str) -> Option<String> {
    /// A number that is written with a larger exponent is written out by nobody.
    const MOST: i64 = 400;
    let (negative, rest) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (body, exponent) = match rest.split_once(['e', 'E']) {
        Some((body, exponent)) => (body, exponent.parse::<i64>().ok().filter(|e| e.abs() <= MOST)?),
        None => (rest, 0),
    };
    let (whole, part) = body.split_once('.').unwrap_or((body, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = whole.len() as i64 + exponent;
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let padded = format!("{}{all}{}", zeros(-point), zeros(point - all.len() as i64));
    let (whole, part) = padded.split_at(usize::try_from(point.max(0)).unwrap_or(0));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let text = if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") };
    Some(if negative && text != "0" { format!("-{text}") } else { text })
}

/// What is wrong with the tests of a spec, as far as that can be said without running them.
pub(super) fn check(loaded: &Loaded) -> Vec<Error> {
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for (index, test) in loaded.spec.tests.iter().enumerate() {
        let mut wrong = |key: &str, what: String| {
            let key = format!("tests[{index}]{key}");
            all.push(Error::Contradiction {
                at: loaded.place(&key),
                key,
                pipeline: loaded.spec.pipeline.name.clone(),
                what: format!("test `{}`: {what}", test.name),
            });
        };
        if !names.insert(test.name.as_str()) {
            wrong(".name", "another test has this name; rename one".into());
        }
        if let Err(what) = check_input(test) {
            wrong("", what.into());
        }
        if let Err(what) = check_producers(loaded, test) {
            wrong("", what);
        }
        for (key, what) in check_tables(loaded, test) {
            wrong(&key, what);
        }
        if let Err((key, what)) = check_ends(loaded, test) {
            wrong(key, what);
        }
        for (key, schema) in [(".schema", &test.schema), (".expectSchema", &test.expect_schema)] {
            if let Some(Err(reason)) = schema.as_ref().map(SchemaText::parse) {
                wrong(key, reason.to_string());
            }
        }
        if !test.expects() {
            wrong("", "it expects nothing; add `expect: []` if no row should come out".into());
        }
    }
    all
}

fn check_input(test: &TestSpec) -> Result<(), &'static str> {
    let beside = !test.input.is_empty() || !test.lines.is_empty() || !test.hex.is_empty() || test.text.is_some();
    if !test.steps.is_empty() && beside {
        return Err("write its rows into `steps`, or leave `steps` out");
    }
    if test.all_steps().iter().any(|step| step.written() > 1) {
        return Err("rows come from one of `input`, `lines`, `hex` and `text`; use steps for several");
    }
    if test.all_steps().iter().any(|step| step.hex.iter().any(|digits| bytes(digits).is_none())) {
        return Err("a message of `hex` is no text of two hexadecimal digits a byte");
    }
    let rows = test.all_steps().iter().any(|step| !step.input.is_empty());
    if rows && test.decodes() {
        return Err("either all its steps give rows (`input`), or all give messages (`lines`, `hex`, `text`)");
    }
    if test.decodes() && test.from.is_some() {
        return Err("messages go to the decoder and through all handlers; give rows as `input` to start at `from`");
    }
    Ok(())
}

/// Where there are several producers, each step says whose it is.
fn check_producers(loaded: &Loaded, test: &TestSpec) -> Result<(), String> {
    let names: Vec<&str> = loaded.spec.producers.iter().map(|producer| producer.name.as_str()).collect();
    for step in test.all_steps() {
        match step.producer.as_deref() {
            None if names.is_empty() || test.from.is_some() => {}
            None => return Err(format!("say whose rows they are, as in `producer: {}`", names[0])),
            Some(name) if names.contains(&name) => {}
            Some(name) if names.is_empty() => {
                return Err(format!("there is one producer, without a name; leave `producer: {name}` out"));
            }
            Some(name) => return Err(format!("there is no producer `{name}`; {}", advice(name, names))),
        }
    }
    Ok(())
}

/// Every table is one that a handler looks in.
fn check_tables(loaded: &Loaded, test: &TestSpec) -> Vec<(String, String)> {
    let handlers = all_handlers(&loaded.spec.node, "node").into_iter();
    let repos: Vec<String> = handlers.filter_map(|(_, node)| Some(node.table()?.repo)).collect();
    let mut wrong = Vec::new();
    for (name, table) in &test.tables {
        let key = format!(".tables.{name}");
        if !repos.contains(name) {
            let what = match repos.as_slice() {
                [] => "no handler looks in a table; leave `tables` out".to_owned(),
                repos => format!("no handler looks in `{name}`; {}", advice(name, repos.iter().map(String::as_str))),
            };
            wrong.push((key, what));
        } else if let Some(Err(reason)) = table.parts().0.map(SchemaText::parse) {
            wrong.push((format!("{key}.schema"), reason.to_string()));
        }
    }
    wrong
}

fn check_ends(loaded: &Loaded, test: &TestSpec) -> Result<(), (&'static str, String)> {
    let ids: Vec<&str> = loaded.spec.node.iter().map(|node| node.id()).collect();
    let place = |key: &'static str, id: &Option<String>| {
        let Some(id) = id else { return Ok(None) };
        let at = ids.iter().position(|known| known == id);
        at.map(Some).ok_or_else(|| (key, format!("there is no handler `{id}`; {}", advice(id, ids.iter().copied()))))
    };
    let (from, to) = (place(".from", &test.from)?, place(".to", &test.to)?);
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err((".from", "`from` comes after `to` in the chain; swap them".into())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_value_have_the_same_digits() {
        let check = |number: &str, expected: Option<&str>| assert_eq!(digits(number).as_deref(), expected, "{number}");
        check("21", Some("21"));
        check("+0021.900", Some("21.9"));
        check("1e3", Some("1000"));
        check("1.5E-3", Some("0.0015"));
        check("27000000000000000001", Some("27000000000000000001"));
        check("-0.0", Some("0"));
        check(".5", Some("0.5"));
        check("-12.", Some("-12"));
        check("123456e-3", Some("123.456"));
        check("1e300", Some(&format!("1{}", "0".repeat(300))));
        for wrong in ["", ".", "-", "x", "1x", "NaN", "inf", "1e", "1e9999", "0x10", "1.2.3", "--1"] {
            check(wrong, None);
        }
    }
}
