//! A decoder that was built anew: what a branch has settled holds, a column that is declared may come. And specs that `run` refuses
//! as `check` does.

use anyhow::{Result, ensure};
use spout_tests::{Site, guests};

/// A pipeline whose decoder has these columns, as if it had been built that way, over so many messages.
fn spec(total: u32, rows: &str, declared: bool) -> String {
    format!(
        "pipeline: {{name: r}}
producer:
  stream: {{plugin: several/tagged, settings: {{total: {total}}}}}
  decoder: {{plugin: several/shaped, settings: {{rows: [{rows}], declared: {declared}}}}}
"
    )
}

fn site() -> Result<Site> {
    let mut site = Site::new()?;
    site.plugins = guests();
    Ok(site)
}

const RUN: [&str; 4] = ["run", "spec.yaml", "--until", "ended"];

#[test]
fn a_settled_column_neither_goes_nor_changes() -> Result<()> {
    let cases = [
        ("length, number", "column `line` is now Int64, but Utf8 in the schema that the branch has settled"),
        ("length", "column `line` (Utf8) of the schema that the branch has settled is missing"),
    ];
    for declared in [true, false] {
        for (rows, part) in cases {
            let site = site()?;
            site.write("spec.yaml", spec(5, "line, length", declared))?;
            site.ok(&RUN)?;
            site.write("spec.yaml", spec(9, rows, declared))?;
            let parts = ["E0308", part, "commit to another `branch`"];
            if declared {
                site.fails(&["check", "spec.yaml"], 2, &parts)?;
            }
            site.fails(&RUN, 2, &parts)?;
            ensure!(site.number("select count(line) from r", None)? == 10, "rows were committed: {rows}");
            // The same columns in another order are the same columns.
            site.write("spec.yaml", spec(9, "length, line", declared))?;
            site.ok(&RUN)?;
            ensure!(site.number("select count(line) from r where length = 1", None)? == 18, "{rows}");
        }
    }
    Ok(())
}

#[test]
fn a_column_that_is_declared_may_come() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", spec(5, "line", true))?;
    site.ok(&RUN)?;
    site.write("spec.yaml", spec(9, "length, line", true))?;
    let shown = site.ok(&["check", "spec.yaml", "-v"])?;
    ensure!(shown.contains("decoder: line: utf8, length: int64"), "{shown}");
    let output = site.run(&RUN)?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && told.contains("columns added to the schema of several/shaped"), "{told}");
    let settled = site.json(&["inspect", "branch", "r"])?.remove(0);
    ensure!(settled["settled"].as_array().is_some_and(|columns| columns.len() == 2), "{settled}");
    let rows = site.rows("select count(line) as lines, count(length) as lengths from r", None)?;
    ensure!(rows == [r#"{"lines":18,"lengths":8}"#], "{rows:?}");
    // It is settled now, too.
    site.write("spec.yaml", spec(12, "line", true))?;
    site.fails(&["check", "spec.yaml"], 2, &["E0308", "column `length` (Int64)"])?;
    // One that is not declared would come in the middle of others.
    site.write("spec.yaml", spec(12, "line, length", false).replace("name: r", "name: s"))?;
    site.ok(&RUN)?;
    site.write("spec.yaml", spec(5, "line", false).replace("name: r", "name: t"))?;
    site.ok(&RUN)?;
    site.write("spec.yaml", spec(9, "line, length", false).replace("name: r", "name: t"))?;
    site.fails(&RUN, 2, &["E0308", "column `length` (Int64) is not in the schema", "declare its columns (`output`)"])?;
    Ok(())
}

#[test]
fn a_column_of_a_handler_keeps_its_type_too() -> Result<()> {
    let site = site()?;
    let mapped = |total: u32, size: &str| {
        spec(total, "line, length", true) + &format!("node: [{{id: m, type: map, columns: {{size: \"{size}\"}}}}]\n")
    };
    site.write("spec.yaml", mapped(5, "length"))?;
    site.ok(&RUN)?;
    site.write("spec.yaml", mapped(9, "cast(length as varchar)"))?;
    for verb in [&["check", "spec.yaml"][..], &RUN] {
        site.fails(verb, 2, &["E0705", "column `size` is now Utf8", "Int64 in the rows already below"])?;
    }
    site.write("spec.yaml", mapped(9, "cast(length as int)"))?;
    site.ok(&RUN)?;
    ensure!(site.number("select sum(size) from r", None)? == 18);
    Ok(())
}

#[test]
fn run_refuses_what_check_refuses() -> Result<()> {
    let site = site()?;
    let sound = spec(5, "line", true);
    for (spec, parts) in [
        (sound.replace("rows: [line]", "rows: line"), ["E0104", "spec.yaml:4", "settings.rows"]),
        (sound.replace("declared: true", "declaired: true"), ["E0103", "spec.yaml:4", "did you mean `declared`"]),
        (sound.clone() + "node: [{type: filter, where: 'nope > 1'}]\n", ["E0401", "spec.yaml:5", "nope"]),
        (sound.clone() + "grants: {several: {dirs: {here: ./nowhere}}}\n", ["E0217", "spec.yaml:5", "nowhere"]),
    ] {
        site.write("spec.yaml", &spec)?;
        site.fails(&["check", "spec.yaml"], 2, &parts)?;
        let said = site.fails(&RUN, 2, &parts)?;
        ensure!(site.run(&["inspect", "repo", "r"])?.status.code() != Some(0), "something was started: {said}");
    }
    Ok(())
}
