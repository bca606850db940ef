//! Many files in one commit, from outside: archives, forms, records, URLs; the same on a store and through a server.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{
    Site,
    http::{Answer, connect, read, request},
    served::Served,
};

/// A site with a repo `r` and some local files, and a server if there is to be one, which its commands ask.
fn site(with_server: bool) -> Result<(Site, Option<Served>)> {
    let mut site = Site::new()?;
    site.write("d/a.txt", "one\n")?;
    site.write("d/x/b.bin", vec![7; 2 << 20])?;
    site.write("d/x/empty", "")?;
    site.ok(&["create", "repo", "r"])?;
    let served = if with_server { Some(Served::start(&site, &[])?) } else { None };
    if let Some(served) = &served {
        site.environment = vec![("SPOUT_SERVER", served.url())];
    }
    Ok((site, served))
}

fn shell(site: &Site, script: &str) -> Result<()> {
    let output = Command::new("sh").args(["-ec", script]).current_dir(site.path()).output()?;
    ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn paths(site: &Site, reference: &str) -> Result<Vec<String>> {
    let files = site.json(&["list", "file", "-r", reference])?;
    files.iter().map(|file| Ok(file["path"].as_str().context("a path")?.to_owned())).collect()
}

/// That so many commits are there, and none waits half-filled.
fn commits(site: &Site, expected: usize) -> Result<()> {
    let branches = site.json(&["list", "branch", "r"])?;
    let there = branches.iter().map(|branch| branch["commits"].as_u64().unwrap_or_default()).sum::<u64>();
    ensure!(there == expected as u64, "{there} commits, not {expected}");
    ensure!(site.json(&["list", "commit", "r", "--started"])?.is_empty(), "a commit was left half-filled");
    Ok(())
}

fn ended(site: &Site, served: Option<Served>) -> Result<()> {
    served.map(Served::stop).transpose()?;
    let mut fsck = site.command(&["fsck"]);
    let output = fsck.env_remove("SPOUT_SERVER").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn an_archive_is_one_commit_or_none() -> Result<()> {
    for with_server in [false, true] {
        let (site, served) = site(with_server)?;
        shell(
            &site,
            "tar -cf all.tar d; tar -czf all.tar.gz -C d .; ln -s a.txt d/link; tar -cf link.tar d; rm d/link
             tar -Pcf up.tar --transform 's,^d,../d,' d; tar -Pcf slash.tar --transform 's,^d,/d,' d
             mkdir none; tar -cf none.tar none; head -c 2000000 all.tar > cut.tar; head -c 500 all.tar.gz > cut.tar.gz
             echo text > text.tar; cat all.tar all.tar > two.tar
             mkdir clash; echo x > clash/a; tar -cf clash.tar -C clash a; rm clash/a; mkdir clash/a; echo x > clash/a/b
             tar -rf clash.tar -C clash a/b",
        )?;
        site.ok(&["put", "file", "r@master:/in", "--untar", "-f", "all.tar"])?;
        ensure!(paths(&site, "r@master")? == ["/in/d/a.txt", "/in/d/x/b.bin", "/in/d/x/empty"], "below a directory");
        site.ok(&["put", "file", "r@master", "--untar", "-f", "all.tar.gz"])?;
        ensure!(paths(&site, "r@master:/x")? == ["/x/b.bin", "/x/empty"], "packed, at the root");
        let mut piped = site.command(&["put", "file", "r@master:/piped/", "--untar"]);
        piped.stdin(Stdio::from(std::fs::File::open(site.path().join("two.tar"))?));
        ensure!(piped.status()?.success(), "from standard input");
        site.ok(&["get", "file", "r@master:/piped", "-r", "-o", "out"])?;
        shell(&site, "diff -r d out/d")?;
        site.ok(&["put", "file", "r@master:/in", "--untar", "-a", "-f", "all.tar"])?;
        ensure!(site.ok(&["get", "file", "r@master:/in/d/a.txt"])? == "one\none\n", "appended");
        commits(&site, 4)?;
        for (archive, code) in [
            ("link.tar", "E0342"),
            ("up.tar", "E0516"),
            ("slash.tar", "E0342"),
            ("cut.tar", "E0341"),
            ("cut.tar.gz", "E0559"),
            ("text.tar", "E0341"),
            ("none.tar", "E0845"),
            ("clash.tar", "E0518"),
            ("nowhere.tar", "E0804"),
        ] {
            let output = site.run(&["put", "file", "r@master:/bad", "--untar", "-f", archive])?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success() && said.contains(code), "{archive}: {said}");
        }
        commits(&site, 4)?;
        ended(&site, served)?;
    }
    Ok(())
}

#[test]
fn an_archive_of_a_request_is_one_commit_or_none() -> Result<()> {
    let (mut site, served) = site(true)?;
    let served = served.context("a server")?;
    shell(&site, "tar -cf all.tar d; truncate -s 40M holes; tar --sparse -cf holes.tar holes")?;
    let whole = std::fs::read(site.path().join("all.tar"))?;
    let put = |path: &str, body: &[u8]| request(&served.address, &format!("PUT /v1/repos/r/tar/{path}"), &[], body);
    let answer = put("master/in", &whole)?;
    ensure!(answer.status == 200 && answer.json()?["put"].as_array().map(Vec::len) == Some(3), "{answer:?}");
    let answer = put("master", &whole[..100_000])?;
    ensure!(answer.status == 400 && answer.code() == "E0341", "a cut archive: {answer:?}");
    let mut broken = connect(&served.address)?;
    broken.write_all(b"PUT /v1/repos/r/tar/master HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\n\r\n")?;
    broken.write_all(&whole[..100_000])?;
    drop(broken);
    let unknown = request(&served.address, "PUT /v1/repos/s/tar/master", &[], &whole)?;
    ensure!(unknown.status == 404 && put("master~1", &whole)?.status == 400, "{unknown:?}");
    // What is archived here can be got there.
    let got = served.get("/v1/repos/r/tar/master/in")?;
    ensure!(put("other", &got.body)?.status == 200 && paths(&site, "r@other")?.len() == 3, "there and back");
    commits(&site, 2)?;
    ended(&site, Some(served))?;
    site.environment.clear();
    let small = Served::start(&site, &["--max-body", "1MiB"])?;
    let holes = std::fs::read(site.path().join("holes.tar"))?;
    let bomb = request(&small.address, "PUT /v1/repos/r/tar/master", &[], &holes)?;
    ensure!(bomb.status == 400 && bomb.code() == "E0342", "more than a body may have: {bomb:?}");
    small.stop()
}

#[test]
fn a_form_is_one_commit_or_none() -> Result<()> {
    let (site, served) = site(true)?;
    let served = served.context("a server")?;
    let url = format!("{}/v1/repos/r/files/master", served.url());
    let curl = |args: &[&str]| -> Result<Value> {
        let output = Command::new("curl").arg("-sS").args(args).arg(&url).current_dir(site.path()).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let said = curl(&["-F", "/a=@d/a.txt", "-F", "/dir/=@d/x/b.bin", "-F", "/text=hello"])?;
    ensure!(said["put"].as_array().map(Vec::len) == Some(3), "{said}");
    ensure!(paths(&site, "r@master")? == ["/a", "/dir/b.bin", "/text"], "each by its name");
    site.ok(&["get", "file", "r@master:/dir/b.bin", "-o", "out"])?;
    shell(&site, "cmp out d/x/b.bin")?;
    ensure!(curl(&["-F", "/a=@d/a.txt", "-F", "/../b=@d/a.txt"])?["code"] == "E0516", "a path that is none");
    ensure!(curl(&["-F", "/n=@d/a.txt", "-F", "/n/m=@d/a.txt"])?["code"] == "E0518", "a file and a directory");
    ensure!(curl(&["-d", "/n=x"])?["code"] == "E0903", "a form of another kind");
    let head =
        "POST /v1/repos/r/files/master HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=b";
    let part = "--b\r\ncontent-disposition: form-data; name=\"/n\"\r\n\r\nhalf";
    let send = |length: usize| -> Result<TcpStream> {
        let mut stream = connect(&served.address)?;
        stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{part}").as_bytes())?;
        Ok(stream)
    };
    let cut: Answer = read(send(part.len())?, true)?;
    ensure!(cut.status == 400 && cut.code() == "E0903", "without its end: {cut:?}");
    drop(send(part.len() + 100)?);
    let empty = request(
        &served.address,
        "POST /v1/repos/r/files/master",
        &[("content-type", "multipart/form-data; boundary=b")],
        b"--b--\r\n",
    )?;
    ensure!(empty.code() == "E0845", "{empty:?}");
    commits(&site, 1)?;
    ended(&site, Some(served))
}

#[test]
fn records_become_files_of_their_own() -> Result<()> {
    let number = |at: usize| format!("/s/{at:016x}");
    for with_server in [false, true] {
        let (site, served) = site(with_server)?;
        let get = |path: &str| site.ok(&["get", "file", &format!("r@master:{path}")]);
        site.write("lines", "1\n2\n3\n4\n5")?;
        site.write("users.json", "{\"a\": 1}\n{\"a\":\n  [2]} 3")?;
        site.write("sales.csv", "id,note\n1,\"x\ny\"\n\n2,z\n")?;
        site.write("wrong.json", "{\"a\": 1} {\"a\"")?;
        let split = |by: &str, file: &str, rest: &[&str]| {
            let mut args = vec!["put", "file", "r@master:/s", "--split", by, "-f", file];
            args.extend(rest);
            site.ok(&args)
        };
        split("line", "lines", &[])?;
        ensure!(paths(&site, "r@master")? == (0..5).map(number).collect::<Vec<_>>(), "a line is a file");
        ensure!(get(&number(1))? == "2\n" && get(&number(4))? == "5", "as they were");
        split("line", "lines", &["-a", "--target-file-datums", "2"])?;
        ensure!(paths(&site, "r@master")? == (0..8).map(number).collect::<Vec<_>>(), "others follow");
        ensure!(get(&number(5))? == "1\n2\n" && get(&number(7))? == "5", "two lines a file");
        site.ok(&["put", "file", "r@master:/s/readme", "-f", "lines"])?;
        split("json", "users.json", &[])?;
        let three: Vec<String> = (0..3).map(number).chain(["/s/readme".to_owned()]).collect();
        ensure!(paths(&site, "r@master")? == three, "they take the place of those before, and of no others");
        ensure!(get(&number(1))? == "{\"a\":\n  [2]}\n" && get(&number(2))? == "3\n", "values");
        split("csv", "sales.csv", &["--header-records", "1"])?;
        ensure!(get(&number(0))? == "id,note\n1,\"x\ny\"\n" && get(&number(1))? == "id,note\n2,z\n", "with a header");
        // In a started commit, those that wait in it count too.
        let id = site.ok(&["start", "commit", "r@master"])?;
        for _ in 0..2 {
            let to = format!("r@{}:/s", id.trim());
            site.ok(&["put", "file", &to, "--split", "line", "-a", "-f", "lines", "--target-file-bytes", "4"])?;
        }
        site.ok(&["finish", "commit", &format!("r@{}", id.trim())])?;
        let eight: Vec<String> = (0..8).map(number).chain(["/s/readme".to_owned()]).collect();
        ensure!(paths(&site, "r@master")? == eight, "{:?}", paths(&site, "r@master")?);
        commits(&site, 6)?;
        let to = ["put", "file", "r@master:/s", "--split", "json", "-f"];
        site.fails(&[&to[..], &["wrong.json"]].concat(), 2, &["E0846", "json record 2"])?;
        site.fails(&[&to[..], &["-"]].concat(), 2, &["E0845"])?;
        commits(&site, 6)?;
        ended(&site, served)?;
    }
    Ok(())
}

/// Answers every request for a path by what `routes` has for it.
fn elsewhere(routes: &'static [(&str, &str)]) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let mut from = BufReader::new(&stream);
            drop(from.read_line(&mut line));
            let mut rest = String::new();
            while from.read_line(&mut rest).is_ok_and(|count| count > 2) {
                rest.clear();
            }
            let path = line.split(' ').nth(1).unwrap_or_default();
            let answer = routes
                .iter()
                .find(|(there, _)| *there == path)
                .map_or("HTTP/1.1 404 Not Found\r\n\r\n", |(_, answer)| answer);
            let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    Ok(format!("http://{address}"))
}

#[test]
fn a_url_is_put_whole_or_not_at_all() -> Result<()> {
    let url = elsewhere(&[
        ("/dir/a.txt?x=1", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\none\n"),
        ("/moved", "HTTP/1.1 302 Found\r\nlocation: /dir/a.txt?x=1\r\ncontent-length: 0\r\n\r\n"),
        ("/file", "HTTP/1.1 302 Found\r\nlocation: file:///etc/hostname\r\ncontent-length: 0\r\n\r\n"),
        ("/round", "HTTP/1.1 302 Found\r\nlocation: /round\r\ncontent-length: 0\r\n\r\n"),
        ("/cut", "HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\none\n"),
        ("/chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n"),
        ("/broken", "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nbad\n"),
    ])?;
    for with_server in [false, true] {
        let (site, served) = site(with_server)?;
        let at = |path: &str| format!("{url}{path}");
        site.ok(&["put", "file", "r@master:/in/", "-f", &at("/dir/a.txt?x=1")])?;
        site.ok(&["put", "file", "r@master:/named", "-f", &at("/moved")])?;
        site.ok(&["put", "file", "r@master:/both/", "-f", &at("/dir/a.txt?x=1"), "-f", "d/x/empty"])?;
        site.ok(&["put", "file", "r@master:/cut", "--split", "line", "-f", &at("/dir/a.txt?x=1")])?;
        ensure!(site.ok(&["get", "file", "r@master:/in/a.txt"])? == "one\n", "by its name");
        ensure!(site.ok(&["get", "file", "r@master:/named"])? == "one\n", "after a redirect");
        commits(&site, 4)?;
        for (path, code) in [
            ("/nowhere", "E0847"),
            ("/file", "E0847"),
            ("/round", "E0847"),
            ("/broken", "E0847"),
            ("/cut", "E0559"),
            ("/chunks", "E0559"),
        ] {
            for rest in [&[][..], &["-f", "d/a.txt"]] {
                let source = at(path);
                let args = [&["put", "file", "r@master:/bad/", "-f", source.as_str()], rest].concat();
                site.fails(&args, 1, &[code])?;
            }
        }
        site.fails(&["put", "file", "r@master:/x", "-f", "http://127.0.0.1:1/x"], 1, &["E0847", "127.0.0.1:1"])?;
        commits(&site, 4)?;
        ended(&site, served)?;
    }
    Ok(())
}

/// Every file below `directory`.
fn below(directory: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[test]
fn no_answer_says_where_the_store_is() -> Result<()> {
    let (site, served) = site(true)?;
    let served = served.context("a server")?;
    site.ok(&["put", "file", "r@master:/d", "-r", "-f", "d"])?;
    site.write("t.csv", "a\n1\n")?;
    site.ok(&["put", "file", "r@master:/t/t.parquet", "--table", "-f", "t.csv"])?;
    let place = site.path().display().to_string();
    let mut errors = 0;
    let mut check = |line: &str, body: &[u8]| -> Result<()> {
        // A file that proves to be damaged while it is sent is cut off.
        let Ok(answer) = request(&served.address, line, &[], body) else { return Ok(()) };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(!text.contains(&place), "{line} says where the store is: {text}");
        if answer.status >= 400 {
            errors += 1;
        }
        Ok(())
    };
    check("POST /v1/repos", b"{\"name\": \"s\"}")?;
    check("GET /v1/repos/r/branches/master/tables", b"")?;
    let asked = |check: &mut dyn FnMut(&str, &[u8]) -> Result<()>| -> Result<()> {
        for path in [
            "",
            "/branches",
            "/branches/master",
            "/branches/master/tables",
            "/tags",
            "/commits",
            "/commits/master",
            "/files",
            "/files/master/d/x/b.bin",
            "/files/master/d/a.txt",
            "/files/master/nowhere",
            "/files/master/t/t.parquet?format=csv",
            "/marker",
            "/started",
            "/tar/master",
            "/glob?pattern=[",
        ] {
            for repo in ["r", "nowhere"] {
                check(&format!("GET /v1/repos/{repo}{path}"), b"")?;
            }
        }
        check("POST /v1/sql", b"{\"query\": \"select * from r\"}")?;
        check("POST /v1/sql", b"{\"query\": \"select * from nowhere\"}")?;
        check("PUT /v1/repos/r/files/master/a", b"x")?;
        check("POST /v1/repos/r/started", b"{}")?;
        check("PUT /v1/repos/nowhere/files/master/a", b"x")?;
        check("DELETE /v1/repos/nowhere", b"")
    };
    asked(&mut check)?;
    // Damaged in turn: the files, the records, what describes the repo; then they are gone.
    let root = Path::new(&site.store).join("repos/r");
    for part in ["data", "branches", "repo.json"] {
        let mut files = Vec::new();
        let part = root.join(part);
        if part.is_file() {
            files.push(part)
        } else {
            below(&part, &mut files)?
        }
        ensure!(!files.is_empty(), "nothing to damage");
        for file in &files {
            std::fs::write(file, "damaged")?;
        }
        asked(&mut check)?;
        for file in &files {
            std::fs::remove_file(file)?;
            std::fs::create_dir(file)?;
        }
        asked(&mut check)?;
    }
    ensure!(errors > 100, "only {errors} errors were met");
    served.stop()
}
