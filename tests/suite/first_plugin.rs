//! The README's first plugin, copied as it stands: it builds, it is found, it keeps the rows it should.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, root};

/// The code block that follows the line `` `name` `` in the README.
fn block(readme: &str, name: &str) -> Result<String> {
    let after = readme.split_once(&format!("`{name}`\n")).with_context(|| format!("{name} is not in the README"))?.1;
    let inside = after.split("```").nth(1).context("a code block")?;
    Ok(inside.split_once('\n').context("a language")?.1.to_owned())
}

#[test]
fn the_first_plugin_works_as_it_stands() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let site = Site::new()?;
    let (manifest, lib) = ("plugins/at-least/Cargo.toml", "plugins/at-least/src/lib.rs");
    // The place stands in for the repository: the SDK and the interface are where the text expects them.
    for name in ["sdk-guest", "wit", "Cargo.toml", "Cargo.lock", "host", "tests"] {
        std::os::unix::fs::symlink(root().join(name), site.path().join(name))?;
    }
    site.write(manifest, format!("{}\n[workspace]\n", block(&readme, manifest)?))?;
    site.write(lib, block(&readme, lib)?)?;
    fs::copy(root().join("Cargo.lock"), site.path().join("plugins/at-least/Cargo.lock"))?;
    fs::create_dir(site.path().join("wasm"))?;
    fs::copy(root().join("plugins/files.wasm"), site.path().join("wasm/files.wasm"))?;
    let mut site = site;
    site.plugins = site.path().join("wasm");
    site.ok(&["plugin", "build", "plugins/at-least"])?;
    let told = site.ok(&["plugin", "inspect", "at-least"])?;
    ensure!(told.contains("least") && told.contains("handler"), "{told}");

    site.write("in/a.ndjson", (0..1000).map(|size| format!("{{\"size\":{size}}}\n")).collect::<String>())?;
    site.write(
        "spec.yaml",
        r#"
pipeline: {name: sizes}
producer:
  stream: {plugin: files, topic: in, settings: {follow: false, pattern: "*.ndjson"}}
  decoder: {type: json, schema: {size: int64}}
node:
  - {id: large, type: plugin, plugin: at-least, stateless: true, settings: {column: size, least: 500}}
grants:
  files: {dirs: {in: ./in}}
"#,
    )?;
    site.ok(&["check", "spec.yaml"])?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let rows = site.rows("select count(*) as n, min(size) as least from sizes", None)?;
    ensure!(rows == ["{\"n\":500,\"least\":500}"], "{rows:?}");
    Ok(())
}
