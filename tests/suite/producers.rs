//! Producers besides plugins: Python sockets feed `tcp`, curl posts to `http`, a pipe feeds `stdin`, commits feed `repo`.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    ipc::writer::StreamWriter,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::{Running, Site};

const PEERS: &str = include_str!("../support/senders.py");
const JSON: &str = "decoder: {type: json, schema: {id: int64, who: utf8}}";

fn spec(name: &str, producer: &str, rest: &str) -> String {
    format!("pipeline: {{name: {name}}}\nproducer:\n  {producer}\n{rest}\n")
}

/// Starts `spout run SPECS`; where the pipeline listens.
fn listening(site: &Site, specs: &[&str]) -> Result<(Running, String)> {
    let mut run = site.start(&[&["run"], specs].concat())?;
    let Some(update) = run.wait_for("listening")? else {
        let (_, errors) = run.end()?;
        anyhow::bail!("it ended before it listened: {errors}");
    };
    let address = update["address"].as_str().context("an address")?.to_owned();
    Ok((run, address))
}

/// Runs a Python program from `senders.py`; what it prints.
fn peers(arguments: &[&str]) -> Result<String> {
    let output = Command::new("python3").args(["-c", PEERS]).args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

fn there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("SKIPPED: there is no {program}");
    }
    found
}

fn stopped(run: Running) -> Result<()> {
    run.signal("TERM")?;
    let (fine, errors) = run.end()?;
    ensure!(fine, "{errors}");
    Ok(())
}

/// How many rows there are, and how many of them differ.
fn counts(site: &Site, repo: &str) -> Result<(u64, u64)> {
    Ok((
        site.number(&format!("select count(*) from {repo}"), None)?,
        site.number(&format!("select count(distinct id) from {repo}"), None)?,
    ))
}

#[test]
fn tcp_clients_whose_lines_come_byte_by_byte_are_told_what_is_stored() -> Result<()> {
    if !there("python3") {
        return Ok(());
    }
    let site = Site::new()?;
    site.write("a.yaml", spec("a", "tcp: {listen: '127.0.0.1:0', reply: line}", &format!("  {JSON}")))?;
    let (run, address) = listening(&site, &["a.yaml"])?;
    let said = peers(&["bytewise", &address, "8", "40"])?;
    for line in said.lines() {
        ensure!(line.starts_with("ok 40 "), "{said}");
    }
    ensure!(said.lines().count() == 8, "{said}");
    ensure!(counts(&site, "a")? == (320, 320), "what was acknowledged is there while it runs");
    stopped(run)
}

#[test]
fn tcp_turns_away_what_is_too_much() -> Result<()> {
    if !there("python3") {
        return Ok(());
    }
    let site = Site::new()?;
    let tcp = "tcp: {listen: '127.0.0.1:0', reply: line, maxClients: 2, framing: {maxFrame: 100}}";
    site.write("a.yaml", spec("a", tcp, &format!("  {JSON}")))?;
    let (run, address) = listening(&site, &["a.yaml"])?;
    let said = peers(&["too-many", &address])?;
    ensure!(said.contains("error 0 too many clients"), "{said}");
    let said = peers(&["too-large", &address])?;
    ensure!(said.contains("error 1 ") && said.contains("maxFrame"), "{said}");
    ensure!(counts(&site, "a")? == (1, 1));
    stopped(run)
}

#[test]
fn what_a_silent_tcp_client_sent_is_drained_at_a_stop() -> Result<()> {
    if !there("python3") {
        return Ok(());
    }
    let site = Site::new()?;
    let rest = format!("  {JSON}\ncommit: {{flush: {{time: 1h}}}}");
    site.write("a.yaml", spec("a", "tcp: {listen: '127.0.0.1:0'}", &rest))?;
    let (mut run, address) = listening(&site, &["a.yaml"])?;
    peers(&["plain", &address, "5000"])?;
    while run.wait_for("progress")?.context("it runs")?["rows"].as_u64() < Some(5000) {}
    stopped(run)?;
    ensure!(counts(&site, "a")? == (5000, 5000));
    Ok(())
}

/// Posts with curl; the status and the answer.
fn post(address: &str, path: &str, arguments: &[&str]) -> Result<(String, Value)> {
    let url = format!("http://{address}{path}");
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "30", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .arg(url)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').context("a status")?;
    Ok((status.to_owned(), serde_json::from_str(body.trim()).unwrap_or(Value::Null)))
}

#[test]
fn http_answers_say_what_is_stored_or_what_to_do() -> Result<()> {
    if !there("curl") {
        return Ok(());
    }
    let mut site = Site::new()?;
    let http = "http: {listen: '127.0.0.1:0', path: /in, token: {env: POSTING}, maxBody: 1KiB}";
    site.write("a.yaml", spec("a", http, &format!("  {JSON}")))?;
    site.fails(&["run", "a.yaml"], 2, &["E0331", "POSTING is not set"])?;
    site.environment.push(("POSTING", "s3cret".into()));
    let (run, address) = listening(&site, &["a.yaml"])?;
    let token = "Authorization: Bearer s3cret";
    let check = |status: &str, part: &str, path: &str, arguments: &[&str]| -> Result<()> {
        let (said, answer) = post(&address, path, arguments)?;
        ensure!(said == status && answer.to_string().contains(part), "{arguments:?}: {said} {answer}");
        Ok(())
    };
    let two = "{\"id\":1,\"who\":\"a\"}\n{\"id\":2}\n";
    check("200", "\"messages\":2", "/in", &["-H", token, "--data-binary", two])?;
    check("200", "\"deadLetters\":1", "/in", &["-H", token, "--data-binary", "{\"id\":3}\n{\"id\":"])?;
    check("200", "\"messages\":0", "/in", &["-H", token, "--data-binary", ""])?;
    check("401", "send the pipeline's token", "/in", &["-d", "x"])?;
    check("401", "this is not the pipeline's token", "/in", &["-H", "Authorization: Bearer s3creT", "-d", "x"])?;
    check("404", "POST /in", "/elsewhere", &["-H", token, "-d", "x"])?;
    check("405", "POST /in", "/in", &["-H", token])?;
    check("200", "running", "/health", &[])?;
    let large = "x".repeat(2000);
    check("413", "raise `maxBody`", "/in", &["-H", token, "-d", &large])?;
    check("413", "raise `maxBody`", "/in", &["-H", token, "-H", "Transfer-Encoding: chunked", "-d", &large])?;
    check("415", "application/x-ndjson", "/in", &["-H", token, "-H", "Content-Type: text/csv", "-d", "x"])?;
    check("415", "gzip", "/in", &["-H", token, "-H", "Content-Encoding: br", "-d", "x"])?;
    check("400", "gzip", "/in", &["-H", token, "-H", "Content-Encoding: gzip", "-d", "x"])?;

    let packed = site.path().join("two.gz");
    let mut gzip =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(std::fs::File::create(&packed)?).spawn()?;
    gzip.stdin.take().context("stdin")?.write_all(b"{\"id\":4}\n{\"id\":5}\n")?;
    ensure!(gzip.wait()?.success());
    let body = format!("@{}", packed.display());
    check("200", "\"messages\":2", "/in", &["-H", token, "-H", "Content-Encoding: gzip", "--data-binary", &body])?;
    ensure!(counts(&site, "a")? == (5, 5));
    let letters = site.number("select count(*) from a_dead_letter", None)?;
    ensure!(letters == 1, "{letters} dead letters");
    stopped(run)
}

#[test]
fn http_takes_so_many_requests_at_a_time_and_no_more() -> Result<()> {
    if !there("curl") {
        return Ok(());
    }
    let site = Site::new()?;
    site.write(
        "a.yaml",
        spec("a", "http: {listen: '127.0.0.1:0', maxRequests: 1, answerWithin: 2s}", &format!("  {JSON}")),
    )?;
    let (run, address) = listening(&site, &["a.yaml"])?;
    let mut slow = TcpStream::connect(&address)?;
    let line = "{\"id\":1}\n";
    write!(slow, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{line}", line.len())?;
    // Until the one that waits for its commit has the only turn, others may have it.
    let mut stored = 0;
    loop {
        let (status, answer) = post(&address, "/", &["-d", "{\"id\":2}"])?;
        if status == "503" {
            ensure!(answer.to_string().contains("try again in a moment"), "{answer}");
            break;
        }
        ensure!(status == "200" && stored < 100, "{status} {answer}");
        stored += 1;
    }
    let mut answer = String::new();
    slow.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"messages\":1"), "{answer}");
    let (status, answer) = post(&address, "/", &["-d", "{\"id\":3}"])?;
    ensure!(status == "200", "{status} {answer}");
    ensure!(counts(&site, "a")?.0 == stored + 2);
    stopped(run)
}

#[test]
fn every_answered_post_is_there_once_whatever_is_killed() -> Result<()> {
    if !there("curl") {
        return Ok(());
    }
    let seed = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut site = Site::new()?;
    let http = "http: {listen: '127.0.0.1:0', requireKey: true}";
    site.write("a.yaml", spec("a", http, &format!("  {JSON}\nguarantee: effectively-once")))?;
    let (mut run, mut address) = listening(&site, &["a.yaml"])?;
    let (mut kills, mut repeated) = (0, 0);
    for id in 0..30 {
        let (key, body) = (format!("Idempotency-Key: {id}"), format!("{{\"id\":{id}}}"));
        loop {
            let killed = dice.random_bool(0.2);
            let posting = std::thread::spawn({
                let (address, key, body) = (address.clone(), key.clone(), body.clone());
                move || post(&address, "/", &["-H", &key, "-d", &body])
            });
            if killed {
                // Somewhere between the arrival and the answer, or after it.
                std::thread::sleep(std::time::Duration::from_micros(dice.random_range(0..40_000)));
                run.child.kill()?;
            }
            let answer = posting.join().map_err(|_| anyhow::anyhow!("curl's thread"))?;
            if run.child.try_wait()?.is_some() || killed {
                run.child.wait()?;
                // Some die by themselves: between a commit that is durable and its answers.
                let dies = dice.random_bool(0.5).then(|| format!("repo.record.after=kill@{}", dice.random_range(1..4)));
                site.environment = dies.map(|fault| ("SPOUT_FAULT", fault)).into_iter().collect();
                (run, address) = listening(&site, &["a.yaml"])?;
                kills += 1;
            }
            if let Ok((status, answer)) = answer
                && status == "200"
            {
                repeated += u32::from(answer["repeated"] == true);
                break;
            }
        }
    }
    println!("{kills} kills, {repeated} posts had been stored without an answer");
    drop(run.signal("TERM"));
    run.end()?;
    site.environment.clear();
    ensure!(counts(&site, "a")? == (30, 30));
    Ok(())
}

#[test]
fn who_waits_is_told_when_a_commit_fails_and_the_pipeline_goes_on() -> Result<()> {
    if !there("curl") {
        return Ok(());
    }
    let mut site = Site::new()?;
    site.environment.push(("SPOUT_FAULT", "repo.record.before=error@1".into()));
    site.write("a.yaml", spec("a", "http: {listen: '127.0.0.1:0'}", &format!("  {JSON}")))?;
    let (mut run, address) = listening(&site, &["a.yaml"])?;
    let (status, answer) = post(&address, "/", &["-d", "{\"id\":1}"])?;
    ensure!(status == "503" && answer.to_string().contains("send them again"), "{status} {answer}");
    let again = run.wait_for("listening")?.context("it starts again")?;
    let address = again["address"].as_str().context("an address")?;
    let (status, answer) = post(address, "/", &["-d", "{\"id\":1}"])?;
    ensure!(status == "200" && answer["commit"].is_string(), "{status} {answer}");
    ensure!(counts(&site, "a")? == (1, 1));
    stopped(run)
}

#[test]
fn csv_and_arrow_are_posted_as_such() -> Result<()> {
    if !there("curl") {
        return Ok(());
    }
    let site = Site::new()?;
    let csv = "  decoder: {type: csv, schema: {id: int64, who: utf8}, delimiter: ';'}";
    site.write("c.yaml", spec("c", "http: {listen: '127.0.0.1:0'}", csv))?;
    site.write("n.yaml", spec("n", "http: {listen: '127.0.0.1:0'}", "  decoder: {type: arrow}"))?;
    let (run, address) = listening(&site, &["c.yaml"])?;
    let csv = ["-H", "Content-Type: text/csv", "--data-binary"];
    for body in ["id;who\n1;\"a\nb\"\n2;c\n", "id;who\r\n3;d\r\n", "who;id\ne;4\nf;5\n", "6;g\n"] {
        let (status, answer) = post(&address, "/", &[&csv[..], &[body]].concat())?;
        ensure!(status == "200" && answer["deadLetters"] == 0, "{status} {answer}");
    }
    ensure!(counts(&site, "c")? == (6, 6));
    let rows = site.rows("select who from c where id in (5, 6) order by id", None)?;
    ensure!(rows == [r#"{"who":"f"}"#, r#"{"who":"g"}"#], "{rows:?}");
    stopped(run)?;

    let (run, address) = listening(&site, &["n.yaml"])?;
    site.write("stream.arrow", arrow_stream()?)?;
    let body = format!("@{}", site.path().join("stream.arrow").display());
    let header = "Content-Type: application/vnd.apache.arrow.stream";
    let (status, answer) = post(&address, "/", &["-H", header, "--data-binary", &body])?;
    ensure!(status == "200" && answer["deadLetters"] == 0, "{status} {answer}");
    ensure!(counts(&site, "n")? == (4, 4));
    stopped(run)
}

/// Four rows as an Arrow IPC stream.
fn arrow_stream() -> Result<Vec<u8>> {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let rows = RecordBatch::try_from_iter([("id", ids)])?;
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref())?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?)
}

/// Runs a pipeline over `input`; whether it succeeded, and what it said.
fn piped(site: &Site, input: &str) -> Result<(bool, String)> {
    let mut child =
        site.command(&["run", "a.yaml"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn standard_input_is_read_to_its_end_and_offsets_go_on() -> Result<()> {
    let site = Site::new()?;
    let stdin = "stdin: {metadata: [offset], framing: {maxFrame: 40}}";
    site.write("a.yaml", spec("a", stdin, &format!("  {JSON}")))?;
    let lines = |ids: std::ops::Range<u64>| ids.map(|id| format!("{{\"id\":{id}}}\n")).collect::<String>();
    let (fine, errors) = piped(&site, &lines(0..1000))?;
    ensure!(fine, "{errors}");
    let (fine, errors) = piped(&site, lines(1000..1003).trim_end())?;
    ensure!(fine, "{errors}");
    ensure!(counts(&site, "a")? == (1003, 1003));
    ensure!(site.number("select count(*) from a where id = __offset", None)? == 1003, "offsets go on");
    let (fine, errors) = piped(&site, &format!("{}{}\n{{\"id\":9999}}\n", lines(1003..1005), "x".repeat(50)))?;
    ensure!(!fine && errors.contains("maxFrame"), "{errors}");
    ensure!(counts(&site, "a")? == (1005, 1005), "what came before is kept, what comes behind is not taken");
    Ok(())
}

#[test]
fn a_chain_of_repos_has_every_row_once_whatever_is_killed() -> Result<()> {
    if !there("python3") {
        return Ok(());
    }
    let seed = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let site = Site::new()?;
    let flush = "commit: {flush: {rows: 150}}";
    site.write("a.yaml", spec("a", "tcp: {listen: '127.0.0.1:0', reply: line}", &format!("  {JSON}\n{flush}")))?;
    let odd = "node: [{id: odd, type: filter, where: 'id % 2 = 1'}]";
    site.write("b.yaml", spec("b", "repo: {repo: a}", &format!("{odd}\n{flush}\nguarantee: exactly-once")))?;
    site.write("c.yaml", spec("c", "repo: {repo: b, every: 50ms}", ""))?;
    let (feeding, address) = listening(&site, &["a.yaml"])?;
    for round in 0..10 {
        let chain = site.start(&["run", "b.yaml", "c.yaml"])?;
        peers(&["numbered", &address, &(round * 400).to_string(), "400"])?;
        std::thread::sleep(std::time::Duration::from_millis(dice.random_range(50..500)));
        chain.signal("KILL")?;
        chain.end()?;
    }
    stopped(feeding)?;
    site.ok(&["run", "b.yaml", "c.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "a")? == (4000, 4000), "a: {:?}", counts(&site, "a")?);
    ensure!(counts(&site, "b")? == (2000, 2000), "b: {:?}", counts(&site, "b")?);
    ensure!(counts(&site, "c")? == (2000, 2000), "c: {:?}", counts(&site, "c")?);

    let ids = |repo: &str| -> Result<BTreeSet<String>> {
        let commits = site.json(&["list", "commit", &format!("{repo}@master")])?;
        Ok(commits.iter().filter_map(|commit| Some(commit["id"].as_str()?.to_owned())).collect())
    };
    let (of_a, of_b) = (ids("a")?, ids("b")?);
    for commit in ids("c")? {
        let shown = site.json(&["inspect", "commit", &format!("c@{commit}")])?;
        let shown = shown.first().context("a commit")?;
        for from in shown["provenance"].as_array().context("provenance")? {
            ensure!(from["repo"] == "b" && of_b.contains(from["commit"].as_str().unwrap_or_default()), "{from}");
        }
        let global = shown["global"].as_str().unwrap_or_default();
        ensure!(of_a.contains(global), "the global id {global} is none of the first repo");
    }
    let text = site.ok(&["inspect", "commit", "c@master"])?;
    ensure!(text.contains("made from") && text.contains("b@master commit") && text.contains("global id"), "{text}");
    Ok(())
}

#[test]
fn a_chain_in_one_process_is_idle_when_all_of_it_is() -> Result<()> {
    let site = Site::new()?;
    site.write("b.yaml", spec("b", "repo: {repo: a}", ""))?;
    site.write("a.yaml", spec("a", "stdin: {}", &format!("  {JSON}\ncommit: {{flush: {{rows: 10}}}}")))?;
    let mut child = site.command(&["run", "b.yaml", "a.yaml", "--until", "ended"]).stdin(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("stdin")?;
    for id in 0..100 {
        writeln!(input, "{{\"id\":{id}}}")?;
    }
    drop(input);
    ensure!(child.wait()?.success());
    ensure!(counts(&site, "b")? == (100, 100));
    Ok(())
}

#[test]
fn files_of_a_repo_are_lines_or_whole_and_what_is_rewritten_stops_the_pipeline() -> Result<()> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "notes"])?;
    site.write("one", "{\"id\":1}\n{\"id\":2}\n")?;
    site.write("two", "{\"id\":3}\n")?;
    site.ok(&["put", "file", "notes@master:/in/one", "-f", "one"])?;
    site.ok(&["put", "file", "notes@master:/else", "-f", "two"])?;
    site.write(
        "a.yaml",
        spec("a", "repo: {repo: notes, path: /in/, mode: lines, metadata: [key]}", &format!("  {JSON}")),
    )?;
    site.write("b.yaml", spec("b", "repo: {repo: notes, mode: files}", "  decoder: {type: raw}"))?;
    site.ok(&["run", "a.yaml", "b.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "a")? == (2, 2));
    ensure!(site.number("select count(*) from b", None)? == 2, "a file is a message");
    let keys = site.rows("select distinct cast(__key as varchar) as path from a", None)?;
    ensure!(keys == ["{\"path\":\"/in/one\"}"], "{keys:?}");

    site.ok(&["put", "file", "notes@master:/in/one", "-a", "-f", "two"])?;
    site.ok(&["run", "a.yaml", "b.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "a")? == (3, 3), "only what was added is read");

    site.ok(&["put", "file", "notes@master:/in/one", "-f", "two"])?;
    let said =
        site.fails(&["run", "a.yaml", "--until", "idle"], 1, &["E0334", "overwritten /in/one", "rewritten: pass"])?;
    ensure!(said.contains("notes"), "{said}");
    site.write(
        "a.yaml",
        spec(
            "a",
            "repo: {repo: notes, path: /in/, mode: lines, rewritten: pass, metadata: [key]}",
            &format!("  {JSON}"),
        ),
    )?;
    site.ok(&["run", "a.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "a")? == (4, 3), "the new content counts as added");

    site.ok(&["delete", "branch", "notes@master"])?;
    site.fails(&["run", "a.yaml", "--until", "idle"], 1, &["E0335", "onOutOfRange"])?;
    Ok(())
}

#[test]
fn a_large_commit_may_be_split_and_each_part_is_read_once() -> Result<()> {
    let mut site = Site::new()?;
    let lines: String = (0..60_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    site.write("a.yaml", spec("a", "stdin: {}", &format!("  {JSON}\ncommit: {{path: /all.parquet}}")))?;
    let (fine, errors) = piped(&site, &lines)?;
    ensure!(fine, "{errors}");
    site.ok(&["create", "repo", "notes"])?;
    site.write("lines", &lines)?;
    site.ok(&["put", "file", "notes@master:/lines", "-f", "lines"])?;
    let flush = "commit: {flush: {rows: 5000}}";
    site.write("b.yaml", spec("b", "repo: {repo: a, split: true}", flush))?;
    site.write("c.yaml", spec("c", "repo: {repo: notes, mode: lines, split: true}", &format!("  {JSON}\n{flush}")))?;
    for name in ["b", "c"] {
        let run = ["run", &format!("{name}.yaml"), "--until", "idle"];
        for point in ["before", "after"] {
            site.environment = vec![("SPOUT_FAULT", format!("repo.record.{point}=kill@3"))];
            ensure!(!site.run(&run)?.status.success(), "it was to be killed");
        }
        site.environment.clear();
        site.ok(&run)?;
        ensure!(counts(&site, name)? == (60_000, 60_000), "{name}: {:?}", counts(&site, name)?);
        let commits = site.json(&["list", "commit", &format!("{name}@master")])?.len();
        ensure!(commits > 4, "{name} has {commits} commits, so that nothing was read in parts");
    }
    Ok(())
}

#[test]
fn a_late_start_has_what_collected_commits_held() -> Result<()> {
    let site = Site::new()?;
    site.write("a.yaml", spec("a", "stdin: {}", &format!("  {JSON}")))?;
    for id in 0..4 {
        let (fine, errors) = piped(&site, &format!("{{\"id\":{id}}}\n"))?;
        ensure!(fine, "{errors}");
    }
    site.ok(&["update", "repo", "a", "--keep", "2"])?;
    site.ok(&["gc", "a", "--min-age", "0s"])?;
    site.write("b.yaml", spec("b", "repo: {repo: a}", ""))?;
    site.ok(&["run", "b.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "b")? == (4, 4), "b: {:?}", counts(&site, "b")?);
    piped(&site, "{\"id\":4}\n")?;
    site.ok(&["run", "b.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "b")? == (5, 5));
    site.write("late.yaml", spec("late", "repo: {repo: a, start: latest}", ""))?;
    site.ok(&["run", "late.yaml", "--until", "idle"])?;
    piped(&site, "{\"id\":5}\n")?;
    site.ok(&["run", "late.yaml", "--until", "idle"])?;
    ensure!(counts(&site, "late")? == (1, 1));
    Ok(())
}
