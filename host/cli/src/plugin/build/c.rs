//! From a C project to a component: a C compiler for wasm32, and the linker and libc of the Rust toolchain.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use spout_plugin::{Asks, Manifest};

use super::{
    Artifact, no_tool,
    rust::TARGET,
    toolchain::{self, Package},
};
use crate::{
    error::Error,
    plugin::shipped::{self, Shipped},
};

const ZIG: Package = Package {
    name: "ziglang",
    version: "0.17.1",
    program: "bin/python",
    instead: "put zig onto PATH, or name a C compiler for wasm32 in SPOUT_CC, such as the clang of wasi-sdk",
};

const LINKER: &str = "install Rust from https://rustup.rs: its toolchain brings the linker for components";

/// `spout.json`: what a C file cannot say about itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    name: String,
    #[serde(default = "first_version")]
    version: String,
    kind: Kind,
    summary: String,
    #[serde(default)]
    asks: Vec<String>,
    /// The properties of a JSON schema.
    #[serde(default)]
    settings: Map<String, Value>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Handler,
    Decoder,
    Source,
    Stream,
    /// A program with a `main`, which knows nothing of the host.
    Command,
}

fn first_version() -> String {
    "0.1.0".into()
}

/// Whether `dir` is a C project for us.
pub(super) fn is_project(dir: &Path) -> bool {
    dir.join("spout.json").is_file() && dir.join("plugin.c").is_file()
}

/// The component of the project in `dir`, made in `place`.
pub(super) fn compile(dir: &Path, place: &Path, cache: &Path) -> Result<Artifact, Error> {
    let failed = |what: String| Error::Build { crate_dir: dir.to_owned(), what };
    let project: Project = {
        let path = dir.join("spout.json");
        let text = fs::read_to_string(&path).map_err(|source| Error::ReadFile { path, source })?;
        serde_json::from_str(&text).map_err(|error| failed(format!("its spout.json: {error}")))?
    };
    let (mut objects, mut sources) = (Vec::new(), Vec::new());
    let glue = match project.kind {
        Kind::Handler => Some(("handler", &["handler.c", "kernels.c", "keyed.c"][..])),
        Kind::Decoder => Some(("decoder", &["decoder.c"][..])),
        Kind::Source => Some(("source", &["source.c", "messages.c", "network.c"][..])),
        Kind::Stream => Some(("stream", &["stream.c", "messages.c", "network.c"][..])),
        Kind::Command => None,
    };
    if let Some((bindings, glue)) = glue {
        shipped::write(Shipped::C, place)?;
        shipped::write(Shipped::CBindings(bindings), place)?;
        objects.push(place.join("plugin_component_type.o"));
        sources.extend(["plugin.c", "spout.c"].iter().chain(glue).map(|name| place.join(name)));
    }
    let header = place.join("spout_project.h");
    fs::write(&header, project.header()).map_err(|source| Error::WriteFile { path: header, source })?;
    sources.extend(own_sources(dir)?);
    let (compiler, args) = find(cache)?;
    for source in sources {
        let object = place.join(format!("{}.o", objects.len()));
        let mut command = Command::new(&compiler);
        command.args(&args).args(["-O2", "-std=c11", "-Wall", "-mbulk-memory", "-c", "-I"]).arg(place);
        command.arg(&source).arg("-o").arg(&object);
        let status = command.status().map_err(no_tool(&compiler.display().to_string(), ZIG.instead))?;
        if !status.success() {
            return Err(failed(format!("{} does not compile; the compiler's messages are above", source.display())));
        }
        objects.push(object);
    }
    let file = place.join("plugin.wasm");
    link(&objects, glue.is_none(), &file).and_then(|done| done.map_err(failed))?;
    let asks = Asks { dirs: project.asks, ..Asks::default() };
    let sdk = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { name: project.name.clone(), version: project.version, sdk, asks, offers: Vec::new() };
    Ok(Artifact { plugin: project.name, file, manifest: Some(manifest) })
}

impl Project {
    /// What the C library has to know, as macros.
    fn header(&self) -> String {
        // A JSON string is a C string, but for the escapes of other than ASCII, which are none here.
        let text = |text: &str| Value::from(text).to_string().replace("\\/", "/");
        let required: Vec<&String> =
            self.settings.iter().filter(|(_, schema)| schema.get("default").is_none()).map(|(name, _)| name).collect();
        let schema = json!({
            "type": "object", "properties": self.settings, "required": required, "additionalProperties": false,
        });
        let setting = |(name, schema): (&String, &Value)| {
            let default = match schema.get("default") {
                None => "0".to_owned(),
                Some(Value::String(value)) => text(value),
                Some(other) => text(&other.to_string()),
            };
            format!("{{{}, {default}}}, ", text(name))
        };
        let settings: String = self.settings.iter().map(setting).collect();
        format!(
            "/* Made by `spout plugin build` of spout.json. */\n#define SPOUT_NAME {}\n#define SPOUT_SUMMARY {}\n#define SPOUT_SCHEMA {}\n#define SPOUT_SETTINGS {{{settings}{{0, 0}}}}\n",
            text(&self.name),
            text(&self.summary),
            text(&schema.to_string())
        )
    }
}

/// The C files of the project.
fn own_sources(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(dir).map_err(|source| Error::ReadFile { path: dir.to_owned(), source })?;
    let is_c = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "c");
    let mut sources: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_c).collect();
    sources.sort();
    Ok(sources)
}

/// A C compiler for wasm32 with its arguments: the one that is named, zig on PATH, or zig in the cache.
fn find(cache: &Path) -> Result<(PathBuf, Vec<String>), Error> {
    let named = std::env::var("SPOUT_CC").unwrap_or_default();
    let mut words = named.split_whitespace().map(str::to_owned);
    if let Some(program) = words.next() {
        return Ok((program.into(), words.collect()));
    }
    let target = ["cc", "-target", "wasm32-wasi"].map(str::to_owned);
    if let Some(zig) = toolchain::on_path("zig") {
        return Ok((zig, target.to_vec()));
    }
    let args = ["-m", "ziglang"].map(str::to_owned).into_iter().chain(target);
    Ok((toolchain::installed(ZIG, cache)?, args.collect()))
}

/// Links `objects` to a component, which begins with its `main` if it is a `program`: the libc for WASI 0.2 and the linker are Rust's.
fn link(objects: &[PathBuf], program: bool, file: &Path) -> Result<Result<(), String>, Error> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let printed = |args: &[&str]| -> Result<String, Error> {
        let output = Command::new(&rustc).args(args).output().map_err(no_tool(&rustc, LINKER))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let host_libraries = PathBuf::from(printed(&["--print", "target-libdir"])?);
    let tools = host_libraries.parent().map(|dir| dir.join("bin")).unwrap_or_default();
    let libraries = PathBuf::from(printed(&["--print", "target-libdir", "--target", TARGET])?);
    let libc = libraries.join("self-contained");
    let linker = tools.join("wasm-component-ld");
    let mut command = Command::new(&linker);
    command.arg("--wasm-ld-path").arg(tools.join("gcc-ld/wasm-ld")).args(["--wasi-adapter", "none", "--strip-debug"]);
    let start = if program { &["crt1-command.o"][..] } else { &["crt1-reactor.o", "--no-entry"] };
    command.arg("-o").arg(file).arg(libc.join(start[0])).args(&start[1..]).args(objects);
    command.arg("-L").arg(&libc).args(["-l", "c"]).args(builtins(&libraries));
    let output = command.output().map_err(no_tool(&linker.display().to_string(), LINKER))?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(if output.status.success() {
        Ok(())
    } else {
        eprint!("{said}");
        Err(format!("it does not link: {}", toolchain::last_line(&said)))
    })
}

/// The functions that compilers call for what the machine lacks.
fn builtins(libraries: &Path) -> Option<OsString> {
    let named = |name: &str| name.starts_with("libcompiler_builtins") && name.ends_with(".rlib");
    let mut files = fs::read_dir(libraries).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = files.find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(named))?;
    Some(file.into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_becomes_macros() {
        let project: Project = serde_json::from_value(json!({
            "name": "at-least", "kind": "handler", "summary": "keeps \"large\" rows",
            "settings": {"column": {"type": "string"}, "least": {"type": "integer", "default": 5}},
        }))
        .unwrap();
        let header = project.header();
        for line in [
            r#"#define SPOUT_SUMMARY "keeps \"large\" rows""#,
            r#"#define SPOUT_SETTINGS {{"column", 0}, {"least", "5"}, {0, 0}}"#,
        ] {
            assert!(header.lines().any(|own| own == line), "{header}");
        }
        assert!(header.contains(r#"\"required\":[\"column\"]"#), "{header}");
        let wrong =
            serde_json::from_value::<Project>(json!({"name": "x", "kind": "handler", "summary": "", "setings": {}}));
        assert!(wrong.is_err());
    }
}
