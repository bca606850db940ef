//! A store that is full, read-only or damaged: a coded error that says what to do, and every earlier commit as it was.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use spout_tests::Site;

const SPEC: &str = r#"
pipeline: {name: lines}
producer:
  stream: {plugin: files, topic: in, settings: {pattern: "*.ndjson", follow: false}}
  decoder: {type: json, schema: {n: int64, text: utf8}}
commit: {path: /lines/}
grants:
  files: {dirs: {in: ./in}}
"#;

fn lines(from: u64, count: u64) -> String {
    // Text that does not compress, so that files are as large as they look.
    (from..from + count)
        .map(|n| {
            format!(
                "{{\"n\":{n},\"text\":\"{:064x}\"}}\n",
                u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
            )
        })
        .collect()
}

/// A place whose store is a small file system of its own, unmounted in the end.
struct Mounted {
    site: Site,
}

impl Mounted {
    fn new(kib: u32) -> Result<Option<Self>> {
        let site = Site::new()?;
        let store = site.path().join("store");
        fs::create_dir(&store)?;
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&store).output()?;
        Ok(mounted.status.success().then_some(Self { site }))
    }

    fn remount(&self, options: &str) -> Result<()> {
        let store = self.site.path().join("store");
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(store).status()?;
        ensure!(done.success(), "mount failed");
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.site.path().join("store")).status();
        drop(unmounted);
    }
}

#[test]
fn a_full_store_stops_with_an_error_and_goes_on_with_room() -> Result<()> {
    let Some(mounted) = Mounted::new(512)? else {
        println!("SKIPPED: mounting a small file system needs root");
        return Ok(());
    };
    let site = &mounted.site;
    site.write("spec.yaml", SPEC)?;
    site.write("in/a.ndjson", lines(0, 2_000))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.write("in/b.ndjson", lines(2_000, 20_000))?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["error[E05", "lines", "hint: spout explain"])?;
    ensure!(site.number("select count(*) from lines", None)? == 2_000, "the first commit changed");
    mounted.remount("size=64m")?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(distinct n) from lines", None)? == 22_000, "rows are missing");
    ensure!(site.number("select count(*) from lines", None)? == 22_000, "rows are doubled");
    site.ok(&["fsck"])?;
    Ok(())
}

#[test]
fn a_read_only_store_stops_with_an_error() -> Result<()> {
    let Some(mounted) = Mounted::new(4096)? else {
        println!("SKIPPED: mounting a small file system needs root");
        return Ok(());
    };
    let site = &mounted.site;
    site.write("spec.yaml", SPEC)?;
    site.write("in/a.ndjson", lines(0, 100))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    mounted.remount("ro")?;
    site.fails(&["run", "spec.yaml", "--until", "ended"], 1, &["error[E05", "lines"])?;
    ensure!(site.number("select count(*) from lines", None)? == 100, "the first commit changed");
    Ok(())
}

#[test]
fn a_torn_file_is_named_by_fsck_and_by_whoever_reads_it() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", SPEC)?;
    site.write("in/a.ndjson", lines(0, 5_000))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.ok(&["fsck"])?;
    let data = site.path().join("store/repos/lines/tables/master/lines");
    let parquet = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let mut files = fs::read_dir(&data)?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = files.find(parquet).context("a data file")?;
    let bytes = fs::read(&file)?;
    fs::write(&file, &bytes[..bytes.len() / 2])?;
    let name = file.file_name().context("a name")?.to_string_lossy().into_owned();
    let output = site.run(&["fsck"])?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && told.contains(&name), "{told}");
    site.fails(&["sql", "select sum(n) from lines"], 1, &["error[E05"])?;
    Ok(())
}

#[test]
fn two_pipelines_on_one_branch_are_refused_before_anything_runs() -> Result<()> {
    let site = Site::new()?;
    site.write("a.yaml", SPEC)?;
    site.write("b.yaml", SPEC)?;
    site.write("in/a.ndjson", lines(0, 1))?;
    site.fails(&["run", "a.yaml", "b.yaml", "--until", "ended"], 2, &["error[E01", "lines"])?;
    ensure!(!site.path().join("store/repos").exists(), "something was written");
    Ok(())
}

#[test]
fn the_older_of_two_hosts_is_fenced() -> Result<()> {
    let site = Site::new()?;
    site.write("spec.yaml", SPEC.replace("follow: false", "follow: true"))?;
    site.write("in/a.ndjson", lines(0, 10))?;
    let mut older = site.start(&["run", "spec.yaml"])?;
    older.wait_for("committed")?.context("a first commit")?;
    // The newer host takes the branch over, commits nothing new, and ends.
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    site.write("in/b.ndjson", lines(10, 10))?;
    let (succeeded, told) = older.end()?;
    ensure!(!succeeded && told.contains("error[E05") | told.contains("\"E05"), "{told}");
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(*) from lines", None)? == 20, "rows are missing or doubled");
    Ok(())
}
