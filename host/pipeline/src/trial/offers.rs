//! What of a plugin can be tried over an input, and what of the input each part of it gets.

use serde_json::Value;
use spout_data::Blobs;
use spout_plugin::{Offer, Plugin, World};

/// Messages or rows of an input that are tried.
pub const MOST_TRIED: usize = 10_000;

/// What the plugin can be used as, with each of these offers that is for that. A spout, a command and a transformer are run by a spec,
/// and are not among them.
#[must_use]
pub fn uses<'a>(plugin: &Plugin, offers: &[&'a Offer]) -> Vec<(World, &'a Offer)> {
    let by_spec = [World::SelfDriven, World::Command, World::Transformer];
    let worlds = plugin.worlds().iter().copied().filter(|world| !by_spec.contains(world));
    let of = |world: World| offers.iter().filter(move |offer| offer.interface == world.interface());
    worlds.flat_map(|world| of(world).map(move |offer| (world, *offer))).collect()
}

/// The names of the settings that an offer takes; none if its schema does not say.
#[must_use]
pub fn settings_of(offer: &Offer) -> Option<Vec<String>> {
    let schema: Value = serde_json::from_str(&offer.settings_schema).ok()?;
    let known = schema.get("properties").and_then(Value::as_object).map(|known| known.keys().cloned().collect());
    known.or_else(|| schema.is_object().then(Vec::new))
}

/// The settings of those given that an offer takes.
#[must_use]
pub fn settings_for(offer: &Offer, given: &[(String, String)]) -> Vec<(String, String)> {
    let known = settings_of(offer);
    let taken = |(name, _): &&(String, String)| known.as_ref().is_none_or(|known| known.contains(name));
    let mut settings: Vec<(String, String)> = given.iter().filter(taken).cloned().collect();
    settings.sort();
    settings
}

/// The messages of an input: its lines, or the `whole` of it.
#[must_use]
pub fn messages_of(input: &[u8], whole: bool) -> Blobs {
    let mut messages = Blobs::default();
    if whole {
        messages.push(input);
    } else {
        let lines = input.strip_suffix(b"\n").unwrap_or(input).split(|byte| *byte == b'\n');
        lines.take(MOST_TRIED).for_each(|line| messages.push(line.strip_suffix(b"\r").unwrap_or(line)));
    }
    messages
}
