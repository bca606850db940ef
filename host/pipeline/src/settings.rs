//! Settings that a spec gives to plugins, against the schema that each plugin offers for its own.

use spout_plugin::{Offer, PluginRef, Plugins, World};
use spout_spec::{Loaded, PluginUse, SettingsSchema, check_settings};

use super::Error;

/// What of the settings at `path` of a spec the plugin does not know, lacks, or cannot take; nothing where it offers no schema.
///
/// # Errors
/// A plugin that cannot be loaded, has no such offer, or offers a schema that is none.
pub async fn misfits(
    loaded: &Loaded,
    plugins: &Plugins,
    path: &str,
    used: PluginUse<'_>,
) -> Result<Vec<spout_spec::Error>, Error> {
    let pipeline = &loaded.spec.pipeline.name;
    let failed = |source| Error::Plugin { pipeline: pipeline.clone(), source: Box::new(source) };
    let limits = &loaded.spec.limits;
    let plugin = plugins.get(used.reference).await.map_err(failed)?;
    let name = plugin.offer(used.world, PluginRef::parse(used.reference).offer, limits).await.map_err(failed)?;
    let fitting = |offer: &&Offer| offer.interface == used.world.interface() && offer.name == name;
    let offer = plugin.offers(limits).await.map_err(failed)?.iter().find(fitting);
    if used.world == World::StreamSource
        && let Some(offer) = offer
        && offer.is_acked() != used.acked
    {
        let key = format!("{path}.consumerType");
        let (at, plugin, is) = (loaded.place(&key), plugin.name().to_owned(), offer.is_acked());
        return Ok(vec![spout_spec::Error::Acknowledged { at, key, plugin, is }]);
    }
    let Some(offer) = offer.filter(|offer| !offer.settings_schema.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let schema = SettingsSchema::parse(&offer.settings_schema).map_err(|source| Error::SettingsSchema {
        plugin: plugin.name().to_owned(),
        interface: offer.interface.clone(),
        source,
    })?;
    Ok(check_settings(loaded, &format!("{path}.settings"), used.settings, &schema))
}

/// # Errors
/// The first setting of `loaded` that its plugin cannot take.
pub(super) async fn check(loaded: &Loaded, plugins: &Plugins) -> Result<(), Error> {
    for (path, used) in spout_spec::plugins(&loaded.spec) {
        if let Some(source) = misfits(loaded, plugins, &path, used).await?.into_iter().next() {
            return Err(Error::Settings { source: Box::new(source) });
        }
    }
    Ok(())
}
