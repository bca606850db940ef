//! A tree as a user types it: files put, copied, moved, deleted, listed, compared and got, alone and by several at once.

use std::{fs, io::Write as _, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;

/// A site with an empty repo `r`.
fn site() -> Result<Site> {
    let site = Site::new()?;
    site.ok(&["create", "repo", "r", "--description", "files"])?;
    Ok(site)
}

/// `spout ARGS` with `input` on standard input.
fn fed(site: &Site, args: &[&str], input: &[u8]) -> Result<String> {
    let mut child = site.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("standard input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "spout {args:?} failed with {}\n{out}\n{err}", output.status);
    Ok(out.into_owned())
}

/// Paths of all files of a commit.
fn paths(site: &Site, reference: &str) -> Result<Vec<String>> {
    let files = site.json(&["list", "file", "-r", reference])?;
    let path = |file: &Value| Some(file.get("path")?.as_str()?.to_owned());
    files.iter().map(|file| path(file).context("a path")).collect()
}

fn commits(site: &Site, reference: &str) -> Result<usize> {
    Ok(site.json(&["list", "commit", reference])?.len())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn a_tree_lives_as_it_is_typed() -> Result<()> {
    let site = site()?;
    let get = |reference: &str| site.ok(&["get", "file", reference]);
    site.write("a.txt", "one\n")?;
    site.write("b.txt", "two\n")?;
    site.write("d/x/c.txt", "three\n")?;
    site.write("d/e.txt", "four\n")?;

    let said = site.ok(&["put", "file", "r@master:/a.txt", "-f", "a.txt"])?;
    ensure!(said.contains("r@master: 1 file put, 4 B, in commit"), "{said}");
    site.ok(&["put", "file", "r@master:/in/", "-f", "a.txt", "-f", "b.txt"])?;
    site.ok(&["put", "file", "r@master:/d", "-r", "-f", "d"])?;
    ensure!(commits(&site, "r")? == 3, "several files are one commit");
    ensure!(paths(&site, "r@master")? == ["/a.txt", "/d/e.txt", "/d/x/c.txt", "/in/a.txt", "/in/b.txt"], "puts");

    site.ok(&["put", "file", "r@master:/a.txt", "-a", "-f", "b.txt"])?;
    ensure!(get("r@master:/a.txt")? == "one\ntwo\n" && get("r@master~1:/a.txt")? == "one\n", "append");
    site.ok(&["put", "file", "r@master:/a.txt", "-f", "b.txt"])?;
    ensure!(get("r@master:/a.txt")? == "two\n", "overwrite is what happens without -a");
    fed(&site, &["put", "file", "r@master:/stdin", "-f", "-"], b"typed")?;
    fed(&site, &["put", "file", "r@master:/stdin", "-a"], b" in")?;
    ensure!(get("r@master:/stdin")? == "typed in", "standard input");

    site.ok(&["copy", "file", "r@master:/d", "r@master:/copy"])?;
    site.ok(&["copy", "file", "r@master~5:/a.txt", "r@master:/in/"])?;
    ensure!(get("r@master:/copy/x/c.txt")? == "three\n" && get("r@master:/in/a.txt")? == "one\n", "copies");
    site.ok(&["move", "file", "r@master:/copy", "/moved/"])?;
    site.ok(&["move", "file", "r@master:/moved/copy", "/moved/copy/x"])?;
    ensure!(get("r@master:/moved/copy/x/x/c.txt")? == "three\n", "a directory moves into itself");
    let gone = site.ok(&["delete", "file", "r@master:/moved", "r@master:/stdin", "-r"])?;
    ensure!(gone.contains("3 files deleted"), "{gone}");
    ensure!(paths(&site, "r@master")? == ["/a.txt", "/d/e.txt", "/d/x/c.txt", "/in/a.txt", "/in/b.txt"], "deletes");
    ensure!(get("r@master~1:/stdin")? == "typed in", "an earlier commit keeps what is deleted");

    let globbed = site.json(&["glob", "file", "r@master:/**/{a,c}.txt"])?;
    let globbed: Vec<&str> = globbed.iter().map(|file| text(file, "/path")).collect();
    ensure!(globbed == ["/a.txt", "/d/x/c.txt", "/in/a.txt"], "{globbed:?}");
    ensure!(site.ok(&["glob", "file", "r:/*.txt"])?.lines().count() == 3, "a star stays in its directory");

    let said = site.ok(&["get", "file", "r@master", "-r", "-o", "out/all"])?;
    ensure!(said.contains("5 files") && fs::read(site.path().join("out/all/d/x/c.txt"))? == b"three\n", "{said}");
    site.ok(&["get", "file", "r@master:/d/x", "-r", "-o", "out/x"])?;
    ensure!(fs::read(site.path().join("out/x/c.txt"))? == b"three\n", "a directory");
    let file = site.json(&["inspect", "file", "r@master:/a.txt"])?.remove(0);
    ensure!(file.get("size") == Some(&4.into()) && text(&file, "/sha256").len() == 64, "{file}");
    ensure!(text(&file, "/pieces/0/where").starts_with("record "), "{file}");
    let directory = site.json(&["inspect", "file", "r@master:/d"])?.remove(0);
    ensure!(directory.get("files") == Some(&2.into()) && text(&directory, "/type") == "dir", "{directory}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn what_differs_is_shown() -> Result<()> {
    let site = site()?;
    let changes = |args: &[&str]| -> Result<Vec<String>> {
        let found = site.json(&[&["diff", "file"], args].concat())?;
        Ok(found.iter().map(|one| format!("{} {}", text(one, "/change"), text(one, "/path"))).collect())
    };
    site.write("a", "1")?;
    site.write("t.csv", "id,name\n1,a\n2,b\n")?;
    site.write("u.csv", "id,name\n2,b\n3,c\n")?;
    site.ok(&["put", "file", "r@master:/x/", "-f", "a"])?;
    ensure!(changes(&["r@master"])? == ["added /x/a"], "the first commit differs from nothing");
    site.ok(&["put", "file", "r@master:/t/t.parquet", "--table", "-f", "t.csv"])?;
    site.ok(&["put", "file", "r@master:/x/a", "-a", "-f", "a"])?;
    ensure!(changes(&["r@master"])? == ["grown /x/a"], "grown");
    site.ok(&["put", "file", "r@master:/t/t.parquet", "--table", "-f", "u.csv"])?;
    site.ok(&["delete", "file", "r@master:/x/a"])?;
    ensure!(changes(&["r@master", "r@master~4"])? == ["added /t/t.parquet", "removed /x/a"], "two references");
    ensure!(changes(&["r@master~4", "r@master"])? == ["removed /t/t.parquet", "added /x/a"], "new comes first");
    ensure!(changes(&["r@master:/t", "r@master~3"])? == ["changed /t/t.parquet"], "below a path");
    ensure!(changes(&["r@master", "r@master"])?.is_empty(), "no difference");
    ensure!(site.ok(&["diff", "file", "r@master", "--name-only"])? == "/x/a\n", "names");
    let rows = site.json(&["diff", "file", "r@master:/t", "r@master~3", "--rows"])?;
    let rows: Vec<String> = rows.iter().map(|row| format!("{}{}", text(row, "/_change"), text(row, "/name"))).collect();
    ensure!(
        rows.contains(&"insertc".to_owned()) && rows.contains(&"deletea".to_owned()) && rows.len() == 2,
        "{rows:?}"
    );
    site.fails(&["diff", "file", "r@master:/t", "r@master~1:/x"], 2, &["error[E0801]"]).map(drop)
}

#[test]
fn tables_come_in_as_rows() -> Result<()> {
    let site = site()?;
    site.write("a.csv", "id,name\n1,x\n2,\n")?;
    site.write("b.ndjson", "{\"id\":3,\"name\":\"z\"}\n")?;
    site.write("c.txt", "id,name\n4,w\n")?;
    site.ok(&["put", "file", "r@master:/t/", "--table", "-f", "a.csv"])?;
    ensure!(paths(&site, "r@master")? == ["/t/a.parquet"], "a table that is named after its file is Parquet");
    site.ok(&["put", "file", "r@master:/t/a.parquet", "-a", "--table", "-f", "b.ndjson"])?;
    site.ok(&["put", "file", "r@master:/t/a.parquet", "-a", "--table=csv", "-f", "c.txt"])?;
    ensure!(site.number("select sum(id) from r", None)? == 10, "rows");
    let file = site.json(&["inspect", "file", "r:/t/a.parquet"])?.remove(0);
    ensure!(file.get("rows") == Some(&4.into()) && text(&file, "/columns/1/type") == "Utf8", "{file}");
    ensure!(file.pointer("/pieces").and_then(Value::as_array).is_some_and(|pieces| pieces.len() == 3), "{file}");

    site.ok(&["get", "file", "r:/t/a.parquet", "-o", "a.parquet"])?;
    site.ok(&["put", "file", "r@master:/u.csv", "--table", "-f", "a.parquet"])?;
    ensure!(site.ok(&["get", "file", "r:/u.csv"])? == "id,name\n1,x\n2,\n3,z\n4,w\n", "stored as the path says");
    fed(&site, &["put", "file", "r@master:/v.parquet", "--table=ndjson"], b"{\"k\":{\"deep\":[1,2]}}\n")?;
    ensure!(site.number("select count(*) from \"r@master:/v.parquet\"", None)? == 1, "nested");

    // A column that is text stays text, whatever the next file looks like.
    site.write("d.csv", "code\n0x\n")?;
    site.write("e.csv", "code\n007\n")?;
    site.ok(&["put", "file", "r@master:/c.parquet", "--table", "-f", "d.csv"])?;
    site.ok(&["put", "file", "r@master:/c.parquet", "-a", "--table", "-f", "e.csv"])?;
    ensure!(site.ok(&["get", "file", "r:/c.parquet", "--format", "csv"])? == "code\n0x\n007\n", "text stays text");

    let before = commits(&site, "r")?;
    site.write("bad.csv", "id,name\n1\n")?;
    site.write("empty.ndjson", "")?;
    site.fails(&["put", "file", "r:/x", "--table", "-f", "bad.csv"], 2, &["error[E0829]", "bad.csv"])?;
    site.fails(&["put", "file", "r:/x", "--table", "-f", "empty.ndjson"], 2, &["error[E0829]", "empty"])?;
    site.fails(&["put", "file", "r:/x", "--table", "-f", "c.txt"], 2, &["error[E0829]", "--table=csv"])?;
    site.fails(&["put", "file", "r:/x", "--table=parquet", "-f", "a.csv"], 2, &["error[E0829]", "a.csv"])?;
    site.fails(&["put", "file", "r:/t/a.parquet", "-a", "-f", "a.csv"], 2, &["error[E0539]"])?;
    ensure!(commits(&site, "r")? == before, "a put that fails is no commit");
    Ok(())
}

#[test]
fn large_files_are_streamed_and_copied_between_repos() -> Result<()> {
    let site = site()?;
    site.ok(&["create", "repo", "other"])?;
    let large: Vec<u8> = (0..20u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    site.write("large", &large)?;
    site.write("t.csv", "id\n1\n2\n")?;
    site.ok(&["put", "file", "r@master:/large", "-f", "large"])?;
    site.ok(&["put", "file", "r@master:/t.parquet", "--table", "-f", "t.csv"])?;
    site.ok(&["put", "file", "r@master:/t.parquet", "-a", "--table", "-f", "t.csv"])?;
    let file = site.json(&["inspect", "file", "r:/large"])?.remove(0);
    ensure!(text(&file, "/pieces/0/where").starts_with("data/"), "{file}");
    let size = |site: &Site| -> Result<u64> {
        let sizes = fs::read_dir(site.path().join("store/repos/r/data"))?;
        sizes.map(|entry| Ok(entry?.metadata()?.len())).sum()
    };
    let before = size(&site)?;
    site.ok(&["copy", "file", "r@master:/large", "r@master:/again"])?;
    ensure!(size(&site)? == before, "a copy in a repo moves no bytes");

    site.ok(&["copy", "file", "r@master:/", "other@dev:/all"])?;
    ensure!(paths(&site, "other@dev")? == ["/all/again", "/all/large", "/all/t.parquet"], "copies");
    site.ok(&["get", "file", "other@dev:/all/large", "-o", "back"])?;
    ensure!(fs::read(site.path().join("back"))? == large, "other bytes came back");
    ensure!(site.number("select sum(id) from other", Some("other@dev"))? == 6, "a table stays a table");
    let commit = site.json(&["inspect", "commit", "other@dev"])?.remove(0);
    let head = site.json(&["inspect", "commit", "r@master"])?.remove(0);
    ensure!(text(&commit, "/provenance/0/commit") == text(&head, "/id"), "{commit}");
    ensure!(text(&commit, "/global") == text(&head, "/global"), "{commit}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn a_started_commit_is_filled_by_several_commands() -> Result<()> {
    let site = site()?;
    site.write("a", "1")?;
    site.write("b", "2")?;
    site.ok(&["put", "file", "r@master:/old/", "-f", "a", "-f", "b"])?;
    let id = site.ok(&["start", "commit", "r@master"])?.trim().to_owned();
    ensure!(id.len() == 32, "{id}");
    let into = |path: &str| format!("r@{}:{path}", &id[..12]);
    site.ok(&["put", "file", &into("/x/a"), "-f", "a"])?;
    site.ok(&["put", "file", &into("/x/a"), "-a", "-f", "b"])?;
    site.ok(&["put", "file", &into("/y/"), "-f", "a", "-f", "b"])?;
    site.ok(&["copy", "file", "r@master:/old/a", &into("/z")])?;
    site.ok(&["delete", "file", &into("/old/a"), &into("/y"), "-r"])?;
    site.fails(&["delete", "file", &into("/nope")], 2, &["error[E0517]"])?;
    ensure!(commits(&site, "r")? == 1 && paths(&site, "r")? == ["/old/a", "/old/b"], "nothing is visible before");
    let listed = site.json(&["list", "commit", "r", "--started"])?;
    ensure!(listed.len() == 1 && text(&listed[0], "/commit") == id, "{listed:?}");
    let shown = site.json(&["inspect", "commit", &format!("r@{id}")])?.remove(0);
    ensure!(shown.get("put").and_then(Value::as_array).is_some_and(|put| put.len() == 3), "{shown}");

    // Others commit meanwhile.
    site.ok(&["put", "file", "r@master:/meanwhile", "-f", "a"])?;
    site.ok(&["finish", "commit", &format!("r@{}", &id[..8])])?;
    ensure!(paths(&site, "r")? == ["/meanwhile", "/old/b", "/x/a", "/z"], "what was put and deleted is there");
    ensure!(site.ok(&["get", "file", &into("/x/a")])? == "12", "it has the id that it was started with");
    site.fails(&["put", "file", &into("/late"), "-f", "a"], 2, &["error[E0825]", "is finished"])?;
    site.fails(&["finish", "commit", &format!("r@{id}")], 2, &["error[E0549]"])?;

    let id = site.ok(&["start", "commit", "r@master"])?.trim().to_owned();
    site.ok(&["put", "file", &format!("r@{id}:/dropped"), "-f", "a"])?;
    site.ok(&["drop", "commit", &format!("r@{id}")])?;
    ensure!(site.json(&["list", "commit", "r", "--started"])?.is_empty(), "a dropped commit is forgotten");
    site.fails(&["put", "file", &format!("r@{id}:/x"), "-f", "a"], 2, &["error[E0549]"])?;
    site.fails(&["finish", "commit", &format!("r@{id}")], 2, &["error[E0549]"]).map(drop)
}

#[test]
fn names_of_every_kind_are_judged() -> Result<()> {
    let site = site()?;
    site.write("a", "1")?;
    let refused = |path: &str, code: &str| -> Result<()> {
        site.fails(&["put", "file", &format!("r@master:{path}"), "-f", "a"], 2, &[&format!("error[{code}]")]).map(drop)
    };
    let long = "x".repeat(256);
    let deep = "x/".repeat(600);
    for path in
        ["/../x", "/a/../b", "/./x", "//x", "/a//b", "C:/x", "/a\\b", "/a\nb", "/nul", "/COM1.txt", "/a.", "/a /b"]
    {
        refused(path, "E0516")?;
    }
    for path in ["/.spout/x", "/t/_delta_log/x", &format!("/{long}"), &format!("/{deep}x"), "/\u{7f}"] {
        refused(path, "E0516")?;
    }
    ensure!(site.json(&["list", "branch", "r"])?.is_empty(), "a refused name makes no branch");
    site.ok(&["put", "file", "r@master:/Dir/é.txt", "-f", "a"])?;
    refused("/dir/É.txt", "E0519")?;
    refused("/Dir/e\u{301}.txt", "E0519")?;
    refused("/Dir", "E0518")?;
    refused("/Dir/é.txt/x", "E0518")?;
    site.ok(&["move", "file", "r@master:/Dir/é.txt", "/dir/É.txt"])?;
    ensure!(paths(&site, "r")? == ["/dir/É.txt"], "a move may change the case alone");
    site.ok(&["put", "file", "r@master:/etc/passwd", "-f", "a"])?;
    site.ok(&["put", "file", "r@master:relative", "-f", "a"])?;
    ensure!(paths(&site, "r")? == ["/dir/É.txt", "/etc/passwd", "/relative"], "a leading slash is the repo's root");

    for name in ["", ".", "..", "a/b", "a b", "-a", "con", &"x".repeat(101)] {
        site.fails(&["create", "repo", "--", name], 2, &["error[E0515]"])?;
    }
    for name in ["r@a/b", "r@..", &format!("r@{}", "0f".repeat(16))] {
        site.fails(&["create", "branch", name], 2, &["error[E0515]"])?;
        site.fails(&["create", "tag", name], 2, &["error[E0515]"])?;
    }
    site.fails(&["create", "repo", "r"], 2, &["error[E0826]"])?;
    site.fails(&["put", "file", "rr@master:/a", "-f", "a"], 2, &["error[E0510]", "did you mean `r`"]).map(drop)
}

#[test]
fn wrong_usage_says_what_would_be_right() -> Result<()> {
    let site = site()?;
    site.write("a", "1")?;
    site.write("d/a", "1")?;
    let put = |args: &[&str], parts: &[&str]| site.fails(&[&["put", "file"], args].concat(), 2, parts).map(drop);
    put(&["r@master:/", "-f", "d"], &["error[E0827]", "add -r"])?;
    put(&["r@master", "-f", "-"], &["error[E0801]", ":/path"])?;
    put(&["r@master:/x", "-f", "a", "-f", "d/a"], &["error[E0801]", "would both be /x/a"])?;
    put(&["r@master~1:/x", "-f", "a"], &["error[E0825]"])?;
    put(&["r@master:/x", "-a", "-o", "-f", "a"], &["cannot be used with"])?;
    site.fails(&["put", "file", "r@master:/x", "-f", "nowhere"], 1, &["error[E0804]", "nowhere"])?;
    site.ok(&["put", "file", "r@master:/x/a", "-f", "a"])?;
    site.ok(&["create", "tag", "r@v1"])?;
    put(&["r@v1:/x", "-f", "a"], &["error[E0545]"])?;
    site.fails(&["delete", "file", "r@master:/x"], 2, &["error[E0801]", "add -r"])?;
    site.fails(&["delete", "file", "r@master:/xa"], 2, &["error[E0517]", "did you mean"])?;
    site.fails(&["delete", "file", "r@master"], 2, &["error[E0801]", ":/path"])?;
    site.fails(&["delete", "file", "r@master:/x/a", "r@dev:/x/a"], 2, &["error[E0801]", "on different branches"])?;
    site.fails(&["delete", "file", "r@nope:/x"], 2, &["error[E0511]"])?;
    site.fails(&["get", "file", "r@master:/x", "-r"], 2, &["--output"])?;
    site.fails(&["get", "file", "r@master:/x"], 2, &["error[E0801]", "-r -o"])?;
    site.fails(&["glob", "file", "r@master:/[a"], 2, &["error[E0524]"])?;
    site.fails(&["move", "file", "r@master:/x/a", "/x/a"], 2, &["error[E0801]"])?;
    site.fails(
        &["move", "file", "r@master:/x/a", "r@master:/y"],
        2,
        &["error[E0801]", "is a reference", "as in `/y`"],
    )?;
    site.fails(&["copy", "file", "r@master", "r@master:/y"], 2, &["error[E0801]"])?;
    let id = site.ok(&["start", "commit", "r"])?.trim().to_owned();
    site.fails(&["move", "file", &format!("r@{id}:/x/a"), "/y"], 2, &["error[E0825]"])?;
    site.fails(&["start", "commit", "r@v1"], 2, &["error[E0825]"])?;
    site.fails(&["put", "file", "r@master:/a", "-f", "a", "--store", "nowhere"], 2, &["error[E0502]"])?;
    ensure!(!site.path().join("nowhere").exists(), "a put makes no store");
    Ok(())
}

#[test]
fn two_commands_at_once_both_land() -> Result<()> {
    let site = site()?;
    site.write("a", "x")?;
    let start = |number: usize| {
        let reference = format!("r@master:/{number}");
        site.command(&["put", "file", &reference, "-f", "a"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    let children = (0..6).map(start).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    ensure!(paths(&site, "r")?.len() == 6 && commits(&site, "r")? == 6, "one of them is lost");
    let appending =
        (0..4).map(|_| site.command(&["put", "file", "r:/0", "-a", "-f", "a"]).stdout(Stdio::null()).spawn());
    for child in appending.collect::<Result<Vec<_>, _>>()? {
        ensure!(child.wait_with_output()?.status.success(), "an append failed");
    }
    ensure!(site.ok(&["get", "file", "r:/0"])? == "xxxxx", "an append is lost");
    Ok(())
}
