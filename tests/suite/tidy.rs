//! House rules as code: rooms import in one direction, files are short and say their job.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use spout_tests::root;

/// What each room of the host may import, besides itself and the leaves.
const ROOMS: [(&str, &[&str]); 11] = [
    ("arithmetic", &[]),
    ("data", &[]),
    ("wire", &["data"]),
    ("plugin", &["data"]),
    ("producer", &["data", "wire", "plugin"]),
    ("node", &["arithmetic", "data", "plugin"]),
    ("repo", &["arithmetic", "data"]),
    ("consumer", &["data", "wire", "repo"]),
    ("spec", &["data", "wire", "plugin", "producer", "node", "repo", "consumer"]),
    ("pipeline", &["data", "wire", "plugin", "producer", "node", "repo", "consumer", "spec"]),
    ("cli", &["data", "wire", "plugin", "producer", "node", "repo", "consumer", "spec", "pipeline"]),
];
const LEAVES: [&str; 6] = ["clock", "error", "fault", "secret", "telemetry", "terminal"];

/// Single files that may import one room more: in each, it is what the file is for.
const BRIDGES: [(&str, &str); 1] = [("producer/repo.rs", "repo")];

/// Crates that only one room may name.
const OWNED: [(&str, &[&str]); 4] =
    [("wasmtime", &["plugin"]), ("zeromq", &["wire"]), ("object_store", &["repo"]), ("anyhow", &["cli", "main.rs"])];

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

fn host() -> Result<Vec<(String, String)>> {
    let src = root().join("host/src");
    let named = |(path, text): (PathBuf, String)| Ok((path.strip_prefix(&src)?.display().to_string(), text));
    sources(&src)?.into_iter().map(named).collect()
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

/// The code of a file: its lines before inline tests, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms that `text` names after `crate::`, alone or in braces.
fn imports(text: &str) -> BTreeSet<String> {
    let whole: String = code(text).collect::<Vec<_>>().join(" ");
    let mut rooms = BTreeSet::new();
    for (at, _) in whole.match_indices("crate::") {
        let rest = &whole[at + "crate::".len()..];
        if !rest.starts_with('{') {
            rooms.extend(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned));
            continue;
        }
        let mut depth = 0;
        let mut word = String::new();
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && (c.is_alphanumeric() || c == '_') {
                word.push(c);
            } else if depth == 1 && c == ':' && !word.is_empty() {
                rooms.insert(std::mem::take(&mut word));
                word.push('\u{0}');
            } else if c == ',' && depth == 1 {
                rooms.insert(word.trim_matches('\u{0}').to_owned());
                word.clear();
            }
            if depth == 0 {
                rooms.insert(word.trim_matches('\u{0}').to_owned());
                break;
            }
        }
    }
    rooms.retain(|name| ROOMS.iter().any(|(room, _)| room == name));
    rooms
}

#[test]
fn rooms_import_in_one_direction() -> Result<()> {
    let mut wrong = Vec::new();
    for (file, text) in host()? {
        let Some((own, may)) = ROOMS.iter().find(|(name, _)| *name == room(&file)) else {
            let leaf = LEAVES.iter().any(|leaf| file == format!("{leaf}.rs"));
            ensure!(leaf || ["lib.rs", "main.rs"].contains(&file.as_str()), "{file} is in no room");
            ensure!(!leaf || imports(&text).is_empty(), "{file} is a leaf and imports {:?}", imports(&text));
            continue;
        };
        let bridged = |room: &str| BRIDGES.contains(&(file.as_str(), room));
        let allowed = |room: &str| room == *own || may.contains(&room) || bridged(room);
        let beyond: Vec<String> = imports(&text).into_iter().filter(|room| !allowed(room)).collect();
        if !beyond.is_empty() {
            wrong.push(format!("{file} imports {beyond:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn the_check_for_imports_can_fail() {
    let found =
        imports("use crate::{\n    data::{Batch, Span},\n    repo,\n    clock::now,\n};\nuse crate::node::Error;\n");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["data", "node", "repo"]);
}

#[test]
fn heavy_crates_have_one_room() -> Result<()> {
    for (file, text) in host()? {
        for (name, rooms) in OWNED {
            let named = code(&text).any(|line| line.contains(&format!("{name}::")));
            ensure!(!named || rooms.contains(&room(&file)), "{file} names {name}, which belongs to {rooms:?}");
        }
    }
    Ok(())
}

#[test]
fn every_file_says_its_job_and_does_one() -> Result<()> {
    let mut wrong = Vec::new();
    for under in ["host/src", "sdk-guest/src", "plugins", "tests"] {
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
