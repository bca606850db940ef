//! One binary with every test that runs the built `spout`.

mod cli;
mod exactly_once;
mod real_input;
mod sandbox;
mod tidy;
