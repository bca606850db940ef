//! The console: its files as a server sends them, and what it shows in a browser of a server at work.

use std::{fs, io::Read as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use spout_tests::{
    Site,
    browser::Browser,
    http::{Answer, request},
    npm, root,
    served::Served,
};

/// What its page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
                      font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Bids without end.
const BIDS: &str = r#"
pipeline: {name: bids}
producer:
  stream: {plugin: nexmark, topic: auctions, settings: {partitions: 4, rate: 2000}}
  decoder: {type: json, schema: {event: utf8, bid: {auction: int64, price: int64}}, unknown: drop}
node:
  - {id: bids, type: filter, where: "event = 'bid'"}
  - {id: prices, type: map, columns: {auction: "bid['auction']", price: "bid['price']"}, select: [auction, price]}
commit: {path: /bids/, flush: {rows: 100000, time: 500ms}}
"#;
/// What follows them.
const HOT: &str = r#"
pipeline: {name: hot}
producer: {repo: {repo: bids}}
node: [{id: dear, type: filter, where: "price > 100000"}]
"#;
/// What cannot make its first commit.
const BROKEN: &str = r#"
pipeline: {name: broken}
producer:
  stream: {plugin: nexmark, topic: auctions, settings: {partitions: 2, rate: 100}}
  decoder: {type: json, schema: {event: utf8, bid: {price: int64}}, unknown: drop}
node:
  - {id: bids, type: filter, where: "event = 'bid'"}
  - {id: ratio, type: aggregate, per: commit, columns: {ratio: "max(bid['price']) / (count(*) - count(*))"}}
commit: {flush: {rows: 100, time: 300ms}}
"#;

/// A server with a pipeline of the store, one of its directory that follows that, and one that fails.
fn at_work(site: &Site, args: &[&str]) -> Result<Served> {
    site.write("bids.yaml", BIDS)?;
    site.write("specs/hot.yaml", HOT)?;
    site.write("specs/broken.yaml", BROKEN)?;
    site.ok(&["create", "pipeline", "-f", "bids.yaml"])?;
    Served::start(site, &[&["specs"], args].concat())
}

fn look(script: &str) -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let site = Site::new()?;
    let served = at_work(&site, &[])?;
    // What the page counts since the start is all that there is.
    println!("{}", browser.look(script, &served.url(), &[("FRESH", "1")])?);
    served.stop()
}

#[test]
fn what_is_committed_is_what_the_sources_make() -> Result<()> {
    let Some((node, npm)) = npm::node()? else { return Ok(()) };
    let work = Browser::shots().with_file_name("test-npm").join("console");
    let check = root().join("host/server/console/check.sh");
    let output = Command::new(check).arg(&work).env("NODE", node).env("NPM", npm).output().context("start check.sh")?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    println!("{said}");
    let unreachable = ["ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT"].iter().any(|word| said.contains(word));
    if unreachable && std::env::var_os("SPOUT_TEST_PYPI").is_none() {
        println!("SKIPPED: npm's registry cannot be reached");
        return Ok(());
    }
    ensure!(output.status.success(), "{said}");
    Ok(())
}

/// The files of the directory, by their paths at the server.
fn built(dir: &Path, above: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = format!("{above}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() { files.extend(built(&path, &name)?) } else { files.push((name, fs::read(&path)?)) }
    }
    Ok(files)
}

#[test]
fn its_files_are_sent_to_everybody_and_nothing_else_is() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["token", "create", "--tokens", "tokens.json", "--name", "ada", "--scope", "read:*"])?;
    let served = Served::start(&site, &["--tokens", "tokens.json"])?;
    let get = |path: &str, headers: &[(&str, &str)]| request(&served.address, &format!("GET {path}"), headers, b"");
    let policy = |answer: &Answer| answer.header("content-security-policy") == Some(POLICY);
    let files = built(&root().join("host/server/console/dist"), "")?;
    ensure!(files.len() > 5, "{files:?}");
    for (name, bytes) in files {
        let path = if name == "/index.html" { "/" } else { name.as_str() };
        let plain = get(path, &[])?;
        ensure!(plain.status == 200 && plain.body == bytes && policy(&plain), "{path}: {plain:?}");
        let kept = plain.header("cache-control") == Some("public, max-age=31536000, immutable");
        ensure!(kept == path.starts_with("/assets/") && plain.header("x-content-type-options") == Some("nosniff"));
        let packed = get(path, &[("accept-encoding", "gzip, deflate, br")])?;
        ensure!(packed.header("content-encoding") == Some("gzip") && policy(&packed), "{path}: {:?}", packed.headers);
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked)?;
        ensure!(unpacked == bytes, "{path}");
        let tag = plain.header("etag").context("a tag")?;
        let again = get(path, &[("if-none-match", tag)])?;
        ensure!(again.status == 304 && again.body.is_empty() && policy(&again), "{path}: {again:?}");
    }
    for path in ["/v1/pipelines", "/v1/repos", "/v1/events"] {
        ensure!(get(path, &[])?.status == 401, "{path}");
    }
    for path in ["/index.html", "/assets", "/assets/", "/assets/../index.html", "/src/main.ts"] {
        let none = get(path, &[])?;
        ensure!(matches!(none.status, 401 | 404), "{path}: {none:?}");
    }
    let put = request(&served.address, "PUT /", &[], b"x")?;
    ensure!(put.status == 405 && put.code() == "E0904", "{put:?}");
    served.stop()
}

#[test]
fn the_overview_shows_what_the_api_says_and_who_fails_first() -> Result<()> {
    look("overview.mjs")
}

#[test]
fn a_pipeline_shows_the_figures_of_the_api_and_is_steered() -> Result<()> {
    look("pipeline.mjs")
}

#[test]
fn a_token_is_asked_for_and_what_it_does_not_allow_is_said() -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let site = Site::new()?;
    let create = |name: &str, scope: &str| {
        let args = ["token", "create", "--tokens", "tokens.json", "--name", name, "--scope", scope];
        site.ok(&args).map(|token| token.trim().to_owned())
    };
    let (reader, runner) = (create("reader", "read:*")?, create("runner", "run:*")?);
    let served = at_work(&site, &["--tokens", "tokens.json"])?;
    browser.look("token.mjs", &served.url(), &[("READER", &reader), ("RUNNER", &runner)])?;
    served.stop()
}

#[test]
fn much_of_everything_is_shown_without_delay() -> Result<()> {
    let Some(browser) = Browser::get()? else { return Ok(()) };
    let dist = root().join("host/server/console/dist");
    println!("{}", browser.look("load.mjs", "", &[("DIST", &dist.to_string_lossy())])?);
    Ok(())
}
