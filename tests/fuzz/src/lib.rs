//! Fuzz targets as plain functions, run on stable: a seed or bytes go in, and a panic comes out where something was found.
//!
//! A target is a unit test of its room, in a module called `fuzz`. In CI it runs a few thousand times, with the same seeds each
//! time; `just fuzz TARGET EXECUTIONS FIRST` runs it as often as one likes, on all cores. Whatever it was found to fail at lies in
//! `fuzz/TARGET/` of its room, and is tried first.
//!
//! An execution fails where it panics, where it takes more memory than the target may (a reservation that may fail is refused
//! then, any other ends the process, and the seed was said before), and where it does not end.

#![expect(clippy::panic, reason = "a fuzz target says by a panic what it found")]

mod corpus;
mod json;
mod memory;
mod random;
mod watch;

use std::{
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicU64, Ordering},
};

use self::watch::Watch;
pub use self::{corpus::Corpus, json::change_json, memory::Counting, random::Random};

/// `EXECUTIONS` or `EXECUTIONS:FIRST`, for longer runs.
const LONGER: &str = "SPOUT_FUZZ";
/// What an execution may take, unless its target says otherwise.
const MEMORY: usize = 64 << 20;

/// What an execution says of its input.
pub trait Outcome {
    /// Whether it was taken, so that more than its refusal was tried.
    fn taken(&self) -> bool;
}

impl Outcome for () {
    fn taken(&self) -> bool {
        true
    }
}

impl Outcome for bool {
    fn taken(&self) -> bool {
        *self
    }
}

/// A target, and how often it runs in CI.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    name: &'static str,
    executions: u64,
    memory: usize,
}

impl Target {
    /// The target `name`, which runs so often where nobody asks for more.
    #[must_use]
    pub fn new(name: &'static str, executions: u64) -> Self {
        Self { name, executions, memory: MEMORY }
    }

    /// The same with so many bytes for an execution; they are counted where the room has [`Counting`] for its allocator.
    #[must_use]
    pub fn within(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// Runs it with seeds. Of many inputs one in a hundred has to be taken, or the target tries nothing.
    ///
    /// # Panics
    /// With what it found; the seed was printed.
    pub fn seeds<T: Outcome>(self, run: impl Fn(u64) -> T + Sync) {
        let longer = std::env::var(LONGER).ok();
        let (executions, first) = match &longer {
            None => (self.executions, 0),
            Some(text) => asked(text).unwrap_or_else(|| panic!("{LONGER}={text} is not EXECUTIONS:FIRST")),
        };
        let threads = if longer.is_some() { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
        let (next, taken, watch) = (AtomicU64::new(0), AtomicU64::new(0), Watch::new(self.name));
        let begun = std::time::Instant::now();
        let work = || {
            loop {
                let done = next.fetch_add(1, Ordering::Relaxed);
                if done >= executions {
                    return Ok(());
                }
                let seed = first + done;
                let _watched = watch.begin(seed);
                let once = || memory::metered(self.name, seed, self.memory, || run(seed));
                match panic::catch_unwind(AssertUnwindSafe(once)) {
                    Ok(outcome) => drop(taken.fetch_add(outcome.taken().into(), Ordering::Relaxed)),
                    Err(found) => {
                        next.store(executions, Ordering::Relaxed);
                        eprintln!("{0}: found something; `just fuzz {0} 1 {seed}` repeats it", self.name);
                        return Err(found);
                    }
                }
            }
        };
        let found = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap_or_else(Err).err()).next()
        });
        if let Some(found) = found {
            panic::resume_unwind(found);
        }
        let (taken, rate) = (taken.into_inner(), executions as f64 / begun.elapsed().as_secs_f64());
        println!(
            "{}: {executions} executions from seed {first}, {taken} taken, nothing found, {rate:.0} a second",
            self.name
        );
        assert!(executions < 100 || taken >= executions / 100, "{}: too few inputs are taken", self.name);
    }

    /// Runs it with the inputs of `corpus`, then with what becomes of them.
    ///
    /// # Panics
    /// With what it found; the input was stored, and its file named.
    pub fn bytes<T: Outcome>(self, corpus: &Corpus, run: impl Fn(&[u8]) -> T + Sync) {
        self.seeds(|seed| {
            let input = corpus.input(seed);
            let _kept = Kept { name: self.name, seed, input: &input };
            run(&input)
        });
    }
}

/// What `EXECUTIONS:FIRST` says.
fn asked(text: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.replace('_', "").parse().ok();
    match text.split_once(':') {
        Some((executions, first)) => Some((number(executions)?, number(first)?)),
        None => Some((number(text)?, 0)),
    }
}

/// An input that is stored if its execution panics.
struct Kept<'a> {
    name: &'static str,
    seed: u64,
    input: &'a [u8],
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let file = std::env::temp_dir().join(format!("spout-fuzz-{}-{}", self.name, self.seed));
        let what = self.input.escape_ascii().to_string();
        eprintln!("{}: input {what:.2000}", self.name);
        if std::fs::write(&file, self.input).is_ok() {
            eprintln!("{}: it is in {}", self.name, file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static MEMORY: Counting = Counting;

    #[test]
    fn what_panics_is_found_and_what_does_not_is_not() {
        Target::new("sound", 100).seeds(|_| {});
        let found = panic::catch_unwind(|| Target::new("unsound", 100).seeds(|seed| assert!(seed < 50, "at {seed}")));
        assert_eq!(found.unwrap_err().downcast_ref::<String>().unwrap(), "at 50");
    }

    #[test]
    fn a_target_whose_inputs_are_all_refused_is_no_target() {
        let found = panic::catch_unwind(|| Target::new("idle", 1000).seeds(|seed| seed < 5)).unwrap_err();
        assert!(found.downcast_ref::<String>().unwrap().contains("too few"));
        Target::new("busy", 1000).seeds(|seed| seed < 15);
    }

    #[test]
    fn memory_is_refused_beyond_what_a_target_may_take() {
        Target::new("greedy", 2).within(1 << 20).seeds(|seed| {
            let mut vec = Vec::<u8>::new();
            assert!(vec.try_reserve_exact(900 << 10).is_ok(), "{seed}: what was freed counts no more");
            assert!(vec.try_reserve_exact(2 << 20).is_err(), "{seed}");
            assert!(Vec::<u8>::new().try_reserve_exact(200 << 10).is_err(), "{seed}: together it is too much");
        });
        assert!(Vec::<u8>::new().try_reserve_exact(2 << 20).is_ok(), "nobody else is held to it");
    }

    #[test]
    fn the_corpus_comes_first_and_then_its_mutations() {
        let corpus = Corpus::of([b"one".to_vec(), b"two".to_vec()]).words(&["{}"]);
        assert_eq!([corpus.input(0), corpus.input(1)], [b"one".to_vec(), b"two".to_vec()]);
        let others: std::collections::BTreeSet<_> = (2..200).map(|seed| corpus.input(seed)).collect();
        assert!(others.len() > 100, "{}", others.len());
        assert_eq!(corpus.input(77), corpus.input(77));
        assert!(others.iter().any(|input| input.windows(2).any(|two| two == b"{}")));
    }

    #[test]
    fn a_longer_run_is_asked_for_by_numbers() {
        assert_eq!(asked("1_000:7"), Some((1000, 7)));
        assert_eq!((asked("5"), asked("x"), asked("5:")), (Some((5, 0)), None, None));
    }
}
