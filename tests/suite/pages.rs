//! The docs' own words: what tutorials and how-tos have a reader write and type is written and typed, in order, in a place of its own.
//!
//! A block that stands below the name of a file is that file. A block in `sh` is typed, one after the other in one shell. A block of
//! `text` behind it is what it says, line by line: each of these has to be found, and `…` is anything.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{root, spout, tansu::Tansu, venv};

/// What a page has its reader do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    File { path: String, text: String },
    Type(String),
    Says(Vec<String>),
}

/// The steps of a page.
pub(super) fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut lines, mut before) = (Vec::new(), page.lines(), "");
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = if line.trim().is_empty() { before } else { line };
            continue;
        };
        let block: String =
            lines.by_ref().take_while(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect();
        let path =
            before.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).filter(|path| !path.contains(['`', ' ']));
        match (language, path) {
            (_, Some(path)) => steps.push(Step::File { path: path.to_owned(), text: block }),
            ("sh", None) => steps.push(Step::Type(block)),
            ("text", None) if matches!(steps.last(), Some(Step::Type(_))) => {
                steps.push(Step::Says(block.lines().map(str::to_owned).collect()));
            }
            _ => {}
        }
        before = "";
    }
    steps
}

/// Whether `said` has `line`, whose `…` is anything.
fn found(said: &str, line: &str) -> bool {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<String> = line.split('…').map(squeezed).collect();
    said.lines().map(squeezed).any(|said| {
        let mut rest = said.as_str();
        parts.iter().all(|part| match rest.find(part.as_str()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

/// Does what the page at `path` says, in the tree `clone`; what it starts is ended.
pub(super) fn done(path: &str, clone: &Path, more: &[(&str, String)]) -> Result<()> {
    let page = fs::read_to_string(root().join(path))?;
    let steps = steps(&page);
    let place = tempfile::tempdir()?;
    let mut script =
        String::from("set -euo pipefail\ntrap 'jobs -p | xargs -r kill 2>/dev/null || true; wait || true' EXIT\n");
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::File { path, text } => {
                script +=
                    &format!("mkdir -p \"$(dirname '{path}')\"\ncat > '{path}' <<'END-OF-FILE'\n{text}END-OF-FILE\n");
            }
            Step::Type(text) => script += &format!("{{\n{text}}} > \"$SAID/{at}\" 2>&1\n"),
            Step::Says(_) => {}
        }
    }
    // The binary of the tests may be another one than that of the tree.
    let bin = place.path().join("bin");
    fs::create_dir(&bin)?;
    symlink(spout(), bin.join("spout"))?;
    let searched = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let output = Command::new("timeout")
        .args(["300", "bash", "-c", &script])
        .current_dir(clone)
        .envs([("HOME", place.path().join("home")), ("SAID", place.path().to_path_buf())])
        .env("PATH", searched)
        .env("SPOUT_CACHE", root().join("target/test-cache"))
        .env("NO_PROXY", "127.0.0.1,localhost")
        .envs(kept("CARGO_HOME", ".cargo").into_iter().chain(kept("RUSTUP_HOME", ".rustup")))
        .env_remove("SPOUT_STORE")
        .env_remove("SPOUT_SERVER")
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()?;
    let said = |at: usize| fs::read_to_string(place.path().join(at.to_string()));
    let last = steps.iter().enumerate().rev().find_map(|(at, _)| said(at).ok()).unwrap_or_default();
    let err = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{path}: the commands fail; the last of them says\n{last}\n{err}");
    for (at, step) in steps.iter().enumerate() {
        let Step::Says(lines) = step else { continue };
        let said = said(at - 1)?;
        for line in lines {
            ensure!(found(&said, line), "{path} promises\n{line}\nand what is said is\n{said}");
        }
    }
    Ok(())
}

/// A place of the user's that stays theirs although `HOME` is another one.
fn kept(name: &'static str, below: &str) -> Option<(&'static str, std::path::PathBuf)> {
    if std::env::var_os(name).is_some() {
        return None;
    }
    let path = std::env::home_dir()?.join(below);
    path.is_dir().then_some((name, path))
}

/// What somebody has who cloned this tree and built it, as far as pages use it.
fn clone() -> Result<tempfile::TempDir> {
    let place = tempfile::tempdir()?;
    for name in ["target", "plugins", "examples"] {
        symlink(root().join(name), place.path().join(name))?;
    }
    Ok(place)
}

fn check(path: &str) -> Result<()> {
    done(path, clone()?.path(), &[])
}

#[test]
fn the_first_pipeline_is_what_it_says() -> Result<()> {
    check("docs/tutorials/first-pipeline.md")
}

#[test]
fn the_first_spout_is_what_it_says() -> Result<()> {
    check("docs/tutorials/first-spout.md")
}

#[test]
fn from_kafka_to_delta_is_what_it_says() -> Result<()> {
    let packages = ["confluent-kafka==2.16.1", "deltalake==1.6.6"];
    let Some(python) = venv::python(&packages)? else { return Ok(()) };
    let Some(tansu) = Tansu::start()? else { return Ok(()) };
    let bin = python.parent().context("a directory")?.display().to_string();
    let more = [("PATH", format!("{bin}:{}", std::env::var("PATH")?)), ("KAFKA", tansu.proxy.address())];
    done("docs/tutorials/kafka-to-delta.md", clone()?.path(), &more)
}

#[test]
fn how_tos_are_what_they_say() -> Result<()> {
    ["dead-letters", "seek", "serve", "watch", "migrate"]
        .iter()
        .try_for_each(|page| check(&format!("docs/how-to/{page}.md")))
}

/// Each page that has commands is done by a test: those above, and `first_plugin` does the one about plugins in a tree of its own.
#[test]
fn no_page_with_commands_is_left_out() -> Result<()> {
    let sources = [include_str!("pages.rs"), include_str!("first_plugin.rs")].concat();
    let mut checked = 0;
    for kind in ["tutorials", "how-to"] {
        for entry in fs::read_dir(root().join("docs").join(kind))? {
            let path = entry?.path();
            let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
            let steps = steps(&fs::read_to_string(&path)?);
            let types = steps.iter().any(|step| matches!(step, Step::Type(_)));
            let tried = sources.contains(&format!("docs/{kind}/{name}.md")) || sources.contains(&format!("\"{name}\""));
            ensure!(!types || tried, "no test does what docs/{kind}/{name}.md says");
            checked += usize::from(types);
        }
    }
    ensure!(checked >= 8, "only {checked} pages have commands");
    Ok(())
}

#[test]
fn steps_are_read_as_they_stand() {
    let page = "# A\n\n`a/b.txt`\n\n```yaml\nx: 1\n```\n\nSay `c`:\n\n```sh\necho 1\n```\n\n```text\n| 1 … 2 |\n```\n\n```json\n{}\n```\n";
    let file = Step::File { path: "a/b.txt".into(), text: "x: 1\n".into() };
    assert_eq!(steps(page), [file, Step::Type("echo 1\n".into()), Step::Says(vec!["| 1 … 2 |".into()])]);
    let said = "a\n|  1 x 2   |\n";
    assert!(found(said, "| 1 … 2 |") && found(said, "1") && !found(said, "| 2 … 1 |") && !found(said, "b"));
}

/// The names of tests that pages have in a column of tables about promises.
#[test]
fn tests_that_the_promises_name_exist() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/promises.md"))?;
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("tests/"));
    let (mut named, mut places) = (0, BTreeSet::new());
    for row in rows {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let file =
            quoted.iter().find(|word| word.starts_with("tests/") || word.starts_with("host/")).context("a file")?;
        let text = fs::read_to_string(root().join(file)).with_context(|| format!("docs/promises.md names {file}"))?;
        for test in quoted.iter().filter(|word| !word.contains('/') && word.contains('_')) {
            ensure!(text.contains(&format!("fn {test}(")), "docs/promises.md names {test}, which is not in {file}");
            named += 1;
        }
        places.insert(*file);
    }
    ensure!(named > 25 && places.len() > 12, "only {named} tests of {} files are named", places.len());
    Ok(())
}
