//! One plugin that offers several of each kind: which one a spec means, what it has to grant, which columns are known before any row,
//! and what messages carry from a source to a decoder.

use anyhow::{Result, ensure};
use spout_tests::{Site, guests};

/// A pipeline through the guest `several`; `stream` and `more` are parts of the spec.
fn spec(stream: &str, decoder: &str, more: &str) -> String {
    format!(
        "pipeline: {{name: trial}}
producer:
  stream: {{{stream}}}
  decoder: {{plugin: {decoder}}}
commit: {{flush: {{rows: 7}}}}
{more}
"
    )
}

const TAGGED: &str = "plugin: several/tagged, settings: {total: 12}, fetch: {messages: 5}";

fn site(text: String) -> Result<Site> {
    let mut site = Site::new()?;
    site.plugins = guests();
    site.write("spec.yaml", text)?;
    Ok(site)
}

/// What a decoder is told of message `n` of a partition.
fn expected(partition: u64, n: u64) -> String {
    let (key, sent) = (!n.is_multiple_of(3), !n.is_multiple_of(4));
    let headers = if sent { format!("partition={partition} late=no") } else { format!("partition={partition}") };
    let key = if key { format!("k{n}") } else { "none".into() };
    let sent = if sent { (1000 + n).to_string() } else { "-1".into() };
    format!("{{\"n\":{n},\"headers\":\"{headers}\",\"key\":\"{key}\",\"sent\":{sent},\"partition\":{partition}}}")
}

fn carried(site: &Site, missing: Option<u64>) -> Result<()> {
    let rows = site.rows("select n, headers, coalesce(key, 'none') as key, coalesce(sent, -1) as sent, partition from trial order by partition, n", None)?;
    let all = (0..2).flat_map(|partition| (0..12).filter(|n| Some(*n) != missing).map(move |n| expected(partition, n)));
    let all: Vec<String> = all.collect();
    ensure!(rows == all, "{rows:#?}\ninstead of\n{all:#?}");
    Ok(())
}

#[test]
fn keys_headers_times_and_partitions_reach_the_decoder() -> Result<()> {
    for how in ["lowlevel", "highlevel"] {
        let text = spec(&format!("{TAGGED}, consumerType: {how}, metadata: [key, timestamp]"), "several/envelope", "");
        let site = site(text)?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        carried(&site, None)?;
        let same = "select count(*) from trial where (key is not distinct from cast(__key as varchar)) \
                    and (sent is not distinct from cast(__timestamp as bigint))";
        ensure!(site.number(same, None)? == 24, "{how}: columns and decoder do not agree");
    }
    Ok(())
}

#[test]
fn a_crash_costs_one_message_and_its_letter_has_key_headers_and_time() -> Result<()> {
    for how in ["lowlevel", "highlevel"] {
        let stream = TAGGED.replace("total: 12", "total: 12, poison: 5");
        let site = site(spec(&format!("{stream}, consumerType: {how}"), "several/envelope", ""))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        carried(&site, Some(5))?;
        let letters = "select code, cast(key as varchar) as key, cast(\"timestamp\" as bigint) as sent, cast(value as varchar) as value, \
                       headers[1]['name'] || '=' || text(headers[1]['value']) as header from trial_dead_letter order by partition";
        let letters = site.rows(letters, None)?;
        let one = |partition: u8| {
            format!(
                r#"{{"code":"plugin.trap","key":"k5","sent":1005,"value":"crash","header":"partition={partition}"}}"#
            )
        };
        ensure!(letters == [one(0), one(1)], "{how}: {letters:?}");
    }
    Ok(())
}

#[test]
fn a_spec_says_which_of_several_it_means() -> Result<()> {
    let node = "node: [{id: d, type: plugin, plugin: several/double}]";
    for (stream, decoder, more, parts) in [
        (
            TAGGED,
            "several",
            node,
            ["E0225", "spec.yaml:4", "several decoders: `plain`, `envelope`, `shaped`; write `plugin: several/plain`"],
        ),
        (
            TAGGED,
            "several/plane",
            node,
            ["E0225", "spec.yaml:4", "no decoder `plane`; it offers `plain`, `envelope`, `shaped`"],
        ),
        (TAGGED, "several/double", node, ["E0225", "spec.yaml:4", "no decoder `double`"]),
        (
            "plugin: several, settings: {total: 1}",
            "several/plain",
            "",
            ["E0225", "spec.yaml:3", "several sources: `tagged`, `granted`"],
        ),
        (
            TAGGED,
            "several/plain",
            "node: [{type: plugin, plugin: several}]",
            ["E0225", "spec.yaml:6", "several handlers: `double`"],
        ),
    ] {
        let site = site(spec(stream, decoder, more))?;
        site.fails(&["check", "spec.yaml"], 2, &parts)?;
        site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &parts[..1])?;
    }
    // The only stream has no need of a name.
    let site = site(spec(
        &TAGGED.replace("several/tagged", "several").replace("fetch", "consumerType: highlevel, fetch"),
        "several/plain",
        "",
    ))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from trial where line = '7'", None)? == 2);
    let shown = site.ok(&["plugin", "inspect", "several"])?;
    for part in [
        "partition-consumer `granted`",
        "asks for the directory `extra`",
        "stream-consumer `tagged`",
        "decoder `plain`",
        "handler `renamed`",
    ] {
        ensure!(shown.contains(part), "{part}: {shown}");
    }
    let listed = site.ok(&["plugin", "list"])?;
    ensure!(listed.contains("several"), "{listed}");
    Ok(())
}

#[test]
fn only_what_a_spec_uses_has_to_be_granted() -> Result<()> {
    let granted = TAGGED.replace("several/tagged", "several/granted, topic: in/here");
    let site = site(spec(&granted, "several/plain", ""))?;
    site.fails(
        &["check", "spec.yaml"],
        2,
        &["E0216", "the directories extra, in", "grants: {several: {dirs: {extra: ./extra, in: ./in}}}"],
    )?;
    site.write("in/x", "")?;
    site.write("extra/x", "")?;
    site.write("spec.yaml", spec(&granted, "several/plain", "grants: {several: {dirs: {extra: ./extra, in: ./in}}}"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    Ok(())
}

#[test]
fn declared_columns_are_known_before_any_row_and_kept_to() -> Result<()> {
    let node = |plugin: &str, rest: &str| format!("node: [{{id: p, type: plugin, plugin: {plugin}}}{rest}]");
    let site =
        site(spec(TAGGED, "several/envelope", &node("several/double", ", {id: f, type: filter, where: 'twice > 2'}")))?;
    let shown = site.ok(&["check", "spec.yaml", "-v"])?;
    let columns = "n: int64, headers: utf8, key: utf8, sent: int64, partition: uint32";
    for part in
        [format!("decoder: {columns}"), format!("p: {columns}, twice: int64"), format!("f: {columns}, twice: int64")]
    {
        ensure!(shown.contains(&part), "{part}: {shown}");
    }
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from trial where twice = 2 * n", None)? == 20);
    // A later handler that names another column is found without a row; so is a plugin that needs a column that is not there.
    site.write(
        "spec.yaml",
        spec(TAGGED, "several/envelope", &node("several/double", ", {id: f, type: filter, where: 'thrice > 2'}")),
    )?;
    site.fails(&["check", "spec.yaml"], 2, &["E0401", "spec.yaml:6", "thrice"])?;
    site.write(
        "spec.yaml",
        spec(TAGGED, "several/envelope", "node: [{type: map, drop: [n]}, {type: plugin, plugin: several/double}]"),
    )?;
    site.fails(&["check", "spec.yaml"], 2, &["there is no column `n`", "spec.yaml:6"])?;
    // What is declared holds.
    site.write("spec.yaml", spec(TAGGED, "several/envelope", &node("several/renamed", "")).replace("trial", "other"))?;
    let parts = ["E0209", "`output` declared `thrice` (Int64) as column 6, but the rows have `twice` (Int64)"];
    site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &parts)?;
    Ok(())
}

#[test]
fn a_part_is_inspected_checked_and_tried_alone() -> Result<()> {
    let site = site(String::new())?;
    site.write("lines", "1\n2\n")?;
    let shown = site.ok(&["plugin", "inspect", "several/plain"])?;
    ensure!(shown.contains("decoder `plain`") && !shown.contains("`envelope`"), "{shown}");
    let checked = site.ok(&["plugin", "check", "several/plain"])?;
    ensure!(checked.starts_with("ok      several/plain "), "{checked}");
    let tried = site.ok(&["plugin", "test", "several/plain", "--input", "lines"])?;
    ensure!(tried.contains("decoder `plain`") && tried.matches('`').count() == 2, "{tried}");
    let parts = ["E0225", "has no offer `plane`; it offers", "`plain`"];
    site.fails(&["plugin", "inspect", "several/plane"], 2, &parts)?;
    site.fails(&["plugin", "test", "several/plane", "--input", "lines"], 2, &parts)?;
    let output = site.run(&["plugin", "check", "several/plane"])?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1) && parts.iter().all(|part| told.contains(part)), "{told}");
    Ok(())
}
