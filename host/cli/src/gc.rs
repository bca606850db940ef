//! `spout gc`: removes what nothing leads to any more.

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use spout_api::{Api, Collect, Collected};
use spout_data::Period;

use super::{
    Global,
    busy::Busy,
    print::{Printer, Table, grouped, size},
};

/// Remove commits that a repo no longer keeps, and data that nothing refers to.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout gc --dry-run                    show what would be removed
  spout gc github-events                one repo
  spout gc --min-age 1h

Whatever a branch, a tag or a kept commit needs stays; `spout update repo` sets how much history is kept. Anything younger
than --min-age stays too, so that puts and commits in progress can finish. Versions and copies of Delta tables go with their
commits. No byte of deleted rows is left after
  spout delete file events@master:/t/a.parquet
  spout update repo events --keep 1
  spout gc events --min-age 0s")]
pub(super) struct Gc {
    /// Only this repo.
    repo: Option<String>,
    /// Keep anything younger than this: `1h`, `7d`.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    min_age: Period,
    /// Only show what would be removed.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    repo: String,
    dry_run: bool,
    #[serde(flatten)]
    collected: Collected,
}

impl Gc {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let api = if self.dry_run { global.api().await? } else { global.api_to_write().await? };
        let repos = match &self.repo {
            Some(repo) => vec![api.repo(repo).await?.name],
            None => api.repos().await?.into_iter().map(|repo| repo.name).collect(),
        };
        let min_age_ms = i64::try_from(self.min_age.0.as_millis()).unwrap_or(i64::MAX);
        let how = Collect { min_age_ms, dry_run: self.dry_run };
        let (mut lines, mut failed) = (Vec::new(), None);
        let busy = Busy::new(printer);
        for repo in repos {
            busy.say(format!("collecting {repo}"));
            match collect(&*api, &repo, how).await {
                Ok(collected) => lines.push(Line { repo, dry_run: self.dry_run, collected }),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        drop(busy);
        printer.list(&lines, table, "nothing was removed")?;
        if !printer.json() && !lines.is_empty() {
            printer.line(self.summary(&lines))?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn summary(&self, lines: &[Line]) -> String {
        let freed = size(lines.iter().map(|line| line.collected.bytes).sum());
        let young: u64 = lines.iter().map(|line| line.collected.young).sum();
        let kept = match young {
            0 => String::new(),
            young => format!("; {} more are younger than --min-age", grouped(young)),
        };
        if self.dry_run {
            format!("nothing was removed, {freed} could be{kept}")
        } else {
            format!("{freed} freed{kept}")
        }
    }
}

/// One repo that is damaged keeps no other from being collected.
async fn collect(api: &dyn Api, repo: &str, how: Collect) -> Result<Collected> {
    api.collect(repo, how).await.with_context(|| format!("the repo {repo} was not collected"))
}

fn table(lines: &[Line]) -> Table {
    Table::new(
        &["repo", ">records", ">objects", ">size", ">young"],
        lines.iter().map(|Line { repo, collected, .. }| {
            let [records, objects, young] = [collected.records, collected.objects, collected.young].map(grouped);
            vec![repo.clone(), records, objects, size(collected.bytes), young]
        }),
    )
}
