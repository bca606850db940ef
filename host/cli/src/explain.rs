//! `spout explain`: the pages of docs/errors, which are part of the binary.

use anyhow::Result;
use clap::Args;
use include_dir::{Dir, include_dir};
use serde::Serialize;
use spout_spec::nearest;

use super::{
    error::Error,
    print::{Printer, Table},
};

static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../docs/errors");

/// Explain an error code, or list all of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout explain E0103        what the code means and what to do
  spout explain              every code with its title
  spout explain --json       the same for programs")]
pub(super) struct Explain {
    /// The code, as in error[E0103].
    code: Option<String>,
}

#[derive(Debug, Serialize)]
struct Title {
    code: &'static str,
    title: &'static str,
}

#[derive(Debug, Serialize)]
struct Page {
    code: &'static str,
    title: &'static str,
    text: &'static str,
}

impl Explain {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        let Some(code) = &self.code else {
            let titles: Vec<Title> = pages().map(|page| Title { code: page.code, title: page.title }).collect();
            let table = |titles: &[Title]| {
                Table::new(&["code", "title"], titles.iter().map(|row| vec![row.code.to_owned(), row.title.to_owned()]))
            };
            return printer.list(&titles, table, "there are no pages");
        };
        let page = find(code)?;
        if printer.json() { printer.value(&page) } else { printer.bytes(page.text.as_bytes()) }
    }
}

fn find(code: &str) -> Result<Page, Error> {
    let wanted = code.trim().trim_matches(['[', ']']).to_ascii_uppercase();
    let wanted = if wanted.starts_with('E') { wanted } else { format!("E{wanted:0>4}") };
    pages().find(|page| page.code == wanted).ok_or_else(|| Error::UnknownCode {
        code: code.to_owned(),
        advice: match nearest(&wanted, pages().map(|page| page.code)) {
            Some(near) => format!("did you mean `{near}`? `spout explain` lists all"),
            None => "`spout explain` lists all".into(),
        },
    })
}

fn pages() -> impl Iterator<Item = Page> {
    let mut files: Vec<_> = PAGES.files().collect();
    files.sort_by_key(|file| file.path());
    files.into_iter().filter_map(|file| {
        let text = file.contents_utf8()?;
        let (code, title) = text.lines().next()?.strip_prefix("# ")?.split_once(": ")?;
        Some(Page { code, title, text })
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// Every `"E0000"` in the sources, with the file it is in.
    fn codes_in_source(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                codes_in_source(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // Codes come from `fn code` alone; those in tests are only looked at.
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let quoted = code.split('"').filter(|part| {
                    part.len() == 5 && part.starts_with('E') && part[1..].chars().all(|c| c.is_ascii_digit())
                });
                found.extend(quoted.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let mut used = BTreeSet::new();
        codes_in_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut used);
        let written: BTreeSet<String> = pages().map(|page| page.code.to_owned()).collect();
        let missing: Vec<_> = used.difference(&written).collect();
        let unused: Vec<_> = written.difference(&used).collect();
        assert!(missing.is_empty(), "codes without a page: {missing:?}");
        assert!(unused.is_empty(), "pages without a code: {unused:?}");
    }

    #[test]
    fn every_page_has_the_form() {
        for file in PAGES.files() {
            let name = file.path().display();
            let text = file.contents_utf8().unwrap();
            let code = file.path().file_stem().unwrap().to_str().unwrap();
            assert!(text.starts_with(&format!("# {code}: ")), "{name}: the first line is the code and the title");
            for part in ["## What happened", "## What to do", "## Example"] {
                assert_eq!(text.matches(&format!("\n{part}\n")).count(), 1, "{name}: has `{part}` once");
            }
            let lines = text.lines().count();
            assert!((8..=40).contains(&lines), "{name}: {lines} lines");
        }
    }

    #[test]
    fn codes_are_found_however_they_are_written() {
        for code in ["E0103", "e0103", "[E0103]", "0103", "103"] {
            assert_eq!(find(code).unwrap().code, "E0103");
        }
        let error = find("E0193").unwrap_err().to_string();
        assert!(error.starts_with("there is no error code `E0193`; did you mean `E01"), "{error}");
    }
}
