//! The decoder `registry`: what fastavro writes with several schemas is read as fastavro reads it, however the registry behaves.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Result, ensure};
use serde_json::json;
use spout_tests::{Site, venv};

const PEERS: [&str; 3] = ["fastavro==1.13.1", "protobuf==7.36.2", "pyarrow==26.0.1"];
const SCRIPT: &str = include_str!("../support/registry.py");
const RESOLVED: &str = include_str!("../support/resolved.py");
/// Connections that end without an answer before the registry is up.
const DOWN: usize = 4;

/// Answers with what `answers` has at a path, as long as the process lives, and with 404 as a registry does; what was asked for.
fn registry(answers: BTreeMap<String, String>) -> Result<(String, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for (connection, stream) in listener.incoming().flatten().enumerate() {
            if connection < DOWN {
                continue;
            }
            let (mut writer, mut path) = (&stream, String::new());
            for line in BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(rest) = line.strip_prefix("GET ") {
                    rest.split(' ').next().unwrap_or_default().clone_into(&mut path);
                }
            }
            let missing = r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned();
            let (status, body) = answers.get(&path).map_or(("404 Not Found", &missing), |body| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            log.lock().unwrap_or_else(PoisonError::into_inner).push(path);
            drop(writer.write_all(&[head.as_bytes(), body.as_bytes()].concat()));
        }
    });
    Ok((url, asked))
}

#[test]
fn messages_of_several_schemas_are_read_as_fastavro_reads_them() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let site = Site::new()?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(site.path()).output()?;
    ensure!(output.status.success(), "the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let schema = |name: &str| fs::read_to_string(site.path().join(format!("{name}.json")));
    let mut answers = BTreeMap::new();
    for id in ["1", "3"] {
        answers.insert(format!("/schemas/ids/{id}"), json!({"schema": schema(id)?}).to_string());
    }
    let references = json!([{"name": "geo.Address", "subject": "address", "version": 5}]);
    answers.insert("/schemas/ids/2".into(), json!({"schema": schema("2")?, "references": references}).to_string());
    answers
        .insert("/subjects/address/versions/5?deleted=true".into(), json!({"schema": schema("address")?}).to_string());
    let (url, asked) = registry(answers)?;
    // One names a schema that there is not, one none at all.
    site.write("in/unknown", b"\0\0\0\0\x09x")?;
    site.write("in/without", b"{}")?;
    let columns = "{id: int64, note: utf8, to: {city: utf8, zip: int32}, tags: [utf8], ratio: float64, kind: utf8}";
    let spec = format!(
        "pipeline: {{name: orders}}
producer:
  stream: {{plugin: files, topic: in, settings: {{follow: false, whole: true}}}}
  decoder: {{type: registry, url: \"{url}\", keep: kept, schema: {columns}}}
commit: {{path: /t/, flush: {{rows: 100000}}}}
errors: {{decode: dead-letter}}
grants:
  files: {{dirs: {{in: ./in}}}}
"
    );
    site.write("orders.yaml", &spec)?;
    site.ok(&["check", "orders.yaml"])?;
    site.ok(&["run", "orders.yaml", "--until", "ended"])?;
    let found = site.rows("select * from orders_t order by id", None)?;
    let expected = fs::read_to_string(site.path().join("expected.ndjson"))?;
    for (found, expected) in found.iter().zip(expected.lines()) {
        ensure!(found == expected, "{found}\nnot\n{expected}");
    }
    ensure!(found.len() == expected.lines().count(), "{} rows", found.len());
    let letters = site.ok(&["deadletter", "list", "orders"])?;
    ensure!(letters.contains("registry.frame") && letters.contains("registry.unknown"), "{letters}");
    // Each schema was asked for by one of all the partitions' decoders.
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    ensure!(all <= asked.len() + 4, "{all} requests for {asked:?}");
    // What is kept needs no registry.
    let other = Site::new()?;
    for kept in fs::read_dir(site.path().join("kept"))? {
        let kept = kept?;
        other.write(&format!("kept/{}", kept.file_name().display()), fs::read(kept.path())?)?;
    }
    for file in fs::read_dir(site.path().join("in"))? {
        let file = file?;
        if file.file_name() != "unknown" {
            other.write(&format!("in/{}", file.file_name().display()), fs::read(file.path())?)?;
        }
    }
    other.write("orders.yaml", spec.replace(&url, "http://127.0.0.1:9"))?;
    other.ok(&["run", "orders.yaml", "--until", "ended"])?;
    ensure!(other.rows("select * from orders_t order by id", None)? == found);
    Ok(())
}

#[test]
fn messages_are_read_with_the_readers_schema_as_fastavro_does() -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let site = Site::new()?;
    let output = Command::new(python).args(["-c", RESOLVED]).arg(site.path()).output()?;
    ensure!(output.status.success(), "the peer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read_to_string(site.path().join(name));
    let mut answers = BTreeMap::new();
    for id in 1..=5 {
        answers.insert(format!("/schemas/ids/{id}"), json!({"schema": read(&format!("{id}.json"))?}).to_string());
    }
    answers.insert("/subjects/in-value/versions/latest".into(), json!({"schema": read("reader.json")?}).to_string());
    let (url, _) = registry(answers)?;
    let expected = read("expected.ndjson")?;
    for (name, reader) in
        [("latest", "latest"), ("file", "{file: reader.json}"), ("inline", read("reader.json")?.as_str())]
    {
        let spec = format!(
            "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{follow: false, whole: true}}}}
  decoder: {{type: registry, url: \"{url}\", reader: {reader}}}
commit: {{path: /t/, flush: {{rows: 100000}}}}
errors: {{decode: dead-letter}}
grants:
  files: {{dirs: {{in: ./in}}}}
"
        );
        site.write("spec.yaml", &spec)?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        let found = site.rows(&format!("select * from {name}_t order by id"), None)?;
        for (found, expected) in found.iter().zip(expected.lines()) {
            ensure!(found == expected, "{name}: {found}\nnot\n{expected}");
        }
        ensure!(found.len() == expected.lines().count(), "{name}: {} rows", found.len());
        let letters = site.number(&format!("select count(*) from {name}_dead_letter"), None)?;
        ensure!(letters.to_string() == read("refused")?, "{name}: {letters} letters");
    }
    Ok(())
}
