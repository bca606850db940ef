//! What the store does with a record, how a record is judged, and how a leader takes the outcome.

use crate::{
    design::{Design, Flaw},
    rules::{NO_FILE, orphan},
    state::{At, Broken, Collector, Commit, Create, Lead, Name, Record, Role, State},
};

/// A creation reaches its slot.
pub(crate) fn arrive(design: &Design, state: &mut State, index: usize) {
    let Create { slot, by, record } = state.creates.remove(index);
    let next = state.head.slot + 1;
    let put = design.has(Flaw::Put) && matches!(record, Record::Commit { .. });
    if slot < next && !put {
        if let Some(process) = by {
            refused(design, state, process);
        }
        return;
    }
    if slot != next {
        state.break_by(Broken::Rewritten);
        return;
    }
    state.head.slot = slot;
    match record {
        Record::Claim => {
            state.head.epoch += 1;
            state.announced.clear();
            let (epoch, marker) = (state.head.epoch, state.head.marker);
            if let Some(process) = by {
                let lead = Lead { epoch, slot, marker, handled: marker, job: None, open: None };
                state.processes[usize::from(process)].role = Role::Leads(lead);
            }
        }
        Record::Commit { epoch, commit } => {
            if let Some(broken) = judge(state, epoch, &commit) {
                state.break_by(broken);
            }
            state.head.marker = commit.to;
            state.head.commits += 1;
            let named = state.files.iter_mut().filter(|file| commit.files.contains(&file.name));
            named.for_each(|file| file.named = true);
            if let Some(lead) = by.and_then(|process| state.lead_mut(process)) {
                (lead.slot, lead.marker, lead.open) = (slot, commit.to, None);
                acknowledge(state, commit.to);
            }
        }
    }
}

/// What is wrong with a commit that is about to be the next record.
fn judge(state: &State, epoch: u8, commit: &Commit) -> Option<Broken> {
    if epoch != state.head.epoch {
        return Some(Broken::Unfenced);
    }
    for (partition, marker) in state.head.marker.into_iter().enumerate() {
        let (from, to, name) = (commit.from[partition], commit.to[partition], commit.files[partition]);
        if from != marker {
            return Some(if from < marker { Broken::Double } else { Broken::Gap });
        }
        if name == NO_FILE {
            if to == from {
                continue;
            }
            return Some(Broken::Gap);
        }
        let Some(file) = state.file(name) else { return Some(Broken::Missing) };
        if file.from != from {
            return Some(if file.from < from { Broken::Double } else { Broken::Gap });
        }
        if file.to != to || file.named || usize::from(file.partition) != partition {
            return Some(Broken::Altered);
        }
        if !file.whole {
            return Some(Broken::Gap);
        }
    }
    (commit.state != commit.to).then_some(Broken::State)
}

/// Somebody else's record is in the slot: the process reads on from there.
fn refused(design: &Design, state: &mut State, process: u8) {
    let (head, announced) = (state.head.clone(), state.announced.clone());
    let Some(lead) = state.lead_mut(process) else {
        state.processes[usize::from(process)].role = Role::Follows;
        return;
    };
    if design.has(Flaw::NoLook) {
        again(state, process);
        return;
    }
    if head.epoch > lead.epoch && !design.has(Flaw::NoEpochCheck) {
        orphan(state, process);
        state.processes[usize::from(process)].role = Role::Follows;
        return;
    }
    let swept = |files: &[Name]| files.iter().any(|name| announced.contains(name)) && !design.has(Flaw::NoSurvival);
    let lost = head.marker != lead.marker || lead.open.as_ref().is_some_and(|open| swept(&open.files));
    lead.slot = head.slot;
    if lost {
        (lead.marker, lead.open) = (head.marker, None);
        if !design.has(Flaw::KeptAhead) {
            (lead.handled, lead.job) = (head.marker, None);
            orphan(state, process);
        }
    } else {
        if let Some(job) = lead.job.as_mut().filter(|_| !design.has(Flaw::ForgottenSweep)) {
            job.announced.extend(&announced);
        }
        again(state, process);
    }
    state.announced.clear();
}

/// Sends the same commit for the next slot.
fn again(state: &mut State, process: u8) {
    let slot = state.head.slot + 1;
    let Some(lead) = state.lead_mut(process) else { return };
    lead.slot = slot - 1;
    if let Some(commit) = lead.open.clone() {
        let record = Record::Commit { epoch: lead.epoch, commit };
        state.creates.push(Create { slot, by: Some(process), record });
    }
}

/// The source is told that everything before `to` may go.
pub(crate) fn acknowledge(state: &mut State, to: At) {
    if to.iter().zip(state.head.marker).any(|(to, marker)| *to > marker) {
        state.break_by(Broken::Acknowledged);
    }
}

/// [`Flaw::EarlyAck`]: the job of this process is dropped, and what its tasks took is not there any more.
pub(crate) fn acknowledged_in_vain(state: &mut State, process: u8) {
    let job = state.lead(process).and_then(|lead| lead.job.as_ref());
    let said = job.into_iter().flat_map(|job| job.said.iter().zip(state.head.marker));
    if said.into_iter().any(|(said, marker)| said.is_some_and(|(to, _)| to > marker)) {
        state.break_by(Broken::Acknowledged);
    }
}

/// The collector writes down what it is about to remove, in a record.
pub(crate) fn announce(state: &mut State) {
    if let Collector::Listed(names) = &state.collector {
        state.head.slot += 1;
        state.announced.extend(names);
        state.collector = Collector::Announced(names.clone());
    }
}

/// The collector removes what no record names.
pub(crate) fn remove(design: &Design, state: &mut State) {
    let (Collector::Listed(names) | Collector::Announced(names)) =
        std::mem::replace(&mut state.collector, Collector::Rests)
    else {
        return;
    };
    let goes = |name: Name, named: bool| names.contains(&name) && (!named || design.has(Flaw::NoSecondLook));
    if state.files.iter().any(|file| file.named && goes(file.name, file.named)) {
        state.break_by(Broken::Missing);
    }
    state.files.retain(|file| !goes(file.name, file.named));
}
