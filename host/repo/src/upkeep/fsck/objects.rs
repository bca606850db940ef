//! Objects that records name, and objects that none does; bytes inside records and packs.

use std::collections::BTreeMap;

use super::records::Seen;
use super::{
    Depth, Report, Severity, mismatch,
    reading::{self, ReadsParts},
};
use crate::{
    delta,
    layout::Layout,
    log::{Blob, Place},
    repo::Repo,
    upkeep::reach::Named,
};

pub(super) async fn check<R: ReadsParts>(
    repo: &Repo,
    depth: Depth,
    seen: Seen,
    readers: &R,
    report: &mut Report,
) -> Result<(), R::Error> {
    let mut there = BTreeMap::new();
    let (mut replaced, mut replaced_bytes) = (0u64, 0u64);
    for directory in [repo.layout.data(), repo.layout.tables(), repo.layout.index()] {
        for (path, size) in repo.objects.list(&directory).await? {
            let name = repo.layout.name(&path).to_owned();
            let known = seen.reach.objects.contains_key(&name) || seen.reach.segments.contains_key(&name);
            if !known && !Layout::is_ours(&name) && !delta::is_published(&name) {
                let what = format!(
                    "it does not belong to a repo ({size} bytes); nothing reads it, and `spout gc` leaves it alone"
                );
                report.find(Severity::Note, repo.objects.shown(&path), what, "nothing");
            } else if !known && name.starts_with("index/") {
                (replaced, replaced_bytes) = (replaced + 1, replaced_bytes + size);
            } else if !known && !delta::is_published(&name) {
                let what = format!(
                    "no commit refers to it ({size} bytes): an unfinished commit left it behind, or one is being written now; `spout gc` removes it"
                );
                report.find(Severity::Note, repo.objects.shown(&path), what, "nothing");
            }
            there.insert(name, size);
        }
    }
    if replaced > 0 {
        let what =
            format!("{replaced} runs that newer ones have replaced ({replaced_bytes} bytes); `spout gc` removes them");
        report.find(Severity::Note, repo.objects.shown(&repo.layout.index()), what, "nothing");
    }
    let wanted = |(name, named): (String, Named)| {
        let wrong = match there.get(&name) {
            None => Some("it is missing".to_owned()),
            Some(&size) if depth == Depth::Structure => mismatch(&named.blob, size, None),
            // Its bytes say more.
            Some(_) => return Some(named),
        };
        if let Some(wrong) = wrong {
            report.find(Severity::Error, repo.objects.shown(&repo.layout.object(&name)), wrong, named.what);
        }
        None
    };
    let mut named: Vec<Named> = seen.reach.objects.into_iter().filter_map(wanted).collect();
    let inline = seen.reach.inline.into_iter();
    named.extend(inline.filter(|(key, _)| !seen.inline.contains(key)).map(|(_, named)| named));
    let parts = reading::parts(repo, depth, named.into_iter(), &seen.reach.schemas, readers.most());
    let done = readers.read(&parts).await?;
    for (part, done) in parts.iter().zip(done) {
        report.bytes += done.bytes;
        report.tables += done.tables;
        for (one, wrong) in done.wrong.into_iter().filter_map(|(at, wrong)| Some((part.blobs.get(at)?, wrong))) {
            report.find(Severity::Error, shown(repo, &one.blob), wrong, &one.what);
        }
    }
    Ok(())
}

/// Where bytes are, or were.
fn shown(repo: &Repo, blob: &Blob) -> String {
    match &blob.place {
        Place::Object(name) => repo.objects.shown(&repo.layout.object(name)),
        Place::Record(slot) => repo.objects.shown(&repo.layout.record(&slot.branch, slot.sequence)),
        Place::Inline(_) => "its record".to_owned(),
    }
}
