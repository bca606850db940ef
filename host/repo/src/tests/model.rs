//! Random lives of a repo against a model of plain maps. A failing case is printed, made small, and can be run again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use spout_data::PartitionId;

use super::*;

type Files = BTreeMap<String, Vec<u8>>;
type Places = BTreeMap<PartitionId, PartitionMarker>;

#[derive(Clone, Debug)]
enum Op {
    Commit { branch: u8, puts: Vec<(u8, bool, u8)>, deletes: Vec<u8>, moves: Vec<(u32, u8)> },
    Edit { branch: u8, puts: Vec<(u8, bool, u8)> },
    Copy { branch: u8, from: u8, to: u8 },
    Reopen { branch: u8 },
    Branch { branch: u8, at: u8 },
    DeleteBranch { branch: u8 },
    Tag { tag: u8, at: u8 },
    Untag { tag: u8 },
    Squash { branch: u8, at: u8, more: u8 },
    Revert { branch: u8, at: u8 },
    Started { branch: u8, puts: Vec<(u8, bool, u8)>, dropped: bool },
    Collect { keep: Option<u8> },
}

fn op() -> impl Strategy<Value = Op> {
    let put = || (0..12u8, any::<bool>(), any::<u8>());
    let puts = move || proptest::collection::vec(put(), 1..4);
    let moves = proptest::collection::vec((1..200u32, any::<u8>()), 0..40);
    let (branch, at) = (0..3u8, any::<u8>());
    prop_oneof![
        10 => (branch.clone(), puts(), proptest::collection::vec(0..12u8, 0..2), moves)
            .prop_map(|(branch, puts, deletes, moves)| Op::Commit { branch, puts, deletes, moves }),
        4 => (branch.clone(), puts()).prop_map(|(branch, puts)| Op::Edit { branch, puts }),
        2 => (branch.clone(), 0..12u8, 12..15u8).prop_map(|(branch, from, to)| Op::Copy { branch, from, to }),
        2 => branch.clone().prop_map(|branch| Op::Reopen { branch }),
        2 => (branch.clone(), at).prop_map(|(branch, at)| Op::Branch { branch, at }),
        1 => branch.clone().prop_map(|branch| Op::DeleteBranch { branch }),
        1 => (0..2u8, any::<u8>()).prop_map(|(tag, at)| Op::Tag { tag, at }),
        1 => (0..2u8).prop_map(|tag| Op::Untag { tag }),
        1 => (branch.clone(), any::<u8>(), 0..3u8).prop_map(|(branch, at, more)| Op::Squash { branch, at, more }),
        1 => (branch.clone(), any::<u8>()).prop_map(|(branch, at)| Op::Revert { branch, at }),
        1 => (branch.clone(), puts(), any::<bool>())
            .prop_map(|(branch, puts, dropped)| Op::Started { branch, puts, dropped }),
        1 => proptest::option::of(1..6u8).prop_map(|keep| Op::Collect { keep }),
    ]
}

/// What should be there.
#[derive(Default)]
struct Model {
    /// Files, and where each partition goes on, by commit id.
    commits: BTreeMap<String, (Files, Places)>,
    /// Their ids as they came: ids are random, and a life must be the same when it is run again.
    order: Vec<String>,
    /// Visible commits of each branch, oldest first.
    lines: BTreeMap<String, Vec<String>>,
    tags: BTreeMap<String, String>,
}

struct Life {
    store: Store,
    repo: Repo,
    model: Model,
    writers: BTreeMap<String, BranchWriter>,
}

fn name(branch: u8) -> String {
    ["master", "dev", "wide"][usize::from(branch % 3)].to_owned()
}

fn path(file: u8) -> String {
    format!("/{}/f{file}", file % 3)
}

/// Small ones live in records, large ones in objects.
fn bytes(of: u8) -> Vec<u8> {
    vec![of; if of.is_multiple_of(5) { 33 << 10 } else { usize::from(of % 7) + 1 }]
}

fn apply(files: &mut Files, puts: &[(u8, bool, u8)]) {
    for &(file, append, of) in puts {
        let there = files.entry(path(file)).or_default();
        if !append {
            there.clear();
        }
        there.extend(bytes(of));
    }
}

/// Moves partition 0 on, and others on, back, or nowhere; some get another name or token, or end.
fn moved(places: &mut Places, moves: &[(u32, u8)]) -> Advance {
    let mut advance = Advance::default();
    for &(partition, how) in [(0, 1)].iter().chain(moves) {
        let from = places.get(&partition.into()).map(|entry| entry.position.offset);
        let jumped = how.is_multiple_of(7).then(|| from.unwrap_or(0) / 2);
        let offset = jumped.unwrap_or(from.unwrap_or(0) + u64::from(how % 3));
        let token = how.is_multiple_of(11).then(|| vec![how]);
        let label = if how.is_multiple_of(5) { format!("renamed-{how}") } else { "p".into() };
        let to = PartitionMarker {
            producer: String::new(),
            label,
            position: Position { offset, token },
            ended: how.is_multiple_of(13),
            passing: Vec::new(),
        };
        advance.steps.entry(partition.into()).or_insert(Step { from, to, jumped });
    }
    places.extend(advance.steps.iter().map(|(&partition, step)| (partition, step.to.clone())));
    advance
}

async fn fill(open: &mut OpenCommit, puts: &[(u8, bool, u8)]) {
    for &(file, append, of) in puts {
        let how = if append { PutMode::Append } else { PutMode::Overwrite };
        open.put_file(&path(file), how, bytes(of).into()).await.unwrap();
    }
}

impl Life {
    async fn new() -> Self {
        let store = Store::open("memory://").await.unwrap();
        let repo = store.repo_or_create("r", "").await.unwrap();
        Self { store, repo, model: Model::default(), writers: BTreeMap::new() }
    }

    fn head(&self, branch: &str) -> (Files, Places) {
        let id = self.model.lines.get(branch).and_then(|line| line.last());
        id.map(|id| self.model.commits[id].clone()).unwrap_or_default()
    }

    fn committed(&mut self, branch: &str, commit: &Commit, files: Files, places: Places) {
        assert!(commit.marker.partitions.iter().eq(&places), "{:?}, not {places:?}", commit.marker);
        self.model.commits.insert(commit.header.id.clone(), (files, places));
        self.model.order.push(commit.header.id.clone());
        self.model.lines.entry(branch.to_owned()).or_default().push(commit.header.id.clone());
    }

    /// One of all commits that can be seen.
    fn pick(&self, at: u8) -> Option<String> {
        let seen: BTreeSet<_> = self.model.lines.values().flatten().chain(self.model.tags.values()).collect();
        let count = seen.len().max(1);
        self.model.order.iter().filter(|id| seen.contains(id)).nth(usize::from(at) % count).cloned()
    }

    async fn find(&self, id: &str) -> Commit {
        self.repo.resolve(&format!("r@{id}").parse().unwrap()).await.unwrap()
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Commit { branch, puts, deletes, moves } => self.commit(&name(branch), &puts, &deletes, &moves).await,
            Op::Edit { branch, puts } => self.edit(&name(branch), &puts).await,
            Op::Copy { branch, from, to } => self.copy(&name(branch), &path(from), &path(to)).await,
            Op::Reopen { branch } => drop(self.writers.remove(&name(branch))),
            Op::Branch { branch, at } => self.branch(&name(branch), at).await,
            Op::DeleteBranch { branch } => {
                let branch = name(branch);
                self.writers.remove(&branch);
                let there = self.repo.branches().await.unwrap().iter().any(|info| info.name == branch);
                assert_eq!(self.repo.delete_branch(&branch).await.is_ok(), there);
                self.model.lines.remove(&branch);
            }
            Op::Tag { tag, at } => {
                let Some(id) = self.pick(at) else { return };
                let tag = format!("t{tag}");
                self.repo.create_tag(&tag, &self.find(&id).await, true).await.unwrap();
                self.model.tags.insert(tag, id);
            }
            Op::Untag { tag } => {
                let tag = format!("t{tag}");
                let there = self.model.tags.remove(&tag).is_some();
                assert_eq!(self.repo.delete_tag(&tag).await.is_ok(), there);
            }
            Op::Squash { branch, at, more } => self.squash(&name(branch), at, more).await,
            Op::Revert { branch, at } => self.revert(&name(branch), at).await,
            Op::Started { branch, puts, dropped } => Box::pin(self.started(&name(branch), &puts, dropped)).await,
            Op::Collect { keep } => self.collect(keep).await,
        }
    }

    async fn commit(&mut self, branch: &str, puts: &[(u8, bool, u8)], deletes: &[u8], moves: &[(u32, u8)]) {
        if !self.writers.contains_key(branch) {
            let writer = self.repo.writer(branch, "p").await.unwrap();
            self.writers.insert(branch.to_owned(), writer);
            self.model.lines.entry(branch.to_owned()).or_default();
        }
        let (mut files, mut places) = self.head(branch);
        let mut open = self.repo.open_commit_on(branch);
        for path in deletes.iter().map(|&file| path(file)) {
            if files.remove(&path).is_some() {
                open.delete_file(&path).unwrap();
            }
        }
        fill(&mut open, puts).await;
        apply(&mut files, puts);
        let advance = moved(&mut places, moves);
        let state = [("h".to_owned(), format!("{}", places[&0.into()].position.offset).into())].into();
        let meta = CommitMeta { pipeline: "p".into(), state, advance, ..meta(None, 0) };
        let writer = self.writers.get_mut(branch).unwrap();
        match writer.finish(open, meta).await {
            Ok(Finished::Committed(commit)) => {
                assert_eq!(*writer.marker(), commit.marker);
                self.committed(branch, &commit, files, places);
                // Checkpoints are written beside the commits; let them be.
                tokio::task::yield_now().await;
            }
            // The branch was set elsewhere or reverted: as a pipeline, start again from the head.
            Ok(Finished::Lost(_)) | Err(Error::Fenced { .. } | Error::Swept { .. } | Error::MarkerGap { .. }) => {
                self.writers.remove(branch);
                Box::pin(self.commit(branch, puts, deletes, moves)).await;
            }
            other => panic!("{other:?}"),
        }
    }

    async fn edit(&mut self, branch: &str, puts: &[(u8, bool, u8)]) {
        let (mut files, places) = self.head(branch);
        let mut open = self.repo.open_commit_on(branch);
        fill(&mut open, puts).await;
        apply(&mut files, puts);
        let mut editor = self.repo.edit(branch).await.unwrap();
        let commit = committed(editor.finish(open, Edit::new("put file")).await);
        self.committed(branch, &commit, files, places);
    }

    async fn copy(&mut self, branch: &str, from: &str, to: &str) {
        let (mut files, places) = self.head(branch);
        let Some(there) = files.get(from).cloned() else { return };
        let head = self.repo.resolve(&format!("r@{branch}").parse().unwrap()).await.unwrap();
        let tree = self.repo.tree(&head).await.unwrap();
        let mut open = self.repo.open_commit_on(branch);
        open.copy_file(&tree, tree.file(from).unwrap(), to, PutMode::Overwrite).unwrap();
        files.insert(to.to_owned(), there);
        let mut editor = self.repo.edit(branch).await.unwrap();
        let commit = committed(editor.finish(open, Edit::new("copy file")).await);
        self.committed(branch, &commit, files, places);
    }

    async fn branch(&mut self, branch: &str, at: u8) {
        let Some(id) = self.pick(at) else { return };
        // Where several lines lead to the commit, the branch that is asked for decides which one it is.
        let on = self.model.lines.iter().find(|(_, line)| line.contains(&id)).map(|(name, _)| name.clone());
        let commit = self.find(&id).await;
        self.repo.create_branch(branch, Some(&commit), true).await.unwrap();
        let line = on.map(|on| self.model.lines[&on].clone()).unwrap_or_else(|| vec![id.clone()]);
        drop(line);
        // What comes before it is what the store says; that it is made of known commits is checked below.
        let seen = self.repo.log(branch).await.unwrap();
        assert_eq!(seen[0].header.id, id);
        self.model.lines.insert(branch.to_owned(), seen.into_iter().rev().map(|commit| commit.header.id).collect());
    }

    async fn squash(&mut self, branch: &str, at: u8, more: u8) {
        let Some(line) = self.model.lines.get(branch).filter(|line| line.len() > 1).cloned() else { return };
        let first = usize::from(at) % (line.len() - 1);
        let last = (first + usize::from(more)).min(line.len() - 2);
        let log = self.repo.log(branch).await.unwrap();
        let find = |id: &String| log.iter().find(|commit| commit.header.id == *id).unwrap();
        self.repo.squash(branch, find(&line[first]), find(&line[last])).await.unwrap();
        self.model.lines.get_mut(branch).unwrap().drain(first..=last);
        let head = log[0].clone();
        let error = self.repo.squash(branch, &head, &head).await.unwrap_err();
        assert_eq!(code(&error), "E0548");
    }

    async fn revert(&mut self, branch: &str, at: u8) {
        let Some(line) = self.model.lines.get(branch).filter(|line| !line.is_empty()).cloned() else { return };
        let id = &line[usize::from(at) % line.len()];
        let log = self.repo.log(branch).await.unwrap();
        let to = log.iter().find(|commit| commit.header.id == *id).unwrap();
        let commit = committed(self.repo.revert(branch, to).await);
        let (files, places) = self.model.commits[id].clone();
        self.committed(branch, &commit, files, places);
    }

    async fn started(&mut self, branch: &str, puts: &[(u8, bool, u8)], dropped: bool) {
        let started = self.repo.start_commit(branch).await.unwrap();
        for put in puts {
            let mut open = self.repo.open_commit_on(branch);
            fill(&mut open, &[*put]).await;
            self.repo.stage(&started, &open).await.unwrap();
        }
        assert_eq!(self.repo.started_commit(&started.id[..8]).await.unwrap().id, started.id);
        if dropped {
            self.repo.drop_commit(&started).await.unwrap();
        } else {
            let (mut files, places) = self.head(branch);
            apply(&mut files, puts);
            let commit = committed(self.repo.finish_commit(&started).await);
            assert_eq!(commit.header.id, started.id);
            self.committed(branch, &commit, files, places);
        }
        assert!(self.repo.started().await.unwrap().is_empty());
    }

    async fn collect(&mut self, keep: Option<u8>) {
        let rules = Retention { commits: keep.map(u64::from), for_ms: None };
        self.repo.retain(rules).await.unwrap();
        // Even what was written just now is not too young.
        self.repo.collect(Collect { min_age_ms: -60_000, dry_run: false }).await.unwrap();
        for (branch, line) in &mut self.model.lines {
            let seen = self.repo.log(branch).await.unwrap();
            let least = keep.map_or(line.len(), |keep| usize::from(keep).min(line.len()));
            assert!(seen.len() >= least, "{branch}: {} of {least}", seen.len());
            line.drain(..line.len() - seen.len());
        }
    }

    async fn check(&self) {
        let names: Vec<_> = self.repo.branches().await.unwrap().into_iter().map(|info| info.name).collect();
        assert_eq!(names, self.model.lines.keys().cloned().collect::<Vec<_>>());
        for (branch, line) in &self.model.lines {
            let log = self.repo.log(branch).await.unwrap();
            let ids: Vec<_> = log.iter().rev().map(|commit| commit.header.id.clone()).collect();
            assert_eq!(ids, *line, "{branch}");
            for (back, commit) in log.iter().enumerate() {
                let found = self.repo.resolve(&format!("r@{branch}~{back}").parse().unwrap()).await.unwrap();
                assert_eq!((&found.header.id, &found.marker), (&commit.header.id, &commit.marker), "{branch}~{back}");
                self.same(commit).await;
            }
        }
        let tags = self.repo.tags().await.unwrap();
        let tags: BTreeMap<_, _> = tags.into_iter().map(|tag| (tag.name, tag.commit.header.id)).collect();
        assert_eq!(tags, self.model.tags);
        for tag in tags.keys() {
            let commit = self.repo.resolve(&format!("r@{tag}").parse().unwrap()).await.unwrap();
            self.same(&commit).await;
        }
        let report = fsck(&self.store, None, Depth::Everything).await.unwrap();
        assert!(report.is_clean(), "{report:#?}");
    }

    async fn same(&self, commit: &Commit) {
        let (files, places) = &self.model.commits[&commit.header.id];
        assert!(commit.marker.partitions.iter().eq(places), "{:?}, not {places:?}", commit.marker);
        let tree = self.repo.tree(commit).await.unwrap();
        let paths: Vec<_> = tree.files().map(|file| &file.path).collect();
        assert_eq!(paths, files.keys().collect::<Vec<_>>(), "{}", commit.header.id);
        for (path, bytes) in files {
            assert_eq!(self.repo.read_file(&tree, path).await.unwrap(), *bytes, "{path} of {}", commit.header.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_repo_is_what_its_model_says(ops in proptest::collection::vec(op(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut life = Life::new().await;
            for op in ops {
                Box::pin(life.step(op)).await;
            }
            life.check().await;
        });
    }
}
