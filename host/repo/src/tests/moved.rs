//! Branches with many partitions of which few move: records stay small, and every commit has its whole marker.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use spout_data::{Marker, PartitionId};
use spout_format::sha256;

use super::*;

const MANY: u32 = 10_000;

/// A plain map of where partitions are.
type Model = BTreeMap<PartitionId, PartitionMarker>;

fn step(from: Option<u64>, to: u64, partition: u32) -> (PartitionId, Step) {
    let to = PartitionMarker {
        producer: String::new(),
        label: format!("topic-{partition:05}"),
        position: Position::at(to),
        ended: false,
        passing: Vec::new(),
    };
    (partition.into(), Step { from, to, jumped: None })
}

fn moving(steps: impl IntoIterator<Item = (PartitionId, Step)>) -> CommitMeta {
    CommitMeta { advance: Advance { steps: steps.into_iter().collect() }, ..meta(None, 0) }
}

#[track_caller]
fn same(marker: &Marker, model: &Model, what: &str) {
    let other = marker.partitions.iter().zip(model).find(|(there, expected)| there != expected);
    assert_eq!((other, marker.partitions.len()), (None, model.len()), "{what}");
}

fn record_of(dir: &Path, commit: &Commit) -> PathBuf {
    dir.join(format!("repos/events/branches/{}/{:020}.json", commit.header.branch, commit.header.sequence))
}

/// A branch with many partitions, and commits that each move three of them.
struct Line {
    store: Store,
    dir: TempDir,
    repo: Repo,
    commits: Vec<(Commit, Model)>,
    model: Model,
}

impl Line {
    async fn new(partitions: u32) -> Self {
        let (store, dir) = local().await;
        let repo = store.repo_or_create("events", "").await.unwrap();
        let mut line = Self { store, dir, repo, commits: Vec::new(), model: Model::new() };
        let mut writer = line.writer("master").await;
        line.commit(&mut writer, moving((0..partitions).map(|partition| step(None, 7, partition)))).await;
        line
    }

    async fn writer(&self, branch: &str) -> BranchWriter {
        self.repo.writer(branch, "events").await.unwrap()
    }

    async fn commit(&mut self, writer: &mut BranchWriter, meta: CommitMeta) -> Commit {
        self.model.extend(meta.advance.steps.iter().map(|(&partition, step)| (partition, step.to.clone())));
        let commit = committed(writer.finish(self.repo.open_commit_on(writer.branch()), meta).await);
        same(&commit.marker, &self.model, "a commit that was just made");
        same(writer.marker(), &self.model, "its writer");
        self.commits.push((commit.clone(), self.model.clone()));
        // Checkpoints are written beside the commits; let them be.
        tokio::task::yield_now().await;
        commit
    }

    /// A commit that moves three partitions on.
    async fn few(&mut self, writer: &mut BranchWriter, n: u32) -> Commit {
        let steps = [n, n * 7 + 1, n * 31 + 2].map(|partition| {
            let partition = partition % u32::try_from(self.model.len()).unwrap();
            let from = self.model[&partition.into()].position.offset;
            step(Some(from), from + 1 + u64::from(n % 3), partition)
        });
        self.commit(writer, moving(steps)).await
    }

    async fn at(&self, reference: &str) -> Commit {
        self.repo.resolve(&reference.parse().unwrap()).await.unwrap()
    }

    /// Every commit has its marker, found by id, and listed on `branch`.
    async fn check(&self, branch: &str) {
        let log = self.repo.log(branch).await.unwrap();
        for listed in &log {
            let (_, model) = self.commits.iter().find(|(commit, _)| commit.header.id == listed.header.id).unwrap();
            same(&listed.marker, model, &format!("number {} in the log of {branch}", listed.number));
        }
        for listed in log.iter().step_by(5) {
            let found = self.at(&format!("events@{}", listed.header.id)).await;
            assert_eq!((&found.header.id, &found.marker), (&listed.header.id, &listed.marker));
        }
        let report = fsck(&self.store, None, Depth::Everything).await.unwrap();
        // Space that nothing uses is no damage.
        assert!(report.findings.iter().all(|finding| finding.severity == Severity::Note), "{report:#?}");
    }
}

#[tokio::test]
async fn a_record_has_what_moved_and_a_commit_the_whole_marker() {
    let mut line = Line::new(MANY).await;
    let mut writer = line.writer("master").await;
    for n in 0..23 {
        let commit = line.few(&mut writer, n).await;
        let size = std::fs::metadata(record_of(line.dir.path(), &commit)).unwrap().len();
        assert!(size < 2_000, "the record of number {} has {size} bytes", commit.number);
    }
    drop(writer);
    // After checkpoints, and between two of them.
    for n in 23..30 {
        let mut writer = line.writer("master").await;
        same(writer.marker(), &line.model, "a writer that was opened anew");
        line.few(&mut writer, n).await;
    }
    for back in [0, 1, 4, 5, 6, 17, 29, 30] {
        let found = line.at(&format!("events~{back}")).await;
        let (commit, model) = &line.commits[line.commits.len() - 1 - back];
        assert_eq!(found.header.id, commit.header.id);
        same(&found.marker, model, &format!("~{back}"));
    }
    line.check("master").await;
}

#[tokio::test]
async fn a_commit_without_checkpoints_has_its_marker_from_the_records_alone() {
    let mut line = Line::new(500).await;
    let mut writer = line.writer("master").await;
    for n in 0..12 {
        line.few(&mut writer, n).await;
    }
    drop(writer);
    std::fs::remove_dir_all(line.dir.path().join("repos/events/checkpoints")).unwrap();
    same(line.writer("master").await.marker(), &line.model, "a writer");
    same(&line.at("events~7").await.marker, &line.commits[5].1, "an old commit");
}

#[tokio::test]
async fn reverts_squashes_branches_and_tags_keep_markers_right() {
    let mut line = Line::new(MANY).await;
    let mut writer = line.writer("master").await;
    for n in 0..14 {
        line.few(&mut writer, n).await;
    }
    let (old, model) = line.commits[6].clone();
    line.repo.squash("master", &line.commits[3].0, &line.commits[9].0).await.unwrap();
    same(&line.at("events~5").await.marker, &line.commits[2].1, "the commit before those that were squashed");
    same(&line.at("events~4").await.marker, &line.commits[10].1, "the commit after them");
    line.check("master").await;
    assert_eq!(
        code(&line.repo.resolve(&format!("events@{}", old.header.id).parse().unwrap()).await.unwrap_err()),
        "E0526"
    );

    // Squashed commits are still something to go back to, for whoever holds them.
    let reverted = committed(line.repo.revert("master", &old).await);
    same(&reverted.marker, &model, "a revert");
    (line.model, _) = (model.clone(), line.commits.push((reverted.clone(), model.clone())));
    let mut writer = line.writer("master").await;
    same(writer.marker(), &model, "a writer after a revert");
    line.few(&mut writer, 40).await;
    same(&line.at("events~1").await.marker, &model, "the revert, when it is no longer the head");
    // As `drop commit` does it.
    let (parent, model) = line.commits[line.commits.len() - 2].clone();
    let dropped = committed(line.repo.revert("master", &parent).await);
    same(&dropped.marker, &model, "a dropped commit");
    (line.model, _) = (model.clone(), line.commits.push((dropped, model)));
    line.check("master").await;

    let (from, model) = line.commits[12].clone();
    line.repo.create_tag("v1", &from, false).await.unwrap();
    line.repo.create_branch("dev", Some(&from), false).await.unwrap();
    same(&line.at("events@dev").await.marker, &model, "a branch");
    same(&line.at("events@v1").await.marker, &model, "a tag");
    same(&line.at("events@v1~1").await.marker, &line.commits[11].1, "before a tag");
    line.model = model;
    let mut writer = line.writer("dev").await;
    for n in 50..63 {
        line.few(&mut writer, n).await;
    }
    same(&line.at("events@dev~13").await.marker, &line.commits[12].1, "where a branch begins");
    same(&line.at("events@dev~14").await.marker, &line.commits[11].1, "before a branch begins");
    line.check("dev").await;
}

#[tokio::test]
async fn edits_compactions_and_collections_move_nothing() {
    let mut line = Line::new(MANY).await;
    let mut writer = line.writer("master").await;
    for n in 0..9 {
        let mut open = line.repo.open_commit();
        let table = encode(Format::Parquet, &rows(0, 10));
        open.put_table(&format!("/t/{n}.parquet"), PutMode::Append, table).await.unwrap();
        let mut editor = line.repo.edit("master").await.unwrap();
        let edit = committed(editor.finish(open, Edit::new("put file")).await);
        same(&edit.marker, &line.model, "an edit");
        line.commits.push((edit, line.model.clone()));
        line.few(&mut writer, n).await;
    }
    line.repo.compact("master", TARGET).await.unwrap().commit.unwrap();
    let compacted = line.at("events").await;
    same(&compacted.marker, &line.model, "a compaction");
    let size = std::fs::metadata(record_of(line.dir.path(), &compacted)).unwrap().len();
    assert!(size < 6_000, "{size}");
    line.commits.push((compacted, line.model.clone()));
    line.few(&mut writer, 9).await;
    line.repo.retain(Retention { commits: Some(7), for_ms: None }).await.unwrap();
    line.repo.collect(Collect { min_age_ms: -60_000, dry_run: false }).await.unwrap();
    let log = line.repo.log("master").await.unwrap();
    assert_eq!(log.len(), 7);
    same(&line.at("events~6").await.marker, &line.commits[line.commits.len() - 7].1, "where history begins");
    line.check("master").await;
    line.few(&mut writer, 10).await;
    line.check("master").await;
}

/// Changes the text of a sealed object, which then has the checksum of what it says.
fn forge(path: &Path, change: &dyn Fn(String) -> String) {
    let before = std::fs::read_to_string(path).unwrap();
    let text = change(before.clone());
    assert_ne!(text, before, "{before}");
    let (body, _) = text.rsplit_once("\"checksum\":\"").unwrap();
    let sum = sha256(format!("{body}\"checksum\":\"\"}}").as_bytes());
    std::fs::write(path, format!("{body}\"checksum\":\"{sum}\"}}")).unwrap();
}

#[tokio::test]
async fn fsck_finds_a_marker_that_does_not_go_on() {
    let check = async |change: &dyn Fn(String) -> String, expected: &str| {
        let mut line = Line::new(9).await;
        let mut writer = line.writer("master").await;
        let steps = [step(Some(7), 12, 4)];
        let commit = line.commit(&mut writer, moving(steps)).await;
        forge(&record_of(line.dir.path(), &commit), change);
        let report = fsck(&line.store, None, Depth::Structure).await.unwrap();
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.severity, finding.what.as_str())).collect();
        assert!(matches!(&found[..], [(Severity::Error, what)] if what.contains(expected)), "{expected}: {found:?}");
    };
    let back = |text: String| text.replace("\"offset\":12", "\"offset\":6");
    check(&back, "partition 4 moves back, or moves without an advance").await;
    let silent = |text: String| text.replace("\"advance\":{\"4\":7}", "\"advance\":{}");
    check(&silent, "partition 4 moves back, or moves without an advance").await;
    let other = |text: String| text.replace("\"moved\":{\"4\":", "\"moved\":{\"5\":");
    check(&other, "partition 5 moves back, or moves without an advance").await;
    let gap = |text: String| text.replace("\"advance\":{\"4\":7}", "\"advance\":{\"4\":8}");
    check(&gap, "partition 4 starts at 8, but the commit before ends at 7").await;
    let new = |text: String| text.replace("\"advance\":{\"4\":7}", "\"advance\":{\"4\":7,\"11\":3}");
    check(&new, "partition 11 starts at 3, but the commit before ends at nothing").await;
}

#[tokio::test]
async fn fsck_finds_and_removes_a_checkpoint_with_another_marker() {
    let mut line = Line::new(9).await;
    let mut writer = line.writer("master").await;
    for n in 0..12 {
        line.few(&mut writer, n).await;
    }
    drop(writer);
    let directory = line.dir.path().join("repos/events/checkpoints/master");
    let hint: u64 = std::fs::read_to_string(directory.join("newest.json")).unwrap().trim().parse().unwrap();
    let newest = directory.join(format!("{hint:020}.json"));
    let (label, other) = ("\"label\":\"topic-00003\"", "\"label\":\"topic-99999\"");
    forge(&newest, &|text| text.replace(label, other));
    let report = repair(&line.store, None, Depth::Structure).await.unwrap();
    let what = "its marker differs from the one that the records add up to";
    assert!(report.findings.iter().any(|finding| finding.what == what), "{report:#?}");
    assert!(!newest.exists());
    same(line.writer("master").await.marker(), &line.model, "a writer after the repair");
}

#[tokio::test]
async fn a_record_cannot_be_read_as_a_commit_with_its_whole_marker() {
    let line = Line::new(2).await;
    let commit = &line.commits[0].0;
    let text = std::fs::read_to_string(record_of(line.dir.path(), commit)).unwrap();
    let record: Commit<Moved> = serde_json::from_str(&text).unwrap();
    assert_eq!(record.marker.moved, line.model);
    let error = serde_json::from_str::<Commit>(&text).unwrap_err().to_string();
    assert!(error.contains("`moved` is not a partition"), "{error}");
    let shown = serde_json::to_string(commit).unwrap();
    let error = serde_json::from_str::<Commit<Moved>>(&shown).unwrap_err().to_string();
    assert!(error.contains("unknown field `0`, expected `moved`"), "{error}");
}
