//! One case in a place of its own: its files, its spec, and what a run makes of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};
use spout_tests::{Site, root, spout};

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// The decoder of that name from the plugins directory, in place of the native one.
    pub(super) plugin: bool,
    /// One message a fetch, so that each is a batch of its own.
    pub(super) one: bool,
}

/// The case's directory, if the cases are beside this checkout (`SPOUT_SHARED` names another place).
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("SPOUT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let dir = shared.join("cases").join(name);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: {} is not here", dir.display());
    None
}

/// A case set up to run.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) site: Site,
    pub(super) variant: Variant,
}

/// Rows of a table and what was set aside, in a form that can be compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// By their JSON text; without the columns that are null.
    pub(super) rows: Vec<Value>,
    /// By offset: the raw message, the code, the reason.
    pub(super) dead: Vec<(String, String, String)>,
}

impl Trial {
    pub(super) fn new(dir: &Path, variant: Variant) -> Result<Self> {
        let site = Site::new()?;
        copy(dir, site.path())?;
        let spec = fs::read_to_string(site.path().join("spec.yaml"))?;
        site.write("spec.yaml", varied(&spec, variant))?;
        Ok(Self { site, variant })
    }

    /// Changes the spec, word by word.
    pub(super) fn edit(&self, changes: &[(&str, &str)]) -> Result<()> {
        let mut spec = fs::read_to_string(self.site.path().join("spec.yaml"))?;
        for (from, to) in changes {
            ensure!(spec.contains(from), "the spec has no {from:?}:\n{spec}");
            spec = spec.replace(from, to);
        }
        self.site.write("spec.yaml", spec)?;
        Ok(())
    }

    /// Runs the spec to the end of its files.
    pub(super) fn run(&self) -> Result<()> {
        self.site.ok(&["run", "spec.yaml", "--until", "ended"]).map(drop)
    }

    /// Runs a script of the case as it stands, with `spout` on the path; what it printed.
    pub(super) fn steps(&self, script: &str) -> Result<String> {
        let binary = spout();
        let binaries = binary.parent().context("a directory of binaries")?.display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.site.command(&[]);
        let environment: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        command = std::process::Command::new("sh");
        let output = command
            .arg(script)
            .current_dir(self.site.path())
            .envs(environment)
            .env("PATH", format!("{binaries}:{path}"))
            .stdin(Stdio::null())
            .output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{script} failed with {}\n{out}\n{err}", output.status);
        Ok(format!("{out}{err}"))
    }

    /// What the pipeline `name` has made so far.
    pub(super) fn outcome(&self, name: &str) -> Result<Outcome> {
        let name = name.replace('-', "_");
        let mut rows: Vec<Value> = self.table(&format!("select * from {name}_t"))?.into_iter().map(dense).collect();
        rows.sort_by_key(ToString::to_string);
        let dead =
            self.table(&format!("select value, code, reason from {name}_dead_letter order by partition, \"offset\""))?;
        let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let dead = dead.iter().map(|row| (raw(&text(row, "value")), text(row, "code"), text(row, "reason"))).collect();
        Ok(Outcome { rows, dead })
    }

    /// The rows of a query; none where the table does not exist, since nothing was ever written to it.
    fn table(&self, query: &str) -> Result<Vec<Value>> {
        let output = self.site.run(&["sql", query, "--format", "ndjson"])?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            // Nothing was ever committed, or nothing was ever set aside.
            let absent = err.contains("E0512") || err.contains("_dead_letter");
            ensure!(absent && output.status.code() == Some(2), "{query}: {err}");
            return Ok(Vec::new());
        }
        out.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// What holds for every case: another run adds nothing, and the store is sound.
    pub(super) fn settle(&self, name: &str) -> Result<Outcome> {
        let first = self.outcome(name)?;
        self.run()?;
        let second = self.outcome(name)?;
        ensure!(first == second, "another run changed what there is: {first:?} became {second:?}");
        self.site.ok(&["fsck"])?;
        Ok(first)
    }
}

impl Outcome {
    /// How many messages it accounts for.
    pub(super) fn messages(&self) -> usize {
        self.rows.len() + self.dead.len()
    }

    /// The values of one column as JSON texts, `null` where a row has none.
    pub(super) fn column(&self, name: &str) -> Vec<String> {
        self.rows.iter().map(|row| row.get(name).map_or_else(|| "null".into(), ToString::to_string)).collect()
    }

    /// The first row whose column `key` is `value`.
    pub(super) fn row(&self, key: &str, value: &Value) -> Option<&Value> {
        self.rows.iter().find(|row| row.get(key) == Some(value))
    }

    /// Whether a dead letter with this raw message gives a reason that contains `part`.
    pub(super) fn is_dead(&self, message: &str, part: &str) -> bool {
        self.dead.iter().any(|(value, _, reason)| value.contains(message) && reason.contains(part))
    }
}

/// The bytes that hexadecimal digits stand for, as a text that can be looked at.
pub(super) fn raw(digits: &str) -> String {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.as_bytes().chunks(2).filter_map(byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `value` without the fields that are null: a table cannot tell a missing one from a null.
fn dense(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: Map<_, _> = fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, dense(value)))
                .collect();
            Value::Object(fields)
        }
        other => other,
    }
}

fn varied(spec: &str, variant: Variant) -> String {
    let mut spec = spec.to_owned();
    if variant.one {
        spec = spec.replace("topic: in, ", "topic: in, fetch: {messages: 1}, ");
    }
    if variant.plugin {
        let line = |line: &str| match line.split_once("decoder: {type: ") {
            Some((before, decoder)) => {
                let inner = decoder.trim_end().strip_suffix('}').unwrap_or(decoder);
                match inner.split_once(", ") {
                    Some((name, settings)) => format!("{before}decoder: {{plugin: {name}, settings: {{{settings}}}}}"),
                    None => format!("{before}decoder: {{plugin: {inner}}}"),
                }
            }
            None => line.to_owned(),
        };
        spec = spec.lines().map(line).collect::<Vec<_>>().join("\n");
    }
    spec
}

/// Copies a directory with what is in it; links stay links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::write(&target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
