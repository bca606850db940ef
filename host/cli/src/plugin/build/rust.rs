//! From a Rust crate to components, with cargo.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{Artifact, no_tool};
use crate::error::Error;

pub(super) const TARGET: &str = "wasm32-wasip2";
/// The profile of plugins, on top of what the crate's own workspace says of `release`: small and fast, a panic is a trap.
const PROFILE: &str = "plugin";
const SETTINGS: [&str; 5] = [
    "profile.plugin.inherits=\"release\"",
    "profile.plugin.lto=\"fat\"",
    "profile.plugin.codegen-units=1",
    "profile.plugin.incremental=false",
    "profile.plugin.panic=\"abort\"",
];
/// Packages that are named where more than these changed.
const LISTED: usize = 5;
/// Rust flags for the target, which a user may have set otherwise.
const FLAGS: &str = "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS";

/// Whether `dir` is a package; a workspace without one has nothing to build itself.
pub(super) fn is_crate(dir: &Path) -> bool {
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "[package]")
}

/// Adds the target where it is missing; what to tell the user about that.
pub(super) fn add_target() -> Result<Option<String>, Error> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let libraries = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(no_tool(&rustc, "install Rust from https://rustup.rs"))?;
    let directory = String::from_utf8_lossy(&libraries.stdout);
    let has_std = fs::read_dir(directory.trim()).is_ok_and(|mut files| files.next().is_some());
    // Who builds std from source needs no target of rustup's.
    if has_std || std::env::var_os("CARGO_UNSTABLE_BUILD_STD").is_some() {
        return Ok(None);
    }
    let status =
        Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status().map_err(no_tool(
            "rustup",
            "the target wasm32-wasip2 is missing; install it with the package manager that installed Rust",
        ))?;
    if status.success() {
        Ok(Some(format!("added the target {TARGET} to the Rust toolchain (rustup target add {TARGET})")))
    } else {
        Err(Error::Build {
            crate_dir: ".".into(),
            what: format!("`rustup target add {TARGET}` failed; run it by hand to see why, a network is needed once"),
        })
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

/// One line of what cargo says with `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The components of the crate in `dir`.
pub(super) fn compile(dir: &Path) -> Result<Vec<Artifact>, Error> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let advice = "install Rust from https://rustup.rs";
    let failed = |what: String| Error::Build { crate_dir: dir.to_owned(), what };
    let output = Command::new(&cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(dir)
        .output()
        .map_err(no_tool(&cargo, advice))?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|_| {
        failed(format!("cargo does not understand its Cargo.toml: {}", String::from_utf8_lossy(&output.stderr).trim()))
    })?;
    let lock = metadata.workspace_root.join("Cargo.lock");
    let locked = fs::read_to_string(&lock).ok();
    let mut child = Command::new(&cargo)
        .args(["build", "--profile", PROFILE, "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .args(SETTINGS.iter().flat_map(|setting| ["--config", setting]))
        // Guests have a directory of their own, so that they and a host do not wait for each other's lock.
        .arg("--target-dir")
        .arg(metadata.target_directory.join("plugins"))
        .env(FLAGS, std::env::var(FLAGS).unwrap_or_else(|_| "-C target-feature=+simd128".into()))
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(no_tool(&cargo, advice))?;
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let mut artifacts = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
        let line = line.map_err(no_tool(&cargo, advice))?;
        artifacts.extend(artifact(&line, &names));
    }
    let status = child.wait().map_err(no_tool(&cargo, advice))?;
    if let (Some(before), Ok(now)) = (locked, fs::read_to_string(&lock))
        && let Some(change) = lock_change(&before, &now)
    {
        eprintln!("{}: {change}", lock.display());
    }
    if !status.success() {
        return Err(failed(format!("cargo ended with {status}; its messages are above")));
    }
    if artifacts.is_empty() {
        Err(failed("it produces no .wasm; add `crate-type = [\"cdylib\", \"rlib\"]` to [lib] of its Cargo.toml".into()))
    } else {
        Ok(artifacts)
    }
}

/// What a build changed in a Cargo.lock that was there before: other builds of the workspace see it.
fn lock_change(before: &str, now: &str) -> Option<String> {
    let packages = |lock: &str| -> BTreeSet<String> {
        let value = |line: &str| line.split_once('"').and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        let mut lines = lock.lines();
        let mut found = BTreeSet::new();
        while let Some(line) = lines.next() {
            if line.starts_with("name = ")
                && let (Some(name), Some(version)) = (value(line), lines.next().and_then(value))
            {
                found.insert(format!("{name} {version}"));
            }
        }
        found
    };
    let (before, now) = (packages(before), packages(now));
    let listed = |these: Vec<&String>| {
        let shown: Vec<&str> = these.iter().take(LISTED).map(|package| package.as_str()).collect();
        let more = these.len().checked_sub(LISTED).filter(|more| *more > 0);
        shown.join(", ") + &more.map(|more| format!(" and {more} more")).unwrap_or_default()
    };
    let added: Vec<&String> = now.difference(&before).collect();
    let removed: Vec<&String> = before.difference(&now).collect();
    match (added.is_empty(), removed.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("added {}", listed(added))),
        (true, false) => Some(format!("removed {}", listed(removed))),
        (false, false) => Some(format!("added {}, removed {}", listed(added), listed(removed))),
    }
}

/// The component that a line of cargo's tells of, if it is one of ours.
fn artifact(line: &str, names: &BTreeMap<&str, &str>) -> Option<Artifact> {
    let message: Message = serde_json::from_str(line).ok()?;
    let package = *names.get(message.package_id.as_str()).filter(|_| message.reason == "compiler-artifact")?;
    let target = message.target?;
    let file = message.filenames.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "wasm"))?;
    let is_program = target.kind.iter().any(|kind| kind == "bin");
    let name = if is_program { target.name } else { package.to_owned() };
    let plugin = name.strip_prefix("plugin-").unwrap_or(&name).to_owned();
    let is_library = target.kind.iter().any(|kind| kind == "cdylib");
    (is_program || is_library).then_some(Artifact { plugin, file, manifest: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_components_are_taken() {
        let names = BTreeMap::from([("path+file:///p#my-plugin@0.1.0", "my-plugin")]);
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(artifact(line, &names).map(|artifact| artifact.plugin).as_deref(), expected, "{line}");
        };
        let line = |id: &str, kind: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","target":{{"name":"my_plugin","kind":["{kind}"]}},"filenames":["{file}"]}}"#
            )
        };
        check(&line("path+file:///p#my-plugin@0.1.0", "cdylib", "/t/my_plugin.wasm"), Some("my-plugin"));
        check(&line("path+file:///p#my-plugin@0.1.0", "bin", "/t/my_plugin.wasm"), Some("my_plugin"));
        check(&line("path+file:///p#my-plugin@0.1.0", "cdylib", "/t/libmy_plugin.rlib"), None);
        check(&line("registry+https://x#serde@1.0.0", "cdylib", "/t/serde.wasm"), None);
        let names = BTreeMap::from([("p", "plugin-json")]);
        assert_eq!(artifact(&line("p", "cdylib", "/t/plugin_json.wasm"), &names).unwrap().plugin, "json");
        check(r#"{"reason":"build-finished","success":true}"#, None);
        check("warning: something", None);
    }

    #[test]
    fn what_a_build_changes_in_the_lock_file_is_told() {
        let lock = |packages: &[&str]| -> String {
            let package = |text: &&str| {
                let (name, version) = text.split_once(' ').unwrap();
                format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"serde\",\n]\n\n")
            };
            packages.iter().map(package).collect()
        };
        let check = |before: &[&str], now: &[&str], expected: Option<&str>| {
            assert_eq!(lock_change(&lock(before), &lock(now)).as_deref(), expected);
        };
        check(&["a 1.0.0", "b 2.0.0"], &["a 1.0.0", "b 2.0.0"], None);
        check(&["a 1.0.0"], &["a 1.0.0", "at-least 0.1.0"], Some("added at-least 0.1.0"));
        check(&["a 1.0.0"], &["a 1.0.1"], Some("added a 1.0.1, removed a 1.0.0"));
        let many: Vec<String> = (0..9).map(|n| format!("p{n} 1.0.0")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let told = "added p0 1.0.0, p1 1.0.0, p2 1.0.0, p3 1.0.0, p4 1.0.0 and 4 more";
        check(&[], &many, Some(told));
    }
}
