//! Processes that share the work of pipelines: `spout worker`, and `spout run --cluster`; and of commands, by their `--cluster`.

mod attending;
mod calling;
mod helping;
mod joining;
mod leading;
mod seen;
mod worker;

pub(super) use self::{
    calling::{Sharing, lost, plans, team},
    joining::{Joining, Shared},
    worker::{Worker, run},
};
