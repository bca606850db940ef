//! What a spout promises: whatever it is killed in, at a marker there is what is there when it is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use spout_base::clock;
use spout_format::sha256;
use spout_plugin::Plugins;
use spout_repo::{Commit, Reference, Repo, Store};
use spout_spec::Loaded;
use tokio::time::{sleep, timeout};

use super::{Finding, Verdict};
use crate::{Error, Host, Links, Parts, RunOptions, Until, Update};

/// How long a spout may take for all that is asked of it in one run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a marker that is its own name.
const NAMED: usize = 120;

/// A spout, as a spec runs it, on stores of its own.
#[derive(Debug)]
pub struct SpoutTrial<'a> {
    loaded: Loaded,
    plugins: &'a Plugins,
    /// Commits after which a run is over, if the spout has not ended before.
    commits: u64,
    /// How often it is killed on the way.
    kills: u64,
}

/// A commit of the spout.
#[derive(Clone, Debug, PartialEq)]
struct Made {
    /// The marker: what the host keeps of it, and the files that are it.
    marker: String,
    /// The files by path: size, and hash of the bytes.
    files: BTreeMap<String, (u64, String)>,
}

/// When a run is to die.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// When it has made so many commits, and so long after the last of them.
    After(u64, Duration),
    /// It is stopped in order when it has made so many.
    Never(u64),
}

impl<'a> SpoutTrial<'a> {
    /// The spout of `loaded`, for runs of so many commits, with so many kills.
    #[must_use]
    pub fn new(mut loaded: Loaded, plugins: &'a Plugins, commits: u64, kills: u64) -> Self {
        // What rows would be sent to is none of its business.
        loaded.spec.consumers.clear();
        Self { loaded, plugins, commits, kills }
    }

    /// Runs it whole, and then killed between commits and within them, and compares.
    ///
    /// # Errors
    /// If the spec cannot run at all.
    pub async fn run(&self) -> Result<Vec<Finding>, Error> {
        let begun = clock::now();
        let store = self.scratch().await?;
        let whole = match self.live(&store, Death::Never(self.commits)).await? {
            Ok(_) => self.history(&store).await?,
            Err(error) => return Ok(vec![Finding::of("it makes commits", Err(error))]),
        };
        let took = begun.elapsed();
        let mut findings = vec![Finding::of("it makes commits", made(&whole, took))];
        if whole.is_empty() {
            return Ok(findings);
        }
        findings.push(Finding::of("each commit leaves a marker of its own", distinct(&whole)));
        let each = took / u32::try_from(whole.len()).unwrap_or(u32::MAX);
        for (when, within) in [("between its commits", false), ("within its commits", true)] {
            let promise = format!("killed {} times {when}, it loses and doubles nothing", self.kills);
            let verdict = match self.killed(whole.len() as u64, each, within).await? {
                Ok(again) => same(&whole, &again),
                Err(error) => Err(error),
            };
            findings.push(Finding::of(promise, verdict));
        }
        Ok(findings)
    }

    /// The commits that it makes in several lives, until there are `commits`.
    async fn killed(&self, commits: u64, each: Duration, within: bool) -> Result<Result<Vec<Made>, String>, Error> {
        let store = self.scratch().await?;
        let mut made = 0;
        for kill in 0..self.kills {
            let due = ((kill + 1) * commits / (self.kills + 1)).saturating_sub(made);
            // Spread over the time that a commit takes, so that each part of one is met.
            let rest = if within { each * u32::try_from(1 + kill * 7 % 10).unwrap_or(1) / 11 } else { Duration::ZERO };
            match self.live(&store, Death::After(due, rest)).await? {
                Ok(more) => made += more,
                Err(error) => return Ok(Err(error)),
            }
        }
        match self.live(&store, Death::Never(commits.saturating_sub(made))).await? {
            Ok(_) => self.history(&store).await.map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// One life; how many commits it has made, or why that came to nothing.
    async fn live(&self, store: &Store, death: Death) -> Result<Result<u64, String>, Error> {
        let (Death::After(most, _) | Death::Never(most)) = death;
        if most == 0 && matches!(death, Death::Never(_)) {
            return Ok(Ok(0));
        }
        let links = Links::between(std::slice::from_ref(&self.loaded))?;
        let parts = Parts::build(&self.loaded, self.plugins, &links).await?;
        let options = RunOptions { until: Until::Ended, ..RunOptions::default() };
        let (mut host, mut updates) = Host::start(vec![parts], store, &options);
        let mut made = 0;
        let over = async {
            loop {
                if let Death::After(most, rest) = death
                    && made >= most
                {
                    sleep(rest).await;
                    return Ok(());
                }
                match updates.recv().await {
                    Some(Update::Committed { reason, .. }) if reason == SOURCE => {
                        made += 1;
                        if made == most && matches!(death, Death::Never(_)) {
                            host.stop();
                        }
                    }
                    Some(Update::Failed { error, .. }) => return Err(error),
                    Some(_) => {}
                    None => return Ok(()),
                }
            }
        };
        let lived = timeout(PATIENCE, over).await.unwrap_or_else(|_| {
            Err(format!(
                "in {} s it neither ended nor made {most} commits; ask for fewer with --commits",
                PATIENCE.as_secs()
            ))
        });
        if lived.is_ok() && matches!(death, Death::Never(_)) {
            while host.failure().await.is_some() {}
        }
        // Dropped, it ends where it is, and no more of it is committed than a dead process would.
        drop(host);
        Ok(lived.map(|()| made))
    }

    async fn scratch(&self) -> Result<Store, Error> {
        Store::open("memory://").await.map_err(|source| self.failed("open", source))
    }

    fn failed(&self, doing: &'static str, source: spout_repo::Error) -> Error {
        let (pipeline, branch) = (self.loaded.spec.pipeline.name.clone(), self.loaded.spec.commit.branch.clone());
        Error::Repo { pipeline, branch, doing, source: Box::new(source) }
    }

    /// The commits of the spout, oldest first.
    async fn history(&self, store: &Store) -> Result<Vec<Made>, Error> {
        let (pipeline, branch) = (&self.loaded.spec.pipeline.name, &self.loaded.spec.commit.branch);
        let failed = |source| self.failed("read", source);
        let Ok((repo, mut commit)) = store.resolve(&Reference::head(pipeline, branch)).await else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        loop {
            if commit.reason == SOURCE {
                all.push(self.made(&repo, &commit).await.map_err(failed)?);
            }
            let Some(parent) = &commit.parent else { break };
            commit = repo.resolve(&Reference::head(pipeline, parent)).await.map_err(failed)?;
        }
        all.reverse();
        Ok(all)
    }

    async fn made(&self, repo: &Repo, commit: &Commit) -> Result<Made, spout_repo::Error> {
        let tree = repo.tree(commit).await?;
        let mut files = BTreeMap::new();
        for file in tree.below("/") {
            let bytes = repo.read_file(&tree, &file.path).await?;
            files.insert(file.path.clone(), (bytes.len() as u64, sha256(&bytes)));
        }
        let tokens = commit.marker.partitions.values().filter_map(|entry| entry.position.token.as_deref());
        let mut marker: String = tokens.map(named).collect();
        if let Some(path) = &self.loaded.spec.spout.marker {
            let path = format!("/{}", path.trim_matches('/'));
            for file in tree.below(&path) {
                let bytes = repo.read_file(&tree, &file.path).await?;
                marker = format!("{marker} {}", named(&bytes));
            }
        }
        Ok(Made { marker: marker.trim().to_owned(), files })
    }
}

/// A marker as people know it, and no other one's name.
fn named(marker: &[u8]) -> String {
    match str::from_utf8(marker) {
        Ok(text) if text.len() <= NAMED => text.trim().to_owned(),
        _ => format!("sha256:{}", sha256(marker)),
    }
}

/// Why commits are cut that the spout itself has finished.
const SOURCE: &str = "source";

fn made(whole: &[Made], took: Duration) -> Verdict {
    let Some(last) = whole.last() else {
        return Err("it ended without a commit; give it something to do in its spec".into());
    };
    let bytes: u64 = last.files.values().map(|(size, _)| size).sum();
    Ok(format!("{} commits, {} files of {bytes} bytes, in {} ms", whole.len(), last.files.len(), took.as_millis()))
}

/// A commit that leaves the marker of another one is made again when the spout goes on there.
fn distinct(whole: &[Made]) -> Verdict {
    let mut seen = BTreeSet::new();
    for (number, made) in (1..).zip(whole) {
        if made.marker.is_empty() {
            return Err(format!("commit {number} leaves none, so a spout that is started again begins anew"));
        }
        if !seen.insert(&made.marker) {
            let marker = &made.marker;
            return Err(format!(
                "commit {number} leaves `{marker}`, as one before it does, and is made again from there"
            ));
        }
    }
    Ok(String::new())
}

/// Whether the files at each marker are those of the run that was not killed.
fn same(whole: &[Made], again: &[Made]) -> Verdict {
    let of: BTreeMap<&str, &Made> = whole.iter().map(|made| (made.marker.as_str(), made)).collect();
    let mut common = BTreeSet::new();
    for made in again {
        let Some(there) = of.get(made.marker.as_str()) else { continue };
        common.insert(made.marker.as_str());
        if let Some(difference) = difference(&there.files, &made.files) {
            return Err(format!("at the marker `{}`, {difference}", made.marker));
        }
    }
    let missing = whole.iter().find(|made| !common.contains(made.marker.as_str()));
    match missing {
        None => Ok(format!("{} commits are the same", common.len())),
        Some(made) => Err(format!(
            "it never comes to the marker `{}`, at which the whole run made a commit; where commits are cut by time, that is no loss",
            made.marker
        )),
    }
}

/// The first file that is not the same.
fn difference(whole: &BTreeMap<String, (u64, String)>, again: &BTreeMap<String, (u64, String)>) -> Option<String> {
    let paths: BTreeSet<&String> = whole.keys().chain(again.keys()).collect();
    paths.into_iter().find_map(|path| match (whole.get(path), again.get(path)) {
        (Some(one), Some(other)) if one == other => None,
        (Some((one, _)), Some((other, _))) if one < other => {
            Some(format!("{path} has {other} bytes and not {one}: something is there twice"))
        }
        (Some((one, _)), Some((other, _))) if one > other => {
            Some(format!("{path} has {other} bytes and not {one}: something is lost"))
        }
        (Some((size, _)), Some(_)) => Some(format!("{path} has other bytes, though as many: {size}")),
        (Some(_), None) => Some(format!("{path} is missing")),
        (None, _) => Some(format!("{path} is there, and is not without the kills")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(all: &[(&str, &[(&str, &str)])]) -> Vec<Made> {
        let file = |(path, text): &(&str, &str)| ((*path).to_owned(), (text.len() as u64, (*text).to_owned()));
        let made = |(marker, files): &(&str, &[(&str, &str)])| Made {
            marker: (*marker).to_owned(),
            files: files.iter().map(file).collect(),
        };
        all.iter().map(made).collect()
    }

    #[test]
    fn what_is_lost_or_doubled_is_said_with_its_marker_and_file() {
        let whole = commits(&[("1", &[("/a", "x")]), ("2", &[("/a", "xy"), ("/b", "z")])]);
        let check = |again: &[(&str, &[(&str, &str)])], expected: Result<&str, &str>| {
            let (verdict, expected_text) = (same(&whole, &commits(again)), expected.unwrap_or_else(|text| text));
            assert_eq!(verdict.is_ok(), expected.is_ok(), "{verdict:?}");
            let (Ok(text) | Err(text)) = verdict;
            assert!(text.contains(expected_text), "{text}");
        };
        check(&[("1", &[("/a", "x")]), ("2", &[("/a", "xy"), ("/b", "z")])], Ok("2 commits"));
        check(&[("1", &[("/a", "x")]), ("1", &[("/a", "xx")])], Err("at the marker `1`, /a has 2 bytes and not 1"));
        check(&[("1", &[("/a", "x")]), ("2", &[("/a", "x"), ("/b", "z")])], Err("something is lost"));
        check(&[("1", &[("/a", "x")]), ("2", &[("/a", "xy")])], Err("/b is missing"));
        check(&[("1", &[("/a", "y")])], Err("other bytes"));
        check(&[("1", &[("/a", "x")])], Err("never comes to the marker `2`"));
        check(&[("1", &[("/a", "x"), ("/c", "")])], Err("/c is there"));
    }

    #[test]
    fn a_marker_has_to_tell_one_commit_from_the_next() {
        assert!(distinct(&commits(&[("1", &[]), ("2", &[])])).is_ok());
        assert!(distinct(&commits(&[("1", &[]), ("1", &[])])).unwrap_err().contains("commit 2 leaves `1`"));
        assert!(distinct(&commits(&[("", &[])])).unwrap_err().contains("leaves none"));
    }
}
