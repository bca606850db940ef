//! Tests over bytes that were built by hand, and against brokers that do as they are told.

mod agreed;
mod broker;
pub(crate) mod build;
mod doorman;
mod entering;
mod reading;
mod records;
mod trouble;
