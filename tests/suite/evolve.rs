//! Fields that the schema has not become columns, from a commit of their own on: no value is lost, no row is doubled.

use std::{collections::BTreeMap, fs, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

/// A pipeline `a` of the files in `in`, whose decoder adds columns.
fn spec(decoder: &str, rest: &str) -> String {
    format!(
        "pipeline: {{name: a}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: '*.ndjson', follow: false}}}}
  decoder: {{type: json, evolve: add-columns{decoder}}}
commit: {{path: /t/, flush: {{rows: 100, time: 1h}}}}
grants: {{files: {{dirs: {{in: ./in}}}}}}
{rest}
"
    )
}

const DECLARED: &str = ", schema: {id: int64}";

fn site(decoder: &str, rest: &str, files: &[(&str, String)]) -> Result<Site> {
    let site = Site::new()?;
    site.write("a.yaml", spec(decoder, rest))?;
    files.iter().try_for_each(|(name, text)| site.write(&format!("in/{name}.ndjson"), text).map(drop))?;
    Ok(site)
}

/// Lines of these ids, with `more` in each.
fn lines(ids: std::ops::Range<u64>, more: impl Fn(u64) -> String) -> String {
    ids.map(|id| format!("{{\"id\":{id}{}}}\n", more(id))).collect()
}

fn colours(id: u64) -> String {
    format!(",\"colour\":\"c{id}\"")
}

fn none(_: u64) -> String {
    String::new()
}

fn run(site: &Site) -> Result<String> {
    let output = site.run(&["run", "a.yaml", "--until", "ended"])?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// The columns of the data files of each commit, oldest first.
fn columns(site: &Site) -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for commit in site.json(&["list", "commit", "a"])?.iter().rev() {
        let files = commit.get("files").and_then(Value::as_array).context("files")?;
        for file in files.iter().filter(|file| file["path"].as_str().is_some_and(|path| path.starts_with("/t/"))) {
            let columns = file.pointer("/table/columns").and_then(Value::as_array).context("columns")?;
            all.push(columns.iter().filter_map(|column| column.get("name")?.as_str().map(str::to_owned)).collect());
        }
    }
    Ok(all)
}

#[test]
fn a_new_field_is_a_column_from_a_commit_of_its_own_on() -> Result<()> {
    let text = lines(0..150, none) + &lines(150..310, colours) + &lines(310..400, none);
    for (decoder, text, first) in [(DECLARED, text, 0), ("", lines(1000..3000, none), 1000)] {
        let text = if first == 0 {
            text
        } else {
            text + &lines(0..150, none) + &lines(150..310, colours) + &lines(310..400, none)
        };
        let site = site(decoder, "", &[("1", text.clone())])?;
        let said = run(&site)?;
        ensure!(said.matches(r#"columns added to the schema of json: {"colour":"utf8"}"#).count() == 1, "{said}");
        ensure!(!said.contains("a key without a column"), "nothing is left out: {said}");
        let all = text.lines().count() as u64;
        let count = |sql: &str| site.number(&format!("select count({sql}) from a"), None);
        ensure!((count("*")?, count("distinct id")?, count("colour")?) == (all, all, 160));
        ensure!(site.number("select count(*) from a where colour = concat('c', id)", None)? == 160);
        ensure!(
            site.rows("select * from a where id in (3, 200) order by id", None)?
                == [r#"{"id":3}"#, r#"{"id":200,"colour":"c200"}"#]
        );
        let columns = columns(&site)?;
        let narrow = columns.iter().take_while(|names| names.len() == 1).count();
        ensure!(narrow > 0 && columns[narrow..].iter().all(|names| *names == ["id", "colour"]), "{columns:?}");
        let commits = site.json(&["list", "commit", "a"])?;
        let cut = commits.iter().filter(|commit| commit.get("reason").and_then(Value::as_str) == Some("schema"));
        ensure!(cut.count() <= 1, "{commits:?}");
        ensure!(
            commits
                .iter()
                .all(|commit| commit.get("unknown").is_none_or(|unknown| !unknown.to_string().contains("colour")))
        );
        // Delta's readers see it too, and only from its version on.
        let versions = schemas(&site)?;
        ensure!(versions.first().is_some_and(|names| *names == ["id"]), "{versions:?}");
        ensure!(versions.last().is_some_and(|names| *names == ["id", "colour"]), "{versions:?}");
        site.ok(&["fsck", "--deep"])?;
    }
    Ok(())
}

/// The columns that each `metaData` of the Delta log names.
fn schemas(site: &Site) -> Result<Vec<Vec<String>>> {
    let log = site.path().join("store/repos/a/tables/master/t/_delta_log");
    let mut files: Vec<_> = fs::read_dir(&log)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut found = Vec::new();
    for file in files {
        for line in fs::read_to_string(file)?.lines() {
            let action: Value = serde_json::from_str(line)?;
            let Some(text) = action.pointer("/metaData/schemaString").and_then(Value::as_str) else { continue };
            let schema: Value = serde_json::from_str(text)?;
            let fields = schema.get("fields").and_then(Value::as_array).context("fields")?;
            ensure!(fields.iter().all(|field| field.get("nullable") == Some(&Value::Bool(true))), "{schema}");
            found.push(fields.iter().filter_map(|field| field.get("name")?.as_str().map(str::to_owned)).collect());
        }
    }
    Ok(found)
}

#[test]
fn of_two_files_one_has_the_field() -> Result<()> {
    let nulls = |_: u64| ",\"colour\":null,\"tags\":[]".to_owned();
    let site = site(
        DECLARED,
        "",
        &[
            ("1", lines(0..1000, nulls)),
            ("2", lines(1000..1300, none) + &lines(1300..1400, colours) + &lines(1400..2000, none)),
        ],
    )?;
    run(&site)?;
    let rows = |sql: &str| site.number(&format!("select count(*) from a where {sql}"), None);
    ensure!((rows("true")?, rows("colour is not null")?) == (2000, 100));
    ensure!(rows("colour = concat('c', id)")? == 100);
    ensure!(columns(&site)?.iter().all(|names| !names.contains(&"tags".to_owned())), "[] settles nothing");
    Ok(())
}

#[test]
fn values_that_do_not_fit_are_dead_letters_as_in_any_column() -> Result<()> {
    let size = |id: u64| format!(",\"size\":{id}");
    let site = site(DECLARED, "", &[("1", lines(0..100, none) + &lines(100..3000, size))])?;
    run(&site)?;
    site.write("in/2.ndjson", "{\"id\":-1,\"size\":\"large\"}\n{\"id\":-2,\"size\":1.5}\n{\"id\":-3,\"size\":7}\n")?;
    let said = run(&site)?;
    ensure!(!said.contains("columns added"), "it was there: {said}");
    ensure!(site.rows("select id, size from a where id < 0", None)? == [r#"{"id":-3,"size":7}"#]);
    let dead = site.rows("select code, count(*) n from a_dead_letter group by 1", None)?;
    ensure!(dead == [r#"{"code":"json.type","n":2}"#], "{dead:?}");
    ensure!(site.number("select count(*) from a where size = id", None)? == 2900);
    Ok(())
}

/// Rows that a window held, that a handler let pass once, and all as they came.
const HANDLERS: &str = "time: {column: at, lateness: 0s}
node:
  - {id: once, type: dedupe, by: [id], within: 1h}
  - {id: w, type: window, period: 1m}
";

#[test]
fn killed_anywhere_it_ends_as_a_run_that_nobody_killed() -> Result<()> {
    let at = |id: u64| format!(",\"at\":\"2026-01-01T00:{:02}:{:02}Z\"", id / 60 % 60, id % 60);
    let coloured = |id: u64| at(id) + &colours(id);
    let sized = |id: u64| format!("{},\"size\":{id}", coloured(id));
    let declared = ", schema: {id: int64, at: 'timestamp(us, UTC)'}";
    let files = [
        ("1", lines(0..350, at) + &lines(350..700, coloured) + &lines(700..1000, sized)),
        ("2", lines(2000..2500, at) + &lines(2500..3000, coloured)),
    ];
    for handlers in ["", HANDLERS] {
        let outcome = |site: &Site| site.rows("select id, at, colour, size from a order by id", None);
        let whole = site(declared, handlers, &files)?;
        run(&whole)?;
        let expected = outcome(&whole)?;
        ensure!(expected.len() == 2000, "{} rows", expected.len());
        let full = |row: &&String| row.contains(r#""colour":"c"#);
        ensure!(expected.iter().filter(full).count() == 650 + 500, "values were lost");
        for kill in 1..=8 {
            let mut site = site(declared, handlers, &files)?;
            let point = if kill % 2 == 0 { "repo.record.before" } else { "repo.record.after" };
            site.environment = vec![("SPOUT_FAULT", format!("{point}=kill@{kill}"))];
            let killed = site.run(&["run", "a.yaml", "--until", "ended"])?;
            ensure!(!killed.status.success(), "it was over before commit {kill}");
            site.environment.clear();
            run(&site)?;
            let outcome = outcome(&site)?;
            let lost = expected.iter().filter(|row| !outcome.contains(row)).take(3).collect::<Vec<_>>();
            ensure!(outcome == expected, "killed at {kill}: {} rows, without {lost:?}", outcome.len());
            site.ok(&["fsck"])?;
        }
    }
    Ok(())
}

#[test]
fn a_source_that_cannot_be_read_again_loses_nothing() -> Result<()> {
    let site = Site::new()?;
    let text = spec(DECLARED, "");
    let stream = text.lines().find(|line| line.contains("stream:")).context("a stream")?.to_owned();
    let text = text.replace(&stream, "  stdin: {}").replace("grants: {files: {dirs: {in: ./in}}}", "");
    site.write("a.yaml", text)?;
    let input = site.write("input", lines(0..450, none) + &lines(450..900, colours))?;
    let mut command = site.command(&["run", "a.yaml"]);
    let output = command.stdin(Stdio::from(fs::File::open(input)?)).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(site.number("select count(distinct id) from a", None)? == 900);
    ensure!(site.number("select count(*) from a where colour = concat('c', id)", None)? == 450);
    Ok(())
}

#[test]
fn what_readers_of_the_table_will_not_see_is_said() -> Result<()> {
    let named = |_: u64| ",\"ID\":1".to_owned();
    let site = site(DECLARED, "", &[("1", lines(0..50, none) + &lines(50..300, named))])?;
    let said = run(&site)?;
    ensure!(said.matches("the Delta table will be published without columns").count() == 1, "{said}");
    ensure!(site.number("select count(*) from a where \"ID\" = 1", None)? == 250);
    Ok(())
}

#[test]
fn there_is_a_most_and_what_is_beyond_counts_as_unknown() -> Result<()> {
    let many = |id: u64| format!(",\"f{}\":1,\"deep\":{{\"x\":{id}}}", id % 4);
    let site = site(", columns: 3, schema: {id: int64}", "", &[("1", lines(0..50, none) + &lines(50..90, many))])?;
    run(&site)?;
    let named: BTreeMap<String, Value> = serde_json::from_str(&site.rows("select * from a where id = 52", None)?[0])?;
    ensure!(named.len() <= 3 && site.number("select count(*) from a", None)? == 90, "{named:?}");
    let commits = site.json(&["list", "commit", "a"])?;
    ensure!(commits.iter().any(|commit| commit.pointer("/unknown/names/f3").is_some()), "{commits:?}");
    Ok(())
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_runs() -> Result<()> {
    let site = site(", unknown: capture", "", &[])?;
    site.fails(&["check", "a.yaml"], 2, &["a.yaml:4", "`evolve: add-columns`", "`unknown: capture`"])?;
    site.write("a.yaml", spec("", "").replace("type: json", "type: csv"))?;
    site.fails(&["check", "a.yaml"], 2, &["unknown key `evolve`"])?;
    Ok(())
}

#[test]
fn a_test_of_the_spec_has_the_columns_too() -> Result<()> {
    let tests = r#"tests:
  - name: a field that is declared nowhere
    lines: ['{"id":1}', '{"id":2,"colour":"red"}']
    expect: [{id: 1, colour: null}, {id: 2, colour: red}]
"#;
    let site = site(DECLARED, tests, &[])?;
    site.ok(&["test", "a.yaml"])?;
    Ok(())
}
