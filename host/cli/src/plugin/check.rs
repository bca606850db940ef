//! `spout plugin check`: whether plugins can be loaded and say what they have to say about themselves.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spout_base::error::{Coded as _, chain};
use spout_plugin::{Offer, World};
use spout_spec::SettingsSchema;

use super::located::{self, Located};
use crate::{
    Global,
    check::joined,
    error::Error,
    print::{Printer, count},
};

/// Check that plugins load, and that what they say about themselves is complete.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin check                     every plugin of the plugins directory
  spout plugin check at-least
  spout plugin check target/my.wasm --json

A plugin fails that is no component for this host, imports what the host does not provide, has no summary, or a settings schema
that is not one. `spout plugin inspect` shows what it offers, `spout plugin test` tries it.
This runs the plugin in its sandbox, without any grants.")]
pub(super) struct Check {
    /// Names of plugins, of one of their offers (NAME/OFFER), or files. Default: every one of the plugins directory.
    #[arg(value_name = "PLUGIN")]
    named: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Checked {
    plugin: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    worlds: Vec<World>,
    /// What has to be changed.
    problems: Vec<String>,
    /// What could be better.
    notes: Vec<String>,
}

impl Check {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let mut checked = Vec::new();
        if self.named.is_empty() {
            for listed in global.open_plugins()?.list().await? {
                checked.push(match listed.plugin {
                    Ok(plugin) => check(&Located { plugin, part: None }).await,
                    Err(error) => broken(listed.name, &error),
                });
            }
        }
        for named in &self.named {
            checked.push(match located::plugin(named, global).await {
                Ok(located) => check(&located).await,
                Err(error) => match error.downcast::<spout_plugin::Error>() {
                    Ok(error) => broken(named.clone(), &error),
                    Err(other) => return Err(other),
                },
            });
        }
        let failed = checked.iter().filter(|checked| !checked.problems.is_empty()).count() as u64;
        for checked in &checked {
            print(checked, printer)?;
        }
        match failed {
            0 => Ok(()),
            _ => Err(Error::PluginsFailed { failed, plugins: count(checked.len() as u64, "plugin") }.into()),
        }
    }
}

fn print(checked: &Checked, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(checked);
    }
    let word = if checked.problems.is_empty() { "ok    " } else { "FAILED" };
    let worlds = if checked.worlds.is_empty() { String::new() } else { format!(" ({})", joined(&checked.worlds)) };
    printer.line(format!("{word}  {}{worlds}", checked.plugin))?;
    checked.problems.iter().try_for_each(|problem| printer.line(format!("        {problem}")))?;
    checked.notes.iter().try_for_each(|note| printer.line(format!("        note: {note}")))
}

fn broken(plugin: String, error: &spout_plugin::Error) -> Checked {
    let problem = format!("error[{}]: {error}", error.code());
    Checked { plugin, worlds: Vec::new(), problems: vec![problem], notes: Vec::new() }
}

async fn check(located: &Located) -> Checked {
    let Located { plugin, part } = located;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    match located.offers().await {
        Ok(offers) => {
            if part.is_none() {
                problems.extend(whole(plugin.worlds(), &offers));
            }
            problems.extend(each(&offers));
        }
        Err(error) if matches!(error, spout_plugin::Error::NoOffer { .. }) => {
            problems.push(format!("error[{}]: {error}", error.code()));
        }
        Err(error) => problems.push(format!("it cannot say what it offers: error[{}]: {error}", error.code())),
    }
    if plugin.manifest().is_none_or(|manifest| manifest.name.is_empty()) {
        notes.push("it has no manifest, so nobody knows its version; `spout plugin pack` puts one in".into());
    }
    let name = part.as_ref().map_or_else(|| plugin.name().to_owned(), |part| format!("{}/{part}", plugin.name()));
    Checked { plugin: name, worlds: plugin.worlds().to_vec(), problems, notes }
}

/// Whether a plugin offers what it exports.
fn whole(worlds: &[World], offers: &[&Offer]) -> Vec<String> {
    let mut problems = Vec::new();
    // A plain command knows nothing of `about`.
    let ours = worlds.iter().filter(|world| **world != World::Command);
    let has: BTreeSet<&str> = ours.map(|world| world.interface()).collect();
    let told: BTreeSet<&str> = offers.iter().map(|offer| offer.interface.as_str()).collect();
    problems
        .extend(has.difference(&told).map(|missing| format!("it exports {missing}, and `about` has no offer of it")));
    problems.extend(told.difference(&has).map(|extra| format!("`about` offers {extra}, which it does not export")));
    problems
}

/// What is wrong with what a plugin says about each of these.
fn each(offers: &[&Offer]) -> Vec<String> {
    let (mut problems, mut names) = (Vec::new(), BTreeSet::new());
    for offer in offers {
        let Offer { interface, name, summary, settings_schema } = offer;
        if !names.insert((interface, name)) {
            problems.push(format!("it offers {interface} `{name}` twice"));
        }
        if summary.trim().is_empty() {
            problems.push(format!("the offer {interface} `{name}` has no summary"));
        }
        let of = format!("the settings schema of {interface} `{name}`");
        match SettingsSchema::parse(settings_schema) {
            Ok(schema) if schema.value().get("type").is_some_and(|kind| kind == "object") => {}
            Ok(_) => problems.push(format!("{of} is not one of an object")),
            Err(error) => problems.push(format!("{of} cannot be used: {}", chain(&error))),
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_says_has_to_fit_what_it_has() {
        let offer = |interface: &str, summary: &str, schema: &str| Offer {
            interface: interface.into(),
            name: "x".into(),
            summary: summary.into(),
            settings_schema: schema.into(),
        };
        let check = |worlds: &[World], offers: &[Offer], expected: &[&str]| {
            let offers: Vec<&Offer> = offers.iter().collect();
            let problems = [whole(worlds, &offers), each(&offers)].concat();
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, part) in problems.iter().zip(expected) {
                assert!(problem.contains(part), "{problem}");
            }
        };
        let good = offer("decoder", "lines", r#"{"type":"object"}"#);
        check(&[World::Decoder], std::slice::from_ref(&good), &[]);
        check(&[World::SelfDriven], &[], &["exports spout"]);
        check(&[World::SelfDriven], &[offer("spout", "orders", r#"{"type":"object"}"#)], &[]);
        check(&[World::Decoder, World::Handler], std::slice::from_ref(&good), &["exports handler"]);
        check(&[World::Decoder], &[good.clone(), good.clone()], &["twice"]);
        check(&[World::Source], std::slice::from_ref(&good), &["exports partition-consumer", "offers decoder"]);
        check(&[World::Decoder], &[offer("decoder", " ", "true")], &["no summary", "not one of an object"]);
        check(&[World::Decoder], &[offer("decoder", "lines", "{")], &["not JSON"]);
    }
}
