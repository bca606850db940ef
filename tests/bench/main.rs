//! `just bench`: ratios in one run, with medians.
