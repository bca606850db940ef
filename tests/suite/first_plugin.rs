//! The README's first plugin, as its text stands, in a copy of this tree: it builds, it is found, it keeps the rows it should.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{root, spout, venv};

use crate::pages;

/// The first code block of `language` behind `after`.
fn block(readme: &str, after: &str, language: &str) -> Result<String> {
    let rest = readme.split_once(after).with_context(|| format!("{after} is not in the README"))?.1;
    let inside =
        rest.split_once(&format!("```{language}\n")).with_context(|| format!("no {language} behind {after}"))?.1;
    Ok(inside.split_once("```").context("an end of the block")?.0.to_owned())
}

/// A copy of what somebody has who cloned this tree and built its plugins; in a fixed place, so that what it is built of is
/// built once.
fn tree() -> Result<PathBuf> {
    let to = root().join("target/readme/tree");
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    copy(&root(), &to, &|name| !["target", ".git", ".spout"].contains(&name))?;
    Ok(to)
}

fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        match (wanted(&name.to_string_lossy()), entry.file_type()?.is_dir()) {
            (false, _) => {}
            (true, true) => copy(&entry.path(), &to.join(&name), wanted)?,
            (true, false) => fs::copy(entry.path(), to.join(&name)).map(drop)?,
        }
    }
    Ok(())
}

/// Runs a script as a user of the tree would, with `spout` on the path.
fn shell(tree: &Path, script: &str) -> Result<Output> {
    let binary = spout();
    let path = format!("{}:{}", binary.parent().context("a directory")?.display(), std::env::var("PATH")?);
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(tree)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", root().join("target/readme/target"))
        .env("SPOUT_CACHE", root().join("target/test-cache"))
        .env_remove("SPOUT_STORE")
        .env_remove("SPOUT_PLUGINS")
        .output()
        .context("bash")
}

/// What a script that has to succeed printed.
fn ok(tree: &Path, script: &str) -> Result<(String, String)> {
    let output = shell(tree, script)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{script}\nfailed with {}\n{out}\n{err}", output.status);
    Ok((out, err))
}

#[test]
fn the_first_plugin_works_as_it_stands_and_so_do_new_ones() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let tree = tree()?;
    for (name, language) in [("plugins/at-least/Cargo.toml", "toml"), ("plugins/at-least/src/lib.rs", "rust")] {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().context("a directory")?)?;
        fs::write(path, block(&readme, &format!("`{name}`\n"), language)?)?;
    }
    let (told, said) = ok(&tree, &block(&readme, "Build it, look at it, use it:", "sh")?)?;
    ensure!(told.contains("least") && told.contains("handler"), "{told}");
    ensure!(said.contains("Cargo.lock: added at-least 0.1.0\n"), "the lock file was changed without a word:\n{said}");
    let lock = |tree: &Path| fs::read_to_string(tree.join("Cargo.lock"));
    let now = lock(&tree)?;
    let entry = now.split_inclusive("\n\n").find(|entry| entry.contains("name = \"at-least\"")).context("an entry")?;
    ensure!(now.replace(entry, "") == lock(&root())?, "more than the new crate was changed in the lock file");
    let (_, again) = ok(&tree, "spout plugin build plugins/at-least")?;
    ensure!(!again.contains("Cargo.lock"), "{again}");

    fs::create_dir(tree.join("in"))?;
    fs::write(tree.join("in/a.ndjson"), (0..1000).map(|size| format!("{{\"size\":{size}}}\n")).collect::<String>())?;
    fs::write(tree.join("sizes.yaml"), block(&readme, "`sizes.yaml`\n", "yaml")?)?;
    ok(&tree, &block(&readme, "`sizes.yaml`\n", "sh")?)?;
    let (rows, _) = ok(&tree, "spout sql 'select count(*) as n, min(size) as least from sizes' --format ndjson")?;
    ensure!(rows == "{\"n\":500,\"least\":500}\n", "{rows}");
    new_plugins_work_as_they_are(&tree)?;
    the_tutorial_is_what_it_says(&tree)?;
    the_python_plugin_works_as_it_stands(&readme, &tree)
}

/// The tutorial about plugins, in the same tree: the SDK is built once.
fn the_tutorial_is_what_it_says(tree: &Path) -> Result<()> {
    let more = [("CARGO_TARGET_DIR", root().join("target/readme/target").display().to_string())];
    pages::done("docs/tutorials/first-plugin.md", tree, &more)
}

/// The README's plugin in Python is the one that `spout plugin new` writes; its commands work, and so does the trial of it.
fn the_python_plugin_works_as_it_stands(readme: &str, tree: &Path) -> Result<()> {
    let Some(python) = venv::python(&["componentize-py==0.25.1"])? else { return Ok(()) };
    let componentize = python.with_file_name("componentize-py");
    ok(tree, "spout plugin new at-least-py --handler --lang python")?;
    let written = fs::read_to_string(tree.join("at-least-py/plugin.py"))?;
    let shown = block(readme, "`at-least-py/plugin.py`\n", "python")?;
    ensure!(written == shown, "the README shows another plugin than `spout plugin new` writes:\n{written}");
    let commands = block(readme, "`at-least-py/plugin.py`\n", "sh")?;
    let (told, _) = ok(tree, &format!("export COMPONENTIZE_PY={}\n{commands}", componentize.display()))?;
    ensure!(told.contains("ok      at-least-py (handler)"), "{told}");
    fs::write(tree.join("rows.ndjson"), (0..1000).map(|size| format!("{{\"size\":{size}}}\n")).collect::<String>())?;
    let (tried, _) = ok(tree, &block(readme, "**Before you rely on it**", "sh")?)?;
    ensure!(tried.contains("1000 rows in, 500 out") && tried.ends_with("promises kept\n"), "{tried}");
    // A project in another language does not disturb the workspace.
    ok(tree, "cargo metadata --offline --no-deps --format-version 1 >/dev/null").map(drop)
}

/// `spout plugin new` of every kind, built, tested and run without an edit. In the same tree: the SDK is built once.
fn new_plugins_work_as_they_are(tree: &Path) -> Result<()> {
    let kinds = [
        ("new-lines", "source"),
        ("new-stream", "stream"),
        ("new-feed", "spout"),
        ("new-upper", "transform"),
        ("new-levels", "decoder"),
        ("new-filter", "handler"),
    ];
    for (name, kind) in kinds {
        let (told, _) = ok(tree, &format!("spout plugin new {name} --{kind}"))?;
        ensure!(told.contains(&format!("spout plugin build plugins/{name}")), "{told}");
    }
    ok(tree, "spout plugin new new-net --source --net")?;
    let refused = shell(tree, "spout plugin new new-lines --source")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("plugins/new-lines exists"), "{said}");
    ok(
        tree,
        "spout plugin build plugins/new-lines plugins/new-stream plugins/new-feed plugins/new-upper plugins/new-levels plugins/new-filter plugins/new-net",
    )?;
    ok(
        tree,
        "cargo test --offline -p new-lines -p new-stream -p new-feed -p new-upper -p new-levels -p new-filter -p new-net",
    )?;
    let address = lines()?;
    let net = format!("--topic t --settings address={address} --net {address}");
    let (tried, _) = ok(tree, &format!("spout plugin test new-net {net}"))?;
    ensure!(tried.ends_with("promises kept\n"), "{tried}");
    let spec = |name: &str, stream: &str| {
        format!(
            "pipeline: {{name: {name}}}
producer:
  stream: {{{stream}}}
  decoder: {{plugin: new-levels}}
node:
  - {{id: length, type: map, columns: {{size: cast(character_length(text) as bigint)}}}}
  - {{id: long, type: plugin, plugin: new-filter, stateless: true, settings: {{column: size, least: 8}}}}
"
        )
    };
    fs::write(
        tree.join("new-a.yaml"),
        spec("new-a", "plugin: new-lines, topic: t, settings: {partitions: 2, lines: 1000}"),
    )?;
    fs::write(
        tree.join("new-b.yaml"),
        spec("new-b", "plugin: new-stream, topic: t, consumerType: highlevel, settings: {lines: 1000}"),
    )?;
    fs::write(
        tree.join("new-c.yaml"),
        "pipeline: {name: new-c}\ntransform: {plugin: new-feed, settings: {upto: 10}}\n",
    )?;
    let all = "new-a.yaml new-b.yaml new-c.yaml";
    ok(tree, &format!("spout check {all} && spout run {all} --until ended"))?;
    let (lines, _) = ok(tree, "spout get file new-c@master:/lines.txt")?;
    ensure!(lines == (0..10).map(|line| format!("line {line}\n")).collect::<String>(), "{lines}");
    fs::write(
        tree.join("new-d.yaml"),
        "pipeline: {name: new-d}\ninput: {pfs: {repo: new-c}}\ntransform: {plugin: new-upper}\n",
    )?;
    ok(tree, "spout check new-d.yaml && spout run new-d.yaml --until idle")?;
    ensure!(ok(tree, "spout get file new-d@master:/lines.txt")?.0 == lines.to_uppercase());
    let query = "select (select count(*) from \"new-a\") as a, (select count(*) from \"new-b\") as b";
    let (rows, _) = ok(tree, &format!("spout sql '{query}' --format ndjson"))?;
    ensure!(rows == "{\"a\":1800,\"b\":900}\n", "{rows}");
    Ok(())
}

/// A server that the networked example can ask, with a hundred lines.
fn lines() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let answer = |line: &str| {
        let numbers: Vec<u64> = line.split(' ').skip(2).filter_map(|number| number.parse().ok()).collect();
        let [start, most] = numbers.as_slice() else { return "WHAT?\n".to_owned() };
        let lines: Vec<String> =
            (*start..100).take(usize::try_from(*most).unwrap_or(0)).map(|n| format!("INFO line {n}\n")).collect();
        format!("LINES {} 100\n{}", lines.len(), lines.concat())
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    if (&stream).write_all(answer(&line).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

#[test]
fn a_new_plugin_is_built_with_the_others_and_the_lock_file_says_so() -> Result<()> {
    // The script alone: with its tools replaced nothing is compiled here.
    let place = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> Result<()> {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().context("a directory")?)?;
        fs::write(&path, text)?;
        Ok(())
    };
    write("plugins/at-least/Cargo.toml", "[package]\nname = \"at-least\"\nversion = \"0.1.0\"\n")?;
    write("Cargo.lock", "[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n")?;
    fs::copy(root().join("plugins/build.sh"), place.path().join("plugins/build.sh"))?;
    // A cargo that knows `--locked`, adds what is missing, and makes what it is told to.
    write(
        "bin/cargo",
        r#"#!/usr/bin/env bash
case "$*" in
  build*--locked*) grep -q at-least Cargo.lock || { echo "lock file needs to be updated" >&2; exit 101; } ;;
  build*) printf '\n[[package]]\nname = "at-least"\nversion = "0.1.0"\n' >> Cargo.lock ;;
esac
case "$*" in
  build*) mkdir -p target/plugins/wasm32-wasip2/plugin && echo wasm > target/plugins/wasm32-wasip2/plugin/at_least.wasm ;;
esac
"#,
    )?;
    write("bin/rustc", "#!/usr/bin/env bash\necho \"$SYSROOT\"\n")?;
    fs::create_dir_all(place.path().join("sysroot/lib/rustlib/wasm32-wasip2/lib"))?;
    let build = || -> Result<String> {
        let path = format!("{}/bin:{}", place.path().display(), std::env::var("PATH").unwrap_or_default());
        let script = "chmod +x bin/*; export SYSROOT=$PWD/sysroot; plugins/build.sh at-least";
        let output = Command::new("bash").args(["-euc", script]).current_dir(place.path()).env("PATH", path).output();
        let output = output.context("bash")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}\n{said}", output.status);
        Ok(said)
    };
    ensure!(
        build()?.contains("build.sh: Cargo.lock: added at-least 0.1.0"),
        "the lock file was changed without a word"
    );
    ensure!(!build()?.contains("Cargo.lock"), "nothing was new the second time");
    ensure!(place.path().join("plugins/at-least.wasm").exists(), "nothing was built");
    Ok(())
}
