//! A plugin that crashes in its n-th call, whichever that is: its pipeline goes on with a new instance or ends with a code, and in the
//! end no row is lost or doubled.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, guests};

/// How many calls an instance has before the one that it crashes in, and where it is used.
fn plans() -> Vec<(&'static str, u32)> {
    let few = |n: &u32| *n <= 10 || n.is_multiple_of(40);
    let at = |place: &'static str, numbers: Vec<u32>| numbers.into_iter().map(move |n| (place, n));
    let some: Vec<u32> = (1..=200).filter(few).collect();
    at("stream", (1..=200).collect()).chain(at("decoder", some.clone())).chain(at("node", some)).collect()
}

/// Messages of a pipeline: a call for each, and some more than it takes to get to the crash.
fn total(n: u32) -> u32 {
    n + 5
}

/// Whether it crashes before anything runs, where the columns of its handler are asked for: what is wrong with one spec is said for all.
fn at_once((place, n): &(&str, u32)) -> bool {
    *place == "node" && *n <= 3
}

/// A pipeline for each plan; with or without the crashes.
fn specs(plans: Vec<(&'static str, u32)>, crashing: bool) -> String {
    let spec = |(place, n): (&str, u32)| {
        let plan = format!("mode: trap-{n}, call: any");
        let at = |there: &str| if crashing && there == place { plan.as_str() } else { "mode: none" };
        format!(
            "pipeline: {{name: {place}{n}}}
producer:
  stream: {{plugin: hostile, topic: t, settings: {{{}, total: \"{}\"}}, fetch: {{messages: 1}}}}
  decoder: {{plugin: hostile, settings: {{{}}}}}
node:
  - {{id: forward, type: plugin, plugin: hostile, settings: {{{}}}}}
commit: {{flush: {{rows: 50}}}}
",
            at("stream"),
            total(n),
            at("decoder"),
            at("node"),
        )
    };
    plans.into_iter().map(spec).collect::<Vec<_>>().join("---\n")
}

#[test]
fn a_crash_in_the_nth_call_loses_nothing_and_doubles_nothing() -> Result<()> {
    let mut site = Site::new()?;
    let hostile = fs::read(guests().join("hostile.wasm")).context("`just guests` builds the guests")?;
    site.write("plugins/hostile.wasm", hostile)?;
    site.plugins = site.path().join("plugins");
    let run = ["run", "specs.yaml", "--until", "ended"];
    for plan in plans().into_iter().filter(at_once) {
        site.write("specs.yaml", specs(vec![plan], true))?;
        let said = String::from_utf8(site.run(&run)?.stderr)?;
        ensure!(!said.contains("error[") || said.contains("error[E0205]") || said.contains("error[E0404]"), "{said}");
    }
    // One that crashes in its first call comes to nothing, and is given up; the others go on.
    site.write("specs.yaml", specs(plans().into_iter().filter(|plan| !at_once(plan)).collect(), true))?;
    let said = site.fails(&run, 1, &["E0205", "`stream1`", "`decoder1`", "call number 1"])?;
    let errors = said.lines().filter(|line| line.starts_with("error["));
    for error in errors.clone() {
        ensure!(error.starts_with("error[E0205]") || error.starts_with("error[E0404]"), "{error}");
    }
    let (given_up, plans) = (errors.count(), plans());
    ensure!(given_up < plans.len() / 4, "{given_up} of {} pipelines were given up:\n{said}", plans.len());
    let crashes = said.matches("the guest crashed").count();
    ensure!(crashes > plans.len() / 2, "only {crashes} crashes of {} pipelines:\n{said}", plans.len());
    ensure!(!said.contains("panicked at host/"), "the host itself panicked:\n{said}");
    // Mended, all go on where they were.
    site.write("specs.yaml", specs(plans.clone(), false))?;
    site.ok(&run)?;
    let counts: Vec<String> = plans
        .iter()
        .map(|(place, n)| {
            format!("select '{place}{n}' as p, count(*) as c, count(distinct value) as d from {place}{n}")
        })
        .collect();
    let mut expected: Vec<String> = plans
        .iter()
        .map(|(place, n)| (format!("{place}{n}"), total(*n)))
        .map(|(name, total)| format!("{{\"p\":\"{name}\",\"c\":{total},\"d\":{total}}}"))
        .collect();
    let mut rows = site.rows(&counts.join(" union all "), None)?;
    expected.sort_unstable();
    rows.sort_unstable();
    let wrong: Vec<_> = rows.iter().filter(|row| !expected.contains(row)).collect();
    ensure!(rows.len() == expected.len() && wrong.is_empty(), "rows were lost or doubled: {wrong:?}");
    site.ok(&["fsck"]).map(drop)
}
