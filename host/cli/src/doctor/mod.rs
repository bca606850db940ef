//! `spout doctor`: whether the store, this machine, plugins and sources are as pipelines need them, and what to do where not.
//!
//! **Invariant**: nothing that is made here stays, but for compiled plugins in the cache, as after `spout check`.

mod machine;
mod specs;
mod store;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    Global,
    error::Error,
    print::{Printer, count},
};

/// Look at the store, plugins, grants, sources, clock and limits, and say what is wrong and what to do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout doctor                                 the store, the plugins directory, this machine
  spout doctor my.yaml other.yaml              also their plugins, grants and sources
  spout --store s3://lake/prod doctor my.yaml
  spout doctor my.yaml --json | jq 'select(.verdict != \"ok\")'

Each line is ok, a warning or an error. Exit code 1 if there is an error. Nothing that it writes stays: it creates names in the store to see
that a name can be created only once, and removes them.")]
pub(super) struct Doctor {
    /// Spec files whose plugins, grants and sources are looked at too.
    #[arg(value_name = "SPEC")]
    specs: Vec<PathBuf>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Error,
}

/// What was found out about one thing.
#[derive(Debug, Serialize)]
struct Line {
    verdict: Verdict,
    /// What was looked at.
    what: String,
    /// How it is.
    is: String,
    /// What to do, where it is not as it should be.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

impl Line {
    fn ok(what: impl Into<String>, is: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, what: what.into(), is: is.into(), advice: String::new() }
    }

    fn warning(what: impl Into<String>, is: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, what: what.into(), is: is.into(), advice: advice.into() }
    }

    fn error(what: impl Into<String>, is: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, what: what.into(), is: is.into(), advice: advice.into() }
    }

    fn print(&self, printer: &mut Printer) -> Result<()> {
        if printer.json() {
            return printer.value(self);
        }
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Error => "error",
        };
        printer.line(format!("{word:<8} {}: {}", self.what, self.is))?;
        if self.advice.is_empty() { Ok(()) } else { printer.line(format!("         {}", self.advice)) }
    }
}

impl Doctor {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let mut errors = 0;
        let mut say = |lines: Vec<Line>| {
            errors += lines.iter().filter(|line| line.verdict == Verdict::Error).count() as u64;
            lines.iter().try_for_each(|line| line.print(printer))
        };
        let (lines, store) = store::look(&global.store).await;
        say(lines)?;
        say(machine::look(global))?;
        // Each as soon as it is known: a source may take its time.
        for looking in specs::prepare(&self.specs, global).await {
            match looking {
                specs::Looking::Known(line) => say(vec![line])?,
                specs::Looking::Source(source) => say(source.look(store.as_ref()).await)?,
            }
        }
        if errors == 0 { Ok(()) } else { Err(Error::Unwell { errors: count(errors, "error") }.into()) }
    }
}
