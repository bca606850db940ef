//! The protocol by which several processes share a pipeline, explored whole by stateright.
//!
//! A process claims the branch, gives each partition to a worker as a task, and publishes what the tasks made by one conditional creation of
//! the next record. Anything may happen at any time: a process is killed or takes no step for ever so long, a claim or a record stays on its
//! way after its sender is gone, a task that was given up goes on and puts its reader back, partitions move, a collector removes what no
//! record names. There is no clock: whoever waits may give up at once or never.
//!
//! **Explored**: any number of commits, claims, kills, lost jobs and collections ([`normal`] says how), over two partitions and up to three
//! processes. **Bounded**: messages of one task, tasks that run on for an old leader, records whose senders have given up, readers that are kept
//! ([`Design`]). **Left out**: the exchange between workers (handlers with state are the leader's), commits of people beside the pipeline, sources
//! that give other messages when they are asked again, and what one process does with its own files.
//!
//! Safety is a property of every state. Progress is one too: from every state, each process makes a commit with steps of its own alone
//! ([`progress`]). What a promise is worth is shown by designs that break it ([`design::Flaw`]).

mod design;
mod normal;
mod progress;
mod rules;
mod state;
mod store;

use stateright::{Model, Property};

use self::{
    design::Design,
    rules::Action,
    state::{Broken, Role, State},
};

impl Model for Design {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_none() {
            actions.extend(rules::possible(self, state));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(normal::normal(self, rules::apply(self, state, action)))
    }

    fn within_boundary(&self, state: &State) -> bool {
        let kept = state.processes.iter().flat_map(|process| &process.readers).flatten().count();
        let leads = state.processes.iter().filter(|process| process.role != Role::Follows).count();
        state.tasks.len() <= self.tasks
            && state.tasks.iter().filter(|task| task.orphan).count() <= self.orphans
            && state.creates.iter().filter(|create| create.by.is_none()).count() <= self.adrift
            && kept <= self.kept
            && leads <= self.leads
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(GAP, |_, state: &State| state.broken != Some(Broken::Gap)),
            Property::always(DOUBLE, |_, state: &State| state.broken != Some(Broken::Double)),
            Property::always(MISSING, |_, state: &State| state.broken != Some(Broken::Missing)),
            Property::always(ALTERED, |_, state: &State| state.broken != Some(Broken::Altered)),
            Property::always(STATE, |_, state: &State| state.broken != Some(Broken::State)),
            Property::always(REWRITTEN, |_, state: &State| state.broken != Some(Broken::Rewritten)),
            Property::always(UNFENCED, |_, state: &State| state.broken != Some(Broken::Unfenced)),
            Property::always(ACKNOWLEDGED, |_, state: &State| state.broken != Some(Broken::Acknowledged)),
            Property::always(PROGRESS, |design: &Design, state: &State| {
                state.broken.is_some() || (0..design.processes).all(|process| progress::alone(design, state, process))
            }),
            Property::sometimes(ALL, |design: &Design, state: &State| {
                design.commits.is_none_or(|commits| state.head.commits == commits)
            }),
            Property::sometimes(BACK, |_, state: &State| {
                let behind = |role: &Role| matches!(role, Role::Leads(lead) if lead.epoch == 0 && lead.open.is_some());
                state.processes.iter().any(|process| behind(&process.role))
            }),
            Property::sometimes(ADRIFT, |_, state: &State| {
                state.creates.iter().any(|create| create.by.is_none() && create.slot > state.head.slot)
            }),
        ]
    }
}

const GAP: &str = "no record leaves out a message";
const DOUBLE: &str = "no record has a message that an earlier one has";
const MISSING: &str = "every record names files that are there";
const ALTERED: &str = "every file holds what its record says";
const STATE: &str = "the state is that of the messages";
const REWRITTEN: &str = "records are one chain";
const UNFENCED: &str = "no leader publishes after another has claimed";
const ACKNOWLEDGED: &str = "no message is acknowledged that no record has";
const PROGRESS: &str = "each process can make a commit alone";
const ALL: &str = "all commits are made";
const BACK: &str = "a fenced leader sends a record";
const ADRIFT: &str = "a record is on its way for which nobody waits";

#[cfg(test)]
mod tests;
