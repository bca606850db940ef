//! `spout inspect pipeline`: what a spec would do, and what its pipeline has done.

use anyhow::Result;
use serde::Serialize;
use spout_api::{Api, Branch, CommitInfo, Inspected, Local, Reference};
use spout_data::Counts;
use spout_pipeline::Links;
use spout_spec::load_all;

use super::super::{
    Global, check,
    commit::{sum, table_of_marker},
    fates, findings,
    print::{Printer, count, local_time, short},
};

/// What a spec would do, then what its pipelines have done.
pub(super) async fn of_spec(path: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let plugins = global.open_plugins()?;
    let store = global.store().await.ok();
    for loaded in load_all(&[path])? {
        match check::planned(&loaded, Some(&plugins), Some(&Links::default()), store.as_ref()).await {
            Ok(plan) => plan.print(printer, global.verbose)?,
            Err(wrong) => findings::all(&wrong, printer.json())?,
        }
        let name = &loaded.spec.pipeline.name;
        let repos = match &store {
            Some(store) => store.repos().await?,
            None => Vec::new(),
        };
        match &store {
            Some(store) if repos.iter().any(|repo| repo.name == *name) => {
                of_name(&Local::new(store.clone()), name, printer).await?
            }
            _ if printer.json() => {}
            _ => printer.line(format!("{name} has not run on this store; `spout run {path}` starts it"))?,
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    pipeline: &'a str,
    branch: &'a str,
    commits: u64,
    epoch: u64,
    head: Option<CommitInfo>,
}

pub(super) async fn of_name(api: &dyn Api, name: &str, printer: &mut Printer) -> Result<()> {
    let branches = api.branches(name).await?;
    if branches.is_empty() && !printer.json() {
        return printer.line(format!("{name} has committed nothing yet"));
    }
    for branch in &branches {
        let head = match &branch.head {
            Some(id) => match api.commit(&Reference::head(name, id)).await? {
                Inspected::Commit(commit) => Some(*commit),
                Inspected::Pending(_) => None,
            },
            None => None,
        };
        if printer.json() {
            let Branch { pipeline, name: branch, commits, epoch, .. } = branch;
            printer.value(&Done { pipeline, branch, commits: *commits, epoch: *epoch, head })?
        } else {
            print_branch(name, branch, head.as_ref(), printer)?
        }
    }
    Ok(())
}

/// What became of the messages of the last commit.
fn fates(counts: &Counts) -> String {
    let mut became = vec![count(counts.rows, "row")];
    became.extend(fates::besides(counts));
    format!("{} from {}", became.join(", "), count(counts.messages, "message"))
}

fn print_branch(repo: &str, branch: &Branch, head: Option<&CommitInfo>, printer: &mut Printer) -> Result<()> {
    let commits = count(branch.commits, "commit");
    let writers = format!("{} so far", count(branch.epoch, "writer"));
    let Some(head) = head else {
        let nothing = "nothing is committed yet".to_owned();
        return printer.facts(&[
            ("branch", format!("{repo}@{}", branch.name)),
            ("commits", nothing),
            ("writers", writers),
        ]);
    };
    let plugins = head.plugins.iter().map(|(name, digest)| format!("{name} sha256:{}", short(digest)));
    printer.facts(&[
        ("branch", format!("{repo}@{}", branch.name)),
        ("pipeline", format!("{} sha256:{}", branch.pipeline, short(&head.spec_digest))),
        ("plugins", plugins.collect::<Vec<_>>().join("\n")),
        ("commits", format!("{commits}, the last {} at {}", short(&head.id), local_time(head.at_ms))),
        ("writers", writers),
        ("last commit", fates(&head.counts)),
        ("adds up", sum(&head.counts).unwrap_or_default()),
    ])?;
    if head.marker.partitions.is_empty() { Ok(()) } else { printer.table(&table_of_marker(&head.marker)) }
}
