//! The only room that sees all parts: builds, flushes, recovers, stops.
