//! What people do at a terminal before, beside and after a run: they try a spec out, look at rows on their way, ask what is wrong.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_tests::{
    Site,
    served::Served,
    troubled::{Troubled, stop},
};

/// A pipeline `p` over the files in `in`, of which one line is broken.
const SPEC: &str = "pipeline: {name: p}
producer:
  stream: {plugin: files, topic: in, settings: {pattern: '*.ndjson'}}
  decoder: {type: json, schema: {id: int64, kind: utf8}}
node:
  - {id: pushes, type: filter, where: \"kind = 'push'\"}
  - {id: twice, type: map, columns: {twice: 'id * 2'}, drop: [kind]}
  - {id: last, type: sort, by: [{column: id, order: desc}], per: commit}
commit: {path: /p/}
consumers: [{type: file, path: out.ndjson}]
grants: {files: {dirs: {in: ./in}}}
";

const LINES: &str =
    "{\"id\": 1, \"kind\": \"push\"}\n{\"id\": 2, \"kind\": \"star\"}\nbroken\n{\"id\": 4, \"kind\": \"push\"}\n";

fn files() -> Result<Site> {
    let site = Site::new()?;
    site.write("in/a.ndjson", LINES)?;
    site.write("spec.yaml", SPEC)?;
    Ok(site)
}

/// Every file below a directory, with its bytes.
fn all_files(below: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(all_files(&path)?);
        } else {
            all.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(all)
}

/// What a dry run says of the rows after a handler.
fn rows<'a>(tried: &'a Value, after: &str) -> Result<&'a Value> {
    let steps = tried["steps"].as_array().context("steps")?;
    let step = steps.iter().find(|step| step["after"] == after);
    Ok(&step.with_context(|| format!("no step {after}: {tried}"))?["rows"])
}

#[test]
fn a_dry_run_shows_every_step_and_leaves_nothing_behind() -> Result<()> {
    let site = files()?;
    let tried = site.json(&["dry-run", "spec.yaml"])?.remove(0);
    ensure!(
        (&tried["messages"], &tried["after"], &tried["end"]) == (&json!(4), &Value::Null, &json!("idle")),
        "{tried}"
    );
    ensure!(rows(&tried, "decode")? == &json!([[1, "push"], [2, "star"], [4, "push"]]), "{tried}");
    ensure!(rows(&tried, "pushes")? == &json!([[1, "push"], [4, "push"]]), "{tried}");
    ensure!(rows(&tried, "twice")? == &json!([[1, 2], [4, 8]]), "{tried}");
    // What is held until a commit is cut.
    ensure!(rows(&tried, "last")? == &json!([[4, 8], [1, 2]]), "{tried}");
    ensure!(tried["steps"][2]["columns"][1] == json!({"name": "twice", "type": "int64"}), "{tried}");
    ensure!(tried["steps"][1]["filtered"] == 1, "{tried}");
    let letter = &tried["dead_letters"][0];
    ensure!(
        (&letter["stage"], &letter["value"], &letter["then"])
            == (&json!("decode"), &json!("broken"), &json!("dead-letter")),
        "{tried}"
    );
    ensure!(!Path::new(&site.store).exists() && !site.path().join("out.ndjson").exists(), "it left something");
    let text = site.ok(&["dry-run", "spec.yaml", "--rows", "2"])?;
    for part in ["p: ", "nothing was committed", "pushes: ", "id: int64, kind: utf8"] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[test]
fn a_dry_run_goes_on_where_the_next_run_would_and_moves_nothing() -> Result<()> {
    let site = files()?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let before = all_files(Path::new(&site.store))?;
    site.write("in/a.ndjson", format!("{LINES}{{\"id\": 5, \"kind\": \"push\"}}\n"))?;
    let consumed = fs::read(site.path().join("out.ndjson"))?;
    for _ in 0..2 {
        let tried = site.json(&["dry-run", "spec.yaml"])?.remove(0);
        ensure!(tried["after"].is_string() && rows(&tried, "decode")? == &json!([[5, "push"]]), "{tried}");
    }
    let anew = site.json(&["dry-run", "spec.yaml", "--anew", "--rows", "1"])?.remove(0);
    ensure!(anew["after"] == Value::Null && rows(&anew, "decode")?[0] == json!([1, "push"]), "{anew}");
    ensure!(all_files(Path::new(&site.store))? == before, "the store is not as it was");
    ensure!(fs::read(site.path().join("out.ndjson"))? == consumed, "a consumer got something");
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from p", None)? == 3, "what was tried out is read all the same");
    Ok(())
}

#[test]
fn a_dry_run_does_not_wait_for_ever_and_says_what_is_in_the_way() -> Result<()> {
    let place = Troubled::new("", "")?;
    place.script("partition 0 0 5\ndown 0\n")?;
    let tried = place.site.json(&["dry-run", "e.yaml", "--for", "300ms"])?.remove(0);
    ensure!((&tried["messages"], &tried["end"]) == (&json!(0), &json!("time")), "{tried}");
    ensure!(tried["notes"].to_string().contains("is down"), "{tried}");
    place.script("partition 0 0 5\nended 0\n")?;
    let tried = place.site.json(&["dry-run", "e.yaml"])?.remove(0);
    ensure!((&tried["messages"], &tried["end"]) == (&json!(5), &json!("ended")), "{tried}");
    ensure!(place.told().is_empty(), "the source was told of a commit: {:?}", place.told());
    Ok(())
}

#[test]
fn a_dry_run_that_others_would_notice_has_to_be_wanted() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", "pipeline: {name: p}\nproducer: {tcp: {listen: '127.0.0.1:0'}, decoder: {type: json}}\n")?;
    site.fails(&["dry-run", "spec.yaml"], 2, &["error[E0924]", "get no reply", "--side-effects", "spout test"])?;
    let tried = site.json(&["dry-run", "spec.yaml", "--side-effects", "--for", "50ms"])?.remove(0);
    ensure!(tried["end"] == "time" && tried["notes"].to_string().contains("no reply"), "{tried}");
    Ok(())
}

/// A running pipeline whose source never ends.
fn running() -> Result<Troubled> {
    let rest = "node: [{id: even, type: filter, where: 'n % 2 = 0'}, {id: far, type: map, columns: {m: 'n + 1000'}}]
commit: {flush: {rows: 1000, time: 50ms}}";
    let mut place = Troubled::new("", rest)?;
    let dir = place.site.path().join("run").display().to_string();
    place.site.environment.push(("SPOUT_RUNTIME", dir));
    place.script("partition 0 0 1000000\nslow 0\n")?;
    Ok(place)
}

#[test]
fn rows_of_a_running_pipeline_are_seen_after_any_handler() -> Result<()> {
    let place = running()?;
    let run = place.start()?;
    place.reach(|about| about["condition"] == "catching-up" || about["condition"] == "running")?;
    let tapped = |what: &str, args: &[&str]| -> Result<Vec<Value>> {
        place.site.json(&[&["tap", what, "--rows", "6"], args].concat())
    };
    let numbers = |all: &[Value], column: &str| -> Result<Vec<i64>> {
        let at = all[0]["columns"].as_array().and_then(|names| names.iter().position(|name| name == column));
        let at = at.with_context(|| format!("no column {column}: {all:?}"))?;
        let rows = all.iter().flat_map(|sample| sample["rows"].as_array().into_iter().flatten());
        Ok(rows.filter_map(|row| row[at].as_i64()).collect())
    };
    let decoded = numbers(&tapped("e/decode", &[])?, "n")?;
    ensure!(decoded.len() == 6 && decoded.is_sorted_by(|one, next| one + 1 == *next), "{decoded:?}");
    let kept = numbers(&tapped("e/even", &[])?, "n")?;
    ensure!(kept.len() == 6 && kept.iter().all(|n| n % 2 == 0), "{kept:?}");
    let far = tapped("e", &["--every", "5"])?;
    let (far, missed) = (numbers(&far, "m")?, far.last().map(|sample| sample["missed"].clone()));
    ensure!(far.is_sorted_by(|one, next| one + 10 == *next) && missed == Some(json!(0)), "{far:?} {missed:?}");
    let text = place.site.ok(&["tap", "e", "--rows", "2"])?;
    ensure!(text.lines().next().is_some_and(|heads| heads.split_whitespace().any(|head| head == "m")), "{text}");
    // What it says is followed over the same socket.
    let mut logs = place.site.start(&["logs", "pipeline", "e", "-n", "1", "--follow"])?;
    for _ in 0..2 {
        ensure!(logs.next_event()?.is_some_and(|line| line["text"].is_string()), "no line of the log");
        place.site.ok(&["pipeline", "flush", "e"])?;
    }
    place.site.fails(&["tap", "e/evn"], 2, &["error[E0922]", "did you mean `even`"])?;
    place.site.fails(&["tap", "other"], 1, &["error[E0925]", "what runs here is e"])?;
    stop(run)?;
    place.site.fails(&["tap", "e"], 1, &["error[E0925]", "spout run SPEC"]).map(drop)
}

#[test]
fn who_looks_and_does_not_read_holds_nothing_up() -> Result<()> {
    let place = running()?;
    place.script("partition 0 0 0\nslow 0\n")?;
    let run = place.start()?;
    place.reach(|about| about["condition"] == "idle")?;
    let mut looking = place.site.start(&["tap", "e/decode"])?;
    // Until it looks, there is something to be seen again and again.
    let mut messages = 0;
    let mut first = None;
    std::thread::scope(|scope| -> Result<()> {
        let seen = scope.spawn(|| looking.next_event());
        while !seen.is_finished() {
            messages += 1;
            place.script(&format!("partition 0 0 {messages}\nslow 0\n"))?;
            std::thread::yield_now();
        }
        first = seen.join().ok().context("no panic")??;
        Ok(())
    })?;
    ensure!(first.is_some_and(|sample| sample["missed"] == 0));
    looking.signal("STOP")?;
    // A message is a sample, and so many are more than sockets hold.
    messages += 3000;
    let most = 3 * messages;
    place.script(&format!("partition 0 0 {messages}\nslow 0\n"))?;
    place.rows(messages / 2 + messages % 2)?;
    looking.signal("CONT")?;
    loop {
        let sample = looking.next_event()?.context("more rows")?;
        if sample["missed"].as_u64() > Some(0) {
            break;
        }
        // What was left out is said with the next rows.
        messages += 1;
        ensure!(messages < most, "nothing was left out: it was waited for who looks, or the test proves nothing");
        place.script(&format!("partition 0 0 {messages}\nslow 0\n"))?;
    }
    stop(run)?;
    place.site.ok(&["fsck"]).map(drop)
}

#[test]
fn what_readers_of_the_repo_are_not_to_see_is_not_tapped_for_them() -> Result<()> {
    let place = running()?;
    let site = &place.site;
    site.ok(&["create", "pipeline", "-f", "e.yaml"])?;
    let token = |name: &str, scope: &str| -> Result<String> {
        let made = site.ok(&["token", "create", "--tokens", "tokens.json", "--name", name, "--scope", scope])?;
        Ok(made.trim().to_owned())
    };
    let (all, reads, blind) = (token("all", "run:e")?, token("reads", "read:e")?, token("blind", "read:other")?);
    let served = Served::start(site, &["--tokens", "tokens.json"])?;
    for (name, token) in [("all", &all), ("reads", &reads), ("blind", &blind)] {
        site.write(name, token)?;
    }
    let url = served.url();
    let with = |name: &'static str| vec!["--server", url.as_str(), "--token", name];
    loop {
        let about = site.json(&[&["pipeline", "status", "e"], &*with("reads")].concat())?;
        if about[0]["condition"] != "starting" {
            break;
        }
    }
    let tap = ["tap", "e", "--rows", "1"];
    ensure!(site.json(&[&tap, &*with("reads")].concat())?[0]["handler"] == "far");
    let decoded = ["tap", "e/decode", "--rows", "1"];
    site.fails(&[&decoded, &*with("reads")].concat(), 2, &["error[E0902]", "run:e"])?;
    ensure!(site.json(&[&decoded, &*with("all")].concat())?[0]["handler"] == "decode");
    site.fails(&[&tap, &*with("blind")].concat(), 2, &["error[E0910]"])?;
    served.stop()
}

/// What the doctor says of one thing.
fn line<'a>(lines: &'a [Value], what: &str) -> Result<&'a Value> {
    lines.iter().find(|line| line["what"] == what).with_context(|| format!("nothing of {what}: {lines:?}"))
}

#[test]
fn the_doctor_finds_nothing_wrong_and_leaves_nothing_behind() -> Result<()> {
    let site = files()?;
    let lines = site.json(&["doctor"])?;
    ensure!(line(&lines, "store")?["is"].to_string().contains("not there yet"), "{lines:?}");
    ensure!(line(&lines, "disk of the store")?["is"].to_string().contains("free at"), "where it would be: {lines:?}");
    ensure!(!Path::new(&site.store).exists(), "it made a store");
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let before = all_files(Path::new(&site.store))?;
    let lines = site.json(&["doctor", "spec.yaml"])?;
    for what in
        ["store", "format", "writing", "clock", "disk of the store", "open files", "plugin files", "source of p"]
    {
        ensure!(line(&lines, what)?["verdict"] == "ok", "{what}: {lines:?}");
    }
    ensure!(line(&lines, "source of p")?["is"] == "1 partition", "{lines:?}");
    ensure!(all_files(Path::new(&site.store))? == before, "the store is not as it was");
    let text = site.ok(&["doctor"])?;
    ensure!(text.contains("ok       store: ") && text.contains("a name can be created only once"), "{text}");
    Ok(())
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let site = files()?;
    // Nobody listens there: the port was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let grant = format!("net: [\"127.0.0.1:{port}\"], dirs");
    site.write("spec.yaml", SPEC.replace("dirs", &grant))?;
    let said = site.run(&["doctor", "spec.yaml", "--json"])?;
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    ensure!(said.status.code() == Some(1) && err.contains("E0926") && err.contains("1 error found"), "{out}{err}");
    let lines: Vec<Value> = out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let line = line(&lines, &format!("127.0.0.1:{port}, for p"))?;
    ensure!(line["verdict"] == "error" && line["is"].to_string().contains("refused"), "{line}");
    ensure!(line["advice"].to_string().contains("somebody listens"), "{line}");
    site.write("spec.yaml", SPEC.replace("./in", "./nowhere").replace("kind = 'push'", "kidn = 'push'"))?;
    let text = String::from_utf8(site.run(&["doctor", "spec.yaml"])?.stdout)?;
    ensure!(text.contains("error    spec: ") && text.contains("nowhere") && text.contains("spout explain E"), "{text}");
    fs::write(&site.store, "no directory")?;
    site.fails(&["doctor"], 1, &["E0926"]).map(drop)
}

#[test]
fn each_spec_to_start_from_is_sound() -> Result<()> {
    let mut site = Site::new()?;
    for (name, value) in [("AWS_SECRET_ACCESS_KEY", "x"), ("TOKEN", "0123456789abcdef0123456789abcdef")] {
        site.environment.push((name, value.to_owned()));
    }
    let sources = site.json(&["init", "--list"])?;
    ensure!(sources.len() > 20, "{sources:?}");
    let mut check = vec!["check".to_owned()];
    for source in &sources {
        let source = source["source"].as_str().context("a name")?;
        site.ok(&["init", source, "--name", source])?;
        let file = format!("{source}.yaml");
        let text = fs::read_to_string(site.path().join(&file))?;
        ensure!(text.starts_with("# yaml-language-server: $schema=spout.schema.json\n"), "{text}");
        // What is granted is there.
        for dir in text.split("dirs: {").skip(1).filter_map(|rest| rest.split(['}', ',']).next()) {
            let dir = dir.split_once(": ").map(|(_, dir)| dir.trim()).context(text.clone())?;
            fs::create_dir_all(site.path().join(dir))?;
        }
        check.push(file);
    }
    let check: Vec<&str> = check.iter().map(String::as_str).collect();
    let said = site.ok(&check)?;
    ensure!(sources.iter().all(|source| said.contains(source["source"].as_str().unwrap_or("?"))), "{said}");
    let schema: Value = serde_json::from_slice(&fs::read(site.path().join("spout.schema.json"))?)?;
    ensure!(schema["properties"]["producer"].is_object(), "{schema}");
    Ok(())
}

#[test]
fn a_file_that_is_there_is_not_touched() -> Result<()> {
    let site = Site::new()?;
    let said = site.ok(&["init", "kafka", "-o", "mine.yaml", "--name", "mine"])?;
    ensure!(
        said.contains("wrote mine.yaml, and spout.schema.json") && said.contains("spout dry-run mine.yaml"),
        "{said}"
    );
    ensure!(fs::read_to_string(site.path().join("mine.yaml"))?.contains("pipeline: {name: mine}"));
    site.write("mine.yaml", "mine\n")?;
    site.write("spout.schema.json", "{}")?;
    site.fails(&["init", "files", "-o", "mine.yaml"], 2, &["error[E0927]", "mine.yaml"])?;
    site.ok(&["init", "files", "-o", "other.yaml"])?;
    ensure!(fs::read(site.path().join("mine.yaml"))? == b"mine\n");
    ensure!(fs::read(site.path().join("spout.schema.json"))? == b"{}");
    site.fails(&["init", "kafak"], 2, &["error[E0801]", "did you mean `kafka`"]).map(drop)
}

#[test]
fn a_disk_that_is_full_leaves_nothing_that_is_half_written() -> Result<()> {
    let site = Site::new()?;
    // No file may have more than two blocks, which the spec and most pages have room in and the schema and some pages have not.
    let full = |args: &[&str]| -> Result<String> {
        let command = site.command(args);
        let script = format!("trap '' XFSZ; ulimit -f 2; exec '{}' \"$@\"", command.get_program().display());
        let output = Command::new("bash")
            .args(["-c", &script, "bash"])
            .args(command.get_args())
            .current_dir(site.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && said.contains("error[E0803]"), "{said}");
        Ok(said)
    };
    let said = full(&["init", "kafka"])?;
    ensure!(said.contains("schema"), "{said}");
    site.write("pages/spout.1", "as it was\n")?;
    full(&["man", "pages"])?;
    let pages: Vec<_> =
        fs::read_dir(site.path().join("pages"))?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    ensure!(pages == ["spout.1"] && fs::read(site.path().join("pages/spout.1"))? == b"as it was\n", "{pages:?}");
    let left: Vec<_> = fs::read_dir(site.path())?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    ensure!(left.iter().all(|name| !name.display().to_string().contains("kafka")), "{left:?}");
    ensure!(!site.path().join("spout.schema.json").exists(), "{left:?}");
    site.ok(&["init", "kafka"]).map(drop)
}

#[test]
fn shells_and_man_know_every_command() -> Result<()> {
    let site = Site::new()?;
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef spout"),
        ("fish", "complete -c spout"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let text = site.ok(&["completions", shell])?;
        ensure!(text.contains(sign) && text.contains("dry-run") && text.contains("deadletter"), "{shell}: {text}");
    }
    site.ok(&["man", "pages"])?;
    for page in ["spout.1", "spout-dry-run.1", "spout-list-commit.1", "spout-plugin-new.1"] {
        let text = fs::read_to_string(site.path().join("pages").join(page)).with_context(|| page.to_owned())?;
        ensure!(text.contains(".SH NAME") && text.contains("Examples:"), "{page}: {text}");
    }
    ensure!(site.ok(&["schema", "--editor"])?.contains("vim.lsp.enable"));
    Ok(())
}

#[test]
fn top_is_drawn_obeys_and_leaves_the_terminal_as_it_was() -> Result<()> {
    let place = running()?;
    place.script("partition 0 0 5\n")?;
    let run = place.start()?;
    place.reach(|about| about["condition"] == "idle")?;
    let text = place.site.ok(&["top", "--once"])?;
    ensure!(text.starts_with("PIPELINE") && text.lines().nth(1).is_some_and(|line| line.starts_with("e ")), "{text}");
    ensure!(place.site.json(&["top", "--once"])?[0]["name"] == "e");
    place.site.fails(&["top"], 2, &["error[E0928]", "--once"])?;
    let seen = place.site.path().join("seen");
    let drawn = |sign: &str| -> Result<()> {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let text = String::from_utf8_lossy(&fs::read(&seen).unwrap_or_default()).into_owned();
            if text.contains(sign) {
                return Ok(());
            }
            ensure!(std::time::Instant::now() < until, "{sign:?} is not drawn: {text:?}");
            std::thread::yield_now();
        }
    };
    let bare = place.site.command(&["top", "--every", "50ms"]);
    let inner = "stty -a > before
sh -c 'echo $$ > pid; exec \"$0\" top --every 50ms' \"$1\"
echo \"left $?\"
stty -a > after
";
    place.site.write("inner.sh", inner)?;
    for how in ["q", "TERM"] {
        drop(fs::remove_file(&seen));
        let shell = format!("sh inner.sh {}", bare.get_program().to_string_lossy());
        let mut script = Command::new("script");
        script.args(["-q", "-f", "-e", "-c", &shell, "seen"]).current_dir(place.site.path());
        script.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut child = script.spawn().context("`script`, of bsdutils")?;
        let mut keys = child.stdin.take().context("standard input")?;
        drawn("q leave")?;
        if how == "q" {
            std::io::Write::write_all(&mut keys, b"\rp")?;
            drawn("pause e? y or n")?;
            std::io::Write::write_all(&mut keys, b"y")?;
            drawn("paused")?;
            place.reach(|about| about["condition"] == "paused")?;
            std::io::Write::write_all(&mut keys, b"ry")?;
            place.reach(|about| about["condition"] == "idle")?;
            std::io::Write::write_all(&mut keys, b"q")?;
        } else {
            let pid = fs::read_to_string(place.site.path().join("pid"))?;
            let ended = Command::new("kill").args(["-TERM", pid.trim()]).status()?;
            ensure!(ended.success(), "nothing to end");
        }
        drawn("left 0")?;
        ensure!(child.wait()?.success(), "{how}");
        let text = String::from_utf8_lossy(&fs::read(&seen)?).into_owned();
        ensure!(text.find("\u{1b}[?1049h") < text.rfind("\u{1b}[?1049l") && text.contains("\u{1b}[?25h"), "{text:?}");
        let [before, after] = ["before", "after"].map(|name| fs::read_to_string(place.site.path().join(name)));
        ensure!(before? == after?, "the terminal is not as it was after {how}");
    }
    stop(run)
}
