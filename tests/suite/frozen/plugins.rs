//! Plugins that were built against the interface as it was released run as they did then, in the host as it is now.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    net::TcpListener,
    thread,
};

use anyhow::{Result, ensure};
use spout_tests::{Site, root};

use super::{PLUGINS, files, site};

/// Runs `spec` to its end; the rows of a query then.
fn rows(site: &Site, spec: &str, until: &str, sql: &str) -> Result<Vec<String>> {
    site.write("spec.yaml", spec)?;
    site.ok(&["run", "spec.yaml", "--until", until])?;
    site.ok(&["fsck", "--deep"])?;
    site.rows(sql, None)
}

fn expect(rows: &[String], expected: &[&str]) -> Result<()> {
    ensure!(rows == expected, "{}\ninstead of\n{}", rows.join("\n"), expected.join("\n"));
    Ok(())
}

/// Each interface stands in a component by its name.
fn interfaces(wasm: &[u8], all: &BTreeSet<String>) -> BTreeSet<String> {
    let named = |name: &&String| {
        let wanted = format!("spout:plugin/{name}@0.1.0");
        wasm.windows(wanted.len()).any(|part| part == wanted.as_bytes())
    };
    all.iter().filter(named).cloned().collect()
}

#[test]
fn every_interface_has_a_plugin_that_was_built_against_it() -> Result<()> {
    let mut all = BTreeSet::new();
    for path in files(&root().join("wit/since-v0.1"))?.into_values() {
        let text = fs::read_to_string(path)?;
        let names = text.lines().filter_map(|line| line.strip_prefix("interface ")?.strip_suffix(" {"));
        all.extend(names.map(str::to_owned));
    }
    ensure!(all.len() == 21, "{} interfaces: {all:?}", all.len());
    let (site, mut used) = (site(&[])?, BTreeSet::new());
    for name in PLUGINS {
        used.extend(interfaces(&fs::read(site.plugins.join(format!("{name}.wasm")))?, &all));
        site.ok(&["plugin", "check", name])?;
    }
    ensure!(used == all, "no plugin has {:?}", all.difference(&used));
    Ok(())
}

#[test]
fn sources_streams_decoders_and_handlers_of_then() -> Result<()> {
    let expected = [
        r#"{"partition":0,"n":0,"twice":0,"headers":"partition=0"}"#,
        r#"{"partition":0,"n":1,"twice":2,"headers":"partition=0 late=no","key":"k1","sent":1001}"#,
        r#"{"partition":0,"n":2,"twice":4,"headers":"partition=0 late=no","key":"k2","sent":1002}"#,
        r#"{"partition":1,"n":0,"twice":0,"headers":"partition=1"}"#,
        r#"{"partition":1,"n":1,"twice":2,"headers":"partition=1 late=no","key":"k1","sent":1001}"#,
        r#"{"partition":1,"n":2,"twice":4,"headers":"partition=1 late=no","key":"k2","sent":1002}"#,
    ];
    for how in ["lowlevel", "highlevel"] {
        let site = site(&[])?;
        let spec = format!(
            "pipeline: {{name: trial}}
producer:
  stream: {{plugin: several/tagged, settings: {{total: 3}}, consumerType: {how}}}
  decoder: {{plugin: several/envelope}}
node: [{{type: plugin, plugin: several/double, stateless: true}}]
"
        );
        let sql = "select partition, n, twice, headers, key, sent from trial order by partition, n";
        expect(&rows(&site, &spec, "ended", sql)?, &expected)?;
    }
    Ok(())
}

#[test]
fn kernels_of_then() -> Result<()> {
    let site = site(&["files"])?;
    site.write("in/rows.ndjson", "{\"n\":1,\"t\":\"ann 12\"}\n{\"n\":null,\"t\":\"bob\"}\n{\"n\":700,\"t\":null}\n")?;
    let spec = |name: &str, deed: &str| {
        format!(
            "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in}}
  decoder: {{type: json, schema: {{n: int64, t: utf8}}}}
node: [{{type: plugin, plugin: kernels, stateless: true, settings: {{deed: {deed}}}}}]
grants: {{files: {{dirs: {{in: ./in}}}}}}
"
        )
    };
    let made = rows(&site, &spec("made", "columns"), "idle", "select * from made order by t nulls last")?;
    expect(
        &made,
        &[
            r#"{"n":"1","t":"ann 12","masked":"a****2","hashed":"42a4d2045f2bfb06c9df8ff9ecbe781dfb0366befc0e93628ca14dd89baeeb55","replaced":"ann <12>","same":true}"#,
            r#"{"t":"bob","masked":"b*b","hashed":"07a2341cc0c47680c9c518fc4c5b003d2ab75b2d45d15f933224621584f69b6a","replaced":"bob"}"#,
            r#"{"n":"700","same":true}"#,
        ],
    )?;
    expect(&rows(&site, &spec("chosen", "select"), "idle", "select n from chosen")?, &[r#"{"n":700}"#])?;
    expect(&rows(&site, &spec("bits", "combine"), "idle", "select n from bits")?, &[r#"{"n":1}"#])
}

#[test]
fn keyed_state_and_ticks_of_then_in_rust_and_in_c() -> Result<()> {
    let spec = |name: &str, node: &str| {
        format!(
            "pipeline: {{name: {name}}}
time: {{column: at, unit: ms}}
producer:
  stream: {{plugin: files, topic: in}}
  decoder: {{type: json, schema: {{user: utf8, at: int64}}}}
node: [{{type: plugin, {node}}}]
commit: {{flush: {{rows: 1}}}}
grants: {{files: {{dirs: {{in: ./in}}}}}}
"
        )
    };
    let event = |user: &str, at: u64| format!("{{\"user\":\"{user}\",\"at\":{at}}}\n");
    let site = site(&["files"])?;
    let (visits, minutes) = (
        spec("visits", "plugin: sessions, tick: 1s, settings: {gap: 3000}"),
        spec("minutes", "plugin: per-minute-c, tick: 1m, settings: {column: user}"),
    );
    let (of_visits, of_minutes) = (
        "select \"user\", first, last from visits order by first",
        "select cast(cast(until as bigint) as varchar) as until, key, n from minutes order by until, key",
    );
    let first = [event("ann", 1000), event("bob", 2000), event("ann", 3500), event("bob", 20_000)].concat();
    site.write("in/rows.ndjson", &first)?;
    for spec in [&visits, &minutes] {
        site.write("spec.yaml", spec)?;
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    }
    // What came before is in the state that the plugin left with its commits.
    let more = [event("bob", 21_000), event("ann", 30_000), event("cy", 130_000)].concat();
    site.write("in/rows.ndjson", first + &more)?;
    expect(
        &rows(&site, &visits, "idle", of_visits)?,
        &[
            r#"{"user":"ann","first":1000,"last":3500}"#,
            r#"{"user":"bob","first":2000,"last":2000}"#,
            r#"{"user":"bob","first":20000,"last":21000}"#,
            r#"{"user":"ann","first":30000,"last":30000}"#,
        ],
    )?;
    expect(
        &rows(&site, &minutes, "idle", of_minutes)?,
        &[r#"{"until":"60000","key":"ann","n":3}"#, r#"{"until":"60000","key":"bob","n":3}"#],
    )
}

#[test]
fn a_decoder_in_c_and_its_settings_of_then() -> Result<()> {
    let site = site(&["files"])?;
    site.write("in/lines.txt", "one\ntwo\n")?;
    let spec = "pipeline: {name: marked}
producer:
  stream: {plugin: files, topic: in}
  decoder: {plugin: marked-c, settings: {mark: x}}
grants: {files: {dirs: {in: ./in}}}
";
    expect(
        &rows(&site, spec, "idle", "select * from marked order by text")?,
        &[r#"{"text":"one","mark":"x"}"#, r#"{"text":"two","mark":"x"}"#],
    )
}

#[test]
fn a_spout_that_drives_itself_of_then() -> Result<()> {
    let site = site(&[])?;
    for commits in [2, 5] {
        let task = format!("{{task: grow, commits: {commits}}}");
        let spec = format!(
            "pipeline: {{name: feed}}\ntransform: {{plugin: driven, settings: {task}}}\nspout: {{marker: place}}"
        );
        site.write("spec.yaml", spec)?;
        site.ok(&["run", "spec.yaml"])?;
    }
    ensure!(
        site.ok(&["get", "file", "feed@master:/log.txt"])? == "0\n1\n2\n3\n4\n",
        "it goes on where its marker says"
    );
    ensure!(site.ok(&["get", "file", "feed@master:/place"])? == "5", "its marker is a file");
    let rows = "pipeline: {name: rows}\ntransform: {plugin: driven, settings: {task: rows, commits: 1}}\n";
    site.write("rows.yaml", rows)?;
    site.ok(&["run", "rows.yaml"])?;
    ensure!(site.number("select count(*) from rows", None)? > 0, "no rows of the pipeline");
    Ok(())
}

#[test]
fn a_transformer_of_then() -> Result<()> {
    let site = site(&[])?;
    site.ok(&["create", "repo", "notes"])?;
    site.write("a", "put /x 1\ntable /rows.csv\n")?;
    site.ok(&["put", "file", "notes@master:/a", "-f", "a"])?;
    let spec = "pipeline: {name: made}\ninput: {pfs: {repo: notes, glob: '/*'}}\ntransform: {plugin: scripted, settings: {}}\n";
    site.write("made.yaml", spec)?;
    site.ok(&["run", "made.yaml", "--until", "idle"])?;
    site.write("b", "put /y 2\n")?;
    site.ok(&["put", "file", "notes@master:/b", "-f", "b"])?;
    site.ok(&["delete", "file", "notes@master:/a"])?;
    site.ok(&["run", "made.yaml", "--until", "idle"])?;
    ensure!(site.ok(&["get", "file", "made@master:/y"])? == "2", "a file of the second");
    ensure!(site.ok(&["get", "file", "made@master~1:/rows.csv"])? == "from\n/a\n", "a table of the first");
    site.fails(&["get", "file", "made@master:/x"], 2, &["E0517"]).map(drop)
}

/// A peer that says what it hears.
fn echo() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Ok(mut reader) = stream.try_clone() else { return };
            // Who is gone needs no answer.
            drop(io::copy(&mut reader, &mut stream).and_then(|_| stream.flush()));
        }
    });
    Ok(port)
}

#[test]
fn connections_and_secrets_of_then() -> Result<()> {
    let mut site = site(&[])?;
    site.environment.push(("SPOUT_TEST_PASSWORD", "s3cret-value".into()));
    let port = echo()?;
    let spec = format!(
        "pipeline: {{name: trial}}
producer:
  stream:
    plugin: network/deeds
    topic: t
    consumerType: highlevel
    settings: {{deeds: [talk broker, echo 127.0.0.1:{port}, prove password, reveal password, open elsewhere]}}
  decoder: {{type: raw}}
grants:
  network:
    net: ['127.0.0.1:{port}']
    endpoints: {{broker: {{address: '127.0.0.1:{port}'}}}}
    secrets: {{password: {{env: SPOUT_TEST_PASSWORD}}}}
"
    );
    let said = rows(&site, &spec, "ended", "select text(value) as said from trial")?;
    let said: Vec<String> = said.iter().map(|row| row.replace(&port.to_string(), "PORT")).collect();
    // What is behind a code may be said better.
    let coded =
        |row: &String| row.find("net.").and_then(|at| Some(format!("{}\"}}", row.get(..at + row[at..].find(':')?)?)));
    let said: Vec<String> = said.iter().map(|row| coded(row).unwrap_or_else(|| row.clone())).collect();
    expect(
        &said,
        &[
            r#"{"said":"talk broker: hello"}"#,
            r#"{"said":"echo 127.0.0.1:PORT: hello"}"#,
            r#"{"said":"prove password: 8f78584c63b967f2b17f7b3bac657925d2a2442fa3db86b22499690047747b9d (64, 64, 64) net.invalid"}"#,
            r#"{"said":"reveal password: fatal net.denied"}"#,
            r#"{"said":"open elsewhere: fatal net.invalid"}"#,
        ],
    )
}
