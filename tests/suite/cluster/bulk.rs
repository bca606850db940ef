//! Commands over a whole store are shared by its workers, and say what they say alone.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, clustered, tls};

use super::fleet::built;

/// How long nothing may happen of what is waited for, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Workers of one machine.
struct Workers {
    site: Site,
    all: Vec<Worker>,
    /// The words of a command line that say where its certificate is; none without certificates.
    certificate: Vec<String>,
}

struct Worker {
    child: Child,
    log: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Workers {
    /// `count` of them, without certificates. `None`, with a line that says why, where the binary cannot.
    fn start(count: usize) -> Result<Option<Self>> {
        Self::start_with(count, |_| Ok(Vec::new()))
    }

    /// The same with certificates: all that they say to each other is TLS.
    fn with_certificates(count: usize) -> Result<Option<Self>> {
        Self::start_with(count, |site| {
            tls::fleet(&site.path().join("tls"), Ipv4Addr::LOCALHOST)?;
            let files = [("--cert", "worker.pem"), ("--key", "worker.key"), ("--ca", "ca.pem")];
            let words =
                files.map(|(flag, file)| [flag.to_owned(), site.path().join("tls").join(file).display().to_string()]);
            Ok(words.concat())
        })
    }

    fn start_with(count: usize, certificate: impl FnOnce(&Site) -> Result<Vec<String>>) -> Result<Option<Self>> {
        if !built()? {
            return Ok(None);
        }
        let mut site = Site::new()?;
        site.environment = vec![("SPOUT_JOIN_TOKEN", "a token of this test: 0123456789abcdef".to_owned())];
        let certificate = certificate(&site)?;
        let mut workers = Self { site, all: Vec::new(), certificate };
        (0..count).try_for_each(|_| workers.add())?;
        Ok(Some(workers))
    }

    fn add(&mut self) -> Result<()> {
        let log = self.site.path().join(format!("worker-{}.log", self.all.len()));
        let said = File::create(&log)?;
        let mut command = self.site.command_of(&clustered(), &["worker", "--json"]);
        command.args(&self.certificate);
        let child = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn()?;
        self.all.push(Worker { child, log });
        Ok(())
    }

    fn log(&self, number: usize) -> String {
        fs::read_to_string(&self.all[number].log).unwrap_or_default()
    }

    /// How often a worker has joined somebody.
    fn joined(&self, number: usize) -> usize {
        self.log(number).matches("joined a fleet").count()
    }

    fn signal(&self, number: usize, name: &str) -> Result<()> {
        let id = self.all[number].child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status()?;
        ensure!(status.success(), "kill -{name} of worker {number} failed");
        Ok(())
    }

    fn kill(&mut self, number: usize) -> Result<()> {
        self.all[number].child.kill()?;
        self.all[number].child.wait()?;
        Ok(())
    }

    /// What a command says, run alone.
    fn alone(&self, args: &[&str]) -> Result<Output> {
        Ok(self.site.command_of(&clustered(), args).output()?)
    }

    /// The same, shared by all workers.
    fn together(&self, args: &[&str]) -> Result<Output> {
        Ok(self.shared(args).output()?)
    }

    /// What starts a command that all workers share.
    fn shared(&self, args: &[&str]) -> Command {
        let count = self.all.len().to_string();
        let mut command = self.site.command_of(&clustered(), &[args, &["--cluster", "--workers", &count]].concat());
        command.args(&self.certificate).stdin(Stdio::null());
        command
    }

    /// Runs a command that is shared, and kills the first worker while it has a part of it.
    fn together_with_a_kill(&mut self, args: &[&str]) -> Result<Output> {
        let (said, joined) = (self.site.path().join("said"), self.joined(0));
        let mut command = self.shared(args);
        command.env("SPOUT_LOG", "warn,spout_bulk=debug");
        // It stands still once it has joined: what it is given then is lost with it.
        let mut child = command.stdout(Stdio::piped()).stderr(File::create(&said)?).spawn()?;
        let begun = Instant::now();
        while self.joined(0) == joined {
            ensure!(begun.elapsed() < PATIENCE && child.try_wait()?.is_none(), "{}", self.log(0));
            thread::park_timeout(Duration::from_millis(1));
        }
        self.signal(0, "STOP")?;
        let id = self.id(0)?;
        while !read(&said).lines().any(|line| line.contains("is with") && line.contains(&id)) {
            ensure!(begun.elapsed() < PATIENCE && child.try_wait()?.is_none(), "{}", read(&said));
            thread::park_timeout(Duration::from_millis(5));
        }
        self.kill(0)?;
        let output = child.wait_with_output()?;
        ensure!(read(&said).contains("is given to another process"), "{}", read(&said));
        Ok(Output { stderr: read(&said).into_bytes(), ..output })
    }

    /// The id of a worker among the others.
    fn id(&self, number: usize) -> Result<String> {
        let log = self.log(number);
        let first = log.lines().find(|line| line.contains("\"worker\"")).context("its first line")?;
        let first: serde_json::Value = serde_json::from_str(first)?;
        Ok(first["id"].as_str().context("its id")?.to_owned())
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn same(one: &Output, other: &Output) -> Result<()> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        one.status.code() == other.status.code(),
        "{:?} and {:?}: {}",
        one.status,
        other.status,
        text(&other.stderr)
    );
    ensure!(one.stdout == other.stdout, "{}\n--\n{}\n{}", text(&one.stdout), text(&other.stdout), text(&other.stderr));
    Ok(())
}

/// A repo of twelve files, each as large as a part.
fn files(site: &Site) -> Result<()> {
    site.ok(&["create", "repo", "files"])?;
    for number in 0..12u8 {
        let bytes: Vec<u8> = (0..17u32 << 20).map(|at| (at % 251) as u8 ^ number).collect();
        site.write(&format!("files/{number}.bin"), bytes)?;
    }
    site.ok(&["put", "file", "files@master:/", "-r", "-f", "files"]).map(drop)
}

/// The objects of a repo.
fn objects(site: &Site, repo: &str) -> Result<Vec<PathBuf>> {
    let directory = site.path().join(&site.store).join("repos").join(repo).join("data");
    let mut all = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

#[test]
fn a_check_that_workers_share_finds_what_one_process_finds() -> Result<()> {
    let Some(mut workers) = Workers::start(2)? else { return Ok(()) };
    files(&workers.site)?;
    same(&workers.alone(&["fsck"])?, &workers.together(&["fsck"])?)?;
    let objects = objects(&workers.site, "files")?;
    let mut bytes = fs::read(&objects[3])?;
    bytes[1_000_000] ^= 1;
    fs::write(&objects[3], bytes)?;
    fs::remove_file(&objects[8])?;
    let alone = workers.alone(&["fsck", "--json"])?;
    let text = String::from_utf8_lossy(&alone.stdout).into_owned();
    ensure!(
        alone.status.code() == Some(1) && text.contains("do not match their hash") && text.contains("is missing"),
        "{text}"
    );
    same(&alone, &workers.together(&["fsck", "--json"])?)?;
    same(&workers.alone(&["fsck", "files"])?, &workers.together(&["fsck", "files"])?)?;
    same(&workers.alone(&["fsck", "--fast"])?, &workers.together(&["fsck", "--fast"])?)?;
    same(&alone, &workers.together_with_a_kill(&["fsck", "--json"])?)?;
    // Nobody calls any more, so nothing is left of the commands.
    let calls = workers.site.path().join(&workers.site.store).join("calls");
    ensure!(!calls.exists() || fs::read_dir(&calls)?.next().is_none(), "something is left in {}", calls.display());
    // Whoever is there joins while it works.
    same(&alone, &workers.alone(&["fsck", "--json", "--cluster"])?)
}

/// A repo of forty directories, each with four tables of 25 rows.
fn tables(site: &Site) -> Result<()> {
    site.ok(&["create", "repo", "tables"])?;
    for directory in 0..40 {
        for file in 0..4 {
            let from = (directory * 4 + file) * 25;
            let rows: Vec<String> = (from..from + 25).map(|n| format!("{n},{},text {n}", n % 7)).collect();
            site.write(&format!("in/{directory}/{file}.csv"), format!("n,k,t\n{}\n", rows.join("\n")))?;
        }
    }
    site.ok(&["put", "file", "tables@master:/", "--table", "-r", "-f", "in"]).map(drop)
}

#[test]
fn a_compaction_that_workers_share_is_one_commit_of_the_same_rows() -> Result<()> {
    let Some(mut workers) = Workers::start(3)? else { return Ok(()) };
    tables(&workers.site)?;
    let rows = "select n, k, t from tables order by n";
    let (before, files) = (workers.site.rows(rows, None)?, "select count(*) from files('tables')");
    ensure!(before.len() == 4000 && workers.site.number(files, None)? == 160);
    let compacted = workers.together_with_a_kill(&["compact", "tables", "--json"])?;
    let said: serde_json::Value = serde_json::from_slice(&compacted.stdout)
        .with_context(|| String::from_utf8_lossy(&compacted.stderr).into_owned())?;
    ensure!(said["before"] == 160 && said["after"] == 40 && said["rows"] == 4000, "{said}");
    ensure!(workers.site.rows(rows, None)? == before && workers.site.rows(rows, Some("tables~1"))? == before);
    ensure!(workers.site.number(files, None)? == 40);
    ensure!(workers.site.number("select count(*) from commits('tables')", None)? == 2, "it made one commit");
    ensure!(workers.site.ok(&["inspect", "commit", "tables@master"])?.contains("the rows are those of its parent"));
    workers.all.remove(0);
    same(&workers.alone(&["compact", "tables"])?, &workers.together(&["compact", "tables"])?)?;
    // What the one that was killed had written belongs to nobody, and nothing is missing.
    workers.site.ok(&["fsck", "--deep"]).map(drop)
}

#[test]
fn a_query_that_workers_share_has_the_same_rows() -> Result<()> {
    let Some(workers) = Workers::with_certificates(2)? else { return Ok(()) };
    tables(&workers.site)?;
    workers.site.write("more/x.csv", "n,k,t\n9000,3,more\n9001,,\n")?;
    workers.site.ok(&["put", "file", "tables@master:/0/x.parquet", "--table", "-f", "more/x.csv"])?;
    let queries = [
        "select k, count(*) as c, sum(n) as s, min(t) as t, avg(n * 2 - k) as a from tables group by k order by k",
        "select a.n, b.t from tables a join tables as of '~1' b on a.n = b.n where a.k = 3 order by a.n, b.t",
        "select n, sum(n) over (partition by k order by n) as s, row_number() over (partition by k order by t, n) as r from tables order by n, k",
        "select n, k from tables order by k desc nulls last, n limit 17 offset 5",
        "select count(*), count(distinct k), max(n) from tables",
        "select n from tables where n not in (select n from tables as of '~1') order by n",
        "select k, n from (select k, n, rank() over (partition by k order by n desc) as r from tables) where r <= 2 order by k, n",
        "select distinct cast(n / 100 as smallint) as h from tables union all select 1000 order by h",
        "select _change, n from diff('tables~1', 'tables') order by n",
        "select format, count(*), sum(rows) from files('tables') group by format order by format",
        "select t from tables where n between 100 and 110 and text(arrow_cast(t, 'Binary')) like 'text%' order by t",
    ];
    for (number, query) in queries.iter().enumerate() {
        let now = &["sql", query, "--format", "csv"][..];
        let earlier = &["sql", query, "--format", "ndjson", "--at", "tables~1"][..];
        for args in [now, earlier].into_iter().take(if number < 4 { 2 } else { 1 }) {
            let alone = workers.alone(args)?;
            ensure!(alone.status.success() && !alone.stdout.is_empty(), "{query}: {alone:?}");
            same(&alone, &workers.together(args)?).with_context(|| (*query).to_owned())?;
        }
    }
    // All of it is read by others than the command alone, and nothing twice.
    let plan = workers.together(&["sql", &format!("explain analyze {}", queries[0]), "--format", "csv"])?;
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    ensure!(plan.contains("NetworkShuffleExec") && plan.contains("RepoScan"), "{plan}");
    for wrong in ["select nothing from tables", "select n / (n - n) from tables", "select * from nowhere"] {
        let (alone, together) = (workers.alone(&["sql", wrong])?, workers.together(&["sql", wrong])?);
        ensure!(!alone.status.success(), "{wrong}");
        ensure!(alone.status.code() == together.status.code(), "{wrong}: {alone:?} {together:?}");
    }
    Ok(())
}

#[test]
fn a_query_that_loses_a_worker_says_so_and_can_be_run_again() -> Result<()> {
    let Some(mut workers) = Workers::with_certificates(2)? else { return Ok(()) };
    tables(&workers.site)?;
    // Each of 64 million pairs is looked at.
    let query = "select a.k, sum(abs(a.n - b.n + c.n)) as s from tables a join tables b on a.k % 2 = b.k % 2 \
                 join (select n, k from tables limit 8) c on a.n + b.n > c.k group by a.k order by a.k";
    let args = ["sql", query, "--format", "csv"];
    let mut child = workers.shared(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (begun, before) = (Instant::now(), worked(workers.all[0].child.id())?);
    // Nothing but its share keeps it busy.
    while worked(workers.all[0].child.id())? < before + 30 {
        ensure!(begun.elapsed() < PATIENCE && child.try_wait()?.is_none(), "it has no share: {}", workers.log(0));
        thread::park_timeout(Duration::from_millis(1));
    }
    let lost = workers.id(0)?;
    workers.kill(0)?;
    let (ended, since) = (child.wait_with_output()?, Instant::now());
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(
        ended.status.code() == Some(1) && said.contains("E0984") && said.contains(&lost),
        "{:?}: {said}",
        ended.status
    );
    let rows = String::from_utf8_lossy(&ended.stdout).lines().count().saturating_sub(1);
    ensure!(rows == 0, "{rows} rows of an answer that is not whole");
    ensure!(since.elapsed() < PATIENCE, "it took {:?} to end", since.elapsed());
    workers.all.remove(0);
    same(&workers.alone(&args)?, &workers.together(&args)?)
}

/// How long a process has kept a core busy, in hundredths of a second.
fn worked(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after = stat.rsplit_once(") ").context("its name")?.1;
    let ticks: Vec<u64> = after.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum())
}

/// A pipeline over the files of a directory, each a partition, whose handler makes `factor` times each number.
fn tripled(factor: u32) -> String {
    format!(
        "pipeline: {{name: numbers}}\n\
         producer:\n  stream: {{plugin: files, topic: in, settings: {{pattern: \"*.ndjson\", follow: false}}}}\n  \
         decoder: {{type: json, schema: {{n: int64}}}}\n\
         node:\n  - {{id: more, type: map, columns: {{m: \"n * {factor}\"}}}}\n\
         commit: {{flush: {{rows: 2000}}}}\ngrants: {{files: {{dirs: {{in: ./in}}}}}}\n"
    )
}

#[test]
fn a_history_that_workers_make_anew_has_each_message_once() -> Result<()> {
    let Some(mut workers) = Workers::start(2)? else { return Ok(()) };
    let (files, each) = (40_u32, 2500);
    for file in 0..files {
        let lines: Vec<String> = (file * each..(file + 1) * each).map(|n| format!("{{\"n\": {n}}}")).collect();
        workers.site.write(&format!("in/{file}.ndjson"), lines.join("\n") + "\n")?;
    }
    workers.site.write("spec.yaml", tripled(2))?;
    workers.site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let sums = |workers: &Workers| {
        workers.site.rows("select count(*) as c, count(distinct n) as d, sum(m) as m from numbers", None)
    };
    let expected = |factor: u64| {
        let total = u64::from(files * each);
        vec![format!("{{\"c\":{total},\"d\":{total},\"m\":{}}}", total * (total - 1) / 2 * factor)]
    };
    ensure!(sums(&workers)? == expected(2), "{:?}", sums(&workers)?);
    workers.site.write("spec.yaml", tripled(3))?;
    let args = ["run", "spec.yaml", "--cluster", "--reprocess", "--until", "idle"];
    let begun = Instant::now();
    let mut killed = false;
    while !killed {
        let mut command = workers.site.command_of(&clustered(), &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // On a busy machine it may be over before a worker has noticed.
        while workers.joined(0) == 0 && child.try_wait()?.is_none() {
            ensure!(begun.elapsed() < PATIENCE, "{}", workers.log(0));
            thread::park_timeout(Duration::from_millis(1));
        }
        if workers.joined(0) > 0 {
            workers.kill(0)?;
            killed = true;
        }
        let ended = child.wait_with_output()?;
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    ensure!(sums(&workers)? == expected(3), "{:?}", sums(&workers)?);
    workers.site.ok(&["fsck", "numbers"]).map(drop)
}
