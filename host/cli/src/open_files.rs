//! How many files the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What macOS allows where it does not say.
const OPEN_MAX: u64 = 10_240;

/// Raises the limit to what the system allows. The usual 1,024 is for programs that wait with `select`; a source of thousands
/// of files, clients, and a repo's files need more.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Without a limit, as on macOS, the system still has one, and takes no more.
    for wanted in [maximum, Some(OPEN_MAX)] {
        let more = wanted.is_none_or(|wanted| current.is_some_and(|current| current < wanted));
        if more && setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok() {
            return;
        }
    }
}
