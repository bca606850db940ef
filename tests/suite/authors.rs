//! The tools of plugin authors: projects in Python and C from `plugin new` to rows, `plugin check`, `plugin test`, `plugin pack`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, root, venv};

/// What `spout plugin build` installs where it finds none.
const COMPONENTIZE: &str = "componentize-py==0.25.1";
const ZIG: &str = "ziglang==0.17.1";

/// A place with the plugins of this repository, where more can be put beside them.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    for plugin in ["files", "count"] {
        let wasm = fs::read(root().join(format!("plugins/{plugin}.wasm"))).context("`just plugins` builds them")?;
        site.write(&format!("plugins/{plugin}.wasm"), wasm)?;
    }
    site.plugins = site.path().join("plugins");
    Ok(site)
}

/// A place whose builds find componentize-py; none where it cannot be had.
pub(crate) fn with_python() -> Result<Option<Site>> {
    let Some(python) = venv::python(&[COMPONENTIZE])? else { return Ok(None) };
    let mut site = site()?;
    site.environment.push(("COMPONENTIZE_PY", python.with_file_name("componentize-py").display().to_string()));
    Ok(Some(site))
}

/// A place whose builds find a C compiler for wasm32; none where it cannot be had.
pub(crate) fn with_c() -> Result<Option<Site>> {
    let Some(python) = venv::python(&[ZIG])? else { return Ok(None) };
    let mut site = site()?;
    site.environment.push(("SPOUT_CC", format!("{} -m ziglang cc -target wasm32-wasi", python.display())));
    Ok(Some(site))
}

/// A copy of an example, in which a build may write.
pub(crate) fn copied(site: &Site, example: &str) -> Result<PathBuf> {
    let from = root().join("examples/plugins").join(example);
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_file() {
            site.write(&format!("{example}/{}", path.file_name().context("a name")?.display()), fs::read(&path)?)?;
        }
    }
    Ok(site.path().join(example))
}

/// The tests of a Python project, in plain Python.
pub(crate) fn unittest(dir: &Path) -> Result<()> {
    let output = Command::new("python3")
        .args(["-m", "unittest"])
        .current_dir(dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .context("python3")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && !said.contains("Ran 0 tests"), "{}: {said}", dir.display());
    Ok(())
}

/// Lines of an access log, of 0 to 199 bytes, and one that is none.
fn access_log() -> String {
    let line = |n: usize| {
        format!(
            "10.0.0.{} - - [17/May/2015:10:{:02}:00 +0200] \"GET /{n} HTTP/1.1\" 200 {} \"-\" \"curl\"\n",
            n % 9,
            n % 60,
            n % 200
        )
    };
    (0..1000).map(line).collect::<String>() + "nonsense\n"
}

#[test]
fn the_python_package_keeps_its_own_promises() -> Result<()> {
    let dir = root().join("sdk-guest/python");
    let output = Command::new("python3")
        .arg("tests/test_spout.py")
        .current_dir(&dir)
        .env("PYTHONPATH", ".")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .context("python3")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_python_example_decodes_and_filters_and_keeps_its_promises() -> Result<()> {
    let Some(site) = with_python()? else { return Ok(()) };
    copied(&site, "pyaccess")?;
    let built = site.json(&["plugin", "build", "pyaccess"])?;
    ensure!(built[0]["worlds"] == serde_json::json!(["decoder", "handler"]), "{built:?}");
    unittest(&site.path().join("pyaccess"))?;
    let inspected = site.json(&["plugin", "inspect", "pyaccess"])?;
    ensure!(inspected[0]["manifest"]["version"] == "0.1.0", "{inspected:?}");
    let checked = site.ok(&["plugin", "check", "pyaccess"])?;
    ensure!(checked == "ok      pyaccess (decoder, handler)\n", "{checked}");

    site.write("logs/access.log", access_log())?;
    let spec = "pipeline: {name: access}
producer:
  stream: {plugin: files, topic: logs, settings: {follow: false}}
  decoder: {plugin: pyaccess}
node:
  - {id: large, type: plugin, plugin: pyaccess, stateless: true, settings: {column: bytes, least: 150}}
grants:
  files: {dirs: {logs: ./logs}}
";
    site.write("spec.yaml", spec)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let rows = site.rows("select count(*) as n, min(bytes) as least, min(at) as at from access", None)?;
    ensure!(rows == [r#"{"n":250,"least":150,"at":"2015-05-17T08:00:00Z"}"#], "{rows:?}");
    let dead = site.rows("select code, reason from access_dead_letter", None)?;
    ensure!(dead == [r#"{"code":"pyaccess.syntax","reason":"this is no line of the combined format"}"#], "{dead:?}");

    let settings = ["--settings", "column=bytes", "--settings", "least=150"];
    let test = [&["plugin", "test", "pyaccess", "--input", "logs/access.log"][..], &settings[..]].concat();
    let tried = site.ok(&test)?;
    ensure!(tried.contains("1001 messages, 1000 rows, 1 faults") && tried.contains("1000 rows in, 250 out"), "{tried}");
    site.fails(&["plugin", "test", "pyaccess", "--settings", "colum=x"], 2, &["did you mean `column`?"])?;
    // Wrong settings are found before anything runs, at their line.
    let wrong = spec.replace("least: 150", "least: many");
    site.write("wrong.yaml", wrong.replace("name: access", "name: wrong"))?;
    site.fails(
        &["run", "wrong.yaml", "--until", "ended"],
        2,
        &["E0104", "wrong.yaml:6", "`many`; expected a whole number"],
    )?;
    Ok(())
}

/// A message with all that a source can say of it.
const TAGGED: &str = r#"

def tagged(offset):
    return Message(f"INFO line {offset}".encode(), key=f"k{offset}".encode(), timestamp_ms=offset, headers=[("n", b"%d" % offset)])
"#;

#[test]
fn the_python_example_of_a_transformer_runs_as_it_stands() -> Result<()> {
    let Some(site) = with_python()? else { return Ok(()) };
    copied(&site, "wordcount")?;
    site.ok(&["plugin", "build", "wordcount"])?;
    unittest(&site.path().join("wordcount"))?;
    let checked = site.ok(&["plugin", "check", "wordcount"])?;
    ensure!(checked == "ok      wordcount (transformer)\n", "{checked}");
    site.ok(&["create", "repo", "notes"])?;
    site.write("in/a.md", "one two two three three three\n".repeat(2))?;
    site.write("in/dir/b.md", "b".repeat(1 << 20) + &" b".repeat(100_000))?;
    site.write("in/c.txt", "not chosen")?;
    site.ok(&["put", "file", "notes@master:/", "-r", "-f", "in"])?;
    let spec = root().join("examples/per-file.yaml").display().to_string();
    site.ok(&["run", &spec, "--until", "idle"])?;
    let counted = |path: &str| site.ok(&["get", "file", &format!("counted@master:{path}.csv")]);
    ensure!(counted("/a.md")? == "word,times\nthree,6\ntwo,4\n", "{}", counted("/a.md")?);
    ensure!(counted("/dir/b.md")? == "word,times\nb,100000\n", "{}", counted("/dir/b.md")?);
    ensure!(site.json(&["glob", "file", "counted@master:/**/*.csv"])?.len() == 2, "what is not chosen is not counted");
    // What a method refuses is an error like any other.
    site.write("wordcount/plugin.py", "from spout import Transformer\n\n\nclass Bad(Transformer):\n    \"\"\"Bad.\"\"\"\n\n    def transform(self, input, output):\n        output.put('/.datums/x', 'y')\n")?;
    site.ok(&["plugin", "build", "wordcount"])?;
    let bad = "pipeline: {name: bad}\ninput: {pfs: {repo: notes}}\ntransform: {plugin: wordcount}\n";
    site.write("bad.yaml", bad)?;
    site.fails(&["run", "bad.yaml", "--until", "idle"], 1, &["/a.md", "E0339"]).map(drop)
}

#[test]
fn new_projects_in_python_work_as_they_are() -> Result<()> {
    let Some(site) = with_python()? else { return Ok(()) };
    for (name, kind) in [
        ("py-source", "source"),
        ("py-stream", "stream"),
        ("py-feed", "spout"),
        ("py-upper", "transform"),
        ("py-levels", "decoder"),
        ("py-filter", "handler"),
    ] {
        let told = site.ok(&["plugin", "new", name, &format!("--{kind}"), "--lang", "python", "--dir", name])?;
        ensure!(told.contains(&format!("spout plugin build {name}")), "{told}");
        unittest(&site.path().join(name))?;
    }
    // All of them in one component: what is compiled is mostly Python itself.
    let text = |name: &str| fs::read_to_string(site.path().join(name).join("plugin.py"));
    let all = ["py-stream", "py-feed", "py-upper", "py-levels", "py-filter"]
        .iter()
        .map(|name| text(name))
        .collect::<Result<Vec<_>, _>>()?;
    // The source has keys, times, headers, and a place of its own in each partition.
    let source = text("py-source")?
        .replace("import Fetched, Partition, Source", "import Fetched, Message, Partition, Position, Source")
        .replace("f\"INFO line {offset}\".encode())", "tagged(offset))")
        .replace(
            "        end = min(",
            "        assert start.token in (None, b\"at %d\" % start), start.token\n        end = min(",
        )
        .replace("Fetched(messages, end,", "Fetched(messages, Position(end, b\"at %d\" % end),");
    site.write("py-source/plugin.py", source + TAGGED + "\n\n" + &all.join("\n\n"))?;
    site.ok(&["plugin", "build", "py-source"])?;
    let spec = |name: &str, stream: &str| {
        format!(
            "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: py-source, topic: t, {stream}}}
  decoder: {{plugin: py-source}}
node:
  - {{id: length, type: map, columns: {{size: cast(character_length(text) as bigint)}}}}
  - {{id: long, type: plugin, plugin: py-source, stateless: true, settings: {{column: size, least: 8}}}}
"
        )
    };
    site.write("a.yaml", spec("a", "metadata: [key, timestamp], settings: {partitions: 2, lines: 1000}"))?;
    site.write("b.yaml", spec("b", "consumerType: highlevel, settings: {lines: 1000}"))?;
    site.write("c.yaml", "pipeline: {name: c}\ntransform: {plugin: py-source, settings: {upto: 10}}\n")?;
    site.ok(&["run", "a.yaml", "b.yaml", "c.yaml", "--until", "ended"])?;
    let rows = site.rows("select (select count(*) from a) as a, (select count(*) from b) as b", None)?;
    ensure!(rows == [r#"{"a":1800,"b":900}"#], "{rows:?}");
    let tagged = "select count(*) from a where text(__key) = 'k' || cast(__timestamp as bigint) and text = 'line ' || cast(__timestamp as bigint)";
    ensure!(site.number(tagged, None)? == 1800, "keys and times are those of their lines");
    let commit = site.ok(&["inspect", "commit", "a@master", "--json"])?;
    ensure!(commit.contains("\"token\""), "{commit}");
    let lines = site.ok(&["get", "file", "c@master:/lines.txt"])?;
    ensure!(lines == (0..10).map(|line| format!("line {line}\n")).collect::<String>(), "{lines}");
    site.write("d.yaml", "pipeline: {name: d}\ninput: {pfs: {repo: c}}\ntransform: {plugin: py-source}\n")?;
    site.ok(&["run", "d.yaml", "--until", "idle"])?;
    ensure!(site.ok(&["get", "file", "d@master:/lines.txt"])? == lines.to_uppercase());
    for settings in [
        &["--source", "--settings", "partitions=3", "--settings", "lines=500"][..],
        &["--stream", "--settings", "lines=500"],
    ] {
        let tried = site.ok(&[&["plugin", "test", "py-source"], settings].concat())?;
        ensure!(tried.contains("kept") && !tried.contains("BROKEN"), "{tried}");
    }
    Ok(())
}

#[test]
fn a_mistake_in_a_python_project_is_said_before_anything_takes_long() -> Result<()> {
    let site = site()?;
    let project = "[project]\nname = \"x\"\n\n[tool.spout]\n";
    let cases = [
        (project, "from spout import Decoder\n", "has no class derived from"),
        (
            project,
            "from spout import Decoder\n\nclass X(Decoder):\n    columns = {'n': 'int'}\n",
            "columns of X: unknown type 'int'",
        ),
        (project, "import nothing_there\n", "No module named 'nothing_there'"),
        ("[tool.spout]\n", "", "no [project] name"),
        ("[project]\nname = \"x\"\n[tool.spout]\nmodule = \"handler\"\n", "", "a module cannot be called handler"),
    ];
    for (project, module, part) in cases {
        site.write("x/pyproject.toml", project)?;
        site.write("x/plugin.py", module)?;
        site.fails(&["plugin", "build", "x"], 1, &["E0806", part])?;
    }
    Ok(())
}

#[test]
fn a_toolchain_that_cannot_be_had_is_named() -> Result<()> {
    let mut site = site()?;
    let python =
        Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().context("python3")?;
    let python = String::from_utf8(python.stdout)?;
    // A Python that can make no environments, and nothing else on the path.
    let script = format!(
        "#!/bin/sh\n[ \"$2\" = venv ] && {{ echo no venv here >&2; exit 1; }}\nexec {} \"$@\"\n",
        python.trim()
    );
    let program = site.write("bin/python3", script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:/usr/bin:/bin", program.parent().context("a directory")?.display());
    site.environment.extend([("PATH", path), ("SPOUT_CACHE", site.path().join("cache").display().to_string())]);
    site.ok(&["plugin", "new", "x", "--decoder", "--lang", "python", "--dir", "x"])?;
    let said = site.fails(
        &["plugin", "build", "x"],
        1,
        &["E0833", "componentize-py 0.25.1", "no venv here", "COMPONENTIZE_PY"],
    )?;
    ensure!(said.contains("installing componentize-py 0.25.1 from PyPI into"), "{said}");
    ensure!(!site.plugins.join("x.wasm").exists(), "something was built");
    Ok(())
}

#[test]
fn plugins_in_c_are_built_checked_and_tried() -> Result<()> {
    let Some(site) = with_c()? else { return Ok(()) };
    copied(&site, "at-least-c")?;
    site.ok(&["plugin", "new", "c-levels", "--decoder", "--lang", "c", "--dir", "c-levels"])?;
    site.ok(&["plugin", "new", "c-filter", "--handler", "--lang", "c", "--dir", "c-filter"])?;
    site.fails(&["plugin", "new", "c-feed", "--spout", "--lang", "c"], 2, &["--command"])?;
    copied(&site, "per-minute-c")?;
    site.ok(&["plugin", "build", "at-least-c", "c-levels", "c-filter", "per-minute-c"])?;
    let checked = site.ok(&["plugin", "check", "at-least-c", "c-levels", "c-filter", "per-minute-c"])?;
    ensure!(!checked.contains("note:"), "{checked}");

    let levels: String = (0..1000).map(|n| format!("INFO line {n}\n")).collect();
    site.write("in/a.log", levels + "nonsense\n")?;
    let spec = "pipeline: {name: levels}
producer:
  stream: {plugin: files, topic: in, settings: {follow: false}}
  decoder: {plugin: c-levels}
node:
  - {id: length, type: map, columns: {size: cast(character_length(text) as bigint)}}
  - {id: long, type: plugin, plugin: c-filter, stateless: true, settings: {column: size, least: 8}}
  - {id: longer, type: plugin, plugin: at-least-c, settings: {column: size, least: 8}}
grants:
  files: {dirs: {in: ./in}}
";
    site.write("spec.yaml", spec)?;
    let shown = site.ok(&["check", "spec.yaml", "-v"])?;
    ensure!(shown.contains("decoder: level: utf8, text: utf8"), "{shown}");
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let rows = site.rows("select count(*) as n, max(text) as last from levels", None)?;
    ensure!(rows == [r#"{"n":900,"last":"line 999"}"#], "{rows:?}");
    ensure!(site.number("select count(*) from levels_dead_letter where code = 'c-levels.syntax'", None)? == 1);

    site.write(
        "rows.csv",
        (0..500).map(|n| format!("{n},x\n")).fold("size,name\n".to_owned(), |text, line| text + &line),
    )?;
    let handler = ["plugin", "test", "at-least-c", "--input", "rows.csv", "--settings", "least=7"];
    let tried = site.ok(&[&handler[..], &["--settings", "column=size"]].concat())?;
    ensure!(tried.contains("500 rows in, 493 out, a snapshot of 8 bytes"), "{tried}");
    site.ok(&["plugin", "test", "c-levels", "--input", "in/a.log"])?;
    let wrong = [&handler[..], &["--settings", "column=nope"]].concat();
    site.fails(&wrong, 1, &["E0835"])?;
    Ok(())
}

#[test]
fn sources_in_c_are_read_by_partition_and_as_a_stream() -> Result<()> {
    let Some(site) = with_c()? else { return Ok(()) };
    for kind in ["source", "stream"] {
        let name = format!("c-{kind}");
        site.ok(&["plugin", "new", &name, &format!("--{kind}"), "--lang", "c", "--dir", &name])?;
    }
    let source = fs::read_to_string(site.path().join("c-source/plugin.c"))?;
    let more = "spout_message(messages, *next, line, (size_t)length);
    if (*next % 2) spout_message_key(messages, line + 5, 4);
    spout_message_time(messages, (int64_t)*next);
    spout_message_header(messages, \"n\", line, 4);";
    site.write("c-source/plugin.c", source.replace("spout_message(messages, *next, line, (size_t)length);", more))?;
    site.ok(&["plugin", "build", "c-source", "c-stream"])?;
    let checked = site.ok(&["plugin", "check", "c-source", "c-stream"])?;
    ensure!(!checked.contains("note:"), "{checked}");
    let spec = |name: &str, stream: &str| {
        format!("pipeline: {{name: {name}}}\nproducer:\n  stream: {{plugin: {stream}}}\n  decoder: {{type: raw}}\n")
    };
    let by_partition = "c-source, topic: t, metadata: [key, timestamp], settings: {partitions: 3, lines: 1000}";
    site.write("parts.yaml", spec("parts", by_partition))?;
    site.write("whole.yaml", spec("whole", "c-stream, topic: t, consumerType: highlevel, settings: {lines: 1000}"))?;
    site.ok(&["run", "parts.yaml", "whole.yaml", "--until", "ended"])?;
    let told = "select (select count(*) from parts) as parts, (select count(*) from whole) as whole, \
                (select count(*) from parts where text(__key) = 'line') as keyed, \
                (select count(*) from parts where text(value) = 'INFO line ' || cast(__timestamp as bigint)) as timed";
    let told = site.rows(told, None)?;
    ensure!(told == [r#"{"parts":3000,"whole":1000,"keyed":1500,"timed":3000}"#], "{told:?}");
    for settings in [
        &["c-source", "--settings", "partitions=3", "--settings", "lines=500"][..],
        &["c-stream", "--settings", "lines=500"],
    ] {
        let tried = site.ok(&[&["plugin", "test"], settings].concat())?;
        ensure!(tried.contains("kept") && !tried.contains("BROKEN"), "{tried}");
    }
    Ok(())
}

#[test]
fn a_plugin_in_c_counts_in_keyed_state_from_tick_to_tick() -> Result<()> {
    let Some(site) = with_c()? else { return Ok(()) };
    copied(&site, "per-minute-c")?;
    site.ok(&["plugin", "build", "per-minute-c"])?;
    // Ten minutes of two rows a second of 300 hosts, more than one call scans, and a quarter of a minute more.
    let line = |n: u64| format!("{{\"at\":{},\"host\":\"h{}\"}}\n", n * 500, n % 300);
    site.write("in/a.ndjson", (0..1230).map(line).collect::<String>())?;
    let spec = |name: &str, rows: u32| {
        format!(
            "pipeline: {{name: {name}}}
producer:
  stream: {{plugin: files, topic: in, settings: {{follow: false}}}}
  decoder: {{type: json, schema: {{at: 'timestamp(ms, UTC)', host: utf8}}}}
node:
  - {{id: counts, type: plugin, plugin: per-minute-c, time: {{column: at, lateness: 0s}}, tick: 5m, settings: {{column: host}}}}
commit: {{flush: {{rows: {rows}}}}}
grants:
  files: {{dirs: {{in: ./in}}}}
"
        )
    };
    // However it is cut into commits.
    site.write("one.yaml", spec("one", 1_000_000))?;
    site.write("many.yaml", spec("many", 100))?;
    site.ok(&["run", "one.yaml", "many.yaml", "--until", "ended"])?;
    let all = |name: &str| site.rows(&format!("select until, key, n from {name} order by until nulls last, key"), None);
    let rows = all("one")?;
    ensure!(rows == all("many")?, "they differ");
    let told = "select count(*) as rows, sum(n) as sum, count(distinct until) as ticks from one";
    let told = site.rows(told, None)?;
    ensure!(told == [r#"{"rows":630,"sum":1230,"ticks":2}"#], "{told:?}");
    Ok(())
}

/// A handler that keeps the first row of each call and counts calls, and a decoder that numbers the messages it has seen.
const BROKEN_HANDLER: &str = r#"#include <spout.h>
static uint32_t calls;
void *spout_open(const void *state, size_t length) { (void)state, (void)length; return &calls; }
bool spout_process(void *self, spout_rows *rows, spout_out *out) {
  (void)self, (void)out;
  calls++;
  spout_keep(rows, 0);
  return true;
}
spout_text spout_snapshot(void *self) { return (spout_text){self, sizeof calls}; }
"#;
const BROKEN_DECODER: &str = r#"#include <spout.h>
#include <stdlib.h>
const spout_field spout_columns[] = {{"n", SPOUT_INT64}, {0}};
static int64_t seen;
void *spout_open(const void *state, size_t length) { (void)state, (void)length; return &seen; }
bool spout_decode(void *self, spout_text message, spout_out *out) {
  (void)self;
  if (message.length == 0) abort();
  spout_row(out);
  spout_put_int(out, 0, seen++);
  return true;
}
"#;

/// A server of 100 lines: it wants a password and the line to begin with. It breaks off after 40 lines, once.
fn lines(listener: TcpListener) {
    let mut breaks = true;
    for mut client in listener.incoming().map_while(Result::ok) {
        let mut asked = BufReader::new(&client).lines().map_while(Result::ok);
        if asked.next().as_deref() != Some("s3cret") {
            continue;
        }
        let from: usize = asked.next().and_then(|from| from.parse().ok()).unwrap_or(0);
        drop(asked);
        let to = if std::mem::take(&mut breaks) { 40 } else { 100 };
        let text: String = (from..to).map(|n| format!("line {n}\n")).collect();
        drop(client.write_all(text.as_bytes()));
        // What has no end is no line.
        if to == 40 {
            drop(client.write_all(b"half of a"));
        }
    }
}

#[test]
fn a_source_in_c_reads_a_server_whose_password_it_does_not_see() -> Result<()> {
    let Some(mut site) = with_c()? else { return Ok(()) };
    copied(&site, "lines-c")?;
    site.ok(&["plugin", "build", "lines-c"])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || lines(listener));
    site.environment.push(("SPOUT_TEST_LINES", "s3cret".into()));
    let spec = |secret: &str| {
        format!(
            "pipeline: {{name: read}}
producer: {{stream: {{plugin: lines-c, topic: t, consumerType: highlevel}}, decoder: {{type: raw}}}}
grants: {{lines-c: {{endpoints: {{server: {{address: \"{address}\"}}}}{secret}}}}}
commit: {{flush: {{rows: 10}}}}
"
        )
    };
    site.write("spec.yaml", spec(""))?;
    let said = site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["grants no secret `password`"])?;
    ensure!(!said.contains("s3cret"), "{said}");
    site.write("spec.yaml", spec(", secrets: {password: {env: SPOUT_TEST_LINES}}"))?;
    // The server breaks off after 40 lines; a stream that has ended is not read again, one that is begun anew goes on.
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let rows = site.rows("select cast(value as varchar) as line from read", None)?;
    let mut found: Vec<String> = rows.iter().filter_map(|row| Some(row.split('"').nth(3)?.to_owned())).collect();
    found.sort_by_key(|line| line.trim_start_matches("line ").parse::<u32>().unwrap_or(u32::MAX));
    let expected: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    ensure!(found == expected, "{found:?}");
    Ok(())
}

#[test]
fn a_plugin_that_breaks_its_promises_is_found_out() -> Result<()> {
    let Some(site) = with_c()? else { return Ok(()) };
    for (name, kind, code) in [("h", "handler", BROKEN_HANDLER), ("d", "decoder", BROKEN_DECODER)] {
        let about = format!(r#"{{"name": "{name}", "kind": "{kind}", "summary": "breaks its promises"}}"#);
        site.write(&format!("{name}/spout.json"), about)?;
        site.write(&format!("{name}/plugin.c"), code)?;
    }
    site.ok(&["plugin", "build", "h", "d"])?;
    site.write("rows.ndjson", (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>())?;
    let broken = |plugin: &str, expected: &[(&str, &str)]| -> Result<()> {
        let output = site.run(&["plugin", "test", plugin, "--input", "rows.ndjson"])?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(1), "{out}");
        let found: Vec<&str> = out.lines().filter(|line| line.contains("BROKEN")).collect();
        ensure!(found.len() == expected.len(), "{out}");
        for (line, (promise, seen)) in found.iter().zip(expected) {
            ensure!(line.contains(promise) && line.contains(seen), "{promise}: {line}");
        }
        Ok(())
    };
    let rows = "row 1 of those passed on was missing, and now is {\"n\":";
    let state = "the snapshots (4 and 4 bytes) differ from byte 0 on";
    broken(
        "h",
        &[
            ("a state that is restored has the bytes it had", state),
            ("cut into batches of 1,", &format!("{rows}1}}")),
            ("cut into batches of 1,", state),
            ("cut into batches of 5, with restarts", &format!("{rows}5}}")),
            ("cut into batches of 2, with restarts", &format!("{rows}2}}")),
        ],
    )?;
    broken(
        "d",
        &[
            (
                "cut into two calls, each to another instance",
                r#"message 5, `{"n":5}`, was {"n":5}, and now is {"n":0}"#,
            ),
            ("an empty message does not affect its neighbours", "unreachable"),
            ("a message of 1 MiB does not affect", r#"was {"n":2}, and now is {"n":3}"#),
            ("a message of every byte does not affect", r#"was {"n":2}, and now is {"n":3}"#),
        ],
    )?;
    Ok(())
}

#[test]
fn the_plugins_of_this_tree_keep_their_promises() -> Result<()> {
    let site = site()?;
    site.write("logs/a.log", (0..300).map(|n| format!("line {n}\n")).collect::<String>())?;
    site.write("logs/b.log", "x\n\ny\n")?;
    site.write("rows.ndjson", (0..200).map(|n| format!("{{\"k\":{}}}\n", n % 17)).collect::<String>())?;
    let tries: [&[&str]; 2] = [
        &["files", "--topic", "logs", "--grant", "logs=logs"],
        &["count", "--input", "rows.ndjson", "--settings", "keys=k"],
    ];
    for args in tries {
        let tried = site.ok(&[&["plugin", "test"], args].concat())?;
        ensure!(tried.ends_with("promises kept\n"), "{tried}");
    }
    site.fails(&["plugin", "test", "files", "--topic", "logs"], 2, &["E0216"])?;
    site.fails(&["plugin", "test", "files", "--handler"], 2, &["source"])?;
    site.fails(&["plugin", "test", "count"], 2, &["--input"])?;
    Ok(())
}

#[test]
fn a_component_gets_a_manifest_and_what_is_none_is_refused() -> Result<()> {
    let site = site()?;
    let wasm = fs::read(root().join("plugins/count.wasm"))?;
    site.write("out/x.wasm", &wasm)?;
    let pack = ["plugin", "pack", "out/x.wasm", "--name", "web-log", "--version", "1.2.0", "--ask", "events"];
    site.ok(&pack)?;
    site.ok(&pack)?;
    let shown = site.json(&["plugin", "pack", "out/x.wasm", "--name", "web-log", "-o", "plugins/y.wasm"])?;
    ensure!(shown[0]["manifest"]["name"] == "web-log", "{shown:?}");
    ensure!(fs::read(site.path().join("out/x.wasm"))?.starts_with(&wasm), "something else was changed");
    site.write("plugins/core.wasm", b"\0asm\x01\0\0\0")?;
    let failed = site.run(&["plugin", "check"])?;
    let out = String::from_utf8_lossy(&failed.stdout).into_owned();
    ensure!(failed.status.code() == Some(1), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    ensure!(lines.iter().any(|line| line.starts_with("FAILED  core")) && out.contains("error[E0213]"), "{out}");
    ensure!(lines.iter().any(|line| line.starts_with("ok      count")), "{out}");
    site.fails(&["plugin", "pack", "plugins/core.wasm", "--name", "core"], 2, &["E0213"])?;
    Ok(())
}

#[test]
fn the_c_bindings_are_of_this_wit() -> Result<()> {
    let script = "cat wit/since-v0.1/*.wit | grep -v '^ *//' | tr -d ' \\n' | sha256sum | cut -d' ' -f1";
    let output = Command::new("bash").args(["-c", script]).current_dir(root()).env("LC_ALL", "C").output()?;
    let noted = fs::read_to_string(root().join("sdk-guest/c/bindings/wit.sha256"))?;
    ensure!(
        String::from_utf8_lossy(&output.stdout) == noted,
        "sdk-guest/c/bindings are of another WIT; run `just c-bindings`, and see whether the files beside them still fit"
    );
    Ok(())
}
