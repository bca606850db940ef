//! Plugins that misbehave, as a user meets them: a coded error that names its nouns, and every earlier commit as it was.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests, root};

/// A place whose plugins are the misbehaving ones.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    for guest in ["hostile", "other-world", "other-version"] {
        let from = guests().join(format!("{guest}.wasm"));
        fs::copy(&from, dir.join(format!("{guest}.wasm")))
            .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    }
    site.plugins = dir;
    Ok(site)
}

/// A pipeline through the hostile guest at every place, set to `mode` in `call` at those named in `at`.
fn spec(at: &[&str], mode: &str, call: &str, total: u32, rest: &str) -> String {
    let settings = |place: &str| {
        if at.contains(&place) {
            format!("{{mode: {mode}, call: {call}, total: \"{total}\"}}")
        } else {
            format!("{{total: \"{total}\"}}")
        }
    };
    format!(
        "pipeline: {{name: trial}}
producer:
  stream: {{plugin: hostile, topic: t, settings: {}, fetch: {{messages: 5}}}}
  decoder: {{plugin: hostile, settings: {}}}
node:
  - {{id: forward, type: plugin, plugin: hostile, settings: {}}}
commit: {{flush: {{rows: 5}}}}
limits: {{call: 300ms, memory: 64MiB, answer: 16MiB}}
{rest}
",
        settings("stream"),
        settings("decoder"),
        settings("node"),
    )
}

fn rows(site: &Site) -> Result<Vec<String>> {
    let mut rows = site.rows("select * from trial", None)?;
    rows.sort_unstable();
    Ok(rows)
}

/// Ten good rows are committed; then the guest turns bad: an error with `parts` in it, and the ten rows are still there.
fn turns_bad(at: &str, mode: &str, call: &str, parts: &[&str]) -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", spec(&[], "", "", 10, ""))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let before = rows(&site)?;
    ensure!(before.len() == 10, "{before:?}");
    site.write("spec.yaml", spec(&[at], mode, call, 20, ""))?;
    let nouns = ["trial", "hostile"];
    let parts: Vec<&str> = parts.iter().chain(&nouns).copied().collect();
    site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &parts).with_context(|| format!("{mode} in {call}"))?;
    let after = rows(&site)?;
    ensure!(after == before, "{mode} in {call}: {before:?} became {after:?}");
    site.ok(&["fsck"])?;
    // Mended, it goes on where it was, and every row is there once.
    site.write("spec.yaml", spec(&[], "", "", 20, ""))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from trial", None)? == 20, "{mode} in {call}: rows lost or doubled");
    ensure!(site.number("select count(distinct value) from trial", None)? == 20, "{mode} in {call}: rows doubled");
    Ok(())
}

#[test]
fn a_decoder_that_crashes_over_everything_is_given_up() -> Result<()> {
    let given_up = "crashed 3 times on partition 0, offsets 10..15";
    turns_bad("decoder", "trap", "decode", &["error[E0205]", "panicked at", "as ordered", given_up])?;
    turns_bad("decoder", "exit", "decode", &["error[E0208]", "exited with status 1", given_up])
}

#[test]
fn a_decoder_that_eats_memory_or_never_ends_is_given_up() -> Result<()> {
    let given_up = "crashed 3 times on partition 0, offsets 10..15";
    turns_bad("decoder", "memory", "decode", &["error[E0207]", "limits.memory", given_up])?;
    turns_bad("decoder", "spin", "decode", &["error[E0206]", "limits.call", given_up])
}

#[test]
fn a_handler_that_crashes_over_everything_is_given_up() -> Result<()> {
    turns_bad("node", "trap", "process", &["error[E0404]", "as ordered", "3 times", "partition 0, offsets 10..15"])?;
    turns_bad("node", "spin", "process", &["error[E0404]", "limits.call", "3 times"])
}

/// Lines that say of a crash.
fn crashes(said: &str) -> usize {
    said.lines().filter(|line| line.contains("the decoder crashed") || line.contains("the handler crashed")).count()
}

#[test]
fn a_broken_plugin_is_told_of_in_a_line_a_crash_and_one_error() -> Result<()> {
    for (at, mode, call) in [
        ("decoder", "trap", "decode"),
        ("decoder", "spin", "decode"),
        ("node", "trap", "process"),
        ("node", "spin", "process"),
    ] {
        let site = site()?;
        site.write("spec.yaml", spec(&[at], mode, call, 10, ""))?;
        let said = site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &[])?;
        ensure!(crashes(&said) == 3, "{mode} in {call}: {} crashes\n{said}", crashes(&said));
        ensure!(said.matches("error[E0").count() == 1, "{mode} in {call}: more than one error\n{said}");
        // The plugins are new here, and a loop announces itself.
        let lines = said.lines().filter(|line| !line.contains("plugin is new") && !line.contains("spinning")).count();
        ensure!(lines <= 9, "{mode} in {call}: {lines} lines\n{said}");
    }
    Ok(())
}

#[test]
fn a_stop_does_not_wait_for_a_guest_that_never_ends() -> Result<()> {
    // Where it spins, whether what was taken can be committed all the same.
    let cases = [
        ("stream", "fetch", true),
        ("decoder", "decode", true),
        ("node", "process", false),
        ("node", "snapshot", false),
    ];
    for (at, call, in_order) in cases {
        let site = site()?;
        let text = spec(&[at], "spin", call, 1_000_000, "").replace("call: 300ms", "call: 1h");
        site.write("spec.yaml", text)?;
        let mut child = site.command(&["run", "spec.yaml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stderr.take().context("standard error")?);
        let mut line = String::new();
        while !line.contains("spinning") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "{call}: it ended before it was told to");
        }
        let told = Instant::now();
        ensure!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?.success());
        let mut rest = String::new();
        said.read_to_string(&mut rest)?;
        let status = child.wait()?;
        // One second, or three for a snapshot, and a shared machine.
        ensure!(told.elapsed() < Duration::from_secs(20), "{call}: it took {:?} to stop", told.elapsed());
        ensure!(status.success() == in_order, "{call}: {status}\n{rest}");
        if !in_order {
            ensure!(rest.contains("error[E0222]") && rest.contains("hostile") && rest.contains(call), "{call}: {rest}");
        }
        // Mended, every row is there once.
        site.write("spec.yaml", spec(&[], "", "", 20, ""))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        ensure!(site.number("select count(distinct value) from trial", None)? == 20, "{call}: rows lost or doubled");
        ensure!(site.number("select count(*) from trial", None)? == 20, "{call}: rows doubled");
    }
    Ok(())
}

#[test]
fn a_source_that_crashes_is_tried_again_and_then_given_up() -> Result<()> {
    turns_bad("stream", "trap", "fetch", &["error[E0205]", "partition 0", "offset 10"])
}

#[test]
fn answers_that_cannot_be_right_stop_the_pipeline() -> Result<()> {
    turns_bad("stream", "offsets-fall", "fetch", &["error[E0209]", "must rise", "partition 0"])?;
    turns_bad("stream", "next-short", "fetch", &["error[E0209]", "outside of the run"])?;
    turns_bad("decoder", "utf8", "decode", &["error[E0209]", "value", "offsets 10..15"])?;
    turns_bad("decoder", "lie", "decode", &["error[E0209]", "value"])?;
    turns_bad("node", "mask-short", "process", &["error[E0209]", "mask"])
}

#[test]
fn wrong_settings_and_a_plugins_own_refusal_are_told_apart() -> Result<()> {
    turns_bad("stream", "fatal", "fetch", &["error[E0202]", "test.fatal", "never"])?;
    let site = site()?;
    site.write("spec.yaml", spec(&["stream"], "config", "provider-open", 10, ""))?;
    let error = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let error = String::from_utf8_lossy(&error.stderr).into_owned();
    ensure!(error.contains("error[E0203]") && error.contains("spout plugin inspect hostile"), "{error}");
    Ok(())
}

#[test]
fn a_poisonous_message_is_set_aside_in_the_commit_of_its_neighbours() -> Result<()> {
    for (at, call) in [("decoder", "decode"), ("node", "process")] {
        for (mode, reason) in [("poison", "poison"), ("poison-spin", "limits.call")] {
            let site = site()?;
            let text = spec(&[at], mode, call, 40, "errors: {decode: dead-letter, node: dead-letter}");
            // Batches large enough that one by one is not the first thing to try.
            let text = text.replace("messages: 5", "messages: 20").replace("call: 300ms", "call: 500ms");
            site.write("spec.yaml", text)?;
            let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{mode} in {call}: {said}");
            let rows = site.rows("select value from trial", None)?;
            ensure!(rows.len() == 36, "{mode} in {call}: {} rows", rows.len());
            ensure!(!rows.iter().any(|row| row.contains("7}")), "{rows:?}");
            let dead = site.rows("select \"offset\", reason from trial_dead_letter order by 1", None)?;
            let offsets = [7, 17, 27, 37];
            ensure!(dead.len() == offsets.len(), "{dead:?}");
            for (letter, offset) in dead.iter().zip(offsets) {
                ensure!(letter.contains(&format!(":{offset},")) && letter.contains(reason), "{letter}");
            }
            // Three lines an input at most: the first messages together, which settle the schema, then each commit's.
            ensure!(crashes(&said) <= 3 * 5, "{mode} in {call}: {} lines of crashes\n{said}", crashes(&said));
            site.ok(&["fsck"])?;
        }
    }
    Ok(())
}

#[test]
fn what_passes_by_itself_at_a_source_is_for_good_in_a_decoder_or_a_handler() -> Result<()> {
    turns_bad("decoder", "retriable", "decode", &["error[E0202]", "test.retriable", "partition 0"])?;
    turns_bad("node", "retriable", "process", &["error[E0202]", "test.retriable", "partition 0"])
}

#[test]
fn a_spec_without_plugins_needs_no_plugins_directory() -> Result<()> {
    let mut site = site()?;
    // Plugins that nobody uses are neither compiled nor spoken of, whatever is wrong with them.
    site.write("plugins/text.wasm", "not wasm")?;
    site.environment.push(("SPOUT_CACHE", site.path().join("cache").display().to_string()));
    site.write("spec.yaml", "pipeline: {name: p}\nproducer: {stdin: {}, decoder: {type: json}}\n")?;
    for plugins in [site.plugins.clone(), site.path().join("nowhere")] {
        site.plugins = plugins;
        site.ok(&["check", "spec.yaml"])?;
        let output = site.run(&["run", "spec.yaml"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && !said.contains("plugin"), "{said}");
    }
    ensure!(!site.path().join("cache").exists(), "something was compiled");
    Ok(())
}

#[test]
fn a_decoder_that_takes_no_settings_goes_on_after_a_restart_and_after_a_crash() -> Result<()> {
    let site = site()?;
    let wasm = guests().join("mirror.wasm");
    fs::copy(&wasm, site.plugins.join("mirror.wasm")).with_context(|| format!("{} is missing", wasm.display()))?;
    fs::copy(root().join("plugins/files.wasm"), site.plugins.join("files.wasm")).context("`just plugins` builds it")?;
    site.write(
        "spec.yaml",
        "
pipeline: {name: trial}
producer:
  stream: {plugin: files, topic: in, settings: {follow: false, pattern: \"*.txt\"}}
  decoder: {plugin: mirror}
errors: {decode: dead-letter}
grants:
  files: {dirs: {in: ./in}}
",
    )?;
    for run in 0..3 {
        site.write(&format!("in/{run}.txt"), format!("a{run}\ncrash\nb{run}\n"))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"]).with_context(|| format!("run {run}"))?;
        ensure!(site.number("select count(*) from trial", None)? == 2 * (run + 1), "run {run}");
        ensure!(site.number("select count(*) from trial_dead_letter", None)? == run + 1, "run {run}");
    }
    Ok(())
}

#[test]
fn a_flood_of_log_lines_is_cut() -> Result<()> {
    let site = site()?;
    let loud = spec(&["decoder"], "flood", "decode", 20, "").replace("call: 300ms", "call: 20s, log: 64KiB");
    site.write("spec.yaml", loud)?;
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    // Four calls write 40 MB each; a second's worth of lines passes, and then the next second's.
    ensure!(said.len() < 8 << 20, "{} bytes of log", said.len());
    ensure!(site.number("select count(*) from trial", None)? == 20, "rows lost");
    site.write("spec.yaml", spec(&["decoder"], "escape", "decode", 25, ""))?;
    let output = site.run(&["run", "spec.yaml", "--until", "ended"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("before") && said.contains("after"), "{said}");
    ensure!(!said.contains("\u{1b}[2J") && !said.contains('\u{7}') && !said.contains('\u{202e}'), "{said:?}");
    Ok(())
}

#[test]
fn nothing_is_reached_without_a_grant() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", spec(&["stream"], "reach", "fetch", 10, ""))?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["error[E0202]", "reach.denied"]).map(drop)
}

/// `wasm` with a manifest that asks for a directory.
fn asking(wasm: &[u8]) -> Vec<u8> {
    let (name, text) = ("spout:manifest", r#"{"name":"hostile","asks":{"dirs":["events"]}}"#);
    let length = |count: usize| vec![(count & 0x7f) as u8 | 0x80, (count >> 7) as u8];
    let mut section = length(name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(text.as_bytes());
    let mut out = wasm.to_vec();
    out.push(0);
    out.extend(length(section.len()));
    out.extend(section);
    out
}

#[test]
fn what_a_manifest_asks_for_has_to_be_granted() -> Result<()> {
    let site = site()?;
    let path = site.plugins.join("hostile.wasm");
    fs::write(&path, asking(&fs::read(&path)?))?;
    site.write("spec.yaml", spec(&[], "", "", 10, ""))?;
    let add = "grants: {hostile: {dirs: {events:";
    for verb in [&["check", "spec.yaml"][..], &["run", "spec.yaml", "--until", "ended"]] {
        site.fails(verb, 2, &["E0216", "hostile", add])?;
    }
    site.write("spec.yaml", spec(&[], "", "", 10, "grants: {hostile: {dirs: {events: ./data}}}"))?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &["E0217", "events", "data"])?;
    fs::create_dir(site.path().join("data"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from trial", None)? == 10, "ten rows");
    Ok(())
}

#[test]
fn files_that_are_no_plugin_have_an_error_of_their_own() -> Result<()> {
    let site = site()?;
    let hostile = fs::read(site.plugins.join("hostile.wasm"))?;
    fs::write(site.plugins.join("core.wasm"), b"\0asm\x01\0\0\0")?;
    fs::write(site.plugins.join("text.wasm"), "not wasm")?;
    fs::write(site.plugins.join("torn.wasm"), hostile.get(..hostile.len() / 2).context("half of it")?)?;
    let check = |plugin: &str, parts: &[&str]| -> Result<()> {
        let text =
            spec(&[], "", "", 10, "").replace("stream: {plugin: hostile", &format!("stream: {{plugin: \"{plugin}\""));
        site.write("spec.yaml", text)?;
        site.fails(&["run", "spec.yaml", "--until", "ended"], 2, parts).map(drop)
    };
    check("core", &["error[E0213]", "core.wasm", "wasm32-wasip2"])?;
    check("text", &["error[E0212]", "text.wasm"])?;
    check("torn", &["error[E0219]", "torn.wasm"])?;
    check("other-world", &["error[E0214]", "other-world"])?;
    check("other-version", &["error[E0215]", "spout:plugin@0.9.0", "spout:plugin@0.1"])?;
    check("hostil", &["error[E0211]", "did you mean `hostile`"])?;
    check(&format!("hostile@sha256:{}", "0".repeat(64)), &["error[E0218]", "hostile"])?;
    let listed = site.ok(&["plugin", "list"])?;
    for name in ["hostile", "core", "text", "torn", "other-world", "other-version"] {
        ensure!(listed.contains(name), "{name} is not listed:\n{listed}");
    }
    ensure!(!site.path().join("store/repos/trial/branches").exists(), "a refused plugin left a branch");
    Ok(())
}
