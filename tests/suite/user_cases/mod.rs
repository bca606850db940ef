//! Trouble that users of comparable tools had: each case is run as it stands, natively and by plugin, one message a batch and
//! thousands, and gives the right values. Cases lie beside the checkout; where they do not, tests say so and pass.

mod csv;
mod files;
mod handlers;
mod json;
mod lines;
mod network;
mod trial;

use anyhow::{Result, ensure};

use self::trial::{Outcome, Trial, Variant, find};

/// Decoders that exist natively and as a plugin.
const BOTH: [Variant; 4] = [
    Variant { plugin: false, one: false },
    Variant { plugin: false, one: true },
    Variant { plugin: true, one: false },
    Variant { plugin: true, one: true },
];

/// Decoders that are native only.
const NATIVE: [Variant; 2] = [Variant { plugin: false, one: false }, Variant { plugin: false, one: true }];

/// Runs the case `name` in each variant: `make` sets it up and runs it, and every variant gives what the first one gave.
fn every(name: &str, variants: &[Variant], make: impl Fn(&Trial) -> Result<Outcome>) -> Result<Option<Outcome>> {
    let Some(dir) = find(name) else { return Ok(None) };
    let mut first: Option<Outcome> = None;
    for variant in variants {
        let trial = Trial::new(&dir, *variant)?;
        let outcome = make(&trial)?;
        match &first {
            None => first = Some(outcome),
            Some(first) => {
                ensure!(first == &outcome, "{name}, {variant:?}: {outcome:#?}\ndiffers from {first:#?}");
            }
        }
    }
    Ok(first)
}
