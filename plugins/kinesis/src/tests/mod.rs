//! The reader against a service of this process; tests/suite/kinesis.rs has it against another one.

mod reading;
mod service;
mod trouble;
