//! Plugins that want to have the host for themselves: what they may use up is counted by plugin and not by instance, what they would
//! wait for is not there, and before they run they are compiled where that harms nobody.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests, root};

/// A place with the hostile guest, and a source of files.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let hostile = fs::read(guests().join("hostile.wasm")).context("`just guests` builds the guests")?;
    site.write("plugins/hostile.wasm", hostile)?;
    site.write("plugins/files.wasm", fs::read(root().join("plugins/files.wasm")).context("`just plugins` builds it")?)?;
    site.plugins = site.path().join("plugins");
    Ok(site)
}

/// A pipeline through the hostile guest as a source.
fn source(settings: &str, rest: &str) -> String {
    format!(
        "pipeline: {{name: trial}}
producer:
  stream: {{plugin: hostile, topic: t, readers: 8, settings: {{{settings}}}}}
  decoder: {{type: json}}
{rest}
"
    )
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

/// A component of a few kilobytes that compiles for many seconds: `functions` functions that do nothing, with 50,000 variables each.
fn slow(functions: usize) -> Vec<u8> {
    let function = [leb(1), leb(50_000), vec![0x7f, 0x0b]].concat();
    let function = [leb(function.len()), function].concat();
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[leb(functions), vec![0; functions]].concat()),
        section(10, &[leb(functions), function.repeat(functions)].concat()),
    ];
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module.concat())].concat()
}

#[test]
fn a_small_component_that_compiles_for_long_is_given_up_and_only_where_it_is_named() -> Result<()> {
    let mut site = site()?;
    let wasm = slow(6_000);
    ensure!(wasm.len() < 50_000, "{} bytes", wasm.len());
    site.write("plugins/slow.wasm", wasm)?;
    site.environment.push(("SPOUT_CACHE", site.path().join("cache").display().to_string()));
    site.environment.push(("SPOUT_COMPILE_TIME", "1s".into()));
    let spec = "pipeline: {name: slow}\nproducer: {stream: {plugin: slow, topic: t}, decoder: {type: json}}\n";
    site.write("slow.yaml", spec)?;
    let said = ["error[E0232]", "`slow`", "slow.wasm", "1s of processor time", "--compile-time"];
    for args in [&["plugin", "inspect", "slow"][..], &["run", "slow.yaml", "--until", "ended"], &["check", "slow.yaml"]]
    {
        let begun = Instant::now();
        site.fails(args, 2, &said)?;
        ensure!(begun.elapsed() < Duration::from_secs(60), "{args:?} took {:?}", begun.elapsed());
    }
    // Who does not name it does not compile it.
    site.environment.retain(|(name, _)| *name != "SPOUT_COMPILE_TIME");
    site.environment.push(("SPOUT_COMPILE_TIME", "20s".into()));
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    site.write("good.yaml", "pipeline: {name: good}\nproducer: {stream: {plugin: files, topic: in, settings: {follow: false}}, decoder: {type: json}}\ngrants: {files: {dirs: {in: ./in}}}\n")?;
    let out = site.run(&["run", "good.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(out.status.success() && !said.contains("slow"), "{said}");
    ensure!(site.number("select count(*) from good", None)? == 1);
    Ok(())
}

#[test]
fn compiling_leaves_what_it_was_told_and_nothing_else() -> Result<()> {
    let site = site()?;
    // Nobody types it; whoever does learns what it is.
    site.fails(&["compile-plugin"], 1, &["for the host itself"])?;
    // With no time for it, nothing of it is kept.
    let run = |site: &Site| site.run(&["plugin", "inspect", "hostile"]);
    let mut own = Site::new()?;
    own.plugins.clone_from(&site.plugins);
    let cache = own.path().join("cache");
    own.environment.push(("SPOUT_CACHE", cache.display().to_string()));
    ensure!(run(&own)?.status.success());
    let kept = fs::read_dir(&cache)?.flatten().filter(|file| file.path().extension().is_some_and(|end| end == "cwasm"));
    ensure!(kept.count() == 1, "the code of a child is kept like any other");
    Ok(())
}

/// Peak of memory, in MiB.
fn peak(child: &Child) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// Eight readers of 60 partitions want 40 MiB each, and may have 128 MiB together. A neighbour goes on.
#[test]
fn many_instances_of_a_plugin_have_no_more_memory_than_one_plugin_may() -> Result<()> {
    let site = site()?;
    let limits = "limits: {memory: 64MiB, totalMemory: 128MiB, call: 60s}";
    let settings = "mode: hoard, call: consumer-open, partitions: \"60\"";
    site.write("hostile.yaml", source(settings, limits))?;
    site.write("in/a.ndjson", "{\"n\":1}\n")?;
    site.write("good.yaml", "pipeline: {name: good}\nproducer: {stream: {plugin: files, topic: in}, decoder: {type: json}}\ngrants: {files: {dirs: {in: ./in}}}\ncommit: {flush: {rows: 1}}\n")?;
    let alone = {
        let mut running = site.start(&["run", "good.yaml"])?;
        running.wait_for("committed")?.context("a commit")?;
        let peak = peak(&running.child)?;
        running.signal("TERM")?;
        running.end()?;
        peak
    };
    site.write("in/b.ndjson", "{\"n\":2}\n")?;
    let mut running = site.start(&["run", "hostile.yaml", "good.yaml"])?;
    let mut said = BufReader::new(running.child.stderr.take().context("standard error")?);
    let mut told = String::new();
    while !told.contains("E0234") {
        ensure!(said.read_line(&mut told)? > 0, "nothing was said of a limit:\n{told}");
    }
    running.wait_for("committed")?.context("the neighbour goes on")?;
    let most = peak(&running.child)?;
    println!("peak of memory: {alone} MiB without, {most} MiB with the hostile plugin, which may have 128 MiB");
    // The machine code of the plugin, and what a pipeline takes.
    ensure!(most <= alone + 128 + 64, "{most} MiB, and {alone} MiB without the hostile plugin");
    running.signal("TERM")?;
    said.read_to_string(&mut told)?;
    running.end()?;
    ensure!(told.contains("`hostile`") && told.contains("totalMemory") && told.contains("`trial`"), "{told}");
    ensure!(site.number("select count(*) from good", None)? == 2, "the neighbour lost a row");
    Ok(())
}

#[test]
fn a_source_that_makes_up_partitions_is_refused() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", source("partitions: \"10001\"", ""))?;
    site.fails(
        &["run", "spec.yaml", "--until", "ended"],
        2,
        &["error[E0235]", "10001", "10000", "limits.partitions", "`hostile`"],
    )?;
    // A thousand of a small plugin are many and fine.
    site.write("spec.yaml", source("partitions: \"1000\", total: \"1\"", ""))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from trial", None)? == 1000);
    Ok(())
}

/// A pipe in a granted directory, read by more readers than there are threads that may block.
#[test]
fn a_pipe_in_a_granted_directory_keeps_nobody_waiting() -> Result<()> {
    let site = site()?;
    site.write("in/in.txt", "granted")?;
    let pipe = site.path().join("in/pipe");
    ensure!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    let settings = "mode: pipe, call: consumer-open, partitions: \"60\"";
    site.write("spec.yaml", source(settings, "grants: {hostile: {dirs: {data: ./in}}}"))?;
    let begun = Instant::now();
    site.fails(
        &["run", "spec.yaml", "--until", "ended"],
        1,
        &["error[E0202]", "pipe.refused", "`hostile`", "`pipe` is a pipe"],
    )?;
    ensure!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
    Ok(())
}

#[test]
fn what_a_plugin_says_cannot_steer_a_terminal() -> Result<()> {
    let site = site()?;
    let loud = |mode: &str| source(&format!("mode: {mode}, call: fetch, total: \"3\""), "");
    site.write("spec.yaml", loud("escape"))?;
    let run = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(
        run.status.success() && String::from_utf8_lossy(&run.stderr).contains("after"),
        "it says what the plugin said"
    );
    let decoder = "decoder: {plugin: hostile, settings: {mode: retriable, call: decode}}";
    site.write("bad.yaml", source("total: \"3\"", "").replace("decoder: {type: json}", decoder))?;
    let mut all = vec![run, site.run(&["run", "bad.yaml", "--until", "ended"])?];
    for args in [
        &["plugin", "inspect", "hostile"][..],
        &["logs", "trial"],
        &["inspect", "pipeline", "trial"],
        &["marker", "show", "trial"],
        &["sql", "select * from trial"],
        &["list", "commit", "trial"],
    ] {
        all.push(site.run(args)?);
    }
    for output in all {
        for text in [output.stdout, output.stderr] {
            let text = String::from_utf8_lossy(&text).into_owned();
            let odd = text.chars().find(|&c| c != '\n' && spout_base::terminal::misleads(c));
            ensure!(odd.is_none(), "{odd:?} in {text:?}");
        }
    }
    Ok(())
}
