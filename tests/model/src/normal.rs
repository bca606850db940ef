//! One state for all that differ in nothing that matters: names, numbers of slots and epochs, and what nobody can come to use are no
//! part of it. This is what makes the space of states finite without a bound on claims, kills and lost jobs.
//!
//! **Invariant**: whatever can happen in a state can happen in its normal form, and leads to states of the same normal form.

use std::cmp::Ordering;

use crate::{
    design::{Design, Flaw},
    rules::NO_FILE,
    state::{At, Collector, Commit, Job, Name, PARTITIONS, Record, Role, State, Step},
};

/// The slot of the newest record, and the newest epoch, in a normal form.
const SLOT: i16 = 2;
const EPOCH: u8 = 1;

/// The normal form of `state`.
pub(crate) fn normal(design: &Design, mut state: State) -> State {
    number(&mut state);
    if design.commits.is_none() {
        state.head.commits = 0;
    }
    place(design, &mut state);
    fenced(design, &mut state);
    forget_tasks(design, &mut state);
    forget_files(design, &mut state);
    match partition_key(&state, 0).cmp(&partition_key(&state, 1)) {
        Ordering::Less => {
            arrange(design, &mut state);
            state
        }
        Ordering::Greater => {
            let mut turned = swapped(&state);
            arrange(design, &mut turned);
            turned
        }
        Ordering::Equal => {
            let mut turned = swapped(&state);
            arrange(design, &mut state);
            arrange(design, &mut turned);
            state.min(turned)
        }
    }
}

/// What is known of a partition without the names of processes.
fn partition_key(state: &State, partition: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    let mut parts: Vec<[u8; 5]> = Vec::with_capacity(8);
    for process in &state.processes {
        parts.push([0, process.readers[partition].map_or(0, |stands| stands + 1), 0, 0, 0]);
        if let Role::Leads(lead) = &process.role {
            parts.push([1, lead.marker[partition], lead.handled[partition], lead.epoch, 0]);
            if let Some(job) = &lead.job {
                parts.push([2, job.said[partition].map_or(0, |(to, _)| to + 1), job.from[partition], 0, 0]);
            }
            if let Some(open) = &lead.open {
                parts.push([3, open.to[partition], open.state[partition], 0, 0]);
            }
        }
    }
    for task in state.tasks.iter().filter(|task| usize::from(task.partition) == partition) {
        let (step, next) = match task.step {
            Step::Given => (0, 0),
            Step::Reads { next, .. } => (1, next),
            Step::Done { took, .. } => (2, took),
        };
        parts.push([4, u8::from(task.orphan), step, next, task.from]);
    }
    parts.sort_unstable();
    key.extend(parts.into_iter().flatten());
    key
}

/// Only order matters: whether a slot is the next one, whether an epoch is the newest.
fn number(state: &mut State) {
    let (head, newest) = (i16::from(state.head.slot), state.head.epoch);
    let slot = |slot: u8| u8::try_from(SLOT + (i16::from(slot) - head).clamp(-1, 2)).unwrap_or_default();
    let epoch = |epoch: u8| if epoch == newest { EPOCH } else { 0 };
    for process in &mut state.processes {
        if let Role::Leads(lead) = &mut process.role {
            (lead.slot, lead.epoch) = (slot(lead.slot), epoch(lead.epoch));
        }
    }
    for create in &mut state.creates {
        create.slot = slot(create.slot).max(slot(state.head.slot));
        if let Record::Commit { epoch: of, .. } = &mut create.record {
            *of = epoch(*of);
        }
    }
    (state.head.slot, state.head.epoch) = (slot(state.head.slot), EPOCH);
}

/// Only how far messages are from the marker matters. Those of long ago are all alike: nothing begins there that can be published.
fn place(design: &Design, state: &mut State) {
    let marker = state.head.marker;
    let at = |partition: usize, at: &mut u8| *at = (*at + design.most + 1).saturating_sub(marker[partition]);
    let all = |there: &mut At| there.iter_mut().enumerate().for_each(|(partition, there)| at(partition, there));
    let commit = |commit: &mut Commit| [&mut commit.from, &mut commit.to, &mut commit.state].into_iter().for_each(all);
    for process in &mut state.processes {
        for (partition, kept) in process.readers.iter_mut().enumerate() {
            kept.iter_mut().for_each(|kept| at(partition, kept));
        }
        if let Role::Leads(lead) = &mut process.role {
            all(&mut lead.marker);
            all(&mut lead.handled);
            if let Some(job) = &mut lead.job {
                all(&mut job.from);
                for (partition, said) in job.said.iter_mut().enumerate() {
                    said.iter_mut().for_each(|(to, _)| at(partition, to));
                }
            }
            lead.open.iter_mut().for_each(commit);
        }
    }
    for task in &mut state.tasks {
        let partition = usize::from(task.partition);
        at(partition, &mut task.from);
        match &mut task.step {
            Step::Given => {}
            Step::Reads { began, next, sent, .. } => {
                [began, next, sent].into_iter().for_each(|there| at(partition, there))
            }
            Step::Done { took, sent, .. } => [took, sent].into_iter().for_each(|there| at(partition, there)),
        }
    }
    for file in &mut state.files {
        [&mut file.from, &mut file.to].into_iter().for_each(|there| at(usize::from(file.partition), there));
    }
    for create in &mut state.creates {
        if let Record::Commit { commit: sent, .. } = &mut create.record {
            commit(sent);
        }
    }
    all(&mut state.head.marker);
}

/// What a fenced leader sends is refused whatever it says, so it may send at any time, and what its tasks tell it does not matter. They
/// run on, and it may start others.
fn fenced(design: &Design, state: &mut State) {
    let nothing = |at| Commit { from: at, to: at, files: [NO_FILE; PARTITIONS], state: at };
    let mut fenced = Vec::new();
    for (number, process) in (0..).zip(&mut state.processes) {
        if let Role::Leads(lead) = &mut process.role
            && lead.epoch != EPOCH
        {
            fenced.push(number);
            lead.slot = lead.slot.min(1);
            lead.handled = lead.marker;
            if let Some(job) = &mut lead.job {
                *job = Job { from: lead.marker, said: [None; PARTITIONS], announced: Vec::new() };
            }
            if let Some(open) = &mut lead.open {
                *open = nothing(lead.marker);
            }
        }
    }
    for task in state.tasks.iter_mut().filter(|task| fenced.contains(&task.leader)) {
        task.orphan = true;
    }
    if !design.has(Flaw::Put) {
        for create in state.creates.iter_mut().filter(|create| create.slot <= state.head.slot) {
            create.record = Record::Claim;
        }
    }
}

/// What a task makes for nobody is garbage; of it only the reader matters, which its worker keeps.
fn forget_tasks(design: &Design, state: &mut State) {
    let (words, names) = (design.has(Flaw::OldWords), design.has(Flaw::SameNames));
    let marker = state.head.marker;
    state.tasks.retain(|task| {
        let over = matches!(task.step, Step::Done { .. });
        let behind = task.from + design.most < marker[usize::from(task.partition)];
        let behind = behind || !design.readers;
        !task.orphan || words || (names && !over) || !(over || behind)
    });
    for task in state.tasks.iter_mut().filter(|task| task.orphan && !words) {
        task.leader = 0;
        if let Step::Reads { next, sent, .. } = &mut task.step {
            *sent = *next;
        }
    }
    if !design.has(Flaw::NoPositionCheck) && !design.has(Flaw::SharedReader) {
        for process in &mut state.processes {
            for (kept, marker) in process.readers.iter_mut().zip(marker) {
                *kept = kept.filter(|stands| *stands >= marker);
            }
        }
    }
}

/// A file that nobody can come to name is garbage, and so is one that a record names, unless a collector is after it.
fn forget_files(design: &Design, state: &mut State) {
    let used = state.used();
    let doomed = match &state.collector {
        Collector::Rests => Vec::new(),
        Collector::Listed(names) | Collector::Announced(names) => names.clone(),
    };
    state.files.retain(|file| {
        used.contains(&file.name) || (file.named && (doomed.contains(&file.name) || design.has(Flaw::SameNames)))
    });
    let there: Vec<Name> = state.files.iter().map(|file| file.name).collect();
    if let Collector::Listed(names) | Collector::Announced(names) = &mut state.collector {
        names.retain(|name| there.contains(name));
        if names.is_empty() {
            state.collector = Collector::Rests;
        }
    }
    let behind = |role: &Role| matches!(role, Role::Leads(lead) if lead.epoch == EPOCH && i16::from(lead.slot) < SLOT);
    if state.processes.iter().any(|process| behind(&process.role)) {
        state.announced.retain(|name| used.contains(name));
    } else {
        state.announced.clear();
    }
    for process in &mut state.processes {
        if let Role::Leads(lead) = &mut process.role
            && let Some(job) = &mut lead.job
        {
            job.announced.retain(|name| used.contains(name));
        }
    }
}

/// The same with the partitions exchanged.
fn swapped(state: &State) -> State {
    let mut state = state.clone();
    state.head.marker.swap(0, 1);
    for process in &mut state.processes {
        process.readers.swap(0, 1);
        if let Role::Leads(lead) = &mut process.role {
            lead.marker.swap(0, 1);
            lead.handled.swap(0, 1);
            lead.job.iter_mut().for_each(|job| {
                job.from.swap(0, 1);
                job.said.swap(0, 1);
            });
            lead.open.iter_mut().for_each(swap);
        }
    }
    state.tasks.iter_mut().for_each(|task| task.partition = 1 - task.partition);
    state.files.iter_mut().for_each(|file| file.partition = 1 - file.partition);
    for create in &mut state.creates {
        if let Record::Commit { commit, .. } = &mut create.record {
            swap(commit);
        }
    }
    state
}

fn swap(commit: &mut Commit) {
    commit.from.swap(0, 1);
    commit.to.swap(0, 1);
    commit.files.swap(0, 1);
    commit.state.swap(0, 1);
}

/// Puts processes and all lists in order, and numbers files anew.
fn arrange(design: &Design, state: &mut State) {
    let mut order: Vec<(Vec<u8>, u8)> = (0..design.processes).map(|process| (key(state, process), process)).collect();
    order.sort_unstable();
    let mut place = [0, 1, 2];
    for (new, (_, old)) in (0..).zip(&order) {
        place[usize::from(*old)] = new;
    }
    let mut processes = state.processes.clone();
    for (process, place) in state.processes.iter().zip(place) {
        processes[usize::from(place)].clone_from(process);
    }
    state.processes = processes;
    for task in &mut state.tasks {
        task.worker = place[usize::from(task.worker)];
        task.leader = if task.orphan && !design.has(Flaw::OldWords) { 0 } else { place[usize::from(task.leader)] };
    }
    for create in &mut state.creates {
        create.by = create.by.map(|by| place[usize::from(by)]);
    }
    state.tasks.sort_unstable();
    state.creates.sort_unstable();
    state.files.sort_unstable_by(|a, b| {
        (a.partition, a.from, a.to, a.orphan, a.named, a.name).cmp(&(
            b.partition,
            b.from,
            b.to,
            b.orphan,
            b.named,
            b.name,
        ))
    });
    let mut names: Vec<Name> = state.files.iter().map(|file| file.name).collect();
    for name in state.used() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let new = |name: Name| names.iter().position(|old| *old == name).and_then(|new| Name::try_from(new).ok());
    state.rename(|name| new(name).unwrap_or(name));
    state.files.sort_unstable();
    state.tasks.sort_unstable();
    state.creates.sort_unstable();
}

/// What is known of a process without the names of others.
fn key(state: &State, process: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    let here = &state.processes[usize::from(process)];
    key.extend(here.readers.iter().map(|stands| stands.map_or(0, |stands| stands + 1)));
    match &here.role {
        Role::Follows => key.push(0),
        Role::Claims => key.push(1),
        Role::Leads(lead) => {
            key.extend([2, lead.epoch, lead.slot]);
            key.extend(lead.marker.iter().chain(&lead.handled));
            key.push(u8::from(lead.open.is_some()));
            for said in lead.job.iter().flat_map(|job| &job.said) {
                key.push(said.map_or(9, |(to, _)| to));
            }
        }
    }
    for task in state.tasks.iter().filter(|task| task.worker == process || (task.leader == process && !task.orphan)) {
        key.extend([u8::from(task.worker == process), u8::from(task.orphan), task.partition, task.from]);
        match task.step {
            Step::Given => key.push(0),
            Step::Reads { next, sent, .. } => key.extend([1, next, sent]),
            Step::Done { took, sent, .. } => key.extend([2, took, sent]),
        }
    }
    for create in state.creates.iter().filter(|create| create.by == Some(process)) {
        key.push(create.slot);
    }
    key
}

impl State {
    /// The lists of names of files that there are: those that may yet get into a record first.
    fn names(&mut self) -> (Vec<&mut Name>, Vec<&mut Name>) {
        let (mut used, mut known) = (Vec::new(), Vec::new());
        for task in &mut self.tasks {
            if let Step::Done { name, .. } = &mut task.step {
                used.push(name);
            }
        }
        for process in &mut self.processes {
            if let Role::Leads(lead) = &mut process.role {
                if let Some(job) = &mut lead.job {
                    used.extend(job.said.iter_mut().flatten().map(|(_, name)| name));
                    known.extend(&mut job.announced);
                }
                used.extend(lead.open.iter_mut().flat_map(|open| &mut open.files));
            }
        }
        for create in &mut self.creates {
            if let Record::Commit { commit, .. } = &mut create.record {
                used.extend(&mut commit.files);
            }
        }
        known.extend(&mut self.announced);
        known.extend(self.files.iter_mut().map(|file| &mut file.name));
        if let Collector::Listed(names) | Collector::Announced(names) = &mut self.collector {
            known.extend(names);
        }
        used.retain(|name| **name != NO_FILE);
        (used, known)
    }

    /// The names that may yet get into a record.
    fn used(&self) -> Vec<Name> {
        let mut used = Vec::new();
        used.extend(
            self.tasks
                .iter()
                .filter_map(|task| if let Step::Done { name, .. } = task.step { Some(name) } else { None }),
        );
        for process in &self.processes {
            if let Role::Leads(lead) = &process.role {
                used.extend(lead.job.iter().flat_map(|job| job.said.iter().flatten()).map(|(_, name)| *name));
                used.extend(lead.open.iter().flat_map(|open| open.files));
            }
        }
        for create in &self.creates {
            if let Record::Commit { commit, .. } = &create.record {
                used.extend(commit.files);
            }
        }
        used.retain(|name| *name != NO_FILE);
        used
    }

    fn rename(&mut self, new: impl Fn(Name) -> Name) {
        let (used, known) = self.names();
        used.into_iter().chain(known).for_each(|name| *name = new(*name));
        self.announced.sort_unstable();
        if let Collector::Listed(names) | Collector::Announced(names) = &mut self.collector {
            names.sort_unstable();
        }
    }

    /// A name that no file has or had.
    pub(crate) fn fresh(&self) -> Name {
        let mut state = self.clone();
        let (used, known) = state.names();
        used.into_iter().chain(known).map(|name| *name + 1).max().unwrap_or_default()
    }
}
