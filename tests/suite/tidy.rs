//! House rules as code: rooms import in one direction, files are short and say their job.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::root;

/// Crates that only these rooms may name, besides development.
const OWNED: [(&str, &[&str]); 7] = [
    ("memmap2", &["base"]),
    ("wasmtime", &["plugin"]),
    ("zeromq", &["wire"]),
    ("object_store", &["repo"]),
    ("datafusion", &["arithmetic", "bulk", "cluster", "node", "sql"]),
    ("anyhow", &["cli"]),
    ("landlock", &["cli"]),
];

/// In these rooms, only these files and folders may name the repo: those that are there for it, what they are opened with and hand
/// on, and the error that carries its own.
const BRIDGES: [(&str, &[&str]); 2] = [
    ("producer", &["sources/repo/", "sources/transform/", "source.rs", "produce.rs", "error.rs"]),
    ("consumer", &["repo.rs", "error.rs"]),
];

/// The folders of the repo, each of which imports only from those before it.
const FOLDERS: [&str; 7] = ["object", "log", "tree", "repo", "edit", "delta", "upkeep"];

fn sources(under: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(under)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path)?));
        }
    }
    Ok(found)
}

/// The files of the host as `room/src/…`, with their text.
fn host() -> Result<Vec<(String, String)>> {
    let host = root().join("host");
    let named = |(path, text): (PathBuf, String)| Ok((path.strip_prefix(&host)?.display().to_string(), text));
    sources(&host)?.into_iter().map(named).collect()
}

/// The code of a file: its lines before inline tests, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").filter(|line| !line.trim_start().starts_with("//"))
}

/// The packages of the workspace, as cargo has them.
fn packages() -> Result<Vec<serde_json::Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(metadata["packages"].as_array_mut().context("no packages")?.split_off(0))
}

/// What each crate of the host depends on when it is built for use.
fn dependencies() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let host = root().join("host").canonicalize()?;
    let mut rooms = BTreeMap::new();
    for package in packages()? {
        let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default()).canonicalize()?;
        let Ok(below) = manifest.strip_prefix(&host) else { continue };
        let room = below.parent().unwrap_or(below).display().to_string();
        let used = package["dependencies"].as_array().into_iter().flatten().filter(|used| used["kind"].is_null());
        rooms.insert(room, used.filter_map(|used| Some(used["name"].as_str()?.to_owned())).collect());
    }
    ensure!(!rooms.is_empty(), "cargo metadata shows no crate in {}", host.display());
    Ok(rooms)
}

/// The rooms of the table in ARCHITECTURE.md, in its order, with those that they import.
fn pictured() -> Result<Vec<(String, BTreeSet<String>)>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let rows = page.lines().skip_while(|line| !line.starts_with("| Room |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    Ok(rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let imports = cells[3].split(' ').filter(|word| *word != "–").map(str::to_owned).collect();
            (cells[1].trim_matches('`').to_owned(), imports)
        })
        .collect())
}

/// Crates of the SDK that the host has too.
const OF_BOTH: [&str; 2] = ["codec", "kernels"];

#[test]
fn crates_depend_on_each_other_as_pictured_and_in_one_direction() -> Result<()> {
    let is = dependencies()?;
    let pictured = pictured()?;
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for (room, imports) in &pictured {
        let used = is.get(room).with_context(|| format!("ARCHITECTURE.md has a room {room}, and host/ has none"))?;
        let used: BTreeSet<String> =
            used.iter().filter_map(|name| name.strip_prefix("spout-")).map(str::to_owned).collect();
        ensure!(used == *imports, "{room} imports {used:?}; the table in ARCHITECTURE.md says {imports:?}");
        let back: Vec<&String> =
            imports.iter().filter(|name| !above.contains(name.as_str()) && !OF_BOTH.contains(&name.as_str())).collect();
        ensure!(back.is_empty(), "{room} imports {back:?}, which ARCHITECTURE.md has below it");
        above.insert(room);
    }
    let missing: Vec<&String> = is.keys().filter(|room| !above.contains(room.as_str())).collect();
    ensure!(missing.is_empty(), "rooms that ARCHITECTURE.md does not have: {missing:?}");
    Ok(())
}

#[test]
fn heavy_crates_have_one_room() -> Result<()> {
    for (room, used) in dependencies()? {
        for (name, rooms) in OWNED {
            let beyond = used.contains(name) && !rooms.contains(&room.as_str());
            ensure!(!beyond, "{room} depends on {name}, which belongs to {rooms:?}");
        }
    }
    for (file, text) in host()? {
        let bridged = BRIDGES.iter().find(|(room, _)| file.starts_with(&format!("{room}/")));
        if let Some((room, bridge)) = bridged {
            let named = code(&text).any(|line| line.contains("spout_repo::"));
            let may = bridge.iter().any(|bridge| file.starts_with(&format!("{room}/src/{bridge}")))
                || file.contains("/tests/");
            ensure!(!named || may, "{file} names the repo; in {room} only {bridge:?} may");
        }
    }
    Ok(())
}

#[test]
fn folders_of_the_repo_import_in_one_direction() -> Result<()> {
    for (file, text) in host()?.into_iter().filter(|(file, _)| !file.contains("/tests")) {
        let folder = FOLDERS.iter().position(|folder| file.starts_with(&format!("repo/src/{folder}/")));
        let Some(folder) = folder else { continue };
        let code = code(&text).collect::<Vec<_>>().join("\n");
        // What follows `crate::`, one path or a list of them, up to the end of the statement.
        for used in code.split("crate::").skip(1) {
            let used = used.split([';', '(']).next().unwrap_or_default();
            let words: Vec<&str> = used.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).collect();
            let back = FOLDERS[folder + 1..]
                .iter()
                .find(|later| words.iter().any(|word| word == *later || word.starts_with(&format!("{later}::"))));
            ensure!(back.is_none(), "{file} imports from {back:?}, which comes after {}", FOLDERS[folder]);
        }
    }
    Ok(())
}

#[test]
fn every_file_says_its_job_and_does_one() -> Result<()> {
    let mut wrong = Vec::new();
    for under in ["host", "sdk-guest/src", "plugins", "tests"] {
        for (path, text) in sources(&root().join(under))? {
            let file = path.strip_prefix(root())?.display().to_string();
            if file.contains("/target/") {
                continue;
            }
            if !text.starts_with("//!") {
                wrong.push(format!("{file}: the first line does not say the file's job"));
            }
            let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
            let limit = if file.starts_with("host/") { 600 } else { 700 };
            if lines > limit {
                wrong.push(format!("{file}: {lines} lines, more than {limit}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// How many of the examples in the documentation of `text` are Rust that runs or compiles.
fn examples(text: &str) -> usize {
    let docs = text.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("//")?.strip_prefix(['/', '!']));
    let fences = docs.filter_map(|line| line.trim_start().strip_prefix("```"));
    let kinds = ["", "rust", "no_run", "should_panic", "compile_fail"];
    fences.step_by(2).filter(|fence| kinds.contains(&fence.split(',').next().unwrap_or_default())).count()
}

/// Where none are expected, cargo neither builds a library for them nor looks.
#[test]
fn examples_in_documentation_are_tested_where_there_are_any() -> Result<()> {
    let mut tested = 0;
    for package in packages()? {
        let (name, targets) = (&package["name"], package["targets"].as_array().into_iter().flatten());
        let kinds = ["lib", "rlib", "cdylib"].map(serde_json::Value::from);
        let of_library = |target: &&serde_json::Value| {
            target["kind"].as_array().is_some_and(|there| there.iter().any(|kind| kinds.contains(kind)))
        };
        for target in targets.filter(of_library) {
            let entry = PathBuf::from(target["src_path"].as_str().context("no path")?);
            let texts = sources(entry.parent().context("no folder")?)?;
            let there = texts.iter().map(|(_, text)| examples(text)).sum::<usize>();
            let expected = target["doctest"] == true;
            ensure!(expected == (there > 0), "{name} has {there} examples; its manifest says doctest = {expected}");
            tested += there;
        }
    }
    ensure!(tested > 10, "only {tested} examples are tested");
    Ok(())
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() -> Result<()> {
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for (file, text) in host()? {
        for line in code(&text) {
            for (at, _) in line.match_indices("\"E0") {
                let code: String = line[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
                if code.len() == 5 {
                    used.insert(code, file.clone());
                }
            }
        }
    }
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs/errors"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        pages.insert(name.trim_end_matches(".md").to_owned());
    }
    let missing: Vec<_> = used.iter().filter(|(code, _)| !pages.contains(*code)).collect();
    ensure!(missing.is_empty(), "codes without a page in docs/errors: {missing:?}");
    let unused: Vec<_> = pages.iter().filter(|page| !used.contains_key(*page)).collect();
    ensure!(unused.is_empty(), "pages whose code nothing gives: {unused:?}");
    Ok(())
}

/// What a task logs names the pipeline that it works for: in these rooms a task is spawned for the one that its parent works for.
#[test]
fn tasks_know_whose_they_are() -> Result<()> {
    let rooms = ["consumer", "node", "pipeline", "plugin", "producer", "repo", "wire"];
    for (path, text) in host()? {
        let room = path.split('/').next().unwrap_or_default();
        let of_tests = path.contains("tests") || path.starts_with("plugin/src/sandbox/");
        if rooms.contains(&room) && !of_tests {
            let bare = code(&text).find(|line| line.contains("tokio::spawn(") || line.contains("task::spawn("));
            ensure!(bare.is_none(), "{path}: {}; use spout_base::owner::spawn", bare.unwrap_or_default().trim());
        }
    }
    Ok(())
}
