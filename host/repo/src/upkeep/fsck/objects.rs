//! Objects that records name, and objects that none does; bytes inside records and packs.

use std::collections::BTreeMap;

use super::records::Seen;
use super::{Depth, Report, Severity, mismatch, reason};
use crate::{delta, error::Error, layout::Layout, log::Slot, repo::Repo, upkeep::reach::Named};

pub(super) async fn check(repo: &Repo, depth: Depth, seen: &Seen, report: &mut Report) -> Result<(), Error> {
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
    for (name, named) in &seen.reach.objects {
        object(repo, depth, (name, named), there.get(name).copied(), seen, report).await?;
    }
    for ((slot, _), named) in &seen.reach.inline {
        if !seen.inline.contains(&(slot.clone(), named.blob.sha256.clone())) {
            packed(repo, depth, (slot, named), seen, report).await;
        }
    }
    Ok(())
}

async fn object(
    repo: &Repo,
    depth: Depth,
    (name, named): (&str, &Named),
    size: Option<u64>,
    seen: &Seen,
    report: &mut Report,
) -> Result<(), Error> {
    let path = repo.layout.object(name);
    let Named { blob, what, .. } = named;
    let wrong = match (size, depth) {
        (None, _) => Some("it is missing".to_owned()),
        (Some(size), Depth::Structure) => mismatch(blob, size, None),
        (Some(_), Depth::Everything | Depth::Decoded) => match repo.objects.find(&path).await {
            Ok(Some(bytes)) => {
                report.bytes += bytes.len() as u64;
                let wrong = mismatch(blob, bytes.len() as u64, Some(&bytes));
                wrong.or_else(|| seen.undecodable(depth, named, bytes, report))
            }
            Ok(None) => Some("it is missing".to_owned()),
            Err(error) => Some(reason(error)),
        },
    };
    if let Some(wrong) = wrong {
        report.find(Severity::Error, repo.objects.shown(&path), wrong, what);
    }
    Ok(())
}

/// Bytes of a record that is not kept have to be in a pack.
async fn packed(repo: &Repo, depth: Depth, (slot, named): (&Slot, &Named), seen: &Seen, report: &mut Report) {
    let wrong = match repo.blob(&named.what, &named.blob).await {
        Ok(bytes) => {
            report.bytes += bytes.len() as u64;
            seen.undecodable(depth, named, bytes, report)
        }
        Err(error) => Some(reason(error)),
    };
    if let Some(wrong) = wrong {
        let object = repo.objects.shown(&repo.layout.record(&slot.branch, slot.sequence));
        report.find(Severity::Error, object, wrong, &named.what);
    }
}
