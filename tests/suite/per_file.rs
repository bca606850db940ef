//! Plugins that are run for each file of another repo: one commit for each of the input, whatever is killed, and every file of the
//! output is what the newest input makes it.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use spout_tests::{Site, guests, kills};

const IDLE: [&str; 4] = ["run", "made.yaml", "--until", "idle"];

/// A place with the input repo `notes`, and a pipeline `made` whose plugin does what the lines of each file say.
fn site(input: &str, settings: &str, rest: &str) -> Result<Site> {
    let mut site = Site::new()?;
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    let from = guests().join("scripted.wasm");
    fs::copy(&from, dir.join("scripted.wasm"))
        .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    site.plugins = dir;
    site.ok(&["create", "repo", "notes"])?;
    describe(&site, input, settings, rest)?;
    Ok(site)
}

fn describe(site: &Site, input: &str, settings: &str, rest: &str) -> Result<()> {
    let transform = format!("transform: {{plugin: scripted, settings: {{{settings}}}}}");
    let text = format!("pipeline: {{name: made}}\ninput: {{pfs: {{repo: notes{input}}}}}\n{transform}\n{rest}\n");
    site.write("made.yaml", text).map(drop)
}

/// Puts files into `notes`, all in one commit.
fn put(site: &Site, files: &[(&str, &str)]) -> Result<()> {
    let dir = site.path().join("put");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    for (path, text) in files {
        site.write(&format!("put{path}"), text)?;
    }
    site.ok(&["put", "file", "notes@master:/", "-r", "-f", "put"]).map(drop)
}

fn delete(site: &Site, path: &str) -> Result<()> {
    site.ok(&["delete", "file", &format!("notes@master:{path}")]).map(drop)
}

/// The files of the output at a commit, but for those of the host.
fn made(site: &Site, at: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for file in site.json(&["glob", "file", &format!("made@{at}:/**")])? {
        let path = file["path"].as_str().context("a path")?.to_owned();
        if !path.starts_with("/.datums/") {
            let text = site.ok(&["get", "file", &format!("made@{at}:{path}")])?;
            files.insert(path, text);
        }
    }
    Ok(files)
}

fn expect(site: &Site, expected: &[(&str, &str)]) -> Result<()> {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let there = made(site, "master")?;
    ensure!(there == expected, "{there:?} instead of {expected:?}");
    site.ok(&["fsck", "--deep"]).map(drop)
}

/// The commits of a repo, oldest first.
fn commits(site: &Site, repo: &str) -> Result<Vec<Value>> {
    let mut commits = site.json(&["list", "commit", &format!("{repo}@master"), "-n", "10000"])?;
    commits.reverse();
    Ok(commits)
}

/// The commits that the output was made from.
fn origins(site: &Site) -> Result<Vec<String>> {
    let mut origins = Vec::new();
    for commit in commits(site, "made")? {
        let from = commit["provenance"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let [origin] = from {
            ensure!(commit["global"] == origin["commit"] && origin["repo"] == "notes", "{commit}");
            origins.push(origin["commit"].as_str().context("an id")?.to_owned());
        }
    }
    Ok(origins)
}

fn id(commit: &Value) -> Result<String> {
    Ok(commit["id"].as_str().context("an id")?.to_owned())
}

#[test]
fn the_output_is_what_each_commit_of_the_input_makes_it() -> Result<()> {
    let site = site(", glob: '/*'", "", "")?;
    put(&site, &[("/a", "put /x 1\nappend /x 2"), ("/b", "put /y 2\ntable /rows.csv"), ("/other/c", "fail")])?;
    site.ok(&IDLE)?;
    let rows = ("/rows.csv", "from\n/b\n");
    expect(&site, &[("/x", "12"), ("/y", "2"), rows])?;
    put(&site, &[("/other/d", "fail")])?;
    site.ok(&IDLE)?;
    ensure!(origins(&site)?.len() == 1, "no file of that commit is chosen");
    // Two commits that wait are two; what was made of the old content goes, and a file can be made of another one from now on.
    put(&site, &[("/a", "put /dir/w 3")])?;
    put(&site, &[("/a", "put /w 4\nput /gone 5\ndelete /gone"), ("/c", "put /x 6")])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/w", "4"), ("/x", "6"), ("/y", "2"), rows])?;
    let before = id(commits(&site, "made")?.iter().rev().nth(1).context("two commits")?)?;
    ensure!(made(&site, &before)?.contains_key("/dir/w"), "each commit has what it made");
    delete(&site, "/b")?;
    site.ok(&IDLE)?;
    expect(&site, &[("/w", "4"), ("/x", "6")])?;
    // Swapped in one commit.
    put(&site, &[("/a", "put /x 7"), ("/c", "put /w 8")])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/x", "7"), ("/w", "8")])?;
    let first = id(commits(&site, "notes")?.first().context("the first commit")?)?;
    site.ok(&["revert", "branch", "notes@master", "--to", &first])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/x", "12"), ("/y", "2"), rows])?;
    let (all, from) = (commits(&site, "notes")?, origins(&site)?);
    let ids: Vec<String> = all.iter().map(id).collect::<Result<_>>()?;
    ensure!(from.len() == 6 && from.iter().all(|id| ids.contains(id)), "{from:?} of {ids:?}");
    Ok(())
}

#[test]
fn a_file_that_did_not_change_is_not_given_to_the_plugin_again() -> Result<()> {
    let site = site("", "copies: 1", "")?;
    put(&site, &[("/a", "a"), ("/b", "b"), ("/c/d", "d")])?;
    site.ok(&IDLE)?;
    describe(&site, "", "copies: 2", "")?;
    put(&site, &[("/a", "aa"), ("/b", "b")])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/a", "aaaa"), ("/b", "b"), ("/c/d", "d")])?;
    site.ok(&["put", "file", "notes@master:/c/d", "-a", "-f", "put/b"])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/a", "aaaa"), ("/b", "b"), ("/c/d", "dbdb")])?;
    ensure!(origins(&site)?.len() == 3);
    site.ok(&["run", "made.yaml", "--reprocess", "--until", "idle"])?;
    expect(&site, &[("/a", "aaaa"), ("/b", "bb"), ("/c/d", "dbdb")])?;
    // Other files are chosen: what is not among them goes at once, what is new comes.
    describe(&site, ", glob: '/*'", "copies: 3", "")?;
    site.ok(&IDLE)?;
    expect(&site, &[("/a", "aaaa"), ("/b", "bb")])?;
    describe(&site, ", glob: /c/", "copies: 3", "")?;
    site.ok(&IDLE)?;
    expect(&site, &[("/c/d", "dbdbdb")])
}

#[test]
fn of_many_inputs_the_one_that_changed_is_written_anew() -> Result<()> {
    let site = site("", "copies: 1", "")?;
    let paths: Vec<(String, String)> = (0..3000).map(|n| (format!("/{}/{n}", n % 7), format!("{n}"))).collect();
    let files: Vec<(&str, &str)> = paths.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    put(&site, &files)?;
    site.ok(&IDLE)?;
    put(&site, &[("/3/10", "new")])?;
    site.ok(&IDLE)?;
    let all = site.json(&["glob", "file", "made@master:/**"])?;
    let shown = site.json(&["glob", "file", "made@master:/.datums/*"])?;
    ensure!(all.len() == 3000 + shown.len() && (200..=256).contains(&shown.len()), "{} {}", all.len(), shown.len());
    let changed = site.json(&["diff", "file", "made@master", "made@master~1"])?;
    ensure!(changed.len() == 2, "the file and what is noted of it: {changed:?}");
    site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn a_file_of_the_output_belongs_to_one_of_the_input() -> Result<()> {
    let site = site("", "", "")?;
    put(&site, &[("/a", "put /x 1")])?;
    site.ok(&IDLE)?;
    let refused = |files: &[(&str, &str)], parts: &[&str]| -> Result<()> {
        put(&site, files)?;
        site.fails(&IDLE, 1, &[&["/x was already made of", "/b", "E0353"], parts].concat())?;
        expect(&site, &[("/x", "1")])?;
        // The way out: the commit that repairs it takes the bad one in.
        put(&site, &[("/a", "put /x 1"), ("/b", "")])?;
        site.ok(&["squash", "commit", "notes@master~1"])?;
        site.ok(&IDLE)?;
        expect(&site, &[("/x", "1")])
    };
    refused(&[("/b", "append /x 2")], &["made of /a"])?;
    refused(&[("/b", "ignore /x 2")], &["made of /a"])?;
    refused(&[("/a", "put /x 3"), ("/b", "put /x 2")], &["made of /a"])?;
    refused(&[("/a", "put /x 3"), ("/b", "ignore /x 2")], &["made of /a"])?;
    site.ok(&["delete", "file", "made@master:/x"])?;
    site.ok(&["put", "file", "made@master:/x", "-f", "put/b"])?;
    put(&site, &[("/b", "put /x 2")])?;
    site.fails(&IDLE, 1, &["E0353", "made of"])?;
    Ok(())
}

#[test]
fn what_the_plugin_fails_at_stops_the_pipeline_or_is_set_aside() -> Result<()> {
    let cases = [
        ("fail", "scripted.fail"),
        ("crash", "as /bad says"),
        ("leak /x", "E0337"),
        ("burn", "no response"),
        ("put /.datums/x 1", "E0339"),
        ("put /dead-letter/x 1", "E0339"),
        ("put ../x 1", "E0516"),
        ("delete /good", "E0354"),
        ("table /rows.txt", "E0339"),
    ];
    for (line, said) in cases {
        let site = site("", "", "limits: {call: 300ms}")?;
        put(&site, &[("/good", "put /g 1"), ("/bad", &format!("put /b 1\n{line}")), ("/zood", "put /z 1")])?;
        site.fails(&IDLE, 1, &["/bad", "notes", said]).with_context(|| line.to_owned())?;
        ensure!(commits(&site, "made").map_or(0, |all| all.len()) == 0, "{line}: nothing is committed");
        describe(&site, "", "", "limits: {call: 300ms}\nerrors: {file: dead-letter}")?;
        let strict = ["run", "made.yaml", "--until", "idle", "--fail-on-dead-letters"];
        site.fails(&strict, 1, &["set aside 1 dead letter, and --fail-on-dead-letters allows 0"])?;
        let there = made(&site, "master")?;
        let paths: Vec<&str> = there.keys().map(String::as_str).collect();
        ensure!(paths == ["/dead-letter/bad.json", "/g", "/z"], "{line}: {paths:?}");
        let letter: Value = serde_json::from_str(&there["/dead-letter/bad.json"])?;
        ensure!(
            letter["path"] == "/bad"
                && letter["reason"].as_str().is_some_and(|why| why.contains(said) || letter["code"] == said),
            "{line}: {letter}"
        );
        put(&site, &[("/bad", "put /b 2")])?;
        site.ok(&IDLE)?;
        expect(&site, &[("/b", "2"), ("/g", "1"), ("/z", "1")])?;
    }
    Ok(())
}

#[test]
fn a_file_may_be_larger_than_the_memory_of_the_plugin() -> Result<()> {
    let site = site("", "copies: 2", "limits: {memory: 8MiB}")?;
    let line = "0123456789abcdef".repeat(64);
    put(&site, &[("/large", &line.repeat(24 << 10))])?;
    site.ok(&IDLE)?;
    let file = site.json(&["inspect", "file", "made@master:/large"])?;
    ensure!(file[0]["size"].as_u64() == Some(48 << 20), "{file:?}");
    site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn commits_are_taken_as_one_by_a_trigger_and_end_with_the_input() -> Result<()> {
    let site = site(", trigger: {commits: 2}", "", "")?;
    for n in 0..3 {
        put(&site, &[("/a", &format!("put /x {n}"))])?;
    }
    site.ok(&IDLE)?;
    expect(&site, &[("/x", "1")])?;
    delete(&site, "/a")?;
    site.ok(&IDLE)?;
    expect(&site, &[])?;
    let taken: Vec<_> = commits(&site, "made")?.iter().map(|made| made["provenance"][0]["commits"].as_u64()).collect();
    ensure!(taken == [Some(2), Some(2)], "{taken:?}");
    Ok(())
}

#[test]
fn whoever_starts_late_leaves_older_files_alone() -> Result<()> {
    let site = site(", start: latest", "", "")?;
    put(&site, &[("/a", "put /x 1")])?;
    site.ok(&IDLE)?;
    put(&site, &[("/b", "put /y 2")])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/y", "2")])?;
    put(&site, &[("/a", "put /x 3")])?;
    site.ok(&IDLE)?;
    expect(&site, &[("/x", "3"), ("/y", "2")])
}

#[test]
fn specs_and_plugins_are_checked() -> Result<()> {
    let site = site("", "", "guarantee: exactly-once")?;
    let said = site.ok(&["check", "made.yaml", "-v"])?;
    for part in ["files of notes@master", "each given to scripted", "one for each commit of the input", "replayable"] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    let said = site.ok(&["plugin", "inspect", "scripted"])?;
    ensure!(said.contains("transformer") && said.contains("copies"), "{said}");
    site.ok(&["plugin", "check", "scripted"])?;
    for (rest, parts) in [
        ("node: [{type: filter, where: 'true'}]", &["made.yaml:4", "has no rows"][..]),
        ("spout: {onExit: restart}", &["made.yaml:4", "onExit"]),
        ("commit: {flush: {rows: 1}}", &["made.yaml:4", "flush"]),
        ("producer: {stdin: {}, decoder: {type: raw}}", &["made.yaml:4", "either a `transform`"]),
    ] {
        describe(&site, "", "", rest)?;
        site.fails(&["check", "made.yaml"], 2, parts)?;
    }
    describe(&site, ", glob: '/[a'", "", "")?;
    site.fails(&["check", "made.yaml"], 2, &["made.yaml:2", "/[a"])?;
    describe(&site, ", trigger: {rows: 3}", "", "")?;
    site.fails(&["check", "made.yaml"], 2, &["made.yaml:2", "rows"])?;
    let native = "pipeline: {name: made}\ninput: {pfs: {repo: notes}}\ntransform: {cmd: [cat], trusted: true}\n";
    site.write("made.yaml", native)?;
    site.fails(&["check", "made.yaml"], 2, &["made.yaml:3", "only a plugin is run for each file"])?;
    site.write("made.yaml", "pipeline: {name: made}\ninput: {pfs: {repo: notes}}\n")?;
    site.fails(&["check", "made.yaml"], 2, &["made.yaml:2", "transform: {plugin: NAME}"])?;
    // Pachyderm's own.
    let theirs = r#"{"pipeline":{"name":"made"},"input":{"pfs":{"repo":"notes","glob":"/*"}},
        "transform":{"image":"me/scripted:1","cmd":["/binary"]}}"#;
    site.write("made.json", theirs)?;
    put(&site, &[("/a", "put /x 1")])?;
    site.ok(&["run", "made.json", "--until", "idle"])?;
    expect(&site, &[("/x", "1")])
}

#[test]
fn killed_anywhere_each_commit_is_made_once() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut site = site(", every: 20ms", "", "")?;
    let kills = kills();
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    let mut expected: Vec<BTreeMap<String, String>> = Vec::new();
    for kill in 0..kills {
        for change in 0..2 {
            let name = dice.random_range(0..8);
            if dice.random_bool(0.25) && model.remove(&format!("/out/{name}")).is_some() {
                delete(&site, &format!("/{name}"))?;
            } else {
                let text = format!("{kill}.{change}");
                put(&site, &[(&format!("/{name}"), &format!("put /out/{name} {text}"))])?;
                model.insert(format!("/out/{name}"), text);
            }
            expected.push(model.clone());
        }
        if kill % 2 == 0 {
            let point = ["before", "after"][dice.random_range(0..2)];
            site.environment = vec![("SPOUT_FAULT", format!("repo.record.{point}=kill@{}", dice.random_range(1..4)))];
            drop(site.run(&IDLE)?);
            site.environment.clear();
        } else {
            let run = site.start(&["run", "made.yaml"])?;
            std::thread::sleep(Duration::from_millis(dice.random_range(0..150)));
            run.signal("KILL")?;
            drop(run.end()?);
        }
    }
    site.ok(&IDLE)?;
    let of_notes: Vec<String> = commits(&site, "notes")?.iter().map(id).collect::<Result<_>>()?;
    ensure!(origins(&site)? == of_notes, "{:?} of {of_notes:?}", origins(&site)?);
    let mut of_made = commits(&site, "made")?;
    of_made.retain(|commit| commit["provenance"].as_array().is_some_and(|from| !from.is_empty()));
    for (commit, expected) in of_made.iter().zip(&expected) {
        let there = made(&site, &id(commit)?)?;
        ensure!(there == *expected, "{commit}: {there:?} instead of {expected:?}");
    }
    site.ok(&["fsck", "--deep"]).map(drop)
}
