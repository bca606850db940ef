//! Routes that try a spec by its tests and a plugin by its promises, as `spout test` and `spout plugin test` do.
//!
//! **Invariant**: a trial changes nothing: it has no repo and no source but those of the plugin, which is granted nothing, and it ends.

use std::{
    io::{self, Seek as _, Write as _},
    sync::Arc,
    time::Duration,
};

use axum::extract::State;
use serde_json::Value;
use spout_api::{
    Import, PluginFinding, PluginTested, PluginTrial, SpecTested, TestProblem, TestVerdict, TextFormat, unreadable,
};
use spout_pipeline::{
    Finding, MOST_TRIED, Problem, Rehearsal, Trial, Verdict, messages_of, settings_for, settings_of, uses,
};
use spout_plugin::{GrantSpec, LimitsSpec, Offer, Plugin, World, check_grants};
use tokio::time::timeout;

use crate::{
    Access, Error, Service,
    answer::{Answer, Failure, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::{Names, Sent},
};

/// How long all of a trial may take.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/pipelines/{name}/test", "Runs the tests that the spec of a pipeline brings along.", spec)
            .needs(Some(Access::Run))
            .gives::<SpecTested>(),
        Endpoint::post(
            "/v1/plugins/{plugin}/test",
            "Tries what a plugin that the store keeps promises, with nothing granted.",
            plugin,
        )
        .needs(Some(Access::Plugin))
        .takes::<PluginTrial>()
        .gives::<PluginTested>(),
    ]
}

async fn spec(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<SpecTested>> {
    caller.knows(&name)?;
    let loaded = service.managed.loaded(&name).await?;
    // It is closed by nobody.
    let _permit = service.trials.acquire().await.ok();
    let run = async {
        let plugins = Some(&service.plugins).filter(|_| Rehearsal::needs_plugins(&loaded.spec));
        let mut tests = Vec::new();
        if !loaded.spec.tests.is_empty() {
            let failed = |error| Failure::of_what_was_sent(&error);
            let rehearsal = Rehearsal::open(&loaded, plugins).await.map_err(failed)?;
            for test in &loaded.spec.tests {
                tests.push(verdict(rehearsal.run(test).await.map_err(failed)?));
            }
        }
        Ok(SpecTested { pipeline: name.clone(), tests })
    };
    let slow = || Error::TrialTime { what: name.clone(), seconds: LONGEST.as_secs(), command: "spout test SPEC" };
    timeout(LONGEST, run).await.unwrap_or_else(|_| Err(slow().into())).map(Json)
}

fn verdict(Verdict { test, passed, problems }: Verdict) -> TestVerdict {
    let problem = |Problem { what, missing, unexpected, diff }| TestProblem { what, missing, unexpected, diff };
    TestVerdict { test, passed, problems: problems.into_iter().map(problem).collect() }
}

async fn plugin(
    State(service): State<Arc<Service>>,
    Names(name): Names<String>,
    Sent(asked): Sent<PluginTrial>,
) -> Answer<Json<PluginTested>> {
    // It is closed by nobody.
    let _permit = service.trials.acquire().await.ok();
    let run = async {
        let plugin = Arc::new(service.kept(&name, asked.digest.clone()).await?);
        let findings = tried(&plugin, &asked).await?;
        Ok(PluginTested { name: name.clone(), digest: plugin.digest().to_owned(), findings })
    };
    let slow =
        || Error::TrialTime { what: name.clone(), seconds: LONGEST.as_secs(), command: "spout plugin test PLUGIN" };
    timeout(LONGEST, run).await.unwrap_or_else(|_| Err(slow().into())).map(Json)
}

fn wrong(why: String) -> Failure {
    Error::Request { why }.into()
}

async fn tried(plugin: &Arc<Plugin>, asked: &PluginTrial) -> Answer<Vec<PluginFinding>> {
    let failed = |error| Failure::of_what_was_sent(&error);
    let offers = plugin.offers(&LimitsSpec::default()).await.map_err(failed)?;
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let wanted = |offer: &&Offer| is(&asked.interface, &offer.interface) && is(&asked.offer, &offer.name);
    let wanted: Vec<&Offer> = offers.iter().filter(wanted).collect();
    let uses = uses(plugin, &wanted);
    if uses.is_empty() {
        let worlds: Vec<String> = plugin.worlds().iter().map(ToString::to_string).collect();
        return Err(wrong(format!(
            "{} is nothing of that kind that can be tried by itself; it is a {}, and a spout or a command is tried as a spec runs it: `spout plugin test --spec FILE`",
            plugin.name(),
            worlds.join(", ")
        )));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let settings: Vec<(String, String)> =
        asked.settings.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let known: Option<Vec<Vec<String>>> = uses.iter().map(|(_, offer)| settings_of(offer)).collect();
    if let Some(known) = known
        && let Some((name, _)) = settings.iter().find(|(name, _)| !known.iter().flatten().any(|known| known == name))
    {
        return Err(wrong(format!("{} has no setting `{name}`", plugin.name())));
    }
    let mut findings = Vec::new();
    for (world, offer) in uses {
        let found = one(plugin, (world, offer), offers, &settings, asked).await?;
        findings.extend(found.into_iter().map(|Finding { promise, kept, seen }| PluginFinding {
            interface: offer.interface.clone(),
            offer: offer.name.clone(),
            promise,
            kept,
            seen,
        }));
    }
    Ok(findings)
}

/// Tries one of the things that a plugin is.
async fn one(
    plugin: &Arc<Plugin>,
    (world, offer): (World, &Offer),
    offers: &[Offer],
    settings: &[(String, String)],
    asked: &PluginTrial,
) -> Answer<Vec<Finding>> {
    let failed = |error| Failure::of_what_was_sent(&error);
    let (none, topic) = (GrantSpec::default(), asked.topic.clone().unwrap_or_else(|| "trial".to_owned()));
    let trial = |(world, offer): (World, &Offer)| {
        let read = Some(topic.as_str()).filter(|_| offer.interface.ends_with("consumer"));
        check_grants(plugin, (world, &offer.name), &none, (read, None))
            .map_err(|error| Failure::of_what_was_sent(&error))?;
        let mut trial = Trial::new(Arc::clone(plugin), offer.name.clone(), settings_for(offer, settings), none.clone());
        trial.topic.clone_from(&topic);
        Ok::<_, Failure>(trial)
    };
    let this = trial((world, offer))?;
    let given = || {
        let missing = || wrong("a decoder and a handler are tried over an `input`, which is missing".into());
        asked.input.as_deref().ok_or_else(missing)
    };
    Ok(match world {
        World::Decoder => this.decoder(&messages_of(given()?.as_bytes(), asked.whole)).await,
        World::Handler => {
            let rows = match (asked.table, offers.iter().find(|offer| offer.interface == "decoder")) {
                (Some(format), _) => table(given()?, format)?.first(MOST_TRIED)?,
                (None, Some(decoder)) => {
                    let messages = messages_of(given()?.as_bytes(), asked.whole);
                    let rows = trial((World::Decoder, decoder))?.decode(&messages).await.map_err(failed)?;
                    rows.slice(0, rows.num_rows().min(MOST_TRIED))
                }
                (None, None) => {
                    return Err(wrong("a handler is tried over rows: say with `table` what format they have".into()));
                }
            };
            this.handler(&rows).await
        }
        World::Source => this.source().await,
        World::StreamSource if offer.is_acked() => this.acked().await,
        World::StreamSource => this.stream().await,
        World::SelfDriven | World::Transformer | World::Command => Vec::new(),
    })
}

/// A table that was sent.
fn table(input: &str, format: TextFormat) -> Answer<Import> {
    let name = "the input";
    let file = || -> io::Result<std::fs::File> {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    let file = file().map_err(|source| unreadable(name, source))?;
    Ok(Import::open(file, name, format.format(), None)?)
}
