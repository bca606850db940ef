//! How much memory the system's allocator keeps for threads that do not need it.

/// Has as many arenas as there are processors, and two at least, instead of eight for each. Rows go from thread to thread, and each
/// has an arena of its own otherwise: what one frees is of no use to the others, who have the system give them more, page by page.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn share_arenas() {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arenas = libc::c_int::try_from(processors.max(2)).unwrap_or(libc::c_int::MAX);
    // SAFETY: it takes numbers alone, and may be called at any time; where it is refused, there are as many as before.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

/// Other allocators have no such choice.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn share_arenas() {}
