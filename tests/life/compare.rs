//! Whether what is seen is one of two acknowledged states, or on the way from one to the other where that takes steps.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::portrait::{OfRepo, Portrait};

/// Everything in `seen` is as in `before` or as in `after`. Only a collection takes several steps: a line of commits that
/// it shortens may be anything between.
pub(crate) fn between(before: &Portrait, seen: &Portrait, after: &Portrait) -> Result<()> {
    let names: BTreeSet<_> = before.keys().chain(seen.keys()).chain(after.keys()).collect();
    for name in names {
        let (old, now, new) = (before.get(name), seen.get(name), after.get(name));
        if now == old || now == new {
            continue;
        }
        ensure!(now.is_some(), "repo {name} is gone");
        let none = OfRepo::default();
        let (old, now, new) = (old.unwrap_or(&none), now.unwrap_or(&none), new.unwrap_or(&none));
        repo(old, now, new).map_err(|error| error.context(format!("repo {name}")))?;
    }
    Ok(())
}

fn repo(old: &OfRepo, now: &OfRepo, new: &OfRepo) -> Result<()> {
    let names: BTreeSet<_> = old.branches.keys().chain(now.branches.keys()).chain(new.branches.keys()).collect();
    for name in names {
        let (old, now, new) = (old.branches.get(name), now.branches.get(name), new.branches.get(name));
        let shortened = match (old, now, new) {
            (Some(old), Some(now), Some(new)) => old.starts_with(now) && now.starts_with(new),
            _ => false,
        };
        ensure!(now == old || now == new || shortened, "branch {name} is {now:#?}, not {old:#?} or {new:#?}");
    }
    let names: BTreeSet<_> = old.tags.keys().chain(now.tags.keys()).chain(new.tags.keys()).collect();
    for name in names {
        let (old, now, new) = (old.tags.get(name), now.tags.get(name), new.tags.get(name));
        ensure!(now == old || now == new, "tag {name} is at {now:?}, not at {old:?} or {new:?}");
    }
    ensure!(now.keeps == old.keeps || now.keeps == new.keeps, "it keeps {:?} commits", now.keeps);
    ensure!(now.started == old.started || now.started == new.started, "{} commits are started", now.started);
    Ok(())
}

/// Nothing but commits that the rules do not keep is gone after a collection.
pub(crate) fn collected(before: &Portrait, after: &Portrait) -> Result<()> {
    let mut expected = before.clone();
    for (name, old) in &mut expected {
        for (branch, line) in &mut old.branches {
            let least = old.keeps.and_then(|keeps| usize::try_from(keeps).ok()).unwrap_or(line.len());
            let seen = after.get(name).and_then(|repo| repo.branches.get(branch));
            let kept = seen.filter(|seen| line.starts_with(seen) && seen.len() >= least.min(line.len()));
            ensure!(kept.is_some(), "branch {branch} of {name} is {seen:#?} after a collection, and was {line:#?}");
            line.truncate(kept.map_or(0, Vec::len));
        }
    }
    ensure!(expected == *after, "a collection changed {expected:#?} to {after:#?}");
    Ok(())
}
