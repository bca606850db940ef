//! `spout-fuzz [TARGET|all] [EXECUTIONS] [FIRST SEED]`: runs fuzz targets of the core on all cores until one fails.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use spout_codec::fuzz::TARGETS;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("all", String::as_str);
    let number = |at: usize, or: u64| args.get(at).map_or(Some(or), |text| text.replace('_', "").parse().ok());
    let (Some(executions), Some(first)) = (number(1, 1_000_000), number(2, 0)) else {
        eprintln!("usage: spout-fuzz [TARGET|all] [EXECUTIONS] [FIRST SEED]");
        return ExitCode::from(2);
    };
    let chosen: Vec<_> = TARGETS.iter().filter(|(target, _)| name == "all" || name == *target).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
        eprintln!("there is no target `{name}`; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    for (target, run) in chosen {
        let begun = Instant::now();
        if !all(*run, first, executions) {
            eprintln!("{target}: found something; the seed stands above");
            return ExitCode::FAILURE;
        }
        let rate = executions as f64 / begun.elapsed().as_secs_f64();
        println!("{target}: {executions} executions from seed {first}, nothing found, {rate:.0} a second");
    }
    ExitCode::SUCCESS
}

/// Runs the seeds from `first` on; returns whether all passed.
fn all(run: fn(u64), first: u64, executions: u64) -> bool {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let done = next.fetch_add(1, Ordering::Relaxed);
                if done >= executions {
                    return true;
                }
                if std::panic::catch_unwind(|| run(first + done)).is_err() {
                    stop.store(true, Ordering::Relaxed);
                    return false;
                }
            }
            true
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().all(|thread| thread.join().is_ok_and(|passed| passed))
    })
}
