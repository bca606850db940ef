//! `spout plugin build`: from a project in Rust, Python or C to a `.wasm` in the plugins directory.

mod c;
mod python;
mod rust;
mod toolchain;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spout_plugin::{Manifest, World, with_manifest};

use crate::{
    Global,
    check::joined,
    error::Error,
    print::{Printer, short, size},
};

/// A component of more bytes takes seconds to compile.
const LARGE: usize = 4 << 20;

/// Build plugin projects and put them into the plugins directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin build                     the project in this directory
  spout plugin build my-plugin/ other/   several
  spout plugin build plugins/            every project directly below

What is built goes into `plugins` here, or in the nearest directory above that has one; --plugins names another.

A project is one of
  Rust     a Cargo.toml with a [package]. Needs cargo; the target wasm32-wasip2 is added through rustup if it is missing.
           A plugin is named after its crate, without the prefix `plugin-`. A crate that is new in a workspace is added to
           its Cargo.lock, and the command says so.
  Python   a pyproject.toml with a [tool.spout]. Needs python3; componentize-py is taken from the project's .venv, PATH or
           COMPONENTIZE_PY, else installed from PyPI into the cache. Packages in .venv become part of the component.
  C        a plugin.c beside a spout.json. Needs clang or zig for wasm32, which is taken from PATH or SPOUT_CC, else zig is
           installed from PyPI into the cache; and a Rust toolchain with the target wasm32-wasip2, for its linker and libc.")]
pub(super) struct Build {
    /// Directories with a plugin project, or with several directly below.
    #[arg(value_name = "DIR", default_value = ".")]
    dirs: Vec<PathBuf>,
}

/// A compiled component.
#[derive(Debug)]
struct Artifact {
    plugin: String,
    file: PathBuf,
    /// What it says about itself, where the compiler did not put that in.
    manifest: Option<Manifest>,
}

/// The language of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
    C,
}

#[derive(Debug, Serialize)]
struct Built {
    plugin: String,
    file: PathBuf,
    size: u64,
    digest: String,
    worlds: Vec<World>,
}

impl Build {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let mut projects = Vec::new();
        for dir in &self.dirs {
            projects.extend(projects_of(dir)?);
        }
        // Compiling takes a while; the runtime has other threads, but a build is all this process does.
        if projects.iter().any(|(_, language)| *language != Language::Python)
            && let Some(told) = tokio::task::block_in_place(rust::add_target)?
        {
            eprintln!("{told}");
        }
        fs::create_dir_all(&global.plugins)
            .map_err(|source| Error::WriteFile { path: global.plugins.clone(), source })?;
        for (dir, language) in projects {
            // What a project is compiled to is gone with this directory.
            let place = tempfile::tempdir().map_err(|source| Error::WriteFile { path: dir.clone(), source })?;
            let compile = || match language {
                Language::Rust => rust::compile(&dir),
                Language::Python => python::compile(&dir, place.path(), &global.cache_dir()?).map(|one| vec![one]),
                Language::C => c::compile(&dir, place.path(), &global.cache_dir()?).map(|one| vec![one]),
            };
            for artifact in tokio::task::block_in_place(compile)? {
                print(&install(artifact, global).await?, printer)?;
            }
        }
        Ok(())
    }
}

fn print(built: &Built, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(built);
    }
    let (plugin, file, worlds) = (&built.plugin, built.file.display(), joined(&built.worlds));
    printer.line(format!("{plugin}: {file}, {}, sha256:{} ({worlds})", size(built.size), short(&built.digest)))
}

/// The language of the project in `dir`, if there is one.
fn language(dir: &Path) -> Option<Language> {
    if rust::is_crate(dir) {
        Some(Language::Rust)
    } else if python::is_project(dir) {
        Some(Language::Python)
    } else {
        c::is_project(dir).then_some(Language::C)
    }
}

/// The project in `dir`, or the projects directly below.
fn projects_of(dir: &Path) -> Result<Vec<(PathBuf, Language)>, Error> {
    if let Some(language) = language(dir) {
        return Ok(vec![(dir.to_owned(), language)]);
    }
    let entries = fs::read_dir(dir).map_err(|source| Error::ReadFile { path: dir.to_owned(), source })?;
    let mut projects: Vec<(PathBuf, Language)> = entries
        .filter_map(|entry| {
            let dir = entry.ok()?.path();
            language(&dir).map(|language| (dir, language))
        })
        .collect();
    projects.sort_by(|a, b| a.0.cmp(&b.0));
    if projects.is_empty() { Err(Error::NoProject { dir: dir.to_owned() }) } else { Ok(projects) }
}

fn no_tool(tool: &str, advice: &'static str) -> impl FnOnce(io::Error) -> Error {
    let tool = tool.to_owned();
    move |source| Error::NoTool { tool, advice, source }
}

/// Copies a component into the plugins directory and loads it, as a pipeline would.
async fn install(artifact: Artifact, global: &Global) -> Result<Built> {
    let file = global.plugins.join(format!("{}.wasm", artifact.plugin));
    let mut bytes = fs::read(&artifact.file).map_err(|source| Error::ReadFile { path: artifact.file, source })?;
    if let Some(manifest) = &artifact.manifest {
        bytes = with_manifest(&bytes, manifest, &file)?;
    }
    crate::get::save(&file, &bytes)?;
    if bytes.len() > LARGE {
        eprintln!(
            "{}: compiling {} of WebAssembly, once; the result is cached",
            artifact.plugin,
            size(bytes.len() as u64)
        );
    }
    let plugin = global.open_plugins()?.get(&artifact.plugin).await?;
    Ok(Built {
        digest: plugin.digest().to_owned(),
        worlds: plugin.worlds().to_vec(),
        plugin: artifact.plugin,
        size: bytes.len() as u64,
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_found_in_a_directory_or_below() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let error = projects_of(dir.path()).unwrap_err().to_string();
        assert!(error.contains("contains no plugin project"), "{error}");
        write("b/Cargo.toml", "[package]\nname = \"x\"\n");
        write("a/pyproject.toml", "[project]\nname = \"x\"\n\n[tool.spout]\n");
        write("c/spout.json", "{}");
        write("c/plugin.c", "");
        write("d/pyproject.toml", "[project]\nname = \"a tool of somebody's\"\n");
        write("e/Cargo.toml", "[workspace]\n");
        let found = projects_of(dir.path()).unwrap();
        let expected = [("a", Language::Python), ("b", Language::Rust), ("c", Language::C)];
        assert_eq!(found, expected.map(|(name, language)| (dir.path().join(name), language)));
        assert_eq!(projects_of(&dir.path().join("a")).unwrap(), [(dir.path().join("a"), Language::Python)]);
    }
}
