//! The standard environment variables, as far as they are about what this host sends.

use std::{path::PathBuf, time::Duration};

use url::Url;

use super::Error;

/// Where a signal goes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The address.
    pub url: Url,
    /// Names and values that go with each request. Values may be secrets.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// File of the authorities to trust, in PEM.
    pub certificate: Option<PathBuf>,
}

/// What is sent where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Spans, if they are wanted.
    pub traces: Option<Signal>,
    /// Figures, if they are wanted.
    pub metrics: Option<Signal>,
    /// Of all traces this part.
    pub(crate) share: f64,
    /// What is said of this process.
    pub(crate) resource: Vec<(String, String)>,
    /// How long spans wait for others, how many of them go together, and how many wait at most.
    pub(crate) delay: Duration,
    pub(crate) batch: usize,
    pub(crate) queue: usize,
    /// How often figures are sent.
    pub(crate) every: Duration,
}

/// Looks up a variable.
struct Variables<G>(G);

impl<G: Fn(&str) -> Option<String>> Variables<G> {
    /// An empty one is none, as the specification has it.
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// That of one signal, or else that of all.
    fn of(&self, signal: &str, key: &str) -> Option<(String, String)> {
        let names = [format!("OTEL_EXPORTER_OTLP_{signal}_{key}"), format!("OTEL_EXPORTER_OTLP_{key}")];
        names.into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, Error> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = value.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| wrong(name, "it is no whole number greater than zero"))
    }

    fn millis(&self, name: &str, default: u64) -> Result<Duration, Error> {
        self.number(name, default).map(Duration::from_millis)
    }
}

fn wrong(name: &str, why: impl Into<String>) -> Error {
    Error::Setting { name: name.to_owned(), why: why.into() }
}

impl Settings {
    /// What the variables of this process say; `None` if they name no collector.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn read() -> Result<Option<Self>, Error> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// The same of what `get` finds.
    fn of(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let variables = Variables(get);
        if variables.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let traces = signal(&variables, "TRACES", "v1/traces")?;
        let metrics = signal(&variables, "METRICS", "v1/metrics")?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let queue = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)?;
        let batch = variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?.min(queue);
        let few = |number: u64| usize::try_from(number.min(1 << 16)).unwrap_or(1 << 16);
        Ok(Some(Self {
            traces,
            metrics,
            share: share(&variables)?,
            resource: resource(&variables)?,
            delay: variables.millis("OTEL_BSP_SCHEDULE_DELAY", 5000)?,
            batch: few(batch),
            queue: few(queue),
            every: variables.millis("OTEL_METRIC_EXPORT_INTERVAL", 60_000)?,
        }))
    }
}

fn signal<G: Fn(&str) -> Option<String>>(
    variables: &Variables<G>,
    word: &str,
    path: &str,
) -> Result<Option<Signal>, Error> {
    let exporter = format!("OTEL_{word}_EXPORTER");
    match variables.get(&exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(_) => return Err(wrong(&exporter, "this host has the exporters `otlp` and `none`")),
    }
    let Some((name, value)) = variables.of(word, "ENDPOINT") else { return Ok(None) };
    let mut url = Url::parse(&value).map_err(|error| wrong(&name, format!("it is no URL: {error}")))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(wrong(&name, "it has to be a URL such as http://localhost:4318"));
    }
    // One of the signal itself is used as it is.
    if !name.contains(word)
        && let Ok(mut segments) = url.path_segments_mut()
    {
        segments.pop_if_empty().extend(path.split('/'));
    }
    if let Some((name, _)) = variables.of(word, "PROTOCOL").filter(|(_, protocol)| protocol != "http/protobuf") {
        return Err(wrong(&name, "this host speaks `http/protobuf` only; collectors take that at port 4318"));
    }
    let headers = variables.of(word, "HEADERS").map(|(name, value)| pairs(&name, &value)).transpose()?;
    let timeout = match variables.of(word, "TIMEOUT") {
        Some((name, _)) => variables.millis(&name, 10_000)?,
        None => Duration::from_secs(10),
    };
    let gzip = match variables.of(word, "COMPRESSION") {
        Some((_, how)) if how == "gzip" => true,
        Some((name, how)) if how != "none" => return Err(wrong(&name, "this host has `gzip` and `none`")),
        _ => false,
    };
    let certificate = variables.of(word, "CERTIFICATE").map(|(_, path)| PathBuf::from(path));
    Ok(Some(Signal { url, headers: headers.unwrap_or_default(), timeout, gzip, certificate }))
}

/// `a=b,c=d`, with what has a meaning of its own as percent signs.
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, Error> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (key, value) =
            part.split_once('=').ok_or_else(|| wrong(name, "it has to be as in `key=value,key=value`"))?;
        let value = plain(value.trim()).ok_or_else(|| wrong(name, "its percent signs do not stand for UTF-8 text"))?;
        Ok((key.trim().to_owned(), value))
    };
    parts.map(pair).collect()
}

/// Text with `%20` and the like in their meaning.
fn plain(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn share<G: Fn(&str) -> Option<String>>(variables: &Variables<G>) -> Result<f64, Error> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    let sampler = variables.get(NAME).unwrap_or_else(|| "always_on".into());
    // No trace comes from outside, so that all of them are roots.
    match sampler.strip_prefix("parentbased_").unwrap_or(&sampler) {
        "always_on" => Ok(1.0),
        "always_off" => Ok(0.0),
        "traceidratio" => {
            let name = "OTEL_TRACES_SAMPLER_ARG";
            let share = variables.get(name).map_or(Some(1.0), |value| value.parse::<f64>().ok());
            share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| wrong(name, "it is no number from 0 to 1"))
        }
        _ => Err(wrong(NAME, "this host has `always_on`, `always_off`, `traceidratio`, and each as `parentbased_…`")),
    }
}

/// What is said of this process: its own, then what the variables add or say instead.
fn resource<G: Fn(&str) -> Option<String>>(variables: &Variables<G>) -> Result<Vec<(String, String)>, Error> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource = vec![
        ("service.name".to_owned(), "spout".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("process.pid".to_owned(), std::process::id().to_string()),
    ];
    let said = variables.get(NAME).map(|value| pairs(NAME, &value)).transpose()?.unwrap_or_default();
    let service = variables.get("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name));
    for (key, value) in said.into_iter().chain(service) {
        resource.retain(|(known, _)| *known != key);
        resource.push((key, value));
    }
    Ok(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)]) -> Result<Option<Settings>, Error> {
        Settings::of(|name| said.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_variables_mean_what_the_specification_says() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap(), None);
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(read(&[on, ("OTEL_SDK_DISABLED", "true")]).unwrap(), None);
        let settings = read(&[on]).unwrap().unwrap();
        let url = |signal: &Option<Signal>| signal.as_ref().map(|signal| signal.url.to_string()).unwrap_or_default();
        assert_eq!(url(&settings.traces), "http://collector:4318/v1/traces");
        assert_eq!(url(&settings.metrics), "http://collector:4318/v1/metrics");
        assert!((settings.share - 1.0).abs() < f64::EPSILON);
        assert_eq!(settings.resource[0], ("service.name".into(), "spout".into()));
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:1/x"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t, tenant=a"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,host.name=h"),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(url(&settings.traces), "http://other:1/x");
        assert_eq!(url(&settings.metrics), "https://c/otlp/v1/metrics");
        let metrics = settings.metrics.unwrap();
        assert_eq!(metrics.headers, [("authorization".into(), "Bearer t".into()), ("tenant".into(), "a".into())]);
        assert_eq!((metrics.timeout, metrics.gzip), (Duration::from_millis(250), true));
        assert!((settings.share - 0.25).abs() < f64::EPSILON);
        let named = |key: &str| settings.resource.iter().filter(|(known, _)| known == key).collect::<Vec<_>>();
        assert_eq!(named("service.name"), [&("service.name".to_owned(), "b".to_owned())]);
        assert_eq!(named("host.name").len(), 1);
        let none = read(&[on, ("OTEL_METRICS_EXPORTER", "none")]).unwrap().unwrap();
        assert!(none.metrics.is_none() && none.traces.is_some());
    }

    #[test]
    fn what_cannot_be_used_is_said_by_its_name_and_without_its_value() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ] {
            let error = read(&[on, (name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn each_sampler_takes_its_part_of_all_traces() {
        let share = |sampler: Option<&str>, arg: Option<&str>| {
            let get = |name: &str| match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://localhost:4318".to_owned()),
                "OTEL_TRACES_SAMPLER" => sampler.map(str::to_owned),
                "OTEL_TRACES_SAMPLER_ARG" => arg.map(str::to_owned),
                _ => None,
            };
            Settings::of(get).map(|settings| settings.map(|settings| settings.share))
        };
        for (sampler, arg, part) in [
            (None, None, 1.0),
            (None, Some("0.5"), 1.0),
            (Some("always_on"), None, 1.0),
            (Some("always_on"), Some("0.5"), 1.0),
            (Some("always_off"), None, 0.0),
            (Some("always_off"), Some("1"), 0.0),
            (Some("traceidratio"), None, 1.0),
            (Some("traceidratio"), Some("0"), 0.0),
            (Some("traceidratio"), Some("0.125"), 0.125),
            (Some("traceidratio"), Some("1"), 1.0),
            (Some("traceidratio"), Some("1e-3"), 0.001),
            (Some("parentbased_always_on"), None, 1.0),
            (Some("parentbased_always_off"), None, 0.0),
            (Some("parentbased_traceidratio"), Some("0.75"), 0.75),
        ] {
            assert_eq!(share(sampler, arg).unwrap(), Some(part), "{sampler:?} {arg:?}");
        }
        for arg in ["1.01", "-0.1", "half", "NaN", "inf"] {
            let error = share(Some("traceidratio"), Some(arg)).unwrap_err().to_string();
            assert!(error.contains("OTEL_TRACES_SAMPLER_ARG"), "{arg}: {error}");
        }
        for sampler in ["jaeger_remote", "parentbased_jaeger_remote", "xray", "ALWAYS_ON", "parentbased_", "on"] {
            let error = share(Some(sampler), None).unwrap_err().to_string();
            assert!(error.contains("OTEL_TRACES_SAMPLER"), "{sampler}: {error}");
        }
    }
}
