//! What a plugin offers, in its own words, and which of it a spec means.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::BoxFuture;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Error, GrantSpec, LimitsSpec, Metrics, Plugin, Quotas, World, instance::Instance, log::clean, task::Task};

const DESCRIBE: &str = "about.describe";

/// One thing a plugin offers, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Interface, such as `decoder`.
    pub interface: String,
    /// Which of several.
    pub name: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of its settings.
    pub settings_schema: String,
}

/// The keyword of a schema of settings that says of a stream that it is to be acknowledged.
const ACKED: &str = "x-acked";

impl Offer {
    /// Whether it is a stream whose messages are gone once they are acknowledged.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        let schema = serde_json::from_str::<serde_json::Value>(&self.settings_schema);
        schema.is_ok_and(|schema| schema.get(ACKED) == Some(&serde_json::Value::Bool(true)))
    }
}

impl World {
    /// The interface that offers of it name.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Source => "partition-consumer",
            Self::StreamSource => "stream-consumer",
            Self::Decoder => "decoder",
            Self::Handler => "handler",
            Self::SelfDriven => "spout",
            Self::Transformer => "transformer",
            Self::Command => "wasi:cli/run",
        }
    }
}

impl Plugin {
    /// What the plugin offers. The first time it is run for that, with nothing granted.
    ///
    /// # Errors
    /// How it crashed; two offers of one name.
    pub async fn offers(&self, limits: &LimitsSpec) -> Result<&[Offer], Error> {
        self.offers.get_or_try_init(|| self.describe(limits)).await.map(Vec::as_slice)
    }

    /// The name of the offer that a spec means which uses the plugin as `world` and says `name`; empty if the plugin says
    /// nothing of what it offers.
    ///
    /// # Errors
    /// It offers no such thing, or several.
    pub async fn offer(&self, world: World, name: Option<&str>, limits: &LimitsSpec) -> Result<String, Error> {
        if world == World::SelfDriven && self.worlds().contains(&World::Command) {
            // A command drives itself too, and has no name but the plugin's.
            return choose(self.name(), World::Command, name, &[]);
        }
        if !self.worlds().contains(&world) {
            return Err(self.lacks(world));
        }
        let offers = self.offers(limits).await?.iter().filter(|offer| offer.interface == world.interface());
        let names: Vec<&str> = offers.map(|offer| offer.name.as_str()).collect();
        choose(self.name(), world, name, &names)
    }

    /// Everything that the plugin offers by the name `part`, of any kind, or all that it offers.
    ///
    /// # Errors
    /// It offers no such thing.
    pub async fn parts(&self, part: Option<&str>, limits: &LimitsSpec) -> Result<Vec<&Offer>, Error> {
        let offers = self.offers(limits).await?;
        let Some(wanted) = part else { return Ok(offers.iter().collect()) };
        let parts: Vec<&Offer> = offers.iter().filter(|offer| offer.name == wanted).collect();
        if parts.is_empty() {
            let names: BTreeSet<&str> = offers.iter().map(|offer| offer.name.as_str()).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let (plugin, what) = (self.name().to_owned(), "offer".to_owned());
            return Err(Error::NoOffer { plugin, what, wanted: wanted.to_owned(), offers: listed(&names) });
        }
        Ok(parts)
    }

    fn describe<'a>(&'a self, limits: &'a LimitsSpec) -> BoxFuture<'a, Result<Vec<Offer>, Error>> {
        Box::pin(async move {
            let Some(indices) = &self.interfaces.about else { return Ok(Vec::new()) };
            let task = Task {
                pipeline: String::new(),
                plugin: Arc::new(self.clone()),
                offer: String::new(),
                grants: GrantSpec::default(),
                exposed: None,
                limits: limits.clone(),
                quotas: Quotas::default(),
                settings: Vec::new(),
                draining: CancellationToken::new(),
                metrics: Metrics::default(),
            };
            let mut instance = Instance::open(&task).await?;
            let guest = instance.load(|store, instance| indices.load(store, instance))?;
            let leash = instance.begin();
            let answer = leash.hold(guest.call_describe(&mut instance.store)).await;
            let offers: Vec<Offer> = instance
                .end(DESCRIBE, answer)?
                .into_iter()
                .map(|offer| Offer {
                    interface: clean(&offer.interface, 100),
                    name: clean(&offer.name, 100),
                    summary: clean(&offer.summary, 1000),
                    settings_schema: offer.settings_schema,
                })
                .collect();
            let mut seen = BTreeSet::new();
            match offers.iter().find(|offer| !seen.insert((&offer.interface, &offer.name))) {
                Some(twice) => {
                    let what = format!("two offers of `{}` are named `{}`", twice.interface, twice.name);
                    Err(Error::Contract { at: task.at(DESCRIBE), what })
                }
                None => Ok(offers),
            }
        })
    }
}

/// The one of `names` that is meant.
fn choose(plugin: &str, world: World, wanted: Option<&str>, names: &[&str]) -> Result<String, Error> {
    let plugin = plugin.to_owned();
    match (wanted, names) {
        (None, []) => Ok(String::new()),
        (None, [only]) => Ok((*only).to_owned()),
        // Others are beside what the plugin is called after.
        (None, names) if names.contains(&plugin.as_str()) => Ok(plugin),
        (None, [first, ..]) => {
            let example = format!("{plugin}/{first}");
            Err(Error::Several { plugin, world, offers: listed(names), example })
        }
        (Some(wanted), _) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => {
            let what = world.to_string();
            Err(Error::NoOffer { plugin, what, wanted: wanted.to_owned(), offers: listed(names) })
        }
    }
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing by name".into(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_chosen_by_name_where_there_are_several() {
        let check = |wanted: Option<&str>, names: &[&str], expected: Result<&str, &str>| match (
            choose("weblog", World::Decoder, wanted, names),
            expected,
        ) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{wanted:?} of {names:?}: {got:?}"),
        };
        check(None, &[], Ok(""));
        check(None, &["access"], Ok("access"));
        check(None, &["access", "weblog"], Ok("weblog"));
        check(Some("access"), &["access"], Ok("access"));
        check(Some("error"), &["access", "error"], Ok("error"));
        check(
            None,
            &["access", "error"],
            Err("offers several decoders: `access`, `error`; write `plugin: weblog/access`"),
        );
        check(Some("acces"), &["access", "error"], Err("has no decoder `acces`; it offers `access`, `error`"));
        check(Some("access"), &[], Err("it offers nothing by name"));
    }
}
