//! Plugins that misbehave, as a user meets them: a coded error that names its nouns, and every earlier commit as it was.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests};

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
    let settings = |place: &str| match at.contains(&place) {
        true => format!("{{mode: {mode}, call: {call}, total: \"{total}\"}}"),
        false => format!("{{total: \"{total}\"}}"),
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

// Which of two errors stops the pipeline is a matter of time here: the first message set aside under `errors.decode: fail`, or
// the plugin given up after one crash too many. Both say what the guest did.
#[test]
fn a_decoder_that_crashes_over_everything_is_given_up() -> Result<()> {
    turns_bad("decoder", "trap", "decode", &["the guest crashed", "partition 0"])?;
    turns_bad("decoder", "exit", "decode", &["exited with status 1", "partition 0"])
}

#[test]
fn a_decoder_that_eats_memory_or_never_ends_is_given_up() -> Result<()> {
    turns_bad("decoder", "memory", "decode", &["limits.memory", "partition 0"])?;
    turns_bad("decoder", "spin", "decode", &["limits.call", "partition 0"])
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
    let site = site()?;
    site.write("spec.yaml", spec(&["decoder"], "poison", "decode", 20, "errors: {decode: dead-letter}"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let rows = site.rows("select value from trial", None)?;
    ensure!(rows.len() == 18, "{} rows", rows.len());
    ensure!(!rows.iter().any(|row| row.contains("7}")), "{rows:?}");
    let files = site.ok(&["list", "file", "trial@master:/dead-letter/"])?;
    ensure!(files.contains("dead-letter"), "{files}");
    site.ok(&["fsck"]).map(drop)
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
    check("hostil", &["error[E0211]", "did you mean \"hostile\""])?;
    check(&format!("hostile@sha256:{}", "0".repeat(64)), &["error[E0218]", "hostile"])?;
    let listed = site.ok(&["plugin", "list"])?;
    for name in ["hostile", "core", "text", "torn", "other-world", "other-version"] {
        ensure!(listed.contains(name), "{name} is not listed:\n{listed}");
    }
    ensure!(!site.path().join("store/repos/trial/branches").exists(), "a refused plugin left a branch");
    Ok(())
}
