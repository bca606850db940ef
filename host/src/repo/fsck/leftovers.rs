//! Files of broken writes: the store stages `name#1` before it links it to `name`, and its listings leave them out.

use std::path::Path;

use super::{Remedy, Repo, Report, Severity, repair::Place};

pub(super) fn check(repo: &Repo, report: &mut Report) {
    let Some(root) = repo.objects.root() else { return };
    let mut directories = vec![root.join(repo.layout.root().as_ref())];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(path),
                Ok(_) if is_staged(&path) => {
                    let what = "a write that was broken off left it; `spout fsck --repair` removes it while no pipeline writes the repo";
                    report.find(Severity::Note, path.display().to_string(), what, "nothing");
                    report.remedy(Remedy::Remove(Place::File(path)));
                }
                _ => {}
            }
        }
    }
}

fn is_staged(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let digits = name.and_then(|name| name.rsplit_once('#')).map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
