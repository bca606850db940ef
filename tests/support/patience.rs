//! Ends all tests where one of them does not end, and says which: CI would wait for it until it is stopped from outside, and nobody
//! would know its name. And writes down how long each took, in seconds, into the file that `SPOUT_TEST_TIMES` names.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    process::{self, Command},
    sync::{Mutex, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Far longer than any test takes on a machine that others use too.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The same for `just soak`, whose tests have ten times as much to do, and more.
const LONGEST_OF_SOAK: Duration = Duration::from_secs(4 * 3600);

/// How long a test may take to end once all that it started is gone.
const GRACE: Duration = Duration::from_secs(60);

/// How often it is looked.
const PAUSE: Duration = Duration::from_secs(5);

/// Which tests are running, by number: their names, and since when.
static RUNNING: Mutex<BTreeMap<u64, (String, Instant)>> = Mutex::new(BTreeMap::new());

static WATCH: Once = Once::new();

/// A test, as long as this is kept.
#[derive(Debug)]
pub(crate) struct Patience(u64);

impl Patience {
    /// Begins to watch the test of this thread.
    pub(crate) fn begin() -> Self {
        WATCH.call_once(|| drop(thread::spawn(watch)));
        let name = thread::current().name().unwrap_or("a thread of a test").to_owned();
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let number = running.last_key_value().map_or(0, |(last, _)| last + 1);
        running.insert(number, (name, Instant::now()));
        Self(number)
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        let ended = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        if let (Some((name, since)), Some(times)) = (ended, std::env::var_os("SPOUT_TEST_TIMES")) {
            let line = format!("{:8.1} {name}\n", since.elapsed().as_secs_f64());
            let file = fs::OpenOptions::new().create(true).append(true).open(times);
            drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
        }
    }
}

fn watch() {
    let longest = if std::env::var_os("SPOUT_KILLS").is_some() { LONGEST_OF_SOAK } else { LONGEST };
    loop {
        thread::sleep(PAUSE);
        let Some((number, name)) = stuck(longest) else { continue };
        let mut all = Vec::new();
        started(process::id(), 1, &mut all);
        let shown: String = all.iter().map(|(_, line)| line.as_str()).collect();
        // Not what is captured of a test, which might never be shown.
        drop(io::stderr().write_all(format!("\ntest {name} does not end; all of this is killed:\n{shown}").as_bytes()));
        for (id, _) in &all {
            drop(Command::new("kill").args(["-9", &id.to_string()]).status());
        }
        // It fails, if it waited for one of them, and is reported as other tests that fail.
        thread::sleep(GRACE);
        if RUNNING.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&number) {
            drop(io::stderr().write_all(b"it does not end even so\n"));
            process::exit(101);
        }
    }
}

fn stuck(longest: Duration) -> Option<(u64, String)> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let stuck = running.iter().find(|(_, (_, since))| since.elapsed() > longest);
    stuck.map(|(number, (name, _))| (*number, name.clone()))
}

/// What the process `id` started, with what that started: ids, and lines that show them.
fn started(id: u32, depth: usize, all: &mut Vec<(u32, String)>) {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().filter_map(Result::ok);
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let shown: String = command.chars().take(200).collect();
            all.push((child, format!("{:width$}{child} {shown}\n", "", width = depth * 2)));
            started(child, depth + 1, all);
        }
    }
}
