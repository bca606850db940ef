//! The pages on security are of this tree: each test that they name is there, and so is all unsafe code that is, and every task.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::root;

/// Sources of the folders that are built: those of the host, of guests, of plugins and of tests.
fn sources() -> Result<Vec<(String, String)>> {
    fn below(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                below(&path, found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    for folder in ["host", "sdk-guest", "plugins", "tests"] {
        below(&root().join(folder), &mut found)?;
    }
    let named = |path: PathBuf| Ok((path.strip_prefix(root())?.display().to_string(), fs::read_to_string(&path)?));
    found.into_iter().map(named).collect()
}

/// The rows of the tables of a page, below a heading or anywhere, without those that name columns.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    let row = |line: &str| line.starts_with('|') && !line.starts_with("|--");
    let lines: Vec<&str> = page.lines().collect();
    let kept = lines.clone().into_iter().zip(lines.into_iter().skip(1).chain([""]));
    kept.filter(move |(line, next)| row(line) && !next.starts_with("|--"))
        .map(|(line, _)| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of all functions that are tests.
fn tests() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for (_, text) in sources()? {
        let mut attributed = false;
        for line in text.lines().map(str::trim) {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            match function.and_then(|rest| rest.split(['(', '<']).next()) {
                Some(name) if attributed => drop(names.insert(name.to_owned())),
                _ => {}
            }
            let is_test = line.starts_with("#[test") || line.starts_with("#[tokio::test");
            // Further attributes and comments may stand between.
            attributed = is_test || (attributed && (line.starts_with("#[") || line.starts_with("//")));
        }
    }
    Ok(names)
}

#[test]
fn every_row_of_the_threat_model_names_tests_that_exist() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/threat-model.md"))?;
    let there = tests()?;
    let (mut checked, mut wrong) = (0, Vec::new());
    for row in rows(&page) {
        let [threat, _, shown] = row.as_slice() else { continue };
        let names: Vec<&str> = quoted(shown).collect();
        if names.is_empty() {
            wrong.push(format!("no test is named for: {threat}"));
        }
        for name in names {
            checked += 1;
            if !there.contains(name) {
                wrong.push(format!("there is no test `{name}`, which is named for: {threat}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "docs/threat-model.md:\n{}", wrong.join("\n"));
    ensure!(checked > 60, "only {checked} tests are named");
    Ok(())
}

/// How often the keyword stands in code: not in comments, texts, or names.
fn unsafe_uses(text: &str) -> usize {
    let (mut uses, mut rest) = (0, text);
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |(at, _)| at + 1)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\'") {
            rest[1..].find('\'').map_or(1, |at| at + 2)
        } else if c.is_alphanumeric() || c == '_' {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            uses += usize::from(&rest[..word] == "unsafe");
            word
        } else {
            c.len_utf8()
        };
        rest = &rest[skipped..];
    }
    uses
}

/// The hashes of a raw text that begins here.
fn raw_text(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

#[test]
fn unsafe_code_is_listed_with_its_reason() -> Result<()> {
    let page = fs::read_to_string(root().join("SECURITY.md"))?;
    let mut listed = BTreeMap::new();
    for row in rows(&page) {
        let [file, uses, why] = row.as_slice() else { continue };
        let file = quoted(file).next().context("a file")?;
        ensure!(why.len() > 20, "SECURITY.md gives no reason for the unsafe code of {file}");
        listed.insert(file.to_owned(), uses.parse::<usize>().with_context(|| format!("how often in {file}"))?);
    }
    let counted = sources()?.into_iter().map(|(file, text)| (file, unsafe_uses(&text)));
    let there: BTreeMap<String, usize> = counted.filter(|(_, uses)| *uses > 0).collect();
    ensure!(there == listed, "unsafe code is\n{there:#?}\nand SECURITY.md lists\n{listed:#?}");
    Ok(())
}

/// How often code starts something beside it: a task, or a thread. Processes are none.
fn started(text: &str) -> usize {
    let mut lines = text.lines().map(str::trim_end).peekable();
    let mut starts = 0;
    while let Some(line) = lines.next() {
        // Of tests that stand in a file of their own only the name is here.
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.ends_with('{')) {
            break;
        }
        let code = line.trim_start();
        if !code.starts_with("//") {
            let calls = ["spawn(", "spawn_blocking(", "spawn_local(", "spawn_on("];
            let many = |call: &&str| code.matches(*call).count() - code.matches(&format!("{call})")).count();
            starts += calls.iter().map(many).sum::<usize>();
        }
    }
    starts
}

#[test]
fn every_task_is_listed_with_who_notices_its_panic() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/tasks.md"))?;
    let mut listed = BTreeMap::new();
    for row in rows(&page) {
        let [file, many, who] = row.as_slice() else { continue };
        let file = quoted(file).next().context("a file")?;
        ensure!(who.len() > 20, "docs/tasks.md does not say who notices a panic of {file}");
        listed.insert(file.to_owned(), many.parse::<usize>().with_context(|| format!("how many in {file}"))?);
    }
    let of_tests = |file: &str| file.contains("/tests/") || file.ends_with("/tests.rs") || file.contains("/sandbox/");
    let host = sources()?.into_iter().filter(|(file, _)| file.starts_with("host/") && !of_tests(file));
    let counted = host.map(|(file, text)| (file, started(&text)));
    let there: BTreeMap<String, usize> = counted.filter(|(_, many)| *many > 0).collect();
    ensure!(there == listed, "started are\n{there:#?}\nand docs/tasks.md lists\n{listed:#?}");
    Ok(())
}

#[test]
fn tasks_and_threads_are_found_in_code_and_nowhere_else() {
    let text = "// spawn(x)\n#[cfg(test)]\nmod tests;\ntokio::spawn(async {});\n    set.spawn(x); spawn_blocking(f)\ncommand.spawn()?;\n#[cfg(test)]\nmod inner {\nspawn(y)";
    assert_eq!(started(text), 3);
}

#[test]
fn the_keyword_is_found_in_code_and_nowhere_else() {
    let text = "// unsafe\nlet a = \"unsafe \\\" unsafe\"; r#\"unsafe\"unsafe\"#; unsafe_op; '\"'; unsafe { x } '\\''; b\"unsafe\" unsafe impl";
    assert_eq!(unsafe_uses(text), 2);
}

#[test]
fn crates_that_read_untrusted_bytes_are_those_of_the_lock_file() -> Result<()> {
    let page = fs::read_to_string(root().join("SECURITY.md"))?;
    let lock = fs::read_to_string(root().join("Cargo.lock"))?;
    let mut checked = 0;
    for row in rows(&page) {
        let [name, version, ..] = row.as_slice() else { continue };
        if row.len() != 5 {
            continue;
        }
        let name = quoted(name).next().context("a crate")?;
        let entry = format!("name = \"{name}\"\nversion = \"");
        let locked: Vec<&str> = lock.match_indices(&entry).filter_map(|(at, _)| lock[at..].split('"').nth(3)).collect();
        let fits = |locked: &&str| *locked == *version || locked.starts_with(&format!("{version}."));
        ensure!(locked.iter().any(fits), "SECURITY.md has notes on {name} {version}, and Cargo.lock has {locked:?}");
        checked += 1;
    }
    ensure!(checked > 10, "only {checked} crates have notes");
    Ok(())
}

#[test]
fn targets_that_are_named_are_run() -> Result<()> {
    let page = fs::read_to_string(root().join("SECURITY.md"))?;
    let there = tests()?;
    for row in rows(&page).filter(|row| row.len() == 5) {
        for target in quoted(row[4]) {
            ensure!(
                there.contains(&target.replace('-', "_")),
                "SECURITY.md names the target {target}, which is not there"
            );
        }
    }
    Ok(())
}

#[test]
fn a_hardened_run_does_what_any_run_does() -> Result<()> {
    let site = spout_tests::Site::new()?;
    let spec = site.write(
        "spec.yaml",
        "pipeline: {name: lines}
producer:
  stream: {plugin: files, topic: in, settings: {pattern: \"*.ndjson\"}}
  decoder: {type: json}
commit: {path: /rows/, format: ndjson}
grants:
  files: {dirs: {in: ./in}}
consumers:
  - {type: file, path: \"out/{pipeline}.ndjson\"}
",
    )?;
    let spec = spec.display().to_string();
    site.write("in/a.ndjson", "{\"n\":1}\n{\"n\":2}\n")?;
    let run = site.run(&["run", &spec, "--until", "idle", "--harden"])?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    if said.contains("E0960") {
        eprintln!("skipped: {said}");
        return Ok(());
    }
    ensure!(run.status.success(), "{said}");
    ensure!(said.contains("hardened"), "{said}");
    site.write("in/b.ndjson", "{\"n\":3}\n")?;
    site.ok(&["run", &spec, "--until", "idle", "--harden"])?;
    ensure!(site.number("select sum(n) as n from lines", None)? == 6);
    let out = fs::read_to_string(site.path().join("out/lines.ndjson"))?;
    ensure!(out.lines().count() == 3, "{out}");
    let trusted = site.write("trusted.yaml", "pipeline: {name: t}\ntransform: {cmd: [\"true\"], trusted: true}\n")?;
    let refused = site.run(&["run", &trusted.display().to_string(), "--harden"])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("E0959"), "{}", String::from_utf8_lossy(&refused.stderr));
    Ok(())
}
