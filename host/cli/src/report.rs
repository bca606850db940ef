//! Errors for people and for programs: code, text, causes, exit code.

use std::{path::PathBuf, process::ExitCode};

use serde::Serialize;
use spout_base::error::{Coded, Kind};
use spout_base::terminal;

use super::{error, pipes::stderr, print::Closed, telemetry};

/// Exit code of what failed.
const FAILED: u8 = 1;
/// Exit code of wrong usage, or of a wrong spec.
const WRONG_USAGE: u8 = 2;

/// The command failed with this exit code, and why has been said.
#[derive(Debug, thiserror::Error)]
#[error("what failed was said when it failed")]
pub(super) struct Reported(pub(super) u8);

/// An error chain, ready to print.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    /// Where in a spec it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip)]
    exit: u8,
}

impl Report {
    /// What `error` comes down to. `None` if all that happened is that nobody reads our output any more.
    pub(super) fn of(error: &anyhow::Error) -> Option<Self> {
        if error.chain().any(|cause| cause.is::<Closed>()) {
            return None;
        }
        let coded = error.chain().find_map(coded);
        let mut texts: Vec<String> = Vec::new();
        for cause in error.chain() {
            let text = cause.to_string();
            // Some libraries print their source within themselves; say it once.
            if texts.last().is_none_or(|said| !said.ends_with(&text)) {
                texts.push(text);
            }
        }
        let exit = match coded.map(Coded::kind) {
            Some(Kind::Spec) => WRONG_USAGE,
            _ => FAILED,
        };
        let first = if texts.is_empty() { String::new() } else { texts.remove(0) };
        let (file, line, key) = (None, None, None);
        Some(Self { code: coded.map(Coded::code), error: first, causes: texts, file, line, key, exit })
    }

    /// The same with its place in a spec.
    pub(super) fn at(self, file: Option<PathBuf>, line: Option<usize>, key: Option<String>) -> Self {
        Self { file, line, key, ..self }
    }

    /// A wrong command line, in clap's words.
    pub(super) fn usage(text: &str) -> Self {
        let text = text.trim().strip_prefix("error: ").unwrap_or(text.trim()).to_owned();
        let (file, line, key) = (None, None, None);
        Self { code: Some("E0801"), error: text, causes: Vec::new(), file, line, key, exit: WRONG_USAGE }
    }

    /// Its code.
    pub(super) fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// All of it in one line.
    pub(super) fn line(&self) -> String {
        let code = self.code.map(|code| format!("[{code}] ")).unwrap_or_default();
        let all: Vec<&str> =
            std::iter::once(self.error.as_str()).chain(self.causes.iter().map(String::as_str)).collect();
        format!("{code}{}", all.join(": "))
    }

    /// Prints it to standard error.
    pub(super) fn print(&self, json: bool) -> ExitCode {
        self.say(json);
        ExitCode::from(self.exit)
    }

    /// The exit code of what failed.
    pub(super) fn exit(&self) -> u8 {
        self.exit
    }

    /// Says it on standard error, and goes on.
    pub(super) fn say(&self, json: bool) {
        let text = if json {
            terminal::json(&serde_json::to_string(self).unwrap_or_default()).into_owned() + "\n"
        } else {
            terminal::text(&self.text()).into_owned()
        };
        // Nobody is left to tell that standard error is closed.
        drop(stderr::write_last(&text, |lines| telemetry::left_out(lines, json)));
    }

    fn text(&self) -> String {
        let mut text = match self.code {
            Some(code) => format!("error[{code}]: {}\n", self.error),
            None => format!("error: {}\n", self.error),
        };
        for cause in &self.causes {
            text += &format!("  caused by: {cause}\n");
        }
        if let Some(code) = self.code {
            text += &format!("  hint: spout explain {code}\n");
        }
        text
    }
}

fn coded<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a dyn Coded> {
    fn of<'a, E: Coded>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a dyn Coded> {
        cause.downcast_ref::<E>().map(|error| error as &dyn Coded)
    }
    #[cfg(feature = "cluster")]
    if let Some(error) = of::<spout_cluster::Error>(cause).or_else(|| of::<spout_bulk::Error>(cause)) {
        return Some(error);
    }
    of::<error::Error>(cause)
        .or_else(|| of::<spout_api::Error>(cause))
        .or_else(|| of::<spout_server::Error>(cause))
        .or_else(|| of::<spout_keeper::Error>(cause))
        .or_else(|| of::<spout_spec::Error>(cause))
        .or_else(|| of::<spout_pipeline::Error>(cause))
        .or_else(|| of::<spout_plugin::Error>(cause))
        .or_else(|| of::<spout_repo::Error>(cause))
        .or_else(|| of::<spout_format::Error>(cause))
        .or_else(|| of::<spout_sql::Error>(cause))
        .or_else(|| of::<spout_producer::Error>(cause))
        .or_else(|| of::<spout_node::Error>(cause))
        .or_else(|| of::<spout_consumer::Error>(cause))
        .or_else(|| of::<spout_otlp::Error>(cause))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn unknown_code() -> anyhow::Error {
        error::Error::UnknownCode { code: "E9".into(), advice: "try E1".into() }.into()
    }

    #[test]
    fn a_chain_gives_its_code_and_says_every_cause_once() {
        let error = Err::<(), _>(unknown_code()).context("while explaining").unwrap_err();
        let report = Report::of(&error).unwrap();
        assert_eq!(
            report.text(),
            "error[E0802]: while explaining\n  caused by: there is no error code `E9`; try E1\n  hint: spout explain E0802\n"
        );
        assert_eq!(report.exit, WRONG_USAGE);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            json,
            r#"{"code":"E0802","error":"while explaining","causes":["there is no error code `E9`; try E1"]}"#
        );
    }

    #[test]
    fn failures_exit_with_1_and_a_closed_pipe_is_none() {
        let error = error::Error::Damaged { problems: "1 problem".into(), place: "here".into() };
        assert_eq!(Report::of(&error.into()).unwrap().exit, FAILED);
        assert_eq!(Report::of(&anyhow::anyhow!("other")).unwrap().exit, FAILED);
        assert!(Report::of(&Err::<(), _>(Closed).context("printing").unwrap_err()).is_none());
    }
}
