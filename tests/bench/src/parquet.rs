//! From lines of JSON to durable commits of Parquet, beside DuckDB over the same files: one file and four, with the native decoder and
//! with the one in the sandbox. First that both come to the same rows, by DuckDB's own comparison.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, venv};

use crate::process;

const ROWS: u64 = 2_000_000;
const RUNS: usize = 5;
/// How DuckDB is pinned, as the suite has it.
const DUCKDB: &str = "duckdb==1.5.5";
const SCHEMA: &str = r#"{"id":"int64","ts":"timestamp(ms)","user":"utf8","kind":"utf8","amount":"float64","ok":"boolean","note":"utf8"}"#;

/// What one run took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    wall: f64,
    cpu: f64,
    peak_mib: u64,
    faults: u64,
    bytes: u64,
}

/// Who goes from the same lines to Parquet.
#[derive(Clone, Copy, Debug)]
enum Candidate {
    Native,
    Sandbox,
    Duck,
}

impl Candidate {
    const ALL: [Self; 3] = [Self::Native, Self::Sandbox, Self::Duck];

    fn decoder(self) -> String {
        match self {
            Self::Sandbox => format!("{{plugin: json, settings: {{schema: '{SCHEMA}'}}}}"),
            Self::Native | Self::Duck => format!("{{type: json, schema: {SCHEMA}}}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Native => "native decoder",
            Self::Sandbox => "sandboxed decoder",
            Self::Duck => "DuckDB",
        }
    }

    /// The most of DuckDB's processor time.
    fn aim(self) -> f64 {
        if let Self::Sandbox = self { 1.1 } else { 0.85 }
    }
}

/// `rows`, in millions, also ask how the cost grows: one file of each size, with the native decoder.
pub(crate) fn run(rows: &[String]) -> Result<()> {
    if !rows.is_empty() {
        return grows(&rows.iter().map(|rows| Ok(rows.parse::<u64>()? * 1_000_000)).collect::<Result<Vec<_>>>()?);
    }
    let Some(python) = venv::python(&[DUCKDB])? else { return Ok(()) };
    for files in [1, 4] {
        let bytes = input(ROWS, files)?;
        println!(
            "parquet: {ROWS} lines of {} bytes in {files} file(s), a filter, a commit every 100,000 rows; median of {RUNS}; load {}",
            bytes / ROWS,
            fs::read_to_string("/proc/loadavg").unwrap_or_default().trim()
        );
        let mut all: [Vec<Took>; 3] = Default::default();
        let mut version = String::new();
        for turn in 0..RUNS {
            for (took, candidate) in all.iter_mut().zip(Candidate::ALL) {
                took.push(match candidate {
                    Candidate::Duck => duck(&python, files, &mut version)?,
                    ours => once(ROWS, files, ours)?,
                });
                let store = store(candidate);
                if turn == 0 && !matches!(candidate, Candidate::Duck) {
                    // DuckDB wrote its file before, or does so now.
                    duck(&python, files, &mut version)?;
                    same(&python, &store)?;
                }
            }
        }
        let [native, sandbox, duck] = all.map(middle);
        for (candidate, took) in Candidate::ALL.into_iter().zip([native, sandbox, duck]) {
            let million = ROWS as f64 / 1e6;
            print!(
                "  {:18} {:.2} CPU s and {:.2} s a million rows   peak {} MiB   {:.1} bytes a row",
                candidate.name(),
                took.cpu / million,
                took.wall / million,
                took.peak_mib,
                took.bytes as f64 / ROWS as f64
            );
            match candidate {
                Candidate::Duck => println!("   ({version}, Zstandard)"),
                ours => println!(
                    "   {} page faults   of DuckDB's: CPU {:.2}x (aim {}), wall {:.2}x (aim 1.2), aim 200 MiB",
                    took.faults,
                    took.cpu / duck.cpu,
                    ours.aim(),
                    took.wall / duck.wall
                ),
            }
        }
    }
    Ok(())
}

/// What a row costs where there are more of them; the first size is the measure.
fn grows(sizes: &[u64]) -> Result<()> {
    let mut first: Option<Took> = None;
    for &rows in sizes {
        input(rows, 1)?;
        let runs = if rows > 10_000_000 { 1 } else { RUNS };
        let all = (0..runs).map(|_| once(rows, 1, Candidate::Native)).collect::<Result<Vec<_>>>()?;
        let took = middle(all);
        let of = *first.get_or_insert(Took { cpu: took.cpu / rows as f64, ..took });
        println!(
            "parquet: {} million rows: {:.3} CPU s a million ({:.2}x), {:.2} s a million, peak {} MiB ({:.2}x), median of {runs}",
            rows / 1_000_000,
            took.cpu / (rows as f64 / 1e6),
            took.cpu / rows as f64 / of.cpu,
            took.wall / (rows as f64 / 1e6),
            took.peak_mib,
            took.peak_mib as f64 / of.peak_mib as f64
        );
    }
    Ok(())
}

/// Medians, each by itself, but the largest peak.
fn middle(mut all: Vec<Took>) -> Took {
    let mut of = |key: fn(&Took) -> f64| {
        all.sort_by(|one, other| key(one).total_cmp(&key(other)));
        all.get(all.len() / 2).map_or(0.0, key)
    };
    let (wall, cpu) = (of(|took| took.wall), of(|took| took.cpu));
    let (faults, bytes) = (of(|took| took.faults as f64) as u64, of(|took| took.bytes as f64) as u64);
    Took { wall, cpu, faults, bytes, peak_mib: all.iter().map(|took| took.peak_mib).max().unwrap_or(0) }
}

fn place(rows: u64, files: u64) -> PathBuf {
    spout_tests::root().join(format!("target/bench-lines-{}m-{files}", rows / 1_000_000))
}

fn store(candidate: Candidate) -> PathBuf {
    spout_tests::root().join(format!("target/bench-store-parquet-{}", candidate.name().replace(' ', "-")))
}

/// An id and a time that rise, texts of 100,000 users, of 977 notes and of four kinds, an amount, a truth.
fn line(n: u64, to: &mut impl Write) -> std::io::Result<()> {
    let dice = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let kind = ["click", "view", "buy", "leave"][(dice >> 62) as usize];
    let (seconds, millis) = (n / 1000 % 60, n % 1000);
    let (minutes, hours, day) = (n / 60_000 % 60, n / 3_600_000 % 24, 1 + n / 86_400_000 % 28);
    writeln!(
        to,
        r#"{{"id":{n},"ts":"2026-01-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}","user":"user-{:05}","kind":"{kind}","amount":{}.{:02},"ok":{},"note":"note {}"}}"#,
        (dice >> 20) % 100_000,
        (dice >> 40) % 1000,
        (dice >> 10) % 100,
        dice >> 33 & 1 == 1,
        (dice >> 24) % 977,
    )
}

/// Makes the input unless it is there; its bytes.
fn input(rows: u64, files: u64) -> Result<u64> {
    let dir = place(rows, files);
    if !dir.join("done").exists() {
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir)?;
        for file in 0..files {
            let mut out = BufWriter::new(File::create(dir.join(format!("{file}.ndjson")))?);
            (rows * file / files..rows * (file + 1) / files).try_for_each(|n| line(n, &mut out))?;
            out.flush()?;
        }
        fs::write(dir.join("done"), "")?;
    }
    let sizes = (0..files).map(|file| Ok(fs::metadata(dir.join(format!("{file}.ndjson")))?.len()));
    sizes.sum()
}

fn once(rows: u64, files: u64, candidate: Candidate) -> Result<Took> {
    let site = Site::new()?;
    let spec = format!(
        r#"
pipeline: {{name: lines}}
producer:
  stream: {{plugin: files, topic: in, settings: {{pattern: "*.ndjson", follow: false}}}}
  decoder: {}
node:
  - {{id: cheap, type: filter, where: "amount < 900"}}
commit: {{path: /lines/, flush: {{rows: 100000}}}}
grants:
  files: {{dirs: {{in: {}}}}}
"#,
        candidate.decoder(),
        place(rows, files).display()
    );
    site.write("spec.yaml", spec)?;
    let store = store(candidate);
    drop(fs::remove_dir_all(&store));
    let mut command = site.command(&["run", "spec.yaml", "--until", "ended"]);
    command.env("SPOUT_STORE", &store).stdout(Stdio::null()).stderr(Stdio::inherit());
    let (before, begun) = (process::children(), Instant::now());
    let mut child = command.spawn()?;
    let seen = process::watch(&mut child);
    let wall = begun.elapsed().as_secs_f64();
    ensure!(child.wait()?.success(), "the run failed");
    let (cpu, faults) = process::children();
    let bytes = parquet(&store)?.iter().map(|file| Ok(fs::metadata(file)?.len())).sum::<Result<u64>>()?;
    Ok(Took { wall, cpu: cpu - before.0, peak_mib: seen.peak_mib, faults: faults - before.1, bytes })
}

/// The Parquet files of a store of one repo.
fn parquet(store: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![store.to_path_buf()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|end| end == "parquet") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn written() -> PathBuf {
    spout_tests::root().join("target/bench-duckdb.parquet")
}

fn duck(python: &Path, files: u64, version: &mut String) -> Result<Took> {
    let lines = place(ROWS, files).join("*.ndjson");
    let told = ask(python, &["write".as_ref(), lines.as_ref(), written().as_ref(), "zstd".as_ref()])?;
    let number = |name: &str| told.get(name).and_then(Value::as_f64).context("a figure of DuckDB's");
    *version = format!("DuckDB {}", told.get("version").and_then(Value::as_str).unwrap_or("?"));
    Ok(Took {
        wall: number("wall")?,
        cpu: number("cpu")?,
        peak_mib: number("peak_mib")? as u64,
        faults: 0,
        bytes: fs::metadata(written())?.len(),
    })
}

/// Whether our files and DuckDB's have the same rows, by DuckDB.
fn same(python: &Path, store: &Path) -> Result<()> {
    let ours = store.join("**/*.parquet");
    let told = ask(python, &["compare".as_ref(), ours.as_ref(), written().as_ref()])?;
    let beyond = told.get("beyond").context("a comparison")?;
    ensure!(*beyond == serde_json::json!([0, 0]), "DuckDB came to other rows: {told}");
    Ok(())
}

fn ask(python: &Path, args: &[&std::ffi::OsStr]) -> Result<Value> {
    let program = spout_tests::root().join("tests/bench/src/parquet.py");
    let output = Command::new(python).arg(program).args(args).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "DuckDB failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}
