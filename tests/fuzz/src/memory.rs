//! An allocator that counts what one execution holds at a time, and refuses what is beyond its limit.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{self, Write as _},
    ptr,
};

/// Refusals that are said of one thread; a target that may be refused memory would fill the screen.
const SAID: u32 = 3;

/// The allocator of a room's tests. Only what runs within a target is held to a limit.
///
/// ```ignore
/// #[global_allocator]
/// static MEMORY: spout_fuzz::Counting = spout_fuzz::Counting;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// What a thread holds, and of which execution.
#[derive(Clone, Copy)]
struct Meter {
    target: &'static str,
    seed: u64,
    held: usize,
    /// 0 outside of targets.
    limit: usize,
    said: u32,
}

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(Meter { target: "", seed: 0, held: 0, limit: 0, said: 0 }) };
}

/// Runs `run` with at most `limit` bytes at a time.
pub(crate) fn metered<T>(target: &'static str, seed: u64, limit: usize, run: impl FnOnce() -> T) -> T {
    /// The limit ends with the execution, also where that panics.
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            METER.with(|meter| meter.set(Meter { limit: 0, ..meter.get() }));
        }
    }
    METER.with(|meter| meter.set(Meter { target, seed, held: 0, limit, ..meter.get() }));
    let _over = Over;
    run()
}

/// Whether so many bytes more may be held.
fn take(size: usize) -> bool {
    METER
        .try_with(|cell| {
            let mut meter = cell.get();
            let held = meter.held.saturating_add(size);
            // What says where it panicked is no part of it.
            if meter.limit > 0 && held > meter.limit && !std::thread::panicking() {
                if meter.said < SAID {
                    meter.said += 1;
                    cell.set(meter);
                    say(&meter, size);
                }
                return false;
            }
            meter.held = held;
            cell.set(meter);
            true
        })
        .unwrap_or(true)
}

fn give(size: usize) {
    let given = METER.try_with(|cell| {
        let meter = cell.get();
        cell.set(Meter { held: meter.held.saturating_sub(size), ..meter });
    });
    // A thread that is ending has none.
    given.unwrap_or_default();
}

/// Says which execution wanted too much, without allocating.
fn say(meter: &Meter, size: usize) {
    let mut line = [0_u8; 256];
    let mut rest = &mut line[..];
    let Meter { target, seed, held, limit, .. } = meter;
    let written =
        writeln!(rest, "{target}: seed {seed} was refused {size} bytes: it holds {held} and may hold {limit}");
    let left = rest.len();
    if written.is_ok() {
        drop(io::stderr().write_all(&line[..256 - left]));
    }
}

// SAFETY: memory comes from `System` and goes back to it with the layout it came with; counting touches neither, and what is
// refused is null, as the contract has it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        give(layout.size());
        // SAFETY: `System` gave it, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && !take(size - layout.size()) {
            return ptr::null_mut();
        }
        give(layout.size().saturating_sub(size));
        // SAFETY: `System` gave it, with this layout; the size is the caller's.
        unsafe { System.realloc(memory, layout, size) }
    }
}
