//! Commands that write tar archives: each archive is one commit with its marker, whatever they do and whenever they die.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_tests::{Site, guests, kills, root, venv};

/// A place with the command that writes archives, in the sandbox.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    let from = guests().join("tars.wasm");
    fs::copy(&from, dir.join("tars.wasm"))
        .with_context(|| format!("{} is missing; `just guests` builds it", from.display()))?;
    site.plugins = dir;
    Ok(site)
}

/// A spec of that command with these arguments, and more of the spec.
fn spec(args: &str, rest: &str) -> String {
    format!("pipeline: {{name: t}}\ntransform: {{plugin: tars, args: [{args}]}}\n{rest}\n")
}

/// A place where it has run to its end.
fn ran(args: &str, rest: &str) -> Result<Site> {
    let site = site()?;
    site.write("spec.yaml", spec(args, rest))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.ok(&["fsck"])?;
    Ok(site)
}

fn commits(site: &Site) -> Result<Vec<String>> {
    let all = site.json(&["list", "commit", "t@master"])?;
    let own = all.into_iter().filter(|commit| commit["reason"] == "source");
    own.map(|commit| commit["id"].as_str().map(str::to_owned).context("an id")).collect()
}

fn file(site: &Site, at: &str, path: &str) -> Result<String> {
    site.ok(&["get", "file", &format!("t@{at}:/{path}")])
}

/// The numbers below `end`, each on a line.
fn lines(end: usize) -> String {
    (0..end).map(|n| format!("{n}\n")).collect()
}

#[test]
fn opened_and_closed_rapidly_it_loses_nothing_and_what_is_empty_is_no_commit() -> Result<()> {
    let site = ran("rapid, '10'", "")?;
    ensure!(commits(&site)?.len() == 10, "{:?}", commits(&site)?);
    ensure!(file(&site, "master", "all")? == lines(10), "a file that is put again grows");
    for n in 0..10 {
        ensure!(file(&site, "master", &format!("file{n}"))? == "x\n");
    }
    // Each says which spec made it.
    let digest = &site.json(&["check", "spec.yaml"])?[0]["digest"];
    for commit in commits(&site)? {
        ensure!(site.json(&["inspect", "commit", &format!("t@{commit}")])?[0]["spec_digest"] == *digest, "{commit}");
    }
    let site = ran("rapid, '10'", "spout: {overwrite: true}")?;
    ensure!(file(&site, "master", "all")? == "9\n", "a file that is put again takes the place of the one before");
    Ok(())
}

#[test]
fn pachyderms_documented_spouts_run_as_they_are() -> Result<()> {
    let site = site()?;
    let first = r#"{"pipeline":{"name":"my-spout"},"transform":{"cmd":["go","run","./main.go"],"image":"myaccount/myimage:0.1","env":{"HOST":"kafkahost","TOPIC":"mytopic","PORT":"9092"}},
"spout":{"overwrite":false,"marker":"offset"}}"#;
    let second = r#"{"pipeline":{"name":"my-second"},"transform":{"cmd":["go","run","./main.go"],"image":"myaccount/myimage:0.1","env":{"HOST":"kafkahost","TOPIC":"mytopic","PORT":"9092"}},"spout":{}}"#;
    site.write("first.json", first)?;
    site.write("second.json", second)?;
    // What an image is, a file of its name says, or a link to another plugin.
    site.fails(&["check", "first.json"], 2, &["E0211", "`myimage`"])?;
    std::os::unix::fs::symlink("tars.wasm", site.plugins.join("myimage.wasm"))?;
    site.ok(&["check", "first.json", "second.json"])?;
    for _ in 0..2 {
        site.ok(&["run", "first.json", "--until", "ended"])?;
    }
    let all = site.ok(&["get", "file", "my-spout@master:/mytopic"])?;
    ensure!(all == "message 1 from kafkahost:9092\nmessage 2 from kafkahost:9092\n", "{all}");
    site.ok(&["run", "second.json", "--until", "ended"])?;
    let one = site.ok(&["get", "file", "my-second@master:/mytopic"])?;
    ensure!(one == "message 1 from kafkahost:9092\n", "{one}");
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn several_archives_come_on_one_handle_and_on_standard_output() -> Result<()> {
    let site = ran("one-handle, '7'", "")?;
    ensure!(commits(&site)?.len() == 7 && file(&site, "master", "all")? == lines(7));
    let site = site_with_output("stdout, '7'")?;
    ensure!(commits(&site)?.len() == 7 && file(&site, "master", "all")? == lines(7));
    Ok(())
}

fn site_with_output(args: &str) -> Result<Site> {
    let site = site()?;
    site.write("spec.yaml", spec(args, "").replace("args:", "output: stdout, args:"))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    Ok(site)
}

#[test]
fn a_command_gets_what_the_spec_says_and_the_marker_and_can_change_nothing_else() -> Result<()> {
    let site = site()?;
    let text = spec("show, a, 'b c'", "spout: {marker: place}")
        .replace("args:", "env: {COLOUR: green}, stdin: [one, two], args:");
    site.write("spec.yaml", text)?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(file(&site, "master", "shown")? == "a,b c|green|one\ntwo\n|");
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(file(&site, "master", "shown")? == "a,b c|green|one\ntwo\n|a,b c|green|one\ntwo\n|here");
    // The marker takes the place of the one before; a name that only begins like it is a file like any other.
    ensure!(file(&site, "master", "place/at")? == "here" && file(&site, "master", "places")? == "not herenot here");
    Ok(())
}

#[test]
fn the_marker_is_committed_with_the_data_and_a_run_goes_on_there() -> Result<()> {
    let marker = "spout: {marker: offset}";
    let site = ran("count, '5', '1'", marker)?;
    site.write("spec.yaml", spec("count, '9', '1'", marker))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let all = commits(&site)?;
    ensure!(all.len() == 9, "{all:?}");
    for commit in all {
        together(&site, &commit)?;
    }
    ensure!(file(&site, "master", "offset")? == "9");
    // Where the branch goes back, the marker does too.
    site.ok(&["revert", "branch", "t@master", "--to", "t@master~4"])?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(file(&site, "master", "numbers")? == lines(9));
    Ok(())
}

/// That the numbers of a commit are those before its marker.
fn together(site: &Site, commit: &str) -> Result<usize> {
    let marker: usize = file(site, commit, "offset")?.trim().parse()?;
    ensure!(file(site, commit, "numbers")? == lines(marker), "commit {commit} has the marker {marker} and other data");
    Ok(marker)
}

#[test]
fn large_entries_and_many_entries_pass_through() -> Result<()> {
    let size = 64 << 20;
    let site = ran(&format!("large, '{size}'"), "limits: {memory: 16MiB}")?;
    let about = site.json(&["inspect", "file", "t@master:/large"])?;
    ensure!(about[0]["size"] == size, "{about:?}");
    let site = ran("many, '100000'", "")?;
    ensure!(commits(&site)?.len() == 1);
    ensure!(site.json(&["inspect", "file", "t@master:/d99"])?[0]["files"] == 1000);
    Ok(())
}

#[test]
fn what_is_no_archive_is_refused_with_its_place_and_what_was_before_stays() -> Result<()> {
    for (how, parts) in [
        ("cut", ["error[E0341]", "entry `bad`", "cut off"]),
        ("text", ["error[E0341]", "byte 512", "no tar header"]),
        ("link", ["error[E0342]", "entry `bad`", "a symbolic link"]),
        ("above", ["error[E0516]", "entry `../bad`", "`..`"]),
        ("clash", ["error[E0518]", "archive 1 of /pfs/out", "good"]),
        ("case", ["error[E0519]", "archive 1 of /pfs/out", "GOOD"]),
        ("marker", ["error[E0339]", "entry `OFFSET`", "it shows the marker"]),
    ] {
        let site = site()?;
        site.write("spec.yaml", spec(&format!("broken, {how}"), "spout: {marker: offset}"))?;
        let said = site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &parts).with_context(|| how.to_owned())?;
        if how != "cut" {
            ensure!(said.contains("the pipe: BrokenPipe"), "{how}: the command does not see a broken pipe:\n{said}");
            ensure!(said.contains("opened again: Err(BrokenPipe)"), "{how}:\n{said}");
        }
        ensure!(commits(&site)?.len() == 1 && file(&site, "master", "good")? == "1\n", "{how}");
        site.ok(&["fsck"])?;
    }
    Ok(())
}

#[test]
fn a_command_that_only_computes_is_stopped_and_one_that_waits_is_not() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", spec("spin", "limits: {call: 300ms}"))?;
    site.fails(&["run", "spec.yaml"], 1, &["error[E0206]", "limits.call"])?;
    site.write("spec.yaml", spec("wait", "limits: {call: 300ms}"))?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("started")?;
    // Not a wait for something to happen: the time that would have been too long for one call.
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        ensure!(running.child.try_wait()?.is_none(), "it was stopped: {:?}", running.end()?);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    running.signal("INT")?;
    let begun = Instant::now();
    let (fine, said) = running.end()?;
    ensure!(fine && begun.elapsed() < Duration::from_secs(8), "{:?}\n{said}", begun.elapsed());
    Ok(())
}

#[test]
fn a_command_that_exits_otherwise_than_by_success_is_run_again() -> Result<()> {
    for (args, rest, expected) in
        [("exit, '3'", "", "exited with status 1"), ("rapid, '1'", "spout: {onExit: restart}", "")]
    {
        let site = site()?;
        site.write("spec.yaml", spec(args, rest))?;
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("started")?;
        if rest.is_empty() {
            let until = Instant::now() + Duration::from_millis(1200);
            while Instant::now() < until {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        } else {
            (0..3).try_for_each(|_| running.wait_for("committed").map(drop))?;
        }
        running.signal("INT")?;
        let (fine, said) = running.end()?;
        ensure!(fine && said.matches(expected).count() > 1, "{args}: {said}");
    }
    Ok(())
}

/// Builds the command in `dir` of the site, and has it count; it goes on where its marker says, and each commit is whole.
fn built_it_counts(site: &Site, dir: &str) -> Result<()> {
    site.ok(&["plugin", "build", dir])?;
    let marker = "spout: {marker: offset}";
    for end in [4, 7] {
        site.write("spec.yaml", spec(&format!("'{end}'"), marker).replace("plugin: tars", &format!("plugin: {dir}")))?;
        site.ok(&["run", "spec.yaml", "--until", "ended"])?;
        ensure!(together(site, "master")? == end, "{dir}");
    }
    let all = commits(site)?;
    ensure!(all.len() == 7, "{dir}: {all:?}");
    all.iter().try_for_each(|commit| together(site, commit).map(drop))?;
    site.ok(&["fsck"]).map(drop)
}

/// A C compiler for commands, if PyPI has one.
fn with_c(site: &mut Site) -> Result<bool> {
    let Some(python) = venv::python(&["ziglang==0.17.1"])? else { return Ok(false) };
    site.environment.push(("SPOUT_CC", format!("{} -m ziglang cc -target wasm32-wasi", python.display())));
    Ok(true)
}

#[test]
fn the_command_in_c_is_built_and_counts() -> Result<()> {
    let mut site = site()?;
    if !with_c(&mut site)? {
        return Ok(());
    }
    for name in ["plugin.c", "spout.json"] {
        site.write(&format!("count-c/{name}"), fs::read(root().join("examples/plugins/count-c").join(name))?)?;
    }
    built_it_counts(&site, "count-c")
}

#[test]
fn new_commands_count_as_they_are_in_c_and_rust() -> Result<()> {
    for (lang, needs_c) in [("rust", false), ("c", true)] {
        let mut site = site()?;
        if needs_c && !with_c(&mut site)? {
            continue;
        }
        site.ok(&["plugin", "new", "fresh", "--command", "--lang", lang, "--dir", "fresh"])?;
        built_it_counts(&site, "fresh").with_context(|| lang)?;
    }
    Ok(())
}

#[test]
fn a_new_command_in_python_counts_as_it_is_and_what_it_raises_is_told() -> Result<()> {
    let Some(python) = venv::python(&["componentize-py==0.25.1"])? else { return Ok(()) };
    let mut site = site()?;
    site.environment.push(("COMPONENTIZE_PY", python.with_file_name("componentize-py").display().to_string()));
    site.ok(&["plugin", "new", "fresh", "--command", "--lang", "python"])?;
    let tested = Command::new("python3")
        .args(["-m", "unittest"])
        .current_dir(site.path().join("fresh"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()?;
    ensure!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    built_it_counts(&site, "fresh")?;
    // On standard output, with its environment; and a failure is one.
    let text = "import io, os, sys, tarfile

def main():
    with tarfile.open(fileobj=sys.stdout.buffer, mode='w|') as archive:
        entry = tarfile.TarInfo('said')
        entry.size = 5
        archive.addfile(entry, io.BytesIO(os.environ['COLOUR'].encode()))
    sys.stdout.flush()
    raise ValueError('no more of it')
";
    site.write("fresh/plugin.py", text)?;
    site.ok(&["plugin", "build", "fresh"])?;
    let transform = "transform: {plugin: fresh, output: stdout, env: {COLOUR: green}}";
    site.write("spec.yaml", format!("pipeline: {{name: s}}\n{transform}\n"))?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("committed")?;
    running.wait_for("committed")?;
    running.signal("INT")?;
    let (fine, said) = running.end()?;
    ensure!(fine && said.contains("ValueError: no more of it") && said.contains("running it again"), "{said}");
    ensure!(site.ok(&["get", "file", "s@master:/said"])?.starts_with("greengreen"), "an archive of each run");
    site.write("fresh/plugin.py", "start = 1\n")?;
    site.fails(&["plugin", "build", "fresh"], 1, &["error[E0806]", "no main()"]).map(drop)
}

/// Counts in a shell, as a program of this machine.
const SHELL: &str = r#"
pipeline: {name: t}
spout: {marker: offset}
transform:
  trusted: true
  env: {END: "4000"}
  cmd:
    - sh
    - -c
    - |
      cd "$(mktemp -d -p "$PFS/..")" || exit 1
      trap 'rm -rf "$PWD"' EXIT
      n=$(cat "$PFS_MARKER" 2>/dev/null || echo 0)
      while [ "$n" -lt "$END" ]; do
        echo "$n" > numbers; n=$((n + 1)); echo "$n" > offset
        tar -c numbers offset > "$PFS_OUT" || exit 1
      done
"#;

#[test]
fn killed_anywhere_marker_and_data_are_never_apart() -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let sandboxed = spec("count, '1000000', '0'", "spout: {marker: offset}");
    for (what, text) in [("sandboxed", sandboxed.as_str()), ("trusted", SHELL)] {
        let mut dice = StdRng::seed_from_u64(seed);
        let site = site()?;
        site.write("spec.yaml", text)?;
        let mut before = 0;
        for kill in 0..kills() {
            let mut running = site.start(&["run", "spec.yaml"])?;
            running.wait_for("started")?;
            let until = Instant::now() + Duration::from_millis(dice.random_range(0..400));
            // Not a wait for something to happen: the moment of death is what the test draws by lot.
            while Instant::now() < until {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            running.child.kill()?;
            running.end()?;
            if kill % 5 == 4 && commits(&site).is_ok_and(|all| !all.is_empty()) {
                let now = together(&site, "master").with_context(|| format!("{what}, kill {kill}"))?;
                ensure!(now >= before, "{what}: the marker went back from {before} to {now}");
                before = now;
            }
        }
        let lives = kills() as usize;
        ensure!(before > lives / 5, "{what}: {before} commits in {lives} lives: the kills come too fast");
        site.ok(&["fsck"])?;
        println!("{what}: {lives} lives, {before} commits");
    }
    Ok(())
}

#[test]
fn a_program_of_this_machine_runs_only_if_it_is_trusted_and_check_says_what_that_means() -> Result<()> {
    let site = site()?;
    site.write("spec.yaml", SHELL.replace("  trusted: true\n", ""))?;
    site.fails(&["run", "spec.yaml"], 2, &["error[E0", "spec.yaml:", "not sandboxed", "trusted: true"])?;
    site.write("spec.yaml", SHELL)?;
    let said = site.ok(&["check", "spec.yaml"])?;
    ensure!(said.contains("IT IS NOT SANDBOXED"), "{said}");
    site.write("spec.yaml", SHELL.replace("- sh\n", "- ./nowhere\n"))?;
    site.fails(&["run", "spec.yaml"], 2, &["error[E0344]", "nowhere"])?;
    for (spec, parts) in [
        (spec("show", "spout: {marker: out}"), ["error[E0345]", "`spout.marker` is out"]),
        (spec("show", "").replace("args:", "settings: {a: b}, args:"), ["error[E0345]", "no settings"]),
    ] {
        site.write("spec.yaml", spec)?;
        site.fails(&["run", "spec.yaml"], 2, &parts)?;
    }
    Ok(())
}

/// A program that leaves a child behind, of which nothing is left either.
const PARENT: &str = r#"
pipeline: {name: t}
transform:
  trusted: true
  cmd: [sh, -c, 'sleep 987 & echo $! > "$CHILD.new"; mv "$CHILD.new" "$CHILD"; trap "exit 0" TERM; wait; wait']
"#;

fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn nothing_of_a_program_is_left_whatever_becomes_of_the_host() -> Result<()> {
    for signal in ["INT", "KILL"] {
        let mut site = site()?;
        let child = site.path().join("child");
        let temporary = site.path().join("temporary");
        fs::create_dir(&temporary)?;
        site.environment.push(("CHILD", child.display().to_string()));
        site.environment.push(("TMPDIR", temporary.display().to_string()));
        // The directory of the sockets that a run is met at stays, as others may use it.
        site.environment.push(("SPOUT_RUNTIME", site.path().join("sockets").display().to_string()));
        site.write("spec.yaml", PARENT)?;
        let running = site.start(&["run", "spec.yaml"])?;
        let wait = |what: &str, done: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !done() {
                ensure!(begun.elapsed() < Duration::from_secs(20), "{signal}: waited in vain for {what}");
                std::thread::park_timeout(Duration::from_millis(10));
            }
            Ok(())
        };
        wait("the child", &|| child.exists())?;
        let pid = fs::read_to_string(&child)?.trim().to_owned();
        running.signal(signal)?;
        let (fine, said) = running.end()?;
        ensure!(fine == (signal == "INT"), "{signal}: {said}");
        wait("its end", &|| !alive(&pid))?;
        if signal == "KILL" {
            ensure!(fs::read_dir(&temporary)?.count() == 1, "the directory of the program, which nobody could remove");
            fs::remove_file(&child)?;
            let again = site.start(&["run", "spec.yaml"])?;
            wait("the next program", &|| child.exists())?;
            again.signal("INT")?;
            again.end()?;
        }
        ensure!(fs::read_dir(&temporary)?.count() == 0, "{signal}: something is left in the place for temporary files");
    }
    Ok(())
}

#[test]
fn the_example_runs_as_it_stands() -> Result<()> {
    if !Command::new("tar").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: the_example_runs_as_it_stands needs tar");
        return Ok(());
    }
    let site = Site::new()?;
    let spec = root().join("examples/tar.yaml").display().to_string();
    site.ok(&["run", &spec, "--until", "ended"])?;
    ensure!(site.ok(&["get", "file", "dates@master:/dates"])?.lines().count() == 5);
    ensure!(site.ok(&["get", "file", "dates@master:/offset"])?.trim() == "5");
    // It has nothing more to do.
    site.ok(&["run", &spec, "--until", "ended"])?;
    let commits = site.json(&["list", "commit", "dates@master"])?;
    ensure!(commits.iter().filter(|commit| commit["reason"] == "source").count() == 5, "{commits:?}");
    site.ok(&["fsck"])?;
    Ok(())
}

/// Puts files by `spout put file` beside its archives, and says what its environment lets it see.
const PUTS: &str = r#"
pipeline: {name: t}
spout: {marker: seen, onExit: restart}
transform:
  trusted: true
  cmd:
    - sh
    - -ec
    - |
      cd "$(mktemp -d -p "$PFS/..")"
      trap 'rm -rf "$PWD"' EXIT
      if [ -e "$PFS_MARKER" ]; then
        SPOUT_TOKEN=$(cat "$PFS_MARKER") spout get file "$PFS_REPO:/note" > refused 2>&1 && exit 1
        spout list repo > repos
        spout put file "$PFS_REPO:/refused" -f refused
        spout put file "$PFS_REPO:/repos" -f repos
        sleep 600
      fi
      echo hello > note
      spout put file "$PFS_REPO:/note" -f note
      spout get file "$PFS_REPO:/note" > read
      echo "$SPOUT_TOKEN" > seen
      tar -c read seen > "$PFS_OUT"
"#;

#[test]
fn a_program_puts_and_gets_files_of_its_repo_without_any_set_up_and_sees_no_other() -> Result<()> {
    for server in [false, true] {
        let site = site()?;
        site.ok(&["create", "repo", "others"])?;
        site.write("specs/spec.yaml", PUTS)?;
        let mut running = if server {
            // Its own tokens are none of the program's business.
            site.ok(&["token", "create", "--tokens", "tokens.json", "--name", "ada", "--scope", "read:*"])?;
            site.start(&["serve", "specs", "--listen", "127.0.0.1:0", "--tokens", "tokens.json"])?
        } else {
            site.start(&["run", "specs/spec.yaml"])?
        };
        running.wait_for("committed")?;
        let begun = Instant::now();
        while site.run(&["inspect", "file", "t@master:/repos"])?.status.code() != Some(0) {
            ensure!(begun.elapsed() < Duration::from_secs(60), "it did not come so far: {:?}", running.end()?);
            std::thread::park_timeout(Duration::from_millis(50));
        }
        running.signal("TERM")?;
        let (fine, said) = running.end()?;
        ensure!(fine, "{said}");
        ensure!(file(&site, "master", "note")? == "hello\n" && file(&site, "master", "read")? == "hello\n");
        let repos = file(&site, "master", "repos")?;
        ensure!(repos.contains('t') && !repos.contains("others"), "{repos}");
        ensure!(file(&site, "master", "refused")?.contains("E0901"), "the token of a program that has ended is good");
        let token = file(&site, "master", "seen")?;
        ensure!(!said.contains(token.trim()), "the log has the token: {said}");
        ensure!(commits(&site)?.len() == 1, "one archive; what is put beside it is no part of it");
        site.ok(&["fsck"])?;
    }
    Ok(())
}
