//! What others write is what we read: fastavro, protobuf and pyarrow write files, Telegraf's and syslog's lines are as they send them.

use std::process::Command;

use anyhow::{Result, ensure};
use spout_tests::{Site, venv};

const PEERS: [&str; 3] = ["fastavro==1.13.1", "protobuf==7.36.2", "pyarrow==26.0.1"];
const SCRIPT: &str = include_str!("../support/peers.py");

/// Runs a pipeline `name` over the files in `dir`, which `spout check` has to accept first.
fn run(site: &Site, name: &str, dir: &str, settings: &str, decoder: &str) -> Result<()> {
    let spec = format!(
        r#"
pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{follow: false, {settings}}}}}
  decoder: {decoder}
commit: {{path: /t/, flush: {{rows: 100000}}}}
errors: {{decode: dead-letter}}
grants:
  files: {{dirs: {{in: ./{dir}}}}}
"#
    );
    site.write(&format!("{name}.yaml"), spec)?;
    site.ok(&["check", &format!("{name}.yaml")])?;
    site.ok(&["run", &format!("{name}.yaml"), "--until", "ended"]).map(drop)
}

fn check(site: &Site, sql: &str, expected: &[&str]) -> Result<()> {
    let rows = site.rows(sql, None)?;
    ensure!(rows == expected, "{sql}:\n{}\nnot\n{}", rows.join("\n"), expected.join("\n"));
    Ok(())
}

/// Offset by partition says nothing of order, so that dead letters are only counted.
fn dead(site: &Site, repo: &str) -> Result<u64> {
    let files = site.json(&["list", "file", &format!("{repo}@master"), "--recursive"])?;
    let letters = files.iter().filter(|file| file["path"].as_str().is_some_and(|path| path.contains("dead")));
    Ok(letters.count() as u64)
}

#[test]
fn what_peers_write_is_read() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let site = Site::new()?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(site.path()).output()?;
    ensure!(output.status.success(), "the peers failed:\n{}", String::from_utf8_lossy(&output.stderr));

    run(&site, "avro", "avro", "whole: true", "{type: avro}")?;
    let row = r#"{"id":101,"kind":"OLD","note":"é 101","at":"2026-01-02T03:04:05.006Z","day":"2026-01-02","price":"101.25","lines":[{"sku":"s0","n":0},{"sku":"s1","n":1}],"a":"101","ok":false,"ratio":25.25}"#;
    let columns = "id, kind, note, at, day, cast(price as varchar) as price, lines, tags['a'] as a, ok, ratio";
    check(&site, &format!("select {columns} from avro_t where id = 101"), &[row])?;
    // Three whole containers, and the first again without its end: its last block is set aside, those before are rows.
    check(&site, "select count(*) as n, sum(id) as s from avro_t", &[r#"{"n":391,"s":48945}"#])?;
    ensure!(dead(&site, "avro")? == 1, "the broken block is set aside");

    let rows = [r#"{"id":0,"name":"n0"}"#, r#"{"id":1}"#, r#"{"id":2,"name":"n2"}"#];
    for name in ["record", "confluent"] {
        run(
            &site,
            name,
            name,
            "whole: true",
            &format!("{{type: avro, encoding: {name}, writer: {{file: small.avsc}}}}"),
        )?;
        check(&site, &format!("select * from {name}_t order by id"), &rows)?;
    }

    run(&site, "arrow", "arrow", "whole: true", "{type: arrow, compression: true}")?;
    let row = r#"{"id":77,"name":"n2","at":"1970-01-01T00:00:00.077Z","point":{"x":77,"y":[38.5]},"big":"77"}"#;
    check(&site, "select * from arrow_t where id = 77", &[row])?;
    check(&site, "select count(*) as n, sum(id) as s from arrow_t", &[r#"{"n":1000,"s":499500}"#])?;

    run(&site, "protobuf", "protobuf", "whole: true", "{type: protobuf, descriptor: shop.pb, message: shop.Order}")?;
    let rows = [
        r#"{"id":1,"kind":"NEW","lines":[{"sku":"s0"}],"a":1,"at":"2023-11-14T22:13:21Z","blob":"0102"}"#,
        r#"{"id":2,"kind":"OLD","lines":[{"sku":"s0"},{"sku":"s1"}],"a":2,"at":"2023-11-14T22:13:22Z","blob":"0102"}"#,
        r#"{"id":3,"kind":"9","lines":[{"sku":"s0"},{"sku":"s1"},{"sku":"s2"}],"a":3,"at":"2023-11-14T22:13:23Z","blob":"0102"}"#,
    ];
    check(&site, "select id, kind, lines, counts['a'] as a, at, blob from protobuf_t order by id", &rows)
}

#[test]
fn lines_of_monitoring_systems_are_read() -> Result<()> {
    let site = Site::new()?;
    site.write("graphite/a", "servers.web1.cpu.usage_idle 98.5 1700000000\nservers.web1.cpu.usage_user 0.0 1700000000\nother.up 1 1700000001\nfoo;host=web2 3 1700000002\n")?;
    let decoder =
        r#"{type: graphite, templates: ["servers.* .host.measurement.field", "measurement.field", "measurement"]}"#;
    run(&site, "graphite", "graphite", "maxLine: 1000", decoder)?;
    let rows = [
        r#"{"measurement":"cpu","host":"web1","usage_idle":98.5}"#,
        r#"{"measurement":"cpu","host":"web1","usage_user":0.0}"#,
        r#"{"measurement":"other","up":1.0}"#,
        r#"{"measurement":"foo","host":"web2","value":3.0}"#,
    ];
    let columns = "measurement, host, up, usage_idle, usage_user, value";
    check(&site, &format!("select {columns} from graphite_t order by time, usage_idle nulls last"), &rows)?;

    site.write("influx/a", "cpu,cpu=cpu0,host=web1 usage_idle=98.5,usage_user=0 1700000000000000000\nmem,host=web1 free=12345i,available_percent=50.5,ok=true 1700000000000000000\nnot a line\n")?;
    run(&site, "influx", "influx", "maxLine: 1000", "{type: influx}")?;
    let rows = [
        r#"{"time":"2023-11-14T22:13:20Z","measurement":"cpu","cpu":"cpu0","host":"web1","usage_idle":98.5,"usage_user":0.0}"#,
        r#"{"time":"2023-11-14T22:13:20Z","measurement":"mem","host":"web1","available_percent":50.5,"free":12345,"ok":true}"#,
    ];
    let columns = "time, measurement, cpu, host, available_percent, free, ok, usage_idle, usage_user";
    check(&site, &format!("select {columns} from influx_t order by measurement"), &rows)?;
    ensure!(dead(&site, "influx")? == 1, "the bad line is set aside");

    site.write("syslog/a", "<165>1 2003-10-11T22:14:15.003Z host app 42 ID47 [ex@1 k=\"v\"] hello\n")?;
    run(&site, "syslog", "syslog", "maxLine: 1000", "{type: syslog}")?;
    check(
        &site,
        "select hostname, procid, structured_data, message from syslog_t",
        &[r#"{"hostname":"host","procid":"42","structured_data":"{\"ex@1\":{\"k\":\"v\"}}","message":"hello"}"#],
    )
}

#[test]
fn documents_and_lines_of_csv_are_the_same_rows() -> Result<()> {
    let site = Site::new()?;
    for (name, from) in [("a", 0), ("b", 500)] {
        let rows = (from..from + 500).map(|id| format!("{id},\"n,{id}\",{}.5\n", id * 2));
        site.write(&format!("csv/{name}.csv"), format!("id,name,size\n{}", rows.collect::<String>()))?;
    }
    for (name, settings) in [("lines", "maxLine: 1000"), ("documents", "whole: true")] {
        run(&site, name, "csv", settings, "{type: csv}")?;
        check(
            &site,
            &format!("select count(*) as n, sum(id) as s, max(size) as m from {name}_t"),
            &[r#"{"n":1000,"s":499500,"m":1998.5}"#],
        )?;
        check(&site, &format!("select * from {name}_t where id = 7"), &[r#"{"id":7,"name":"n,7","size":14.5}"#])?;
    }
    // What a spec gets wrong is said before anything runs.
    let spec = "pipeline: {name: p}\nproducer:\n  stream: {plugin: files, topic: in}\n  decoder: {type: protobuf, descriptor: no.pb, message: M}\n";
    site.write("bad.yaml", spec)?;
    site.fails(&["check", "bad.yaml"], 2, &["bad.yaml:4", "protobuf", "no.pb"])?;
    Ok(())
}

/// Rows, and codes with reasons of dead letters; either may be none.
fn outcome(site: &Site, name: &str, order: &str) -> Result<(Vec<String>, Vec<String>)> {
    let rows = site.rows(&format!("select * from {name}_t order by {order}"), None)?;
    let letters = format!("select code, reason from {name}_dead_letter order by code, reason");
    Ok((rows, site.rows(&letters, None)?))
}

#[test]
fn csv_is_the_same_in_the_sandbox() -> Result<()> {
    let site = Site::new()?;
    let lines = [
        "zip,name,day,n",
        "00501,\"a, b\",2026-01-31,1",
        "10001,\"open,2026-02-01,2",
        "\"10002\"x,c,2026-02-02,3",
        "10003,d,2026-02-03",
        "10004,5\" pipe,2026-02-04,4.0",
        "zip,name,day,n",
        "10005,,,",
        "10006,\"\",2026-02-05,9007199254740991",
        "name,zip,day,n",
        "e,10007,2026-02-06,7.5",
    ];
    site.write("lines/a.csv", lines.join("\r\n"))?;
    for (name, text) in [
        ("a", "zip,n\n00501,1\n"),
        ("b", "\u{feff}\"n\",zip\r\n2,\"10001\nx\"\r\n"),
        ("c", "n,zip\n3\n"),
        ("d", "x,y\n1,2\n"),
    ] {
        site.write(&format!("documents/{name}.csv"), text)?;
    }
    let schema = "schema: {zip: utf8, n: int64}, unknown: fail";
    for (case, files, settings, order, rows, dead) in
        [("l", "maxLine: 1000", "nulls: ['']", "zip", 4, 5), ("d", "whole: true", schema, "n", 2, 2)]
    {
        let dir = if case == "l" { "lines" } else { "documents" };
        run(&site, &format!("{case}n"), dir, files, &format!("{{type: csv, {settings}}}"))?;
        run(&site, &format!("{case}p"), dir, files, &format!("{{plugin: csv, settings: {{{settings}}}}}"))?;
        let (native, plugin) =
            (outcome(&site, &format!("{case}n"), order)?, outcome(&site, &format!("{case}p"), order)?);
        ensure!(native == plugin, "native {native:#?}\nand plugin {plugin:#?}");
        ensure!((native.0.len(), native.1.len()) == (rows, dead), "{native:#?}");
    }
    let row = r#"{"zip":"10004","name":"5\" pipe","day":"2026-02-04","n":4.0}"#;
    check(&site, "select * from ln_t where zip = '10004'", &[row])
}

#[test]
fn maps_of_settings_keep_their_order() -> Result<()> {
    let site = Site::new()?;
    site.write("in/a.csv", "Berlin,Ada,36\nParis,Bob,41\n")?;
    // By position, and in an order that no sorting gives.
    let settings = "schema: {town: utf8, name: utf8, age: int64}, header: false";
    run(&site, "p", "in", "maxLine: 1000", &format!("{{plugin: csv, settings: {{{settings}}}}}"))?;
    let rows = [r#"{"town":"Berlin","name":"Ada","age":36}"#, r#"{"town":"Paris","name":"Bob","age":41}"#];
    check(&site, "select * from p_t order by age", &rows)
}

#[test]
fn records_of_a_stream_are_found_by_their_quotes() -> Result<()> {
    let site = Site::new()?;
    let spec = "
pipeline: {name: s}
producer:
  stdin: {framing: {type: csv}}
  decoder: {type: csv}
commit: {path: /t/, flush: {rows: 100000}}
errors: {decode: dead-letter}
";
    site.write("s.yaml", spec)?;
    let text = "ref,\"the\nnote\",qty\nA1,plain,1\nA2,\"first line\nsecond, line\",2\nA3,\"see\nB7,copied,9\nend\",3\nA4,\"x\"y,4\n";
    site.write("in.csv", text)?;
    let input = std::fs::File::open(site.path().join("in.csv"))?;
    let output = site.command(&["run", "s.yaml", "--until", "ended"]).stdin(input).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = [
        r#"{"ref":"A1","the\nnote":"plain","qty":1}"#,
        r#"{"ref":"A2","the\nnote":"first line\nsecond, line","qty":2}"#,
        r#"{"ref":"A3","the\nnote":"see\nB7,copied,9\nend","qty":3}"#,
    ];
    check(&site, "select * from s_t order by ref", &rows)?;
    check(&site, "select code from s_dead_letter", &[r#"{"code":"csv.syntax"}"#])
}

#[test]
fn values_of_csv_go_by_the_header_of_their_file_or_stream() -> Result<()> {
    let site = Site::new()?;
    let decoder = "{type: csv, schema: {a: utf8, b: utf8}}";
    // Lines of files, where another run goes on in the middle.
    for text in ["", "B2,A2\n"] {
        site.write("h/a.csv", "a,b\nA0,B0\n")?;
        site.write("h/b.csv", format!("b,a\nB1,A1\n{text}"))?;
        run(&site, "h", "h", "maxLine: 1000", decoder)?;
    }
    let rows = [r#"{"a":"A0","b":"B0"}"#, r#"{"a":"A1","b":"B1"}"#, r#"{"a":"A2","b":"B2"}"#];
    check(&site, "select a, b from h_t order by a", &rows)?;
    // A header in the middle of a stream.
    let spec = format!(
        "pipeline: {{name: i}}\nproducer:\n  stdin: {{}}\n  decoder: {decoder}\ncommit: {{path: /t/}}\nerrors: {{decode: dead-letter}}\n"
    );
    site.write("i.yaml", spec)?;
    site.write("in.csv", "a,b\nA1,B1\nb,a\nB2,A2\n")?;
    let input = std::fs::File::open(site.path().join("in.csv"))?;
    let output = site.command(&["run", "i.yaml", "--until", "ended"]).stdin(input).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check(&site, "select a, b from i_t", &[r#"{"a":"A1","b":"B1"}"#])?;
    let codes = [r#"{"code":"csv.header"}"#, r#"{"code":"csv.header"}"#];
    check(&site, "select code from i_dead_letter", &codes)
}

#[test]
fn carriage_returns_and_headers_mean_the_same_however_csv_is_framed() -> Result<()> {
    let site = Site::new()?;
    site.write("again/a.csv", "a,b\nA1,B1\na,b\nA2,B2\n")?;
    site.write("cr/a.csv", "a,b\n1,x\r\r\n")?;
    site.write("cr/b.csv", "a,b\r\n1,x\r")?;
    site.write("only/a.csv", "a,b\r1,x\r2,y\r")?;
    site.write("only/b.csv", "1,x")?;
    let decoder = "{type: csv, schema: {a: utf8, b: utf8}}";
    let framings =
        [("l", "maxLine: 1000"), ("f", "framing: csv"), ("h", "framing: csv, header: true"), ("w", "whole: true")];
    for (name, settings) in framings {
        let (again, cr) = (format!("{name}again"), format!("{name}cr"));
        run(&site, &again, "again", settings, decoder)?;
        let rows = [r#"{"a":"A1","b":"B1"}"#, r#"{"a":"A2","b":"B2"}"#];
        check(&site, &format!("select a, b from {again}_t order by a"), &rows)?;
        run(&site, &cr, "cr", settings, decoder)?;
        let syntax = [r#"{"code":"csv.syntax"}"#; 2];
        check(&site, &format!("select code from {cr}_dead_letter"), &syntax)?;
    }
    run(&site, "only", "only", "framing: csv, header: true", decoder)?;
    let codes = [r#"{"code":"csv.header"}"#, r#"{"code":"csv.syntax"}"#];
    check(&site, "select code from only_dead_letter order by code", &codes)
}
