//! What a pipeline is doing, as it is asked for: in a word, and partition by partition.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Its name, which is that of its repo.
    pub name: String,
    /// What its process does with it.
    pub state: Phase,
    /// What that comes to, for people.
    #[serde(default)]
    pub condition: Condition,
    /// Since when it is in that state, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again, where something has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<i64>,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Commits since the start.
    pub commits: u64,
    /// Its newest commit.
    pub head: Option<String>,
    /// What is known of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<LastCommit>,
    /// What is wrong, or was wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The digests of its plugins, by name.
    #[serde(default)]
    pub plugins: BTreeMap<String, String>,
    /// Counts since the start.
    #[serde(default)]
    pub counts: Map<String, Value>,
    /// What its plugins have said of themselves since the start, by plugin and name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// What passed through its handlers since the start, in the order of the chain.
    #[serde(default)]
    pub handlers: Vec<HandlerStatus>,
    /// What its plugins use now, and have used since the start, by name.
    #[serde(default)]
    pub plugin_use: BTreeMap<String, PluginUse>,
    /// What was fetched and not yet taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// How long commits took, in milliseconds from the cut until they were durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_ms: Option<CommitTimes>,
    /// The processes that share it, where several do: those of a cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
    /// Offsets between what was fetched and what the sources have, over all partitions; none where one does not say so.
    #[serde(default)]
    pub lag: Option<u64>,
    /// How far the slowest partition is behind in time, in milliseconds; none where that is not known of any.
    #[serde(default)]
    pub time_lag_ms: Option<u64>,
    /// How many readers share the partitions.
    #[serde(default)]
    pub readers: u64,
    /// How many partitions there are.
    #[serde(default)]
    pub partition_count: u64,
    /// Each of them; left out of lists of pipelines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionStatus>,
}

/// The newest commit of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastCommit {
    /// Its id.
    pub id: String,
    /// When it was finished, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why it was cut.
    pub reason: String,
    /// What became of its messages.
    pub counts: Map<String, Value>,
}

/// What passed through a handler. A row that is read again after trouble is counted again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandlerStatus {
    /// What it is: its word in a spec.
    pub handler: String,
    /// Its id, as in counts.
    pub id: String,
    /// Rows that it was given.
    pub rows_in: u64,
    /// Rows that it has passed on.
    pub rows_out: u64,
    /// Time in it, with what it waited for; lanes that run it at the same time add up.
    pub busy_ms: u64,
    /// Whether it runs in each lane, or where they meet.
    pub lane: bool,
}

/// What all instances of a plugin in a pipeline use together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginUse {
    /// Instances now.
    pub instances: u64,
    /// Calls, also those that make an instance.
    pub calls: u64,
    /// Time in calls, with what they waited for.
    pub busy_ms: u64,
    /// Processor time in calls, with what the host does on their behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Bytes of their memory now.
    pub memory: u64,
    /// Bytes that they may have.
    pub memory_limit: u64,
    /// Instances that were lost: to a trap, a limit, or a call that took too long.
    pub traps: u64,
}

/// A process that shares a pipeline with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberStatus {
    /// Its id, new with each start.
    pub id: String,
    /// Where the others reach it.
    pub address: String,
    /// What its operator says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// It is the one that gives out the partitions and commits.
    pub leads: bool,
    /// It takes no new partitions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
    /// How many partitions it reads.
    pub partitions: u64,
    /// Rows that it has taken for commits since the start.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes that its plugins have of memory now.
    pub plugin_memory: u64,
    /// What it has fetched and not yet taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
}

/// What was fetched and not yet taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueStatus {
    /// Bytes of it.
    pub bytes: u64,
    /// Bytes that there is room for.
    pub capacity: u64,
}

/// How long commits took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommitTimes {
    /// Commits.
    pub count: u64,
    /// All of them together.
    pub sum: f64,
    /// The newest.
    pub last: f64,
    /// Half of the latest 1,000 took no longer.
    pub p50: f64,
    /// 99 of 100 of these took no longer.
    pub p99: f64,
}

/// How one partition stands. What nobody says is left out: it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// Its producer, where there are several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub producer: String,
    /// The source's name for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What it is doing.
    pub state: PartitionState,
    /// The offset that the last commit ends at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<u64>,
    /// The offset that follows what was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<u64>,
    /// The offset that follows what the source has: its high watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// Offsets between what was fetched and what the source has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// When the newest message that was fetched was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_ms: Option<i64>,
    /// How old that is while the source has more, in milliseconds; 0 where it has no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_lag_ms: Option<u64>,
    /// The reader that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<u32>,
    /// The process that has it, where several share the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When it is tried again, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<i64>,
}

/// What a partition is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartitionState {
    /// It is read.
    Reading,
    /// Its source has nothing for now.
    Idle,
    /// Its source has nothing ever again.
    Ended,
    /// It could not be fetched, and is tried again.
    Failing,
    /// Nobody has asked for it yet, or nobody reads it now.
    #[default]
    Waiting,
}

/// What the process of a pipeline does with it, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is being opened.
    Starting,
    /// It reads, or waits for something to read.
    Running,
    /// It waits to be started again after trouble.
    Retrying,
    /// It commits what it has read, and stops.
    Stopping,
    /// Another server of the store runs it.
    Elsewhere,
    /// It is not to run.
    Stopped,
    /// Its source has ended.
    Finished,
    /// It cannot go on as it is.
    Failed,
}

impl Phase {
    /// Whether it may write its branch.
    #[must_use]
    pub fn is_at_work(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
}

/// What a pipeline is doing, as somebody who looks after it wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It is being opened.
    Starting,
    /// It reads, and keeps up with its sources as far as they say.
    Running,
    /// It reads, and is behind: by more than 10 seconds, or where messages have no time, by more than 10,000 of them.
    CatchingUp,
    /// All that its sources have is read.
    Idle,
    /// It runs, and something of its source fails and is tried again.
    Failing,
    /// It has stopped because of trouble, and starts again by itself.
    WaitingToRestart,
    /// It commits what it has read, and stops.
    Stopping,
    /// Somebody has stopped it.
    Paused,
    /// Another process runs it.
    Elsewhere,
    /// Its source has ended.
    Finished,
    /// It has failed, and does not start by itself.
    Failed,
    /// No process that can be asked runs it.
    #[default]
    NotRunning,
}

impl Condition {
    /// Whether who says so runs the pipeline.
    #[must_use]
    pub fn is_seen(self) -> bool {
        !matches!(self, Self::NotRunning | Self::Elsewhere)
    }

    /// It in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::CatchingUp => "catching up",
            Self::Idle => "idle",
            Self::Failing => "failing",
            Self::WaitingToRestart => "waiting to restart",
            Self::Stopping => "stopping",
            Self::Paused => "paused",
            Self::Elsewhere => "elsewhere",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::NotRunning => "not running",
        }
    }
}

/// Behind by more than this it is catching up.
const BEHIND_MS: u64 = 10_000;
const BEHIND: u64 = 10_000;

impl Status {
    /// One of which nothing is known but this.
    #[must_use]
    pub fn new(name: &str, state: Phase, since_ms: i64) -> Self {
        Self {
            name: name.to_owned(),
            state,
            condition: Condition::default(),
            since_ms,
            retry_at_ms: None,
            address: None,
            commits: 0,
            head: None,
            last_commit: None,
            error: None,
            code: None,
            plugins: BTreeMap::new(),
            counts: Map::new(),
            metrics: Map::new(),
            handlers: Vec::new(),
            plugin_use: BTreeMap::new(),
            queue: None,
            members: Vec::new(),
            commit_ms: None,
            lag: None,
            time_lag_ms: None,
            readers: 0,
            partition_count: 0,
            partitions: Vec::new(),
        }
    }

    /// The same with its partitions, and what all of it comes to.
    #[must_use]
    pub fn with_partitions(mut self, partitions: Vec<PartitionStatus>) -> Self {
        let asked = || partitions.iter().filter(|one| one.state != PartitionState::Waiting);
        let add = |sum: u64, one: &PartitionStatus| Some(sum.saturating_add(one.lag?));
        self.lag = if asked().next().is_some() { asked().try_fold(0, add) } else { None };
        self.time_lag_ms = partitions.iter().filter_map(|one| one.time_lag_ms).max();
        let readers: std::collections::BTreeSet<_> =
            partitions.iter().filter_map(|one| Some((&one.member, &one.producer, one.reader?))).collect();
        self.readers = readers.len() as u64;
        self.partition_count = partitions.len() as u64;
        let at_rest = |one: &PartitionStatus| {
            matches!(one.state, PartitionState::Idle | PartitionState::Ended) && one.lag.is_none_or(|lag| lag == 0)
        };
        let idle = !partitions.is_empty() && partitions.iter().all(at_rest);
        let failing = partitions.iter().any(|one| one.state == PartitionState::Failing);
        let behind = |one: &PartitionStatus| match one.time_lag_ms {
            Some(time) => time > BEHIND_MS,
            None => one.lag.is_some_and(|lag| lag > BEHIND),
        };
        self.condition = match self.state {
            Phase::Starting => Condition::Starting,
            Phase::Running if failing || self.retry_at_ms.is_some() => Condition::Failing,
            Phase::Running if partitions.iter().any(behind) => Condition::CatchingUp,
            Phase::Running if idle => Condition::Idle,
            Phase::Running => Condition::Running,
            Phase::Retrying => Condition::WaitingToRestart,
            Phase::Failed if self.retry_at_ms.is_some() => Condition::WaitingToRestart,
            Phase::Failed => Condition::Failed,
            Phase::Stopping => Condition::Stopping,
            Phase::Elsewhere => Condition::Elsewhere,
            Phase::Stopped => Condition::Paused,
            Phase::Finished => Condition::Finished,
        };
        self.partitions = partitions;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pipeline_is_doing_has_a_name() {
        let status = |state, retry: Option<i64>| Status { retry_at_ms: retry, ..Status::new("p", state, 1) };
        let one = |state, lag: Option<u64>, time_lag_ms: Option<u64>| PartitionStatus {
            state,
            lag,
            time_lag_ms,
            reader: Some(0),
            ..PartitionStatus::default()
        };
        let check = |status: Status, partitions: &[PartitionStatus], expected: Condition| {
            let status = status.with_partitions(partitions.to_vec());
            assert_eq!(status.condition, expected, "{status:?}");
            status
        };
        let running = || status(Phase::Running, None);
        let (reading, idle) = (PartitionState::Reading, PartitionState::Idle);
        check(running(), &[], Condition::Running);
        check(running(), &[one(idle, Some(0), Some(0)), one(PartitionState::Ended, None, None)], Condition::Idle);
        check(running(), &[one(idle, Some(0), Some(0)), one(reading, None, None)], Condition::Running);
        let all = [one(reading, Some(5), Some(20_000)), one(idle, Some(0), Some(0))];
        let behind = check(running(), &all, Condition::CatchingUp);
        assert_eq!((behind.lag, behind.time_lag_ms, behind.readers), (Some(5), Some(20_000), 1));
        check(running(), &[one(reading, Some(10_001), None)], Condition::CatchingUp);
        let unknown = check(running(), &[one(reading, Some(3), None), one(reading, None, None)], Condition::Running);
        assert_eq!((unknown.lag, unknown.time_lag_ms), (None, None), "what one does not say is not known");
        check(running(), &[one(PartitionState::Failing, None, None)], Condition::Failing);
        check(status(Phase::Running, Some(9)), &[], Condition::Failing);
        check(status(Phase::Retrying, Some(9)), &[], Condition::WaitingToRestart);
        check(status(Phase::Failed, Some(9)), &[], Condition::WaitingToRestart);
        check(status(Phase::Failed, None), &[], Condition::Failed);
        check(status(Phase::Stopped, None), &[], Condition::Paused);
    }
}
