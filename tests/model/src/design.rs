//! What is explored: the agreed design or one with a flaw, and the bounds.

/// A design, and how much of it is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Design {
    /// What it leaves out.
    pub(crate) flaw: Option<Flaw>,
    /// Processes that there are.
    pub(crate) processes: u8,
    /// After so many commits no job begins. Without a bound their number is no part of the state.
    pub(crate) commits: Option<u8>,
    /// Messages that a task takes at most.
    pub(crate) most: u8,
    /// Tasks that there are at once, those that nobody waits for among them.
    pub(crate) tasks: usize,
    /// Tasks among them that nobody waits for.
    pub(crate) orphans: usize,
    /// Records on their way at once whose senders do not wait for them any more.
    pub(crate) adrift: usize,
    /// Readers that workers keep are part of the state, and so are the tasks of old leaders that move them. Otherwise a kept reader may stand
    /// anywhere when a task comes, which is more than can happen: it is used only where it stands right.
    pub(crate) readers: bool,
    /// Readers that are kept at once.
    pub(crate) kept: usize,
    /// Processes that lead or believe so at once.
    pub(crate) leads: usize,
    /// The next job begins while the record of the one before is on its way.
    pub(crate) ahead: bool,
    /// A task takes its reader, each message and its end apart, and rows reach handlers before it is over. Otherwise it does all at
    /// once: what others do meanwhile changes nothing for it, unless they use its reader, which is what this is for.
    pub(crate) fine: bool,
    /// A collector runs.
    pub(crate) collects: bool,
}

/// A design that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A leader that lost its slot goes on from the head whoever has claimed the branch meanwhile.
    NoEpochCheck,
    /// A leader that lost its slot puts its record into the next one without a look at what came between.
    NoLook,
    /// A record is put, not created.
    Put,
    /// A kept reader is used wherever it stands.
    NoPositionCheck,
    /// A kept reader can be used by two tasks.
    SharedReader,
    /// A task that was lost is given to another worker within its job.
    Retried,
    /// A leader takes what a task of an earlier job says.
    OldWords,
    /// A creation whose outcome is not known is taken for done.
    UnknownIsDone,
    /// A leader whose creation is without an answer goes on from the head that it knows, without another claim.
    UnknownIsNothing,
    /// Handlers keep what they saw of a job that was lost.
    HandledStays,
    /// A job that is lost is published without the task that was lost.
    Partial,
    /// Announcements of a collection are not read.
    NoSurvival,
    /// The announcements that a leader reads while the next job runs are forgotten for that job.
    ForgottenSweep,
    /// Files are collected without an announcement.
    Unannounced,
    /// The collector does not look once more after its announcement.
    NoSecondLook,
    /// A job that began from a commit that was lost goes on.
    KeptAhead,
    /// Names of files say what is in them, nothing else, and are written again.
    SameNames,
    /// Messages are acknowledged once they are prepared.
    EarlyAck,
    /// Nobody claims the branch while another process may lead it.
    Polite,
    /// A leader waits for the answer to its creation as long as it takes.
    WaitsForever,
    /// A leader waits for tasks as long as it takes.
    NeverLost,
}

impl Design {
    /// Whether this flaw is in it.
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}
