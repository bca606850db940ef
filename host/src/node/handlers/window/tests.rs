//! Windows: see below.
