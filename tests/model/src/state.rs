//! What a state of the model is: the branch in the store, the processes, and everything that is on its way between them.

/// Partitions of the source.
pub(crate) const PARTITIONS: usize = 2;
/// Processes that there are at most. Each is a worker, and each may lead.
pub(crate) const PROCESSES: usize = 3;

/// How far each partition is read: the number of its next message.
pub(crate) type At = [u8; PARTITIONS];
/// The unpublished name of a file. No two files get the same one.
pub(crate) type Name = u8;

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct State {
    /// What the branch ends with.
    pub(crate) head: Head,
    pub(crate) processes: [Process; PROCESSES],
    pub(crate) tasks: Vec<Task>,
    /// Files in the store that a task, a leader or a record on its way may name, and those that a collector is after.
    pub(crate) files: Vec<File>,
    /// Conditional creations that have not reached the store.
    pub(crate) creates: Vec<Create>,
    /// Files whose collection was announced by records after those that the leader of this epoch has read.
    pub(crate) announced: Vec<Name>,
    pub(crate) collector: Collector,
    /// The promise that was broken on the way here.
    pub(crate) broken: Option<Broken>,
}

/// The newest record and what all records add up to. Each record is judged when it comes to be in its slot; since none is ever
/// replaced (see [`Broken::Rewritten`]), the records before it are not part of the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Head {
    /// Slot of the newest record.
    pub(crate) slot: u8,
    /// That of the newest claim.
    pub(crate) epoch: u8,
    pub(crate) marker: At,
    pub(crate) commits: u8,
}

/// A process. One that is down, paused or cut off from everybody is one that takes no step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) role: Role,
    /// Readers that it has kept, by partition: what each would read next. One that a task uses is not here.
    pub(crate) readers: [Option<u8>; PARTITIONS],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    Follows,
    /// It has sent a claim, and waits for the answer.
    Claims,
    /// It believes that it leads.
    Leads(Lead),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lead {
    pub(crate) epoch: u8,
    /// The newest record that it has read.
    pub(crate) slot: u8,
    /// Where partitions go on after that.
    pub(crate) marker: At,
    /// How many messages of each partition its handlers with state have seen.
    pub(crate) handled: At,
    /// The job that runs.
    pub(crate) job: Option<Job>,
    /// The commit whose record is on its way.
    pub(crate) open: Option<Commit>,
}

/// A job as its leader sees it; the tasks are with the workers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Job {
    /// Where its tasks began.
    pub(crate) from: At,
    /// What tasks that are over have said: how far they came, and their file.
    pub(crate) said: [Option<(u8, Name)>; PARTITIONS],
    /// Files whose collection was announced while it ran.
    pub(crate) announced: Vec<Name>,
}

/// What a record of a commit says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Commit {
    pub(crate) from: At,
    pub(crate) to: At,
    pub(crate) files: [Name; PARTITIONS],
    /// How many messages the snapshot of the handlers has seen.
    pub(crate) state: At,
}

/// A task: reads one partition from a place on, until it is told to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) leader: u8,
    /// Nobody waits for it any more.
    pub(crate) orphan: bool,
    pub(crate) partition: u8,
    pub(crate) worker: u8,
    pub(crate) from: u8,
    pub(crate) step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Step {
    /// On its way to the worker.
    Given,
    /// It has a reader, whose next message is `next`; rows of `sent` messages are with the leader's handlers. It began at `began`, which
    /// is where it was told to unless a reader stood elsewhere; `whole` unless somebody else took messages from the same reader.
    Reads { began: u8, next: u8, sent: u8, whole: bool },
    /// Its file is in the store, and word of that on its way to the leader.
    Done { took: u8, sent: u8, name: Name },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct File {
    pub(crate) name: Name,
    /// Made by a task that nobody waits for.
    pub(crate) orphan: bool,
    pub(crate) partition: u8,
    /// What is in it.
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) whole: bool,
    /// A record names it.
    pub(crate) named: bool,
}

/// A record on its way to its slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Create {
    pub(crate) slot: u8,
    /// Who waits for the outcome; nobody if that process was killed or has given up.
    pub(crate) by: Option<u8>,
    pub(crate) record: Record,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Record {
    Claim,
    Commit { epoch: u8, commit: Commit },
}

/// A collection of what no record names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Collector {
    Rests,
    /// It has seen these files, which no record named then.
    Listed(Vec<Name>),
    /// It has said so in a record.
    Announced(Vec<Name>),
}

/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// A record leaves out messages.
    Gap,
    /// A record has messages that an earlier one has.
    Double,
    /// A record names a file that is not there.
    Missing,
    /// A record names a file that does not hold what it says.
    Altered,
    /// The state of the handlers is not that of the messages.
    State,
    /// A record is in a slot before which one is empty, or two have been in one slot.
    Rewritten,
    /// A record of a leader after the claim of another.
    Unfenced,
    /// The source was told of a commit that does not exist.
    Acknowledged,
}

impl State {
    /// Nobody has claimed the branch, and nothing was read.
    pub(crate) fn first() -> Self {
        let process = Process { role: Role::Follows, readers: [None; PARTITIONS] };
        Self {
            head: Head { slot: 0, epoch: 0, marker: [4; PARTITIONS], commits: 0 },
            processes: [process.clone(), process.clone(), process],
            tasks: Vec::new(),
            files: Vec::new(),
            creates: Vec::new(),
            announced: Vec::new(),
            collector: Collector::Rests,
            broken: None,
        }
    }

    pub(crate) fn lead(&self, process: u8) -> Option<&Lead> {
        match &self.processes[usize::from(process)].role {
            Role::Leads(lead) => Some(lead),
            Role::Follows | Role::Claims => None,
        }
    }

    pub(crate) fn lead_mut(&mut self, process: u8) -> Option<&mut Lead> {
        match &mut self.processes[usize::from(process)].role {
            Role::Leads(lead) => Some(lead),
            Role::Follows | Role::Claims => None,
        }
    }

    pub(crate) fn file(&self, name: Name) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Whether what this process has sent is still on its way.
    pub(crate) fn sent_by(&self, process: u8) -> Option<usize> {
        self.creates.iter().position(|create| create.by == Some(process))
    }

    /// Keeps the first thing that went wrong.
    pub(crate) fn break_by(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }
}
