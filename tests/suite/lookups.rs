//! Rows looked up in a table that is kept in a repo: which version they meet, kills in between, updates, and what is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Running, Site, root};

const ORDERS: u64 = 20_000;
const CUSTOMERS: u64 = 50;

/// A place with orders `n` of customers `n % 60`, ten of whom no table has.
fn shop() -> Result<Site> {
    let site = Site::new()?;
    orders(&site, "a", 0..ORDERS)?;
    Ok(site)
}

fn orders(site: &Site, file: &str, numbers: std::ops::Range<u64>) -> Result<()> {
    let lines: String = numbers.map(|n| format!("{{\"n\":{n},\"customer\":{}}}\n", n % (CUSTOMERS + 10))).collect();
    site.write(&format!("orders/{file}.ndjson"), lines).map(drop)
}

/// A pipeline `shop` over the orders, whose lookup says `more`.
fn spec(more: &str, follow: bool) -> String {
    format!(
        "pipeline: {{name: shop}}
producer:
  stream: {{plugin: files, topic: orders, settings: {{pattern: '*.ndjson', follow: {follow}}}, fetch: {{timeout: 20ms}}, discoverEvery: 200ms}}
  decoder: {{type: json, schema: {{n: int64, customer: int32}}}}
node: [{{id: who, type: lookup, repo: customers, on: {{customer: id}}, {more}}}]
commit: {{path: '/orders/{{commit}}.ndjson', format: ndjson, flush: {{rows: 1000, time: 300ms}}}}
grants: {{files: {{dirs: {{orders: ./orders}}}}}}
"
    )
}

/// Puts a table in which each customer has this tier.
fn put(site: &Site, tier: u64, mode: &[&str]) -> Result<()> {
    // It is there already but for the first time.
    site.run(&["create", "repo", "customers"])?;
    let rows: String = (0..CUSTOMERS).map(|id| format!("{id},{tier}\n")).collect();
    site.write("customers.csv", format!("id,tier\n{rows}"))?;
    let put = ["put", "file", "customers@master:/customers.parquet", "--table", "-f", "customers.csv"];
    site.ok(&[&put, mode].concat()).map(drop)
}

/// The commits of `shop`, oldest first, as `inspect commit` shows them.
fn commits(site: &Site) -> Result<Vec<Value>> {
    let mut ids = site.json(&["list", "commit", "shop@master"])?;
    ids.reverse();
    let ids = ids.iter().filter_map(|commit| commit["id"].as_str());
    ids.map(|id| Ok(site.json(&["inspect", "commit", &format!("shop@{id}")])?.remove(0))).collect()
}

/// The commit of `customers` that a commit says its rows were looked up in.
fn version(commit: &Value) -> Result<&str> {
    let from = commit["provenance"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [from] = from else { anyhow::bail!("not one version in {commit}") };
    ensure!(from["repo"] == "customers" && from["branch"] == "master" && from["lookup"] == true, "{from}");
    from["commit"].as_str().context("its id")
}

/// The rows that a commit added.
fn rows(site: &Site, commit: &Value) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for file in commit["files"].as_array().into_iter().flatten() {
        let path =
            format!("shop@{}:{}", commit["id"].as_str().unwrap_or_default(), file["path"].as_str().unwrap_or_default());
        for line in site.ok(&["get", "file", &path])?.lines() {
            rows.push(serde_json::from_str(line)?);
        }
    }
    Ok(rows)
}

/// Every row of every commit is as the version that the commit names has it; the versions.
fn all_as_named(site: &Site) -> Result<BTreeSet<String>> {
    let (mut versions, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for commit in commits(site)? {
        let new = rows(site, &commit)?;
        if new.is_empty() {
            continue;
        }
        let version = version(&commit)?.to_owned();
        // Rows of a customer only ever rise, so that the newest has the most.
        let table = site.rows(&format!("select id, max(tier) tier from \"customers@{version}\" group by id"), None)?;
        let table: BTreeMap<u64, Value> = table
            .iter()
            .map(|row| {
                let row: Value = serde_json::from_str(row)?;
                Ok((row["id"].as_u64().context("an id")?, row["tier"].clone()))
            })
            .collect::<Result<_>>()?;
        for row in new {
            let customer = row["customer"].as_u64().context("a customer")?;
            let expected = table.get(&customer).unwrap_or(&Value::Null);
            ensure!(row.get("tier").unwrap_or(&Value::Null) == expected, "{row}, but {expected} in {version}");
            ensure!(seen.insert(row["n"].as_u64()), "{row} is there twice");
        }
        versions.insert(version);
    }
    ensure!(seen.len() as u64 >= ORDERS, "{} rows", seen.len());
    Ok(versions)
}

#[test]
fn a_pipeline_looks_in_what_another_of_the_same_run_writes() -> Result<()> {
    let site = shop()?;
    // In one file, and into one, whose order is that of the table.
    let row = |n: u64| format!("{{\"id\":{},\"tier\":{}}}\n", n % CUSTOMERS, n / CUSTOMERS);
    site.write("customers/all.ndjson", (0..40 * CUSTOMERS).map(row).collect::<String>())?;
    let customers = "---
pipeline: {name: customers}
producer:
  stream: {plugin: files, topic: customers, settings: {pattern: '*.ndjson', follow: false}}
  decoder: {type: json, schema: {id: int64, tier: int64}}
commit: {path: /customers.parquet, flush: {rows: 100}}
grants: {files: {dirs: {customers: ./customers}}}
";
    site.write("spec.yaml", spec("every: 0s", false) + customers)?;
    // Neither repo is there yet: the lookup waits for the first commit of the table.
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let versions = all_as_named(&site)?;
    ensure!(!versions.is_empty());
    site.ok(&["fsck"])?;
    // The last commit may have no rows.
    let all = commits(&site)?;
    let looked_up = all.iter().rfind(|commit| version(commit).is_ok()).context("a commit with rows")?;
    let text = site.ok(&["inspect", "commit", &format!("shop@{}", looked_up["id"].as_str().context("its id")?)])?;
    ensure!(text.contains("looked up in") && text.contains("customers@master commit"), "{text}");
    // The table did not lead to these commits: their global id is their own.
    ensure!(all.iter().all(|commit| commit["global"] == commit["id"]), "a table has led to a commit");
    Ok(())
}

#[test]
fn kills_change_nothing_where_the_table_stays() -> Result<()> {
    let run = |site: &Site| site.ok(&["run", "spec.yaml", "--until", "ended"]).map(drop);
    let all = |site: &Site| site.rows("select n, customer, tier from shop order by n", None);
    let prepared = |more: &str| -> Result<Site> {
        let site = shop()?;
        put(&site, 7, &[])?;
        site.ok(&["create", "tag", "customers@v1", "--head", "customers@master"])?;
        site.write("spec.yaml", spec(more, false))?;
        Ok(site)
    };
    let clean = prepared("unmatched: keep")?;
    run(&clean)?;
    let expected = all(&clean)?;
    ensure!(
        expected.len() as u64 == ORDERS && expected[3] == r#"{"n":3,"customer":3,"tier":7}"#,
        "{:?}",
        &expected[..5]
    );
    ensure!(expected[55] == r#"{"n":55,"customer":55}"#, "{}", expected[55]);
    // Where the version is pinned, rows are looked up in all lanes.
    for more in ["unmatched: keep", "unmatched: keep, at: v1"] {
        let site = prepared(more)?;
        let mut kills = 0;
        for _ in 0..6 {
            let mut running = site.start(&["run", "spec.yaml", "--until", "ended"])?;
            for _ in 0..2 {
                running.wait_for("committed")?;
            }
            if running.child.try_wait()?.is_none() {
                running.child.kill()?;
                kills += 1;
            }
            running.end()?;
        }
        ensure!(kills >= 2, "killed only {kills} times");
        run(&site)?;
        ensure!(all(&site)? == expected, "{more}: kills changed rows");
        ensure!(all_as_named(&site)?.len() == 1, "{more}: one version of the table");
    }
    Ok(())
}

/// Waits until this many orders from `from` on are committed.
fn until(running: &mut Running, site: &Site, from: u64, rows: u64) -> Result<()> {
    loop {
        running.wait_for("committed")?.context("it runs on")?;
        if site.number(&format!("select count(*) from shop where n >= {from}"), None)? == rows {
            return Ok(());
        }
    }
}

#[test]
fn a_newer_version_is_met_by_a_later_commit() -> Result<()> {
    let site = shop()?;
    put(&site, 1, &[])?;
    site.write("spec.yaml", spec("every: 10ms", true))?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    until(&mut running, &site, 0, ORDERS)?;
    for tier in 2..6 {
        // Added to the file, or in its place.
        put(&site, tier, if tier % 2 == 0 { &["-a"] } else { &[] })?;
        let from = ORDERS + tier * 1000;
        orders(&site, &format!("b{tier}"), from..from + 1000)?;
        until(&mut running, &site, from, 1000)?;
        let tiers =
            site.rows(&format!("select distinct tier from shop where n >= {from} and tier is not null"), None)?;
        ensure!(tiers == [format!("{{\"tier\":{tier}}}")], "{tiers:?}");
    }
    running.signal("INT")?;
    ensure!(running.end()?.0);
    ensure!(all_as_named(&site)?.len() == 5);
    Ok(())
}

#[test]
fn rows_without_a_match_are_kept_left_out_or_set_aside() -> Result<()> {
    let check = |word: &str, rows: u64, dead: usize, filtered: u64| -> Result<()> {
        let site = shop()?;
        put(&site, 7, &[])?;
        site.write("spec.yaml", spec(&format!("unmatched: {word}"), false))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        ensure!(site.number("select count(*) from shop", None)? == rows, "{word}");
        let counts = site.number("select sum(filtered) from commits('shop')", None)?;
        ensure!(counts == filtered, "{word}: {counts} filtered");
        let letters =
            if dead == 0 { Vec::new() } else { site.rows("select code, reason from shop_dead_letter", None)? };
        ensure!(letters.len() == dead, "{word}: {} dead letters", letters.len());
        let reason =
            r#"{"code":"lookup.unmatched","reason":"the table customers@master has no row for customer = 50"}"#;
        ensure!(dead == 0 || letters.iter().any(|letter| letter == reason), "{}", letters[0]);
        Ok(())
    };
    let nobody = (0..ORDERS).filter(|n| n % (CUSTOMERS + 10) >= CUSTOMERS).count();
    check("keep", ORDERS, 0, 0)?;
    check("drop", ORDERS - nobody as u64, 0, nobody as u64)?;
    check("reject", ORDERS - nobody as u64, nobody, 0)
}

#[test]
fn what_cannot_be_looked_in_is_refused() -> Result<()> {
    let site = shop()?;
    let fails = |more: &str, exit: i32, parts: &[&str]| -> Result<()> {
        site.write("spec.yaml", spec(more, false))?;
        site.fails(&["run", "spec.yaml", "--until", "ended"], exit, parts).map(drop)
    };
    site.ok(&["create", "repo", "customer"])?;
    fails("", 1, &["error[E0412]", "there is no repo `customers`", "did you mean `customer`?"])?;
    site.write("x.txt", "x")?;
    site.ok(&["create", "repo", "customers"])?;
    site.ok(&["put", "file", "customers@master:/x.txt", "-f", "x.txt"])?;
    fails("", 1, &["error[E0412]", "`customers@master` has no table file", "--table"])?;
    put(&site, 1, &[])?;
    fails("columns: [name]", 2, &["error[E0402]", "has no column `name`; its columns are id, tier"])?;
    fails("columns: {n: tier}", 2, &["error[E0402]", "two columns would be called `n`"])?;
    fails("at: v9", 2, &["v9"])?;
    fails("limits: {bytes: 1KiB}", 2, &["error[E0408]", "table customers@master", "1KiB", "limits.bytes"])?;
    put(&site, 2, &["-a"])?;
    fails("duplicates: error", 2, &["error[E0413]", "two rows with id = "])?;
    site.write("customers.csv", "id,tier\nx,1\n")?;
    site.ok(&["put", "file", "customers@master:/customers.parquet", "--table", "-f", "customers.csv"])?;
    fails("", 2, &["error[E0402]", "`customer` of the rows, Int32, with `id` of the table customers@master, Utf8"])?;
    // Nobody can wait for himself, nor two for each other.
    site.write("spec.yaml", spec("", false).replace("repo: customers", "repo: shop"))?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &["error[E0731]", "shop reads shop"])?;
    Ok(())
}

#[test]
fn a_check_shows_the_columns_and_the_example_passes() -> Result<()> {
    let site = shop()?;
    let spec = site.write("spec.yaml", spec("columns: {rank: tier}", false))?;
    let check = || site.ok(&["check", "spec.yaml", "-v"]);
    // Where there is no table yet, there is nothing wrong with the spec.
    ensure!(!check()?.contains("rank:"), "{}", check()?);
    put(&site, 1, &[])?;
    let shown = check()?;
    ensure!(shown.contains("who: n: int64, customer: int32, rank: int64"), "{shown}");
    ensure!(shown.contains("rank of customers@master by customer = id"), "{shown}");
    std::fs::OpenOptions::new().append(true).open(spec)?.write_all(
        b"tests:
  - {name: none, input: [{n: 1, customer: 1}], expect: [], expectFailure: E0412}
  - {name: typed, input: [{n: 1, customer: 1}], tables: {customers: {schema: {id: int64, tier: utf8}}}, expect: [{n: 1, rank: null}]}
",
    )?;
    site.ok(&["test", "spec.yaml"])?;
    let example = root().join("examples/lookup.yaml");
    site.ok(&["test", example.to_str().context("a path in UTF-8")?])?;
    let unknown = "tests: [{name: x, input: [{n: 1}], tables: {customer: []}, expect: []}]";
    site.write("unknown.yaml", format!("{}{unknown}\n", self::spec("", false)))?;
    site.fails(
        &["test", "unknown.yaml"],
        2,
        &["error[E0110]", "test `x`: no handler looks in `customer`; did you mean `customers`?"],
    )?;
    Ok(())
}
