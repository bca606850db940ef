//! Processes that share the work of pipelines: `spout worker`, and `spout run --cluster`.

mod attending;
mod joining;
mod leading;
mod worker;

pub(super) use self::{
    attending::attend_all,
    joining::{Joining, Shared},
    worker::{Worker, run},
};
