//! Files of broken writes, which nothing reads.

use super::{Remedy, Repo, Report, Severity, repair::Removed};
use crate::upkeep::leftovers;

pub(super) fn check(repo: &Repo, report: &mut Report) {
    for left in leftovers::find(repo) {
        let what = "an interrupted write left it behind; `spout gc` removes it when it is old enough, and `spout fsck --repair` at once if no pipeline writes the repo";
        report.find(Severity::Note, left.path.display().to_string(), what, "nothing");
        report.remedy(Remedy::Remove(Removed::File(left.path)));
    }
}
