//! Files that hang when they are read, as on a mount whose server is gone, in a directory that is granted to a plugin: what waits for
//! them are threads of that plugin, and nobody else waits for those.
//!
//! `support/hang.c` runs the host so that the kernel never answers it for such a file.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Running, Site, guests, root};

const STOP: Duration = Duration::from_secs(5);

/// A place with the hostile guest, a neighbour, and what makes files hang that are named `in.txt`.
fn site() -> Result<(Site, PathBuf)> {
    let mut site = Site::new()?;
    for (to, from) in [("hostile", guests()), ("files", root().join("plugins"))] {
        let wasm = fs::read(from.join(format!("{to}.wasm"))).context("`just guests` and `just plugins` build it")?;
        site.write(&format!("plugins/{to}.wasm"), wasm)?;
    }
    site.plugins = site.path().join("plugins");
    site.write("data/in.txt", "granted")?;
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    site.write("good.yaml", "pipeline: {name: good}\nproducer: {stream: {plugin: files, topic: in}, decoder: {type: json}}\ngrants: {files: {dirs: {in: ./in}}}\ncommit: {flush: {rows: 1}}\n")?;
    let (hang, source) = (site.path().join("hang"), root().join("tests/support/hang.c"));
    let built = Command::new("cc").arg("-o").args([&hang, &source]).status();
    ensure!(built.context("`cc` links Rust, too")?.success(), "{} does not compile", source.display());
    Ok((site, hang))
}

fn hostile(source: &str, decoder: &str, grants: &str) -> String {
    format!(
        "pipeline: {{name: hostile}}
producer:
  stream: {source}
  decoder: {decoder}
grants: {{hostile: {{dirs: {{data: ./data}}}}{grants}}}
limits: {{call: 300ms}}
commit: {{flush: {{time: 200ms}}}}
"
    )
}

/// Starts both; whatever happens, it is over after two minutes.
fn start(site: &Site, hang: &std::path::Path) -> Result<Running> {
    let mut running = site.start_under(hang, &["120", "/in.txt"], &["run", "good.yaml", "hostile.yaml"])?;
    let mut errors = running.child.stderr.take().context("standard error")?;
    thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    Ok(running)
}

fn threads(running: &Running) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/task", running.child.id()))?.count())
}

/// A guest that begins to read in a thousand places before it waits for any of them.
fn nobody_else_waits(spec: &str) -> Result<()> {
    let (site, hang) = site()?;
    site.write("hostile.yaml", spec)?;
    let mut running = start(&site, &hang)?;
    let mut committed = 0;
    let mut hung = false;
    while committed == 0 || !hung {
        let update = running.next_event()?.context("it ended early")?;
        match (update["pipeline"].as_str(), update["event"].as_str()) {
            (Some("good"), Some("committed")) => committed += update["rows"].as_u64().context("rows")?,
            // It was given up once, at least, or is over.
            (Some("hostile"), Some("committed" | "failed" | "stopped")) => hung = true,
            _ => {}
        }
    }
    site.write("in/b.ndjson", "{\"n\":2}\n")?;
    while committed < 2 {
        let update = running.wait_for("committed")?.context("the neighbour stands still")?;
        committed += update["rows"].as_u64().context("rows")?;
    }
    // Those of the plugin, and those that any run has.
    let threads = threads(&running)?;
    println!("{threads} threads");
    ensure!(threads < 64 + 40, "{threads} threads");
    let since = Instant::now();
    running.signal("TERM")?;
    running.end()?;
    ensure!(since.elapsed() < STOP, "it stopped after {:?}", since.elapsed());
    ensure!(site.number("select count(*) from good", None)? == 2);
    Ok(())
}

#[test]
fn a_file_that_hangs_holds_threads_of_its_plugin_and_no_others() -> Result<()> {
    nobody_else_waits(&hostile(
        "{plugin: files, topic: in}",
        "{plugin: hostile, settings: {mode: read-many, call: decode}}",
        ", files: {dirs: {in: ./in}}",
    ))
}

#[test]
fn a_source_that_hangs_holds_threads_of_its_own_and_no_others() -> Result<()> {
    nobody_else_waits(&hostile(
        "{plugin: hostile, topic: t, readers: 8, settings: {mode: read-many, call: fetch, partitions: \"60\"}}",
        "{type: json}",
        "",
    ))
}
