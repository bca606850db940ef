//! What projects are built with, as part of the binary: the WIT, and the SDKs of languages that have no package manager here.

use std::{fs, path::Path};

use include_dir::{Dir, include_dir};

use crate::error::Error;

static WIT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../wit/since-v0.1");
static PYTHON: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk-guest/python");
static C: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk-guest/c");

/// What a project offers that is a program and nothing else.
pub(super) const COMMAND: &str = "command";

/// A set of files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shipped {
    /// The package that authors import.
    Python,
    /// What connects it to the interfaces.
    PythonBoundary,
    /// The header, and what is compiled with it.
    C,
    /// The generated bindings of a kind of plugins in C, such as `handler`.
    CBindings(&'static str),
    /// The interfaces.
    Wit,
}

impl Shipped {
    fn dir(self) -> Option<&'static Dir<'static>> {
        match self {
            Self::Python => PYTHON.get_dir("spout"),
            Self::PythonBoundary => PYTHON.get_dir("boundary"),
            Self::C => Some(&C),
            Self::CBindings(kind) => C.get_dir(format!("bindings/{kind}")),
            Self::Wit => Some(&WIT),
        }
    }

    /// Files that are written into a project are not its author's: git ignores them.
    fn is_ignored(self) -> bool {
        matches!(self, Self::Python)
    }
}

/// Writes the files into `to`; those that are there already stay untouched.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(what: Shipped, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(|source| Error::WriteFile { path: to.to_owned(), source })?;
    let endings = ["py", "wit", "c", "h", "o"];
    let files = what.dir().into_iter().flat_map(Dir::files).filter_map(|file| {
        let name = file.path().file_name()?;
        file.path().extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)).then_some(())?;
        Some((to.join(name), file.contents()))
    });
    let ignore = what.is_ignored().then(|| (to.join(".gitignore"), b"*\n".as_slice()));
    for (path, bytes) in files.chain(ignore) {
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            fs::write(&path, bytes).map_err(|source| Error::WriteFile { path, source })?;
        }
    }
    Ok(())
}

/// The world `plugin` of a component with these interfaces.
pub(super) fn world(interfaces: &[String]) -> String {
    if interfaces == [COMMAND] {
        return include_str!("build/command.wit").to_owned();
    }
    let world = |interface: &String| match interface.as_str() {
        "partition-consumer" => "source",
        "stream-consumer" => "stream-source",
        "spout" => "self-driven",
        "transformer" => "transforming",
        "decoder" => "decoding",
        _ => "handling",
    };
    let includes: String =
        interfaces.iter().map(|interface| format!("    include spout:plugin/{}@0.1.0;\n", world(interface))).collect();
    format!("package spout:built;\n\nworld plugin {{\n{includes}}}\n")
}
