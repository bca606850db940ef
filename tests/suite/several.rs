//! Several producers of one pipeline: their columns together, kills in between, producers that come late, are added or disagree.

use std::io::{BufRead as _, BufReader};

use anyhow::{Context as _, Result, ensure};
use spout_tests::Site;
use std::process::Stdio;

const LINES: u64 = 20_000;

/// `n` from 0, as orders and as payments, with the schemas of both decoders as they are given.
fn shop(orders: &str, payments: &str, rest: &str) -> Result<Site> {
    let site = Site::new()?;
    let lines = |of: fn(u64) -> String| (0..LINES).map(|n| of(n) + "\n").collect::<String>();
    site.write("orders/a.ndjson", lines(|n| format!("{{\"n\":{n},\"item\":\"i{}\"}}", n % 7)))?;
    site.write("payments/a.ndjson", lines(|n| format!("{{\"n\":{n},\"paid\":{}}}", n * 2)))?;
    site.write("payments/b.ndjson", "broken\n")?;
    spec(&site, orders, payments, rest)?;
    Ok(site)
}

fn spec(site: &Site, orders: &str, payments: &str, rest: &str) -> Result<()> {
    let producer = |name: &str, schema: &str| {
        format!(
            "  - name: {name}\n    stream: {{plugin: files, topic: {name}, settings: {{pattern: '*.ndjson', follow: false}}}}\n    \
             decoder: {{type: json{schema}}}\n    grants: {{files: {{dirs: {{{name}: ./{name}}}}}}}\n"
        )
    };
    let producers = producer("orders", orders) + &producer("payments", payments);
    let text = format!("pipeline: {{name: shop}}\nproducers:\n{producers}commit: {{flush: {{rows: 3000}}}}\n{rest}");
    site.write("spec.yaml", text).map(drop)
}

fn all_once(site: &Site) -> Result<()> {
    for (producer, own, other) in [("orders", "item", "paid"), ("payments", "paid", "item")] {
        for (what, expected) in [
            ("count(*)".to_owned(), LINES),
            ("count(distinct n)".into(), LINES),
            (format!("count({own})"), LINES),
            (format!("count({other})"), 0),
        ] {
            let found = site.number(&format!("select {what} from shop where __producer = '{producer}'"), None)?;
            ensure!(found == expected, "{producer}: {what} is {found}, not {expected}");
        }
    }
    ensure!(site.number("select sum(paid) from shop", None)? == LINES * (LINES - 1));
    let dead = site.rows("select producer, \"offset\", code from shop_dead_letter", None)?;
    ensure!(dead == [r#"{"producer":"payments","offset":0,"code":"json.syntax"}"#], "{dead:?}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn rows_of_two_producers_are_in_one_table_once_whoever_is_killed() -> Result<()> {
    // The columns of one are declared, those of the other inferred: the order is that of the spec all the same.
    let site = shop(", schema: {n: int64, item: utf8}", "", "")?;
    let mut kills = 0;
    for _ in 0..6 {
        let mut child =
            site.command(&["run", "spec.yaml", "--until", "ended", "--json"]).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().context("its output")?);
        let committed = out.lines().map_while(Result::ok).filter(|line| line.contains(r#""event":"committed""#));
        if committed.take(2).count() == 2 {
            child.kill()?;
            kills += 1;
        }
        child.wait()?;
    }
    ensure!(kills >= 2, "killed only {kills} times");
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    all_once(&site)?;
    let first = site.rows("select * from shop where n = 3 and paid = 6", None)?;
    ensure!(first == [r#"{"__producer":"payments","n":3,"paid":6}"#], "{first:?}");
    let marker = site.ok(&["marker", "show", "shop"])?;
    ensure!(marker.contains("orders") && marker.contains("payments"), "{marker}");
    Ok(())
}

#[test]
fn nobody_waits_for_a_producer_that_has_nothing() -> Result<()> {
    let site = shop("", "", "")?;
    site.write("orders/a.ndjson", "")?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from shop", None)? == LINES);
    // What comes later adds its columns.
    site.write("orders/b.ndjson", "{\"n\":1,\"item\":\"tea\"}\n")?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let rows = site.rows("select __producer, n, item, paid from shop where item is not null", None)?;
    ensure!(rows == [r#"{"__producer":"orders","n":1,"item":"tea"}"#], "{rows:?}");
    Ok(())
}

#[test]
fn a_producer_is_added_and_begins_at_its_first_message() -> Result<()> {
    let site = shop("", "", "")?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    all_once(&site)?;
    site.write("refunds/a.ndjson", "{\"n\":5}\n")?;
    let text = std::fs::read_to_string(site.path().join("spec.yaml"))?;
    let first = "producers:\n  - name: refunds\n    stream: {plugin: files, topic: refunds, settings: {pattern: '*.ndjson', follow: false}}\n    \
                 decoder: {type: json}\n    grants: {files: {dirs: {refunds: ./refunds}}}\n";
    // It is written before the others: commits know those by their names.
    site.write("spec.yaml", text.replace("producers:\n", first))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    all_once(&site)?;
    let refunds = site.rows("select n from shop where __producer = 'refunds'", None)?;
    ensure!(refunds == [r#"{"n":5}"#], "{refunds:?}");
    // One that is left out keeps its place: when it comes back, it goes on.
    let all = std::fs::read_to_string(site.path().join("spec.yaml"))?;
    site.write("spec.yaml", &text)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.write("refunds/b.ndjson", "{\"n\":6}\n")?;
    site.write("payments/c.ndjson", "{\"n\":7,\"paid\":0}\n")?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.write("spec.yaml", all)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let refunds = site.rows("select n from shop where __producer = 'refunds' order by n", None)?;
    ensure!(refunds == [r#"{"n":5}"#, r#"{"n":6}"#], "{refunds:?}");
    Ok(())
}

#[test]
fn what_does_not_go_together_is_refused() -> Result<()> {
    let site = shop(", schema: {n: int64, item: utf8}", ", schema: {n: utf8, paid: int64}", "")?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 2, &["E0307", "payments", "`n`", "Utf8", "Int64"])?;
    // A pipeline that had one producer would read its messages again as those of another.
    let site = shop("", "", "")?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.write(
        "one.yaml",
        "pipeline: {name: shop}\nproducer:\n  stream: {plugin: files, topic: orders, settings: {pattern: '*.ndjson', follow: false}}\n  \
         decoder: {type: json}\ngrants: {files: {dirs: {orders: ./orders}}}\n",
    )?;
    site.fails(&["run", "one.yaml", "--until", "ended"], 2, &["`orders` of several", "another pipeline or branch"])?;
    Ok(())
}
