//! One binary with every test that runs the built `spout`.

mod bad_stores;
mod branches;
mod buckets;
mod cases;
mod cli;
mod consumers;
mod crash_matrix;
mod decoders;
mod exactly_once;
mod files;
mod first_plugin;
mod json_core;
mod nexmark;
mod power_loss;
mod producers;
mod races;
mod readers;
mod real_input;
mod sandbox;
mod store_trouble;
mod tidy;
mod user_cases;
