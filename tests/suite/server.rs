//! `spout serve`: the same answers as a store gives, to those who may have them, whatever they send.

use std::{
    io::Write as _,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{
    Site, guests,
    http::{Answer, connect, read, request},
    root,
    served::Served,
    tls::certificate,
};

/// `text` without what differs between two stores: ids, times, places.
fn masked(text: &str, site: &Site) -> String {
    // A server says where in its store things are, and not where that is.
    let place = format!("{}/", site.store);
    let text = text.replace(&place, "").replace(&site.store, "the store");
    let server = site.environment.iter().find(|(name, _)| *name == "SPOUT_SERVER").map(|(_, url)| url.as_str());
    let text = text.replace(server.unwrap_or("the store"), "the store");
    let text = text.replace(&site.path().display().to_string(), "SITE");
    let mut out = String::new();
    let ends = |c: char| !(c.is_ascii_alphanumeric() || "-+:._".contains(c));
    for part in text.split_inclusive(ends) {
        let word = part.trim_end_matches(ends);
        let hex = word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let time = word.len() >= 20 && word.starts_with("20") && word.contains('T') && word.contains(':');
        let number = word.len() >= 13 && word.trim_start_matches(':').bytes().all(|byte| byte.is_ascii_digit());
        let id = word.split(['-', '.']).next().is_some_and(|id| id.len() == 32);
        out += &if hex || time || number || id { part.replace(word, "#") } else { part.to_owned() };
    }
    out
}

/// What a command said, and how it ended.
fn said(site: &Site, args: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = site.run(args)?;
    let text = |bytes: &[u8]| masked(&String::from_utf8_lossy(bytes), site);
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

/// Every verb that a server knows, and what goes wrong with it. In this order they build up a store.
const VERBS: &[&str] = &[
    "list repo",
    "create repo r --description files",
    "create repo r",
    "create repo /",
    "create repo s",
    "list repo",
    "list branch r",
    "list branch nowhere",
    "put file r@master:/a.txt -f a.txt",
    "put file r@master:/in/ -f a.txt -f b.txt",
    "put file r@master:/d -r -f d",
    "put file r@master:/a.txt -a -f b.txt",
    "put file r@master:/t/t.parquet --table -f t.csv",
    "put file r@master:/t/t.parquet --table=csv -a -f t.csv",
    "put file r@master:/t/ --table -f a.txt",
    "put file r@master:/t/t.parquet --table=ndjson -f t.csv",
    "put file r@master:/tar --untar -f d.tar",
    "put file r@master:/tar --untar -f a.txt",
    "put file r@master:/cut --split csv --header-records 1 -f t.csv",
    "put file r@master:/cut --split json -f a.txt",
    "put file r@master:/url -f http://127.0.0.1:1/x",
    "put file r@master:/x/ -f nowhere.txt",
    "put file r@master~1:/a.txt -f a.txt",
    "put file r@master:/a.txt/b -f a.txt",
    "put file r@master:/a{b}c.txt -f a.txt",
    "list branch r",
    "inspect repo r",
    "inspect repo nowhere",
    "inspect branch r",
    "inspect branch r@nowhere",
    "inspect branch r@master~1",
    "list table r",
    "list table nowhere",
    "list table s",
    "list commit r",
    "list commit r -n 2",
    "list commit r@nowhere",
    "list commit r@master~99",
    "list file r@master",
    "list file r@master -r",
    "list file r@master~1:/in",
    "list file r@master:/nowhere",
    "glob file r@master:/**/*.txt",
    "glob file r@master:/[",
    "inspect commit r@master",
    "inspect commit r@master~2",
    "inspect file r@master:/a.txt",
    "inspect file r@master:/d",
    "inspect file r@master",
    "get file r@master:/a.txt",
    "get file r@master~1:/a.txt",
    "get file r@master:/d",
    "get file r@master:/nowhere",
    "get file r@master",
    "get file r@master -r -o all",
    "get file r@master:/a.txt -o one",
    "get file r@master:/a.txt --format csv",
    "create tag r@v1",
    "create tag r@v1 --head master~1",
    "create tag r@v2 --head master~1",
    "list tag r",
    "list commit r",
    "put file r@v1:/a.txt -f a.txt",
    "inspect repo r",
    "inspect branch r@v1",
    "create branch r@try --head master~1",
    "create branch r@try",
    "create branch r@try --head master --move",
    "create branch r@none",
    "list commit r@none",
    "diff file r@master",
    "diff file r@master r@v2 --name-only",
    "diff file r@master:/d r@master~2:/in",
    "copy file r@v2:/d r@try:/e",
    "copy file r@master:/a.txt s@master:/from/",
    "copy file r@master:/nowhere r@try:/e",
    "move file r@try:/e /f",
    "move file r@try:/f /f",
    "delete file r@try:/f",
    "delete file r@try:/f -r",
    "delete file r@try:/nowhere",
    "delete file r@try:/a.txt s@master:/from/a.txt",
    "list commit s",
    "marker show r",
    "list commit r --started",
    "start commit r@v1",
    "finish commit r@0123456789abcdef0123456789abcdef",
    "sql 'select 1 as a, null as b'",
    "sql 'select number, parent is null as first, files from commits(''r'') order by number'",
    "sql 'select path, size from files(''r@master'') order by path' --format csv",
    "sql 'select * from nowhere'",
    "sql 'select 1 / 0'",
    "sql 'drop table r'",
    "revert branch r@try --to '~1'",
    "revert branch r@try --to 'nowhere'",
    "drop commit r@try",
    "drop commit r@try~1",
    "drop commit r@0123456789abcdef0123456789abcdef",
    "squash commit r@try~1",
    "squash commit r@try~3..try~2",
    "squash commit r@try",
    "update repo r --keep 3 --keep-for 30d",
    "update repo r --keep-all",
    "list commit r@try",
    "compact r@try",
    "compact r@nowhere",
    "compact nowhere",
    "publish r@try",
    "publish r@try --rebuild",
    "publish r@try~1",
    "publish nowhere",
    "gc r --dry-run",
    "gc",
    "gc nowhere",
    "fsck",
    "fsck r --fast",
    "fsck r --deep",
    "fsck r --repair",
    "fsck nowhere",
    "draw pipeline",
    "draw pipeline --svg",
    "delete tag r@v2",
    "delete tag r@v2",
    "delete branch r@try",
    "delete branch r@try",
    "delete repo r",
    "delete repo r --force",
    "list repo",
    "list pipeline",
    "create pipeline -f p.yaml",
    "create pipeline -f p.yaml",
    "create pipeline -f wrong.yaml",
    "list pipeline",
    "update pipeline -f p.yaml",
    "update pipeline -f p.yaml --reprocess",
    "update pipeline -f q.yaml",
    "stop pipeline p",
    "stop pipeline p",
    "start pipeline p",
    "start pipeline nowhere",
    "pipeline pause p",
    "pipeline restart p",
    "pipeline restart nowhere",
    "list pipeline",
    "inspect pipeline s",
    "inspect pipeline nowhere",
    "delete pipeline p",
    "delete pipeline p",
    "list pipeline",
    "list plugin",
    "put plugin json -f json.wasm",
    "put plugin json -f a.txt",
    "put plugin ../json -f json.wasm",
    "put plugin json -f nowhere.wasm",
    "list plugin",
    "delete plugin json",
    "delete plugin json",
];

fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if quoted && chars.peek() == Some(&'\'') => {
                chars.next();
                words.last_mut().map(|word| word.push('\'')).unwrap_or_default();
            }
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().map(|word| word.push(c)).unwrap_or_default(),
        }
    }
    words
}

fn filled() -> Result<Site> {
    let site = Site::new()?;
    site.write("a.txt", "one\n")?;
    site.write("b.txt", "two\n")?;
    site.write("d/x/c.txt", "three\n")?;
    site.write("d/large.bin", vec![7; 3 << 20])?;
    site.write("t.csv", "id,name\n1,a\n2,b\n")?;
    let tar = Command::new("tar").args(["-cf", "d.tar", "d"]).current_dir(site.path()).status()?;
    ensure!(tar.success(), "tar failed");
    let plugin = root().join("plugins/json.wasm");
    site.write("json.wasm", std::fs::read(&plugin).with_context(|| plugin.display().to_string())?)?;
    // It never has anything to read.
    site.write("p.yaml", "pipeline: {name: p}\ndescription: waits\nproducer: {repo: {repo: first}}\n")?;
    site.write("q.yaml", "pipeline: {name: q}\nproducer: {repo: {repo: first}}\n")?;
    site.write("wrong.yaml", "pipeline: {name: w}\nproducer: {rep: {repo: first}}\n")?;
    Ok(site)
}

#[test]
fn every_verb_says_the_same_of_a_store_and_of_a_server() -> Result<()> {
    let (here, mut there) = (filled()?, filled()?);
    here.ok(&["create", "repo", "first"])?;
    there.ok(&["create", "repo", "first"])?;
    let served = Served::start(&there, &[])?;
    there.environment = vec![("SPOUT_SERVER", served.url())];
    // What a pipeline is doing knows only who runs it.
    let listed = |site: &Site| -> Result<Vec<Value>> {
        let mut lines = site.json(&["list", "pipeline"])?;
        lines.iter_mut().filter_map(Value::as_object_mut).for_each(|line| drop(line.remove("condition")));
        Ok(lines)
    };
    for verb in VERBS {
        if *verb == "list pipeline" {
            let (local, remote) = (listed(&here)?, listed(&there)?);
            ensure!(local == remote, "store:  {local:?}\nserver: {remote:?}");
            continue;
        }
        let mut args = words(verb);
        for json in [false, true] {
            // What changes something is done once, in JSON every other time.
            let changes = !["list", "get", "inspect", "diff", "glob", "sql", "marker"].contains(&args[0].as_str());
            if json && changes {
                continue;
            }
            if json {
                args.push("--json".into());
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let (local, remote) = (said(&here, &args)?, said(&there, &args)?);
            ensure!(local == remote, "{args:?}\nstore:  {local:?}\nserver: {remote:?}");
        }
    }
    for file in ["all/d/large.bin", "all/in/b.txt", "one"] {
        let (local, remote) = (std::fs::read(here.path().join(file))?, std::fs::read(there.path().join(file))?);
        ensure!(local == remote && !local.is_empty(), "{file} differs");
    }
    served.stop()
}

#[test]
fn a_commit_is_filled_by_several_commands_of_a_client() -> Result<()> {
    let mut site = filled()?;
    site.ok(&["create", "repo", "r"])?;
    let served = Served::start(&site, &[])?;
    site.environment = vec![("SPOUT_SERVER", served.url())];
    let id = site.ok(&["start", "commit", "r"])?;
    let to = |path: &str| format!("r@{}:{path}", id.trim());
    site.ok(&["put", "file", &to("/a"), "-f", "a.txt"])?;
    site.ok(&["put", "file", &to("/b"), "-f", "b.txt"])?;
    site.ok(&["delete", "file", &to("/b")])?;
    ensure!(site.json(&["list", "commit", "r", "--started"])?.len() == 1, "it waits");
    ensure!(site.ok(&["inspect", "commit", &format!("r@{}", id.trim())])?.contains("/a"), "it says what it holds");
    site.fails(&["get", "file", "r@master:/a"], 2, &["error[E0511]"])?;
    site.ok(&["finish", "commit", &format!("r@{}", id.trim())])?;
    ensure!(site.ok(&["get", "file", "r@master:/a"])? == "one\n", "it can be seen");
    let dropped = site.ok(&["start", "commit", "r"])?;
    site.ok(&["drop", "commit", &format!("r@{}", dropped.trim())])?;
    ensure!(site.json(&["list", "commit", "r", "--started"])?.is_empty(), "none waits any more");
    served.stop()
}

#[test]
fn what_needs_the_machine_says_so_to_one_who_asks_a_server() -> Result<()> {
    let site = Site::new()?;
    let check = |args: &[&str], code: &str| -> Result<()> {
        let mut all = vec!["--server", "http://127.0.0.1:1"];
        all.extend(args);
        site.fails(&all, 2, &[code]).map(drop)
    };
    for args in [&["run", "a.yaml"] as &[&str], &["serve"], &["check", "a.yaml"], &["test", "a.yaml"]] {
        check(args, "error[E0843]")?;
    }
    // What is built here is built here, whichever server is meant.
    site.ok(&["--server", "http://127.0.0.1:1", "plugin", "list"])?;
    site.fails(&["--server", "http://127.0.0.1:1", "list", "repo"], 1, &["error[E0841]", "127.0.0.1:1"])?;
    site.fails(&["--server", "nowhere", "list", "repo"], 1, &["error[E0842]"])?;
    site.fails(&["--server", "http://127.0.0.1:1", "--token", "nowhere", "list", "repo"], 2, &["error[E0844]"])
        .map(drop)
}

/// Fills the names of a route.
fn path_of(route: &str, repo: &str) -> String {
    let names = [("repo", repo), ("branch", "master"), ("tag", "v1"), ("id", "0123456789abcdef"), ("at", "master")];
    let path = names.iter().fold(route.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
    path.replace("{path}", "a.txt").replace("{name}", repo).replace("{plugin}", repo)
}

#[test]
fn every_route_lets_in_those_whose_scope_allows_it_and_nobody_else() -> Result<()> {
    let site = filled()?;
    for repo in ["mine", "theirs"] {
        site.ok(&["create", "repo", repo])?;
        site.ok(&["put", "file", &format!("{repo}@master:/a.txt"), "-f", "a.txt"])?;
    }
    let create = |scopes: &[&str], rest: &[&str]| -> Result<String> {
        let mut args = vec!["token", "create", "--tokens", "tokens.json", "--name", "test"];
        args.extend(scopes.iter().flat_map(|scope| ["--scope", scope]));
        args.extend(rest);
        Ok(site.ok(&args)?.trim().to_owned())
    };
    let expired = create(&["admin:*"], &["--for", "1ms"])?;
    // What each allows, of mine.
    let scopes = [
        (create(&["read:mine"], &[])?, &["read"] as &[&str]),
        (create(&["write:mine", "read:m*"], &[])?, &["read", "write"]),
        (create(&["admin:mi*"], &[])?, &["read", "write", "admin"]),
        (create(&["run:mine"], &[])?, &["read", "run"]),
        (create(&["plugin:mine"], &[])?, &["plugin"]),
    ];
    let served = Served::start(&site, &["--tokens", "tokens.json"])?;
    let document = served.get("/openapi.json")?.json()?;
    let history = |repo: &str| -> Result<usize> { Ok(site.json(&["list", "commit", repo])?.len()) };
    let mut routes = Vec::new();
    for (route, methods) in document.get("paths").and_then(Value::as_object).context("paths")? {
        for (method, operation) in methods.as_object().context("methods")? {
            let needed = operation.pointer("/security/0/token/0").and_then(Value::as_str);
            routes.push((method.to_ascii_uppercase(), route.clone(), needed));
        }
    }
    ensure!(routes.len() > 30, "only {} routes", routes.len());
    let ask = |method: &str, path: &str, token: Option<&str>| -> Result<Answer> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        request(&served.address, &format!("{method} {path}"), &headers, b"")
    };
    // Those who may not, all of them first: nothing may have changed after them.
    for (method, route, needed) in &routes {
        let (mine, theirs) = (path_of(route, "mine"), path_of(route, "theirs"));
        let Some(needed) = needed else {
            let status = ask(method, &mine, None)?.status;
            // It may not have looked yet what is to run.
            ensure!(status == 200 || (*route == "/ready" && status == 503), "{route} is open");
            continue;
        };
        for token in [None, Some("spout_0_0"), Some(""), Some(expired.as_str())] {
            let answer = ask(method, &mine, token)?;
            ensure!(answer.status == 401 && answer.code() == "E0901", "{method} {mine} {token:?}: {}", answer.status);
            ensure!(answer.header("www-authenticate").is_some(), "{method} {mine} says how to come in");
        }
        for (token, allowed) in &scopes {
            let hidden = !allowed.contains(&"read") && (route.contains("{repo}") || route.contains("{name}"));
            if !allowed.contains(needed) && !hidden {
                let answer = ask(method, &mine, Some(token))?;
                ensure!(answer.status == 403 && answer.code() == "E0902", "{method} {mine}: {}", answer.status);
            }
            for path in [&theirs, &mine].into_iter().filter(|path| **path != mine || hidden) {
                let answer = ask(method, path, Some(token))?;
                let refused = if route.contains("{plugin}") { [403, 403] } else { [400, 404] };
                let named = route.contains("{repo}") || route.contains("{name}") || route.contains("{plugin}");
                ensure!(!named || refused.contains(&answer.status), "{method} {path} is not there: {}", answer.status);
            }
        }
    }
    ensure!(history("mine")? == 1 && history("theirs")? == 1, "nobody changed anything");
    // What is not theirs to see is in no list, in no query, and cannot be copied from.
    let (reader, writer) = (&scopes[0].0, &scopes[1].0);
    ensure!(ask("GET", "/v1/repos", Some(reader))?.json()?.as_array().map(Vec::len) == Some(1), "one repo");
    let post = |path: &str, token: &str, body: &Value| {
        let bearer = format!("Bearer {token}");
        request(&served.address, &format!("POST {path}"), &[("authorization", &bearer)], body.to_string().as_bytes())
    };
    for sql in ["select * from commits('theirs')", "select * from files('theirs')", "select * from theirs"] {
        let answer = post("/v1/sql", reader, &json!({"query": sql}))?;
        ensure!(answer.status == 404 || answer.status == 400, "{sql}: {}", answer.status);
        ensure!(!String::from_utf8_lossy(&answer.body).contains("did you mean"), "{sql} gives a name away");
    }
    let across = post("/v1/repos/mine/copy", writer, &json!({"from": "theirs@master:/a.txt", "to": "mine@master:/b"}))?;
    ensure!(across.status == 404, "copied from what cannot be seen: {}", across.status);
    for body in [
        json!({"from": "mine@master:/a.txt", "to": "theirs@master:/b"}),
        json!({"from": "mine@master:/a.txt", "to": "mine@master:/b", "more": 1}),
    ] {
        ensure!(post("/v1/repos/mine/copy", writer, &body)?.code() == "E0903", "{body}");
    }
    ensure!(ask("PUT", "/v1/repos/theirs%40x/files/master/a", Some(writer))?.status == 400, "a name that is two");
    ensure!(post("/v1/repos", &scopes[2].0, &json!({"name": "other"}))?.status == 403, "created outside the scope");
    // Those who may.
    for (token, allowed) in scopes.iter().rev() {
        for (method, route, needed) in &routes {
            if needed.is_some_and(|needed| allowed.contains(&needed)) {
                let path = path_of(route, "mine");
                let answer = ask(method, &path, Some(token))?;
                ensure!(![401, 403].contains(&answer.status) && answer.status < 500, "{method} {path}: {answer:?}");
            }
        }
        site.run(&["create", "repo", "mine"])?;
    }
    let id = reader.split('_').nth(1).context("an id")?;
    site.ok(&["token", "revoke", id, "--tokens", "tokens.json"])?;
    ensure!(ask("GET", "/v1/repos", Some(reader))?.status == 401, "a revoked token counts at once");
    served.stop()
}

#[test]
fn parts_of_files_come_as_they_are_asked_for() -> Result<()> {
    let site = filled()?;
    site.ok(&["create", "repo", "r"])?;
    let large: Vec<u8> = (0..20_000_000_u32).map(|at| (at / 7 % 251) as u8).collect();
    site.write("large", &large)?;
    site.ok(&["put", "file", "r@master:/large", "-f", "large"])?;
    site.ok(&["put", "file", "r@master:/grown", "-f", "a.txt"])?;
    site.ok(&["put", "file", "r@master:/grown", "-a", "-f", "b.txt"])?;
    let served = Served::start(&site, &[])?;
    let get = |path: &str, headers: &[(&str, &str)]| {
        request(&served.address, &format!("GET /v1/repos/r/files/master/{path}"), headers, b"")
    };
    let whole = get("large", &[])?;
    ensure!(whole.status == 200 && whole.body == large, "the whole file");
    let tag = whole.header("etag").context("an etag")?.to_owned();
    let check = |range: &str, expected: Option<std::ops::Range<usize>>| -> Result<()> {
        let answer = get("large", &[("range", range)])?;
        let Some(expected) = expected else {
            ensure!(answer.status == 416 && answer.code() == "E0840", "{range}: {}", answer.status);
            return Ok(());
        };
        let said = format!("bytes {}-{}/{}", expected.start, expected.end - 1, large.len());
        ensure!(answer.status == 206 && answer.header("content-range") == Some(said.as_str()), "{range}: {answer:?}");
        ensure!(answer.body == large[expected], "{range}: other bytes");
        Ok(())
    };
    check("bytes=0-0", Some(0..1))?;
    check("bytes=8388600-8388700", Some(8_388_600..8_388_701))?;
    check("bytes=19999990-", Some(19_999_990..20_000_000))?;
    check("bytes=-5", Some(19_999_995..20_000_000))?;
    check("bytes=5-99999999999", Some(5..20_000_000))?;
    check("bytes=20000000-", None)?;
    for not_understood in ["bytes=5-2", "bytes=0-1,5-6", "lines=0-1"] {
        ensure!(get("large", &[("range", not_understood)])?.body.len() == large.len(), "{not_understood}");
    }
    ensure!(get("grown", &[("range", "bytes=2-5")])?.body == b"e\ntw", "across pieces");
    ensure!(get("large", &[("if-none-match", &tag)])?.status == 304, "it is the same");
    ensure!(get("large", &[("range", "bytes=0-1"), ("if-range", "\"other\"")])?.status == 200, "it is another");
    let head = request(&served.address, "HEAD /v1/repos/r/files/master/large", &[], b"")?;
    ensure!(head.status == 200 && head.header("content-length") == Some("20000000"), "{head:?}");
    served.stop()
}

#[test]
fn a_directory_comes_as_an_archive() -> Result<()> {
    let site = filled()?;
    let deep = format!("d/{}/größe.txt", "long".repeat(40));
    site.write(&deep, "deep")?;
    site.write("d/empty", "")?;
    site.ok(&["create", "repo", "r"])?;
    site.ok(&["put", "file", "r@master:/in/d", "-r", "-f", "d"])?;
    let served = Served::start(&site, &[])?;
    for path in ["", "/in/d"] {
        let out = site.path().join(format!("out{}", path.len()));
        std::fs::create_dir(&out)?;
        let answer = served.get(&format!("/v1/repos/r/tar/master{path}"))?;
        ensure!(answer.header("content-type") == Some("application/x-tar"), "{:?}", answer.headers);
        std::fs::write(out.join("all.tar"), &answer.body)?;
        let tar = Command::new("tar").args(["-xf", "all.tar"]).current_dir(&out).output()?;
        ensure!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        for file in ["d/x/c.txt", "d/large.bin", "d/empty", &deep] {
            ensure!(std::fs::read(out.join("in").join(file))? == std::fs::read(site.path().join(file))?, "{file}");
        }
    }
    ensure!(served.get("/v1/repos/r/tar/master/nowhere")?.code() == "E0517", "no such directory");
    served.stop()
}

#[test]
fn bodies_that_are_cut_off_or_too_large_leave_nothing() -> Result<()> {
    let site = filled()?;
    site.ok(&["create", "repo", "r"])?;
    let served = Served::start(&site, &["--max-body", "100KiB"])?;
    let send = |head: &str, body: &[u8]| -> Result<TcpStream> {
        let mut stream = connect(&served.address)?;
        let line = "PUT /v1/repos/r/files/master/a HTTP/1.1";
        stream.write_all(format!("{line}\r\nhost: {}\r\n{head}\r\n\r\n", served.address).as_bytes())?;
        stream.write_all(body)?;
        Ok(stream)
    };
    let part = vec![1; 50_000];
    drop(send("content-length: 90000", &part)?);
    drop(send("transfer-encoding: chunked", b"c350\r\n")?);
    let answer = read(send("transfer-encoding: chunked", b"zz\r\n")?, true)?;
    ensure!(answer.status == 400, "a broken chunk: {}", answer.status);
    let too_large = read(send("content-length: 102401", b"")?, true)?;
    ensure!(too_large.status == 413 && too_large.code() == "E0905", "{too_large:?}");
    let mut chunks = Vec::new();
    for _ in 0..3 {
        chunks.extend_from_slice(b"c350\r\n");
        chunks.extend_from_slice(&part);
        chunks.extend_from_slice(b"\r\n");
    }
    let too_large = read(send("transfer-encoding: chunked", &chunks)?, true)?;
    ensure!(too_large.status == 413 && too_large.code() == "E0905", "{too_large:?}");
    let long = "x".repeat(1_000_000);
    // The connection may be closed before all of it was sent.
    if let Ok(head) = request(&served.address, "GET /v1/repos", &[("long", &long)], b"") {
        ensure!(head.status == 431, "a long header: {}", head.status);
    }
    let sql = json!({"query": "x".repeat(2 << 20)}).to_string();
    ensure!(request(&served.address, "POST /v1/sql", &[], sql.as_bytes())?.status == 413, "long JSON");
    ensure!(site.json(&["list", "branch", "r"])?.is_empty(), "no branch was made");
    ensure!(site.json(&["list", "commit", "r", "--started"])?.is_empty(), "no commit waits");
    let whole = request(&served.address, "PUT /v1/repos/r/files/master/a", &[], &part)?;
    ensure!(whole.status == 200, "a whole one is taken: {whole:?}");
    served.stop()?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn connections_have_a_cap_and_the_next_one_is_told() -> Result<()> {
    let site = Site::new()?;
    let served = Served::start(&site, &["--max-connections", "300"])?;
    let idle = (0..300).map(|_| connect(&served.address)).collect::<Result<Vec<_>>>()?;
    let told = |expected: u16| -> Result<bool> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            let answer = served.get("/health")?;
            if answer.status == expected {
                return Ok(expected != 503 || answer.code() == "E0907" && answer.header("retry-after").is_some());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    };
    ensure!(told(503)?, "there is no room for one more");
    drop(idle);
    ensure!(told(200)?, "there is room again");
    served.stop()
}

#[test]
fn a_web_page_of_somebody_else_is_not_answered() -> Result<()> {
    let site = Site::new()?;
    let served = Served::start(&site, &[])?;
    let origin = request(&served.address, "POST /v1/repos", &[("origin", "http://evil.example")], b"{\"name\":\"x\"}")?;
    ensure!(origin.status == 403 && origin.code() == "E0916", "{origin:?}");
    let mut stream = connect(&served.address)?;
    stream.write_all(b"GET /v1/repos HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")?;
    ensure!(read(stream, true)?.code() == "E0916", "another name for this machine");
    ensure!(site.json(&["list", "repo"])?.is_empty(), "nothing was created");
    // The page of the server itself, the console, has its name for an origin; that of another port of this machine does not.
    let create = |origin: &str| request(&served.address, "POST /v1/repos", &[("origin", origin)], b"{\"name\":\"x\"}");
    ensure!(create("http://127.0.0.1:1")?.code() == "E0916" && create("null")?.code() == "E0916");
    ensure!(create(&served.url())?.status == 200, "its own page is answered");
    ensure!(
        served.get("/nowhere")?.code() == "E0904" && served.get("/v1/repos/%FF/tags")?.status == 400,
        "no such thing"
    );
    let method = request(&served.address, "PUT /v1/repos", &[], b"")?;
    ensure!(method.status == 405 && method.code() == "E0904", "{method:?}");
    served.stop()?;
    site.fails(&["serve", "--listen", "0.0.0.0:0"], 2, &["error[E0913]", "--cert"])?;
    site.fails(&["serve", "--tokens", "nowhere.json"], 2, &["error[E0911]", "spout token create"])?;
    site.fails(&["serve", "--listen", "nowhere:x"], 1, &["error[E0914]"]).map(drop)
}

#[test]
fn tls_is_spoken_where_there_is_a_certificate() -> Result<()> {
    let site = filled()?;
    certificate(site.path())?;
    let args = ["token", "create", "--tokens", "tokens.json", "--name", "ada", "--scope", "admin:*"];
    let token = site.ok(&args)?;
    let secure = ["--tokens", "tokens.json", "--cert", "chain.pem", "--key", "key.pem"];
    let served = Served::start(&site, &secure)?;
    let url = format!("https://localhost:{}/v1/repos", served.address.rsplit(':').next().unwrap_or_default());
    let curl = |rest: &[&str]| -> Result<String> {
        let output =
            Command::new("curl").args(["-sS", "--cacert", "chain.pem"]).args(rest).current_dir(site.path()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let bearer = format!("authorization: Bearer {}", token.trim());
    ensure!(curl(&["-H", &bearer, "-d", "{\"name\":\"r\"}", &url])?.contains("\"repo\":\"r\""), "created");
    ensure!(curl(&["-H", &bearer, &url])?.contains("\"name\":\"r\""), "listed");
    ensure!(curl(&[&url])?.contains("E0901"), "no token");
    served.stop()?;
    site.write("key.pem", "nothing")?;
    let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
    all.extend(secure);
    site.fails(&all, 2, &["error[E0915]", "key.pem"]).map(drop)
}

/// A pipeline that takes what is posted.
fn posted(name: &str) -> String {
    format!(
        "pipeline: {{name: {name}}}\nproducer:\n  http: {{listen: '127.0.0.1:0'}}\n  decoder: {{type: json, schema: {{id: int64}}}}\n"
    )
}

#[test]
fn pipelines_of_a_directory_run_beside_the_api() -> Result<()> {
    let site = Site::new()?;
    site.write("pipelines/one.yaml", posted("one"))?;
    site.write("pipelines/two.yml", posted("two"))?;
    site.write("pipelines/notes.txt", "no spec")?;
    let mut served = Served::start(&site, &["pipelines"])?;
    let mut events = connect(&served.address)?;
    events.write_all(format!("GET /v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", served.address).as_bytes())?;
    let listening = (0..2).map(|_| served.running.wait_for("listening")?.context("two pipelines listen"));
    let listening = listening.collect::<Result<Vec<_>>>()?;
    let one = listening.iter().find(|said| said["pipeline"] == "one").context("pipeline one")?;
    let port = one["address"].as_str().context("its address")?;
    ensure!(
        request(port, "POST /", &[("content-type", "application/x-ndjson")], b"{\"id\":1}\n")?.status == 200,
        "a row"
    );
    let all = served.get("/v1/pipelines")?.json()?;
    ensure!(all.as_array().map(Vec::len) == Some(2), "{all}");
    // What a pipeline says arrives a moment after its commit.
    let about = served.reach("one", |about| about["commits"] == 1)?;
    ensure!(about["commits"] == 1 && about["state"] == "running" && about["address"] == port, "{about}");
    ensure!(served.get("/v1/pipelines/three")?.code() == "E0910", "no third one");
    let mut sql = site.command(&["--server", &served.url(), "sql", "select count(*) as n from one", "--json"]);
    ensure!(String::from_utf8_lossy(&sql.output()?.stdout).trim() == "{\"n\":1}", "the row can be asked for");
    served.stop()?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut events, &mut said)?;
    for event in ["text/event-stream", "event: committed", "\"pipeline\":\"one\"", "event: stopped"] {
        ensure!(said.contains(event), "{event} is not in {said}");
    }
    Ok(())
}

#[test]
fn the_python_client_does_what_the_command_line_does() -> Result<()> {
    let site = filled()?;
    let served = Served::start(&site, &[])?;
    let python = |program: &str| -> Result<String> {
        let output = Command::new("python3")
            .args(["-c", program])
            .current_dir(site.path())
            .env("PYTHONPATH", root().join("host/clients/python/src"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SPOUT_SERVER", served.url())
            .env("PLUGIN", guests().join("keep-large.wasm"))
            .output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{out}\n{err}");
        Ok(out.into_owned())
    };
    let said = python(&std::fs::read_to_string(root().join("tests/support/client.py"))?)?;
    ensure!(said.trim() == "done", "{said}");
    ensure!(site.ok(&["get", "file", "r@master:/text.txt"])? == "onetwo", "what it put is there");
    // The README of the client, as it stands.
    let readme = std::fs::read_to_string(root().join("host/clients/python/README.md"))?;
    let example = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).context("an example")?;
    let example = example.replace("\"http://127.0.0.1:1653\"", "");
    let said = python(&example)?;
    ensure!(said.starts_with("['/b.txt', '/c.txt']\nb'two'\n"), "{said}");
    served.stop()
}
