//! Files of broken writes, which nothing reads.

use super::{Remedy, Repo, Report, Severity, repair::Place};
use crate::upkeep::leftovers;

pub(super) fn check(repo: &Repo, report: &mut Report) {
    for left in leftovers::find(repo) {
        let what = "a write that was broken off left it; `spout gc` removes it when it is old enough, and `spout fsck --repair` at once while no pipeline writes the repo";
        report.find(Severity::Note, left.path.display().to_string(), what, "nothing");
        report.remedy(Remedy::Remove(Place::File(left.path)));
    }
}
