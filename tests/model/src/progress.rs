//! Progress: whatever happened, one process that is up needs nothing but the store to make one more commit. It is shown by doing it: from
//! every state, for each process, with steps of that process alone.

use crate::{
    design::Design,
    rules::{self, Action},
    state::{Role, State, Step, Task},
};

/// More steps than a claim, a job and a commit take, each of which may have to be done twice.
const STEPS: usize = 60;

/// Whether `process` makes a commit with nobody's help.
pub(crate) fn alone(design: &Design, state: &State, process: u8) -> bool {
    let design = Design { commits: None, ..*design };
    let (mut now, begun) = (state.clone(), state.head.commits);
    for _ in 0..STEPS {
        // What breaks a promise on the way is found where it does.
        if now.head.commits > begun || now.broken.is_some() {
            return true;
        }
        match next(&design, &now, process) {
            Some(action) if rules::possible(&design, &now).contains(&action) => {
                now = rules::apply(&design, &now, action)
            }
            _ => return false,
        }
    }
    false
}

/// What a process does that hears of nobody.
fn next(design: &Design, state: &State, process: u8) -> Option<Action> {
    let answer = || state.sent_by(process).map_or(Action::GiveUp(process), Action::Arrive);
    let lead = match &state.processes[usize::from(process)].role {
        Role::Follows => return Some(Action::Claim(process)),
        Role::Claims => return Some(answer()),
        Role::Leads(lead) => lead,
    };
    let Some(job) = lead.job.as_ref().filter(|_| lead.open.is_none()) else {
        return Some(if lead.open.is_some() { answer() } else { Action::Plan(process, [process, process]) });
    };
    let mut missing = (0..).zip(&job.said).filter(|(_, said)| said.is_none());
    let Some((partition, _)) = missing.next() else {
        let moved = job.said.iter().zip(job.from).any(|(said, from)| said.is_some_and(|(to, _)| to > from));
        return Some(if moved { Action::Publish(process) } else { Action::Lose(process) });
    };
    let own = |task: &Task| !task.orphan && task.leader == process && task.partition == partition;
    let Some(index) = state.tasks.iter().position(|task| own(task) && task.worker == process) else {
        return Some(Action::Lose(process));
    };
    Some(match state.tasks[index].step {
        Step::Given if design.fine => Action::Begin(index),
        Step::Given => Action::Take(index, 1),
        Step::Reads { began, next, .. } if next == began => Action::Read(index),
        Step::Reads { .. } => Action::End(index),
        Step::Done { .. } => Action::Said(index),
    })
}
