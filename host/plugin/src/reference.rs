//! How a spec names a plugin: `weblog`, one of several things it offers, `weblog/access`, or with its digest, `weblog@sha256:…`.

/// The parts of a reference to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginRef<'a> {
    /// The file's name without `.wasm`.
    pub plugin: &'a str,
    /// Which of the things it offers.
    pub offer: Option<&'a str>,
    /// `sha256:…` of the file.
    pub digest: Option<&'a str>,
    /// All of it but the digest.
    pub label: &'a str,
}

impl<'a> PluginRef<'a> {
    /// The parts of `reference`, which may be wrong.
    #[must_use]
    pub fn parse(reference: &'a str) -> Self {
        let (label, digest) = split(reference, '@');
        let (plugin, offer) = split(label, '/');
        Self { plugin, offer, digest, label }
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_up_to_three_parts() {
        let check = |reference: &str, plugin: &str, offer: Option<&str>, digest: Option<&str>, label: &str| {
            assert_eq!(PluginRef::parse(reference), PluginRef { plugin, offer, digest, label });
        };
        check("weblog", "weblog", None, None, "weblog");
        check("weblog/access", "weblog", Some("access"), None, "weblog/access");
        check("weblog@sha256:00", "weblog", None, Some("sha256:00"), "weblog");
        check("weblog/access@sha256:00", "weblog", Some("access"), Some("sha256:00"), "weblog/access");
        check("weblog@sha256:00/access", "weblog", None, Some("sha256:00/access"), "weblog");
    }
}
