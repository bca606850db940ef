//! Processes that share the work of pipelines: `spout worker`, and `spout run --cluster`.

mod attending;
mod joining;
mod leading;
mod seen;
mod worker;

pub(super) use self::{
    joining::{Joining, Shared},
    worker::{Worker, run},
};
