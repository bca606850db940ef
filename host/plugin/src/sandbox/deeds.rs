//! Loops, traps, bombs, waits, exits, floods and reaching outside, in each call that a guest exports.

use std::fs;

use super::*;

/// Every call of the guest, with `mode` in it, ends in an error that `expected` accepts and that names its nouns.
async fn check_all(mode: &str, expected: fn(&Error) -> bool) {
    // What does not end by itself is stopped soon; anything else has the time it needs, also where other tests run.
    let patience = if matches!(mode, "spin" | "sleep" | "pause") { 300 } else { 5000 };
    let patience = Duration::from_millis(patience);
    for call in CALLS {
        let started = spout_base::clock::now();
        let mut task = task(mode, call).await;
        task.limits.call = Period(patience);
        let error = make(call, task).await.expect_err(call);
        assert!(expected(&error), "{mode} in {call}: {error:?}");
        assert!(error.is_crash(), "{mode} in {call}");
        let text = error.to_string();
        assert!(text.contains("hostile") && text.contains("trial"), "{text}");
        // Other tests share two cores; without a stop this would never end.
        assert!(started.elapsed() < Duration::from_secs(10), "{mode} in {call} took {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_ends() {
    check_all("spin", |error| matches!(error, Error::TimedOut { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends() {
    check_all("sleep", |error| matches!(error, Error::TimedOut { .. })).await;
    check_all("pause", |error| matches!(error, Error::TimedOut { .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_and_an_exit_are_values() {
    let said = |error: &Error| matches!(error, Error::Trap { reason, .. } if reason.starts_with("panicked at ") && reason.ends_with(": as ordered"));
    check_all("trap", said).await;
    check_all("exit", |error| matches!(error, Error::Exit { status: 1, .. })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_run_into_their_limit() {
    let limit = |error: &Error, which: &str| matches!(error, Error::Limit { what, .. } if *what == which);
    check_all("memory", move |error| matches!(error, Error::Limit { what: "memory", .. })).await;
    check_all("recurse", |error| matches!(error, Error::Limit { what: "stack", .. })).await;
    check_all("overflow", |error| matches!(error, Error::Trap { .. })).await;
    check_all("handles", |error| matches!(error, Error::Limit { what: "handles", .. })).await;
    check_all("random", |error| matches!(error, Error::Trap { .. })).await;
    let mut small = task("", "").await;
    small.limits.table_elements = 3;
    let error = make("decode", small).await.unwrap_err();
    assert!(limit(&error, "table elements"), "{error:?}");
    let mut small = task("", "").await;
    small.limits.memory = ByteSize(1 << 16);
    let error = make("decode", small).await.unwrap_err();
    assert!(limit(&error, "memory"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_is_stopped_near_its_limit_and_neighbours_go_on() {
    let neighbour = async {
        // It shares two cores with four loops and other tests: what is shown is that it goes on, not how fast.
        let mut patient = task("", "").await;
        patient.limits.call = Period(Duration::from_secs(30));
        let mut decoding = Decoding::open(patient, "t", None).await.unwrap();
        let messages = fetched().await;
        let mut done = 0;
        let started = spout_base::clock::now();
        while started.elapsed() < Duration::from_millis(250) {
            decoding.decode(&messages, 0).await.unwrap();
            done += 1;
            tokio::task::consume_budget().await;
        }
        done
    };
    let spinning = || async {
        let mut decoding = Decoding::open(task("spin", "decode").await, "t", None).await.unwrap();
        let messages = fetched().await;
        let started = spout_base::clock::now();
        decoding.decode(&messages, 0).await.unwrap_err();
        started.elapsed()
    };
    let loops: Vec<_> = (0..4).map(|_| tokio::spawn(spinning())).collect();
    let done = tokio::spawn(neighbour).await.unwrap();
    assert!(done >= 3, "the neighbour came to {done} batches only");
    for one in loops {
        let took = one.await.unwrap();
        // Four of them share two cores, and time is counted where it was really used: at most all of them in turn.
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_call_has_a_new_instance() {
    let mut decoding = Decoding::open(task("poison", "decode").await, "t", None).await.unwrap();
    let messages = fetched().await;
    for _ in 0..5 {
        assert!(decoding.decode(&messages, 0).await.unwrap_err().is_crash());
        assert_eq!(decoding.decode(&messages.slice(0..7), 0).await.unwrap().records.num_rows(), 7);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_interrupts_what_runs_and_what_begins_after_it() {
    let interrupted = |mode: &'static str, call: &'static str, before: bool| async move {
        let mut busy = task(mode, call).await;
        busy.limits.call = Period(Duration::from_secs(3600));
        let draining = busy.draining.clone();
        if before {
            draining.cancel();
        }
        let call = tokio::spawn(async move { make(call, busy).await });
        draining.cancel();
        // Without an interruption this would take an hour.
        tokio::time::timeout(Duration::from_secs(60), call).await.expect("the call goes on").unwrap().unwrap_err()
    };
    let calls = ["partitions", "fetch", "next", "decode", "process", "finish", "snapshot"];
    let all = calls.iter().flat_map(|&call| [("spin", call), ("sleep", call)]);
    let all: Vec<_> = all.flat_map(|(mode, call)| [(mode, call, false), (mode, call, true)]).collect();
    let errors =
        futures::future::join_all(all.iter().map(|&(mode, call, before)| interrupted(mode, call, before))).await;
    for ((mode, call, _), error) in all.iter().zip(errors) {
        assert!(matches!(error, Error::Interrupted { .. }), "{mode} in {call}: {error:?}");
        assert!(!error.is_crash(), "what was interrupted is not tried again");
        assert!(error.to_string().contains("hostile"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_does_no_harm() {
    let mut decoding = Decoding::open(task("sleep", "decode").await, "t", None).await.unwrap();
    let messages = fetched().await;
    for _ in 0..2 {
        let dropped = tokio::time::timeout(Duration::from_millis(20), decoding.decode(&messages, 0)).await;
        assert!(dropped.is_err());
    }
    // Its own fate, not that of the calls before.
    let error = decoding.decode(&messages, 0).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_says_is_passed_on_clean() {
    let said = |mode: &'static str| async move { make("fetch", task(mode, "fetch").await).await.unwrap_err() };
    let retriable = said("retriable").await;
    assert!(matches!(&retriable, Error::Retriable { code, retry_after: None, .. } if code == "test.retriable"));
    assert!(!retriable.to_string().contains('\u{1b}'), "{retriable}");
    // What depends on nothing outside has no trouble that passes.
    for call in ["decoding-open", "decode", "node-open", "process", "finish", "snapshot"] {
        let error = make(call, task("retriable", call).await).await.unwrap_err();
        assert!(matches!(&error, Error::Fatal { code, .. } if code == "test.retriable"), "{call}: {error:?}");
    }
    assert!(matches!(said("fatal").await, Error::Fatal { .. }));
    assert!(matches!(said("config").await, Error::InvalidConfig { .. }));
    assert!(
        matches!(said("range").await, Error::OutOfRange { range: Some(range), .. } if *range == (Position::at(5), Position::at(9)))
    );
    assert!(matches!(said("end").await, Error::EndOfStream { .. }));
    let plugin = PLUGINS.get("hostile").await.unwrap();
    let offers = plugin.offers(&LimitsSpec::default()).await.unwrap();
    assert!(!offers[0].summary.contains('\u{1b}'), "{offers:?}");
    let mut provider = Provider::new(task("", "").await, "t");
    let label = provider.partitions(&Marker::default(), LIMITS.timeout).await.unwrap().remove(0).label;
    assert!(!label.contains('\u{1b}'), "{label}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_not_granted_is_there() {
    let error = make("fetch", task("reach", "fetch").await).await.unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "reach.denied"), "{error}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_directory_is_read_only_and_has_walls() {
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("data");
    fs::create_dir(&inside).unwrap();
    fs::write(place.path().join("secret.txt"), "secret").unwrap();
    fs::write(inside.join("in.txt"), "granted").unwrap();
    std::os::unix::fs::symlink("../secret.txt", inside.join("link")).unwrap();
    std::os::unix::fs::symlink("..", inside.join("dir-link")).unwrap();
    let mut granted = task("granted", "fetch").await;
    granted.limits.call = Period(Duration::from_secs(5));
    granted.grants.dirs.insert("data".into(), DirGrant::Path(inside.clone()));
    let error = make("fetch", granted.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "reach.denied"), "{error}");
    assert_eq!(fs::read_to_string(inside.join("in.txt")).unwrap(), "granted");

    // The guest notices what it may do: the test can fail.
    granted.grants.dirs.insert("data".into(), DirGrant::Access { path: inside, write: true });
    let error = make("fetch", granted.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "reach.open"), "{error}");

    granted.grants.dirs.insert("gone".into(), DirGrant::Path(place.path().join("nowhere")));
    let error = make("fetch", granted).await.unwrap_err();
    assert!(matches!(&error, Error::Grant { name, .. } if name == "gone"), "{error}");
}

fn pipe_at(path: &std::path::Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
}

/// In calls that may block their thread, and in those that may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_wait_for_somebody_else_is_not_opened() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("in.txt"), "granted").unwrap();
    pipe_at(&place.path().join("pipe"));
    std::os::unix::fs::symlink("pipe", place.path().join("to-pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).unwrap();
    for call in ["fetch", "decode"] {
        let mut reader = task("pipe", call).await;
        reader.grants.dirs.insert("data".into(), DirGrant::Access { path: place.path().to_owned(), write: true });
        let error = make(call, reader).await.unwrap_err();
        assert!(matches!(&error, Error::Fatal { code, .. } if code == "pipe.refused"), "{call}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_takes_the_place_of_a_file_stalls_nobody() {
    let place = tempfile::tempdir().unwrap();
    let [file, pipe, flip] = ["file", "pipe", "flip"].map(|name| place.path().join(name));
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut reader = task("flip", "fetch").await;
    reader.limits.call = Period(Duration::from_secs(30));
    reader.grants.dirs.insert("data".into(), DirGrant::Path(place.path().to_owned()));
    let over = Arc::clone(&done);
    let flipping = std::thread::spawn(move || {
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            fs::write(&file, "").unwrap();
            fs::rename(&file, &flip).unwrap();
            pipe_at(&pipe);
            fs::rename(&pipe, &flip).unwrap();
        }
    });
    let error = make("fetch", reader).await.unwrap_err();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    flipping.join().unwrap();
    assert!(matches!(&error, Error::Fatal { code, .. } if code == "flip.done"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_instances_together_have_no_more_than_one_plugin_may() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("in.txt"), "granted").unwrap();
    let mut opening = task("files", "fetch").await;
    opening.limits.files = Some(20);
    opening.limits.call = Period(Duration::from_secs(30));
    opening.grants.dirs.insert("data".into(), DirGrant::Path(place.path().to_owned()));
    let error = make("fetch", opening).await.unwrap_err();
    assert!(matches!(&error, Error::Together { setting: "files", instances: 1, .. }), "{error}");

    // Each has less than an instance may have, and the third more than all.
    let mut hoarding = task("hoard", "consumer-open").await;
    hoarding.limits.total_memory = Some(ByteSize(100 << 20));
    hoarding.limits.call = Period(Duration::from_secs(30));
    let mut readers: Vec<_> = (0..3).map(|_| PartitionConsumer::new(hoarding.clone(), "t")).collect();
    let mut answers = Vec::new();
    for reader in &mut readers {
        answers.push(reader.fetch(vec![(0, Position::at(0))], LIMITS).await);
    }
    assert!(answers[0].is_ok() && answers[1].is_ok(), "{answers:?}");
    let error = answers.remove(2).unwrap_err();
    assert!(matches!(&error, Error::Together { setting: "totalMemory", instances: 3, .. }), "{error}");
    assert!(!error.is_crash(), "no message is to blame");
    assert!(error.to_string().contains("plugin `hostile` of pipeline `trial`"), "{error}");
    // What one gives back is there for the others.
    readers.remove(0);
    readers.pop().unwrap().fetch(vec![(0, Position::at(0))], LIMITS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_filled_so_far_and_no_further() {
    for call in ["fetch", "decode"] {
        let place = tempfile::tempdir().unwrap();
        let mut filling = task("fill", call).await;
        filling.limits.call = Period(Duration::from_secs(60));
        filling.limits.disk = ByteSize(10 << 20);
        filling.grants.dirs.insert("data".into(), DirGrant::Access { path: place.path().to_owned(), write: true });
        let error = make(call, filling.clone()).await.unwrap_err();
        // The guest's library does not always say that no space is left.
        let refused = |error: &Error, bytes: u64| {
            let said = error.to_string();
            assert!(
                said.contains(&format!("after {bytes} bytes by ")) && !said.contains("by nothing"),
                "{call}: {said}"
            );
        };
        refused(&error, 9 << 20);
        assert!(fs::metadata(place.path().join("out.bin")).unwrap().len() <= 10 << 20);
        // It is used up for its other instances, too.
        fs::rename(place.path().join("out.bin"), place.path().join("old.bin")).unwrap();
        let error = make(call, filling.clone()).await.unwrap_err();
        refused(&error, 0);
        filling.limits.disk = ByteSize(100 << 20);
        let error = make(call, filling).await.unwrap_err();
        assert!(error.to_string().contains("after 67108864 bytes by nothing"), "{call}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_has_so_many_partitions_and_no_more() {
    let mut wide = task("", "").await;
    wide.settings.push(("partitions".into(), "10001".into()));
    wide.limits.call = Period(Duration::from_secs(30));
    let list =
        |task: Task| async move { Provider::new(task, "t").partitions(&Marker::default(), LIMITS.timeout).await };
    let error = list(wide.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Partitions { count: 10_001, limit: 10_000, .. }), "{error}");
    wide.limits.partitions = 10_001;
    assert_eq!(list(wide).await.unwrap().len(), 10_001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_words_is_no_flood_here() {
    let mut loud = task("flood", "decode").await;
    loud.limits.call = Period(Duration::from_secs(10));
    make("decode", loud).await.unwrap();
    make("decode", task("escape", "decode").await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_ends_when_the_pipeline_drains() {
    let mut waiting = task("pause", "decode").await;
    waiting.limits.call = Period(Duration::from_secs(60));
    let draining = waiting.draining.clone();
    let call = tokio::spawn(async move { make("decode", waiting).await });
    draining.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), call).await;
    ended.expect("the pause goes on").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_may_hang_and_keeps_only_a_thread_of_the_plugin() {
    let place = tempfile::tempdir().unwrap();
    let pipe = place.path().join("secret");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let mut hangs = task("", "").await;
    hangs.pipeline = "hangs".into();
    let secret = serde_json::from_value(serde_json::json!({"file": pipe})).unwrap();
    hangs.grants.secrets.insert("password".into(), secret);
    // Whoever waited for the pipe here would find nobody who writes it.
    let checked = hangs.check_grants(World::Source, None).await;
    assert!(matches!(checked, Err(Error::TimedOut { .. })), "{checked:?}");
    let opened = PartitionConsumer::new(hangs, "t").fetch(vec![(0, Position::at(0))], LIMITS).await;
    assert!(matches!(opened, Err(Error::TimedOut { .. })), "{opened:?}");
    // Only for the test to leave nothing behind.
    drop(std::fs::OpenOptions::new().write(true).open(pipe).unwrap());
}
