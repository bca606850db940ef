//! What can happen next, and what it does.

use crate::{
    design::{Design, Flaw},
    state::{
        At, Broken, Collector, Commit, Create, File, Job, Lead, Name, PARTITIONS, Record, Role, State, Step, Task,
    },
    store,
};

/// A file of no messages: there is none.
pub(crate) const NO_FILE: Name = Name::MAX;

/// Something that happens. Processes, tasks and records on their way are given by their place in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A process is killed and starts again, now or ever so much later; what it had taken and sent goes on or not without it.
    Kill(u8),
    /// It thinks that nobody leads, reads the head, and sends a claim.
    Claim(u8),
    /// A leader gives each partition to a process that it takes for alive.
    Plan(u8, [u8; PARTITIONS]),
    /// A leader takes a task for lost, rightly or not, and drops the job.
    Lose(u8),
    /// A leader sends the record of a job whose tasks are all over.
    Publish(u8),
    /// A process does not wait for an outcome any longer.
    GiveUp(u8),
    /// A task has come to its worker, which gives it a reader.
    Begin(usize),
    Read(usize),
    /// All of that: it takes so many messages.
    Take(usize, u8),
    /// Rows of a task that goes on reach the leader's handlers.
    Rows(usize),
    /// A task is told to end; its file becomes durable.
    End(usize),
    /// What a task has said at its end reaches the leader.
    Said(usize),
    /// A task that nobody waits for is ended.
    Forget(usize),
    /// [`Flaw::Retried`]: the same once more, by this worker.
    Retry(usize, u8),
    /// A creation reaches the store; whoever still waits for it learns the outcome.
    Arrive(usize),
    /// It never does.
    Vanish(usize),
    /// A collector sees a file that no record names, says so, and removes it if no record names it still.
    List(Name),
    Announce,
    Remove,
}

/// What can happen in `state`, bounds aside.
pub(crate) fn possible(design: &Design, state: &State) -> Vec<Action> {
    let mut actions = Vec::new();
    for process in 0..design.processes {
        of_process(design, state, process, &mut actions);
    }
    for (index, task) in state.tasks.iter().enumerate() {
        of_task(design, state, index, task, &mut actions);
    }
    for index in 0..state.creates.len() {
        actions.push(Action::Arrive(index));
        actions.push(Action::Vanish(index));
    }
    match &state.collector {
        _ if !design.collects => {}
        Collector::Rests => {
            let unnamed = state.files.iter().filter(|file| !file.named);
            actions.extend(unnamed.map(|file| Action::List(file.name)));
        }
        Collector::Listed(_) if design.has(Flaw::Unannounced) => actions.push(Action::Remove),
        Collector::Listed(_) => actions.push(Action::Announce),
        Collector::Announced(_) => actions.push(Action::Remove),
    }
    actions
}

fn of_process(design: &Design, state: &State, process: u8, actions: &mut Vec<Action>) {
    actions.push(Action::Kill(process));
    let others = (0..design.processes).filter(|other| *other != process);
    let mut others = others.map(|other| &state.processes[usize::from(other)].role);
    match &state.processes[usize::from(process)].role {
        Role::Follows => {
            if !design.has(Flaw::Polite) || others.all(|role| *role == Role::Follows) {
                actions.push(Action::Claim(process));
            }
        }
        Role::Claims => actions.push(Action::GiveUp(process)),
        Role::Leads(lead) => {
            let free = lead.job.is_none() && (lead.open.is_none() || design.ahead);
            if free && design.commits.is_none_or(|commits| state.head.commits < commits) {
                for first in 0..design.processes {
                    actions.extend((0..design.processes).map(|second| Action::Plan(process, [first, second])));
                }
            }
            if let Some(job) = &lead.job {
                if !design.has(Flaw::NeverLost) {
                    actions.push(Action::Lose(process));
                }
                if lead.open.is_none() && (complete(job) || lead.epoch != state.head.epoch) {
                    actions.push(Action::Publish(process));
                }
            }
            if lead.open.is_some() && !design.has(Flaw::WaitsForever) {
                actions.push(Action::GiveUp(process));
            }
        }
    }
}

fn of_task(design: &Design, state: &State, index: usize, task: &Task, actions: &mut Vec<Action>) {
    match task.step {
        Step::Given if design.fine => actions.push(Action::Begin(index)),
        Step::Given => actions.extend((0..=design.most).map(|messages| Action::Take(index, messages))),
        Step::Reads { began, next, sent, .. } => {
            if next - began < design.most {
                actions.push(Action::Read(index));
            }
            if next > sent && !task.orphan {
                actions.push(Action::Rows(index));
            }
            actions.push(Action::End(index));
        }
        Step::Done { .. } => actions.push(Action::Said(index)),
    }
    if task.orphan {
        actions.push(Action::Forget(index));
    } else if design.has(Flaw::Retried)
        && state.tasks.iter().filter(|other| other.partition == task.partition).count() < 2
    {
        actions.extend((0..design.processes).map(|worker| Action::Retry(index, worker)));
    }
}

/// All of its tasks are over, and there is something to commit.
fn complete(job: &Job) -> bool {
    let moved = job.said.iter().zip(job.from).any(|(said, from)| said.is_some_and(|(to, _)| to > from));
    moved && job.said.iter().all(Option::is_some)
}

/// `state` after `action`.
pub(crate) fn apply(design: &Design, state: &State, action: Action) -> State {
    let mut after = state.clone();
    match action {
        Action::Kill(process) => kill(design, &mut after, process),
        Action::Claim(process) => {
            let slot = after.head.slot + 1;
            after.creates.push(Create { slot, by: Some(process), record: Record::Claim });
            after.processes[usize::from(process)].role = Role::Claims;
        }
        Action::Plan(process, workers) => plan(&mut after, process, workers),
        Action::Lose(process) => lose(design, &mut after, process),
        Action::Publish(process) => publish(design, &mut after, process),
        Action::GiveUp(process) => give_up(design, &mut after, process),
        Action::Begin(task) => begin(design, &mut after, task),
        Action::Read(task) => read(design, &mut after, task),
        Action::Take(task, messages) => {
            begin(design, &mut after, task);
            (0..messages).for_each(|_| read(design, &mut after, task));
            end(design, &mut after, task);
        }
        Action::Rows(task) => rows(&mut after, task),
        Action::End(task) => end(design, &mut after, task),
        Action::Said(task) => said(design, &mut after, task),
        Action::Forget(task) => {
            let task = after.tasks.remove(task);
            if let (true, Step::Reads { next, .. }) = (design.readers, task.step) {
                after.processes[usize::from(task.worker)].readers[usize::from(task.partition)] = Some(next);
            }
        }
        Action::Retry(task, worker) => {
            let again = Task { worker, step: Step::Given, ..after.tasks[task].clone() };
            after.tasks.push(again);
        }
        Action::Arrive(create) => store::arrive(design, &mut after, create),
        Action::Vanish(create) => drop(after.creates.remove(create)),
        Action::List(name) => after.collector = Collector::Listed(vec![name]),
        Action::Announce => store::announce(&mut after),
        Action::Remove => store::remove(design, &mut after),
    }
    after
}

fn kill(design: &Design, state: &mut State, process: u8) {
    if design.has(Flaw::EarlyAck) {
        store::acknowledged_in_vain(state, process);
    }
    let killed = &mut state.processes[usize::from(process)];
    killed.role = Role::Follows;
    killed.readers = [None; PARTITIONS];
    state.tasks.retain(|task| task.worker != process);
    orphan(state, process);
    let sent = state.creates.iter_mut().filter(|create| create.by == Some(process));
    sent.for_each(|create| create.by = None);
}

/// Nobody waits for the tasks of this leader any more.
pub(crate) fn orphan(state: &mut State, leader: u8) {
    state.tasks.iter_mut().filter(|task| task.leader == leader).for_each(|task| task.orphan = true);
}

fn plan(state: &mut State, process: u8, workers: [u8; PARTITIONS]) {
    let Some(lead) = state.lead_mut(process) else { return };
    let from = lead.open.as_ref().map_or(lead.marker, |open| open.to);
    lead.job = Some(Job { from, said: [None; PARTITIONS], announced: Vec::new() });
    for (partition, (worker, from)) in (0..).zip(workers.into_iter().zip(from)) {
        state.tasks.push(Task { leader: process, orphan: false, partition, worker, from, step: Step::Given });
    }
}

fn lose(design: &Design, state: &mut State, process: u8) {
    if design.has(Flaw::EarlyAck) {
        store::acknowledged_in_vain(state, process);
    }
    if design.has(Flaw::Partial) && partial(state, process) {
        return;
    }
    drop_job(design, state, process);
}

/// Drops the job of a leader; its handlers go back to what they were when the newest record that it has sent or read was made.
fn drop_job(design: &Design, state: &mut State, process: u8) {
    orphan(state, process);
    if let Some(lead) = state.lead_mut(process) {
        lead.job = None;
        if !design.has(Flaw::HandledStays) {
            lead.handled = lead.open.as_ref().map_or(lead.marker, |open| open.state);
        }
    }
}

/// [`Flaw::Partial`]: the tasks that were not lost are published.
fn partial(state: &mut State, process: u8) -> bool {
    let Some(lead) = state.lead_mut(process) else { return false };
    let Some(job) = lead.job.as_mut().filter(|_| lead.open.is_none()) else { return false };
    for (said, from) in job.said.iter_mut().zip(job.from) {
        said.get_or_insert((from, NO_FILE));
    }
    let complete = complete(job);
    if complete {
        send(state, process);
    }
    complete
}

fn publish(design: &Design, state: &mut State, process: u8) {
    let swept = state
        .lead(process)
        .and_then(|lead| lead.job.as_ref())
        .is_some_and(|job| job.said.iter().flatten().any(|(_, name)| job.announced.contains(name)));
    if swept {
        drop_job(design, state, process);
    } else {
        send(state, process);
    }
}

/// Sends the record of the leader's job.
fn send(state: &mut State, process: u8) {
    orphan(state, process);
    let Some(lead) = state.lead_mut(process) else { return };
    let Some(job) = lead.job.take() else { return };
    let said: Vec<(u8, Name)> =
        job.said.iter().zip(job.from).map(|(said, from)| said.unwrap_or((from, NO_FILE))).collect();
    let to: At = std::array::from_fn(|partition| said[partition].0);
    let files = std::array::from_fn(|partition| said[partition].1);
    let commit = Commit { from: job.from, to, files, state: lead.handled };
    lead.open = Some(commit.clone());
    let (slot, epoch) = (lead.slot + 1, lead.epoch);
    state.creates.push(Create { slot, by: Some(process), record: Record::Commit { epoch, commit } });
}

fn give_up(design: &Design, state: &mut State, process: u8) {
    let sent = state.creates.iter_mut().filter(|create| create.by == Some(process));
    sent.for_each(|create| create.by = None);
    if let (true, Some(lead)) = (design.has(Flaw::UnknownIsDone), state.lead_mut(process))
        && let Some(open) = lead.open.take()
    {
        lead.marker = open.to;
        lead.slot += 1;
        store::acknowledge(state, open.to);
        return;
    }
    if let (true, Some(lead)) = (design.has(Flaw::UnknownIsNothing), state.lead_mut(process))
        && lead.open.take().is_some()
    {
        drop_job(design, state, process);
        return;
    }
    orphan(state, process);
    state.processes[usize::from(process)].role = Role::Follows;
}

fn begin(design: &Design, state: &mut State, index: usize) {
    let Task { worker, partition, from, .. } = state.tasks[index];
    let kept = &mut state.processes[usize::from(worker)].readers[usize::from(partition)];
    let stands = if design.has(Flaw::SharedReader) { *kept } else { kept.take() };
    let began = match stands {
        Some(stands) if design.has(Flaw::NoPositionCheck) => stands,
        _ => from,
    };
    if design.has(Flaw::SharedReader) {
        *kept = Some(kept.filter(|stands| *stands == from).unwrap_or(from));
    }
    state.tasks[index].step = Step::Reads { began, next: began, sent: began, whole: true };
}

fn read(design: &Design, state: &mut State, index: usize) {
    let Task { worker, partition, .. } = state.tasks[index];
    let kept = &mut state.processes[usize::from(worker)].readers[usize::from(partition)];
    if let Step::Reads { next, whole, .. } = &mut state.tasks[index].step {
        if design.has(Flaw::SharedReader) {
            *whole &= kept.is_none_or(|stands| stands == *next);
            *kept = kept.map(|stands| stands + 1);
        }
        *next += 1;
    }
}

fn rows(state: &mut State, index: usize) {
    let Task { leader, partition, .. } = state.tasks[index];
    let Step::Reads { next, sent, .. } = &mut state.tasks[index].step else { return };
    let new = *next - *sent;
    *sent = *next;
    if let Some(lead) = state.lead_mut(leader) {
        lead.handled[usize::from(partition)] += new;
    }
}

fn end(design: &Design, state: &mut State, index: usize) {
    let Task { worker, partition, orphan, from, .. } = state.tasks[index];
    let Step::Reads { began, next, sent, whole } = state.tasks[index].step else { return };
    if design.readers {
        state.processes[usize::from(worker)].readers[usize::from(partition)] = Some(next);
    }
    let name = if next == began { NO_FILE } else { state.fresh() };
    let file = File { name, orphan, partition, from: began, to: next, whole, named: false };
    let mut name = name;
    if name != NO_FILE {
        let same =
            |there: &&mut File| design.has(Flaw::SameNames) && there.partition == partition && there.from == from;
        match state.files.iter_mut().find(same) {
            Some(there) => {
                name = there.name;
                let altered = there.named && there.to != file.to;
                *there = File { name, named: there.named, ..file };
                if altered {
                    state.break_by(Broken::Altered);
                }
            }
            None => state.files.push(file),
        }
    }
    state.tasks[index].step = Step::Done { took: next, sent, name };
}

fn said(design: &Design, state: &mut State, index: usize) {
    let task = state.tasks.remove(index);
    let Step::Done { took, sent, name } = task.step else { return };
    if task.orphan && !design.has(Flaw::OldWords) {
        return;
    }
    let Some(Lead { job: Some(job), handled, .. }) = state.lead_mut(task.leader) else { return };
    let partition = usize::from(task.partition);
    if job.said[partition].is_none() {
        job.said[partition] = Some((took, name));
        handled[partition] += took - sent;
    }
}
