//! From a Python project to a component, with componentize-py.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use spout_plugin::{Asks, Manifest};

use super::{
    Artifact, no_tool,
    toolchain::{self, PYTHON, Package},
};
use crate::{
    error::Error,
    plugin::shipped::{self, COMMAND, Shipped},
};

const COMPONENTIZE: Package = Package {
    name: "componentize-py",
    version: "0.25.1",
    program: "bin/componentize-py",
    instead: "install it into the project's .venv or onto PATH, or name it in COMPONENTIZE_PY",
};

const ADVICE: &str = "install Python 3.10 or newer, or make a .venv in the project";

/// What a project says it offers.
#[derive(Deserialize)]
struct Project {
    name: String,
    version: String,
    module: String,
    asks: Vec<String>,
    interfaces: Vec<String>,
}

/// Whether `dir` is a Python project for us.
pub(super) fn is_project(dir: &Path) -> bool {
    let manifest = fs::read_to_string(dir.join("pyproject.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "[tool.spout]")
}

/// Whether it is a program that knows nothing of us.
fn is_command(dir: &Path) -> bool {
    let manifest = fs::read_to_string(dir.join("pyproject.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "kind = \"command\"")
}

/// The component of the project in `dir`, made in `place`.
pub(super) fn compile(dir: &Path, place: &Path, cache: &Path) -> Result<Artifact, Error> {
    let failed = |what: String| Error::Build { crate_dir: dir.to_owned(), what };
    let project = describe(dir, place)?;
    let componentize = find(dir, cache)?;
    shipped::write(Shipped::PythonBoundary, place)?;
    let is_command = project.interfaces == [COMMAND];
    let (entry, file) = (if is_command { "spout_command" } else { "spout_component" }, place.join("plugin.wasm"));
    if is_command {
        fs::create_dir_all(place.join("wit")).map_err(|source| Error::WriteFile { path: place.join("wit"), source })?;
    } else {
        shipped::write(Shipped::Wit, &place.join("wit/deps/spout-plugin"))?;
    }
    let write = |name: &str, text: &str| {
        let path = place.join(name);
        fs::write(&path, text).map_err(|source| Error::WriteFile { path, source })
    };
    write("wit/world.wit", &shipped::world(&project.interfaces))?;
    write("spout_project.py", &format!("MODULE = {:?}\nNAME = {:?}\n", project.module, project.name))?;
    eprintln!("{}: making a component of Python and {}.py, which takes some seconds", project.name, project.module);
    let mut command = Command::new(&componentize);
    command.args(["--quiet", "--wit-path"]).arg(place.join("wit")).args(["--world", "plugin", "componentize"]);
    command.arg(entry).arg("--output").arg(&file);
    for path in [Some(place.to_owned()), Some(dir.to_owned()), site_packages(dir)].into_iter().flatten() {
        command.arg("--python-path").arg(path);
    }
    let output = command.env_remove("VIRTUAL_ENV").env("PYTHONDONTWRITEBYTECODE", "1").output();
    let output = output.map_err(no_tool(&componentize.display().to_string(), COMPONENTIZE.instead))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprint!("{said}");
        return Err(failed(format!("componentize-py failed: {}", toolchain::last_line(&said))));
    }
    let asks = Asks { dirs: project.asks, ..Asks::default() };
    let sdk = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { name: project.name.clone(), version: project.version, sdk, asks, offers: Vec::new() };
    Ok(Artifact { plugin: project.name, file, manifest: Some(manifest) })
}

/// Asks the project what it offers, in plain Python: a mistake shows here, with its line, before anything takes long.
fn describe(dir: &Path, place: &Path) -> Result<Project, Error> {
    // The package stays in the project: editors complete it, and tests of the project import it. A command has no use for it.
    let kept = if is_command(dir) { place } else { dir };
    shipped::write(Shipped::Python, &kept.join("spout"))?;
    let own = dir.join(".venv/bin/python");
    let python = if own.exists() { own } else { PYTHON.into() };
    let here = std::path::absolute(dir).map_err(|source| Error::ReadFile { path: dir.to_owned(), source })?;
    let mut command = Command::new(&python);
    command.args(["-m", "spout.describe"]).arg(&here).current_dir(kept).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().map_err(no_tool(&python.display().to_string(), ADVICE))?;
    let failed = |what: String| Error::Build { crate_dir: dir.to_owned(), what };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprint!("{said}");
        return Err(failed(toolchain::last_line(&said)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("its module prints when imported: {error}")))
}

/// componentize-py: the one that is named, the project's, one on PATH, or the one in the cache.
fn find(dir: &Path, cache: &Path) -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os("COMPONENTIZE_PY") {
        return Ok(named.into());
    }
    let own = dir.join(".venv").join(COMPONENTIZE.program);
    let found = Some(own).filter(|own| own.exists()).or_else(|| toolchain::on_path(COMPONENTIZE.name));
    found.map_or_else(|| toolchain::installed(COMPONENTIZE, cache), Ok)
}

/// The packages of the project's own environment, which become part of the component.
fn site_packages(dir: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(dir.join(".venv/lib")).ok()?;
    let mut packages = versions.filter_map(|version| Some(version.ok()?.path().join("site-packages")));
    packages.find(|packages| packages.is_dir())
}
