//! Whether what frames CSV records and what reads them mean the same characters.

use spout_codec::csv::Style;
use spout_plugin::{PluginRef, Setting, Settings};
use spout_producer::{DecoderSpec, FramingSpec, FramingType, NativeDecoder};

use super::ProducerSpec;

/// The two characters, and whether the first record is a header.
#[derive(Clone, Copy, Debug)]
struct Marks {
    delimiter: char,
    quote: char,
    header: Option<bool>,
}

/// The setting in which a source that frames CSV records and the `csv` decoder differ, and what to do.
pub(super) fn problem(producer: &ProducerSpec) -> Option<(&'static str, String)> {
    let decoder = decoder(producer.decoder.as_ref()?)?;
    let (at, source) = source(producer)?;
    let differ = |name: &str, source: char, decoder: char| {
        let (source, decoder) = (source.escape_debug(), decoder.escape_debug());
        let what =
            format!("`{name}` is `{source}` in the source and `{decoder}` in the decoder; set both to the same value");
        Some((at, what))
    };
    if source.delimiter != decoder.delimiter {
        return differ("delimiter", source.delimiter, decoder.delimiter);
    }
    if source.quote != decoder.quote {
        return differ("quote", source.quote, decoder.quote);
    }
    (source.header == Some(true) && decoder.header == Some(false)).then(|| {
        let what = "the source takes the first record of each file as its header, but the decoder has `header: false`; set both to the same value";
        (at, what.to_owned())
    })
}

fn decoder(decoder: &DecoderSpec) -> Option<Marks> {
    match decoder {
        DecoderSpec::Native(NativeDecoder::Csv(csv)) => {
            let header = match csv.header {
                spout_codec::csv::Header::Given(given) => Some(given),
                spout_codec::csv::Header::Names(_) => None,
            };
            Some(Marks { delimiter: csv.delimiter, quote: csv.quote, header })
        }
        DecoderSpec::Plugin(plugin) if PluginRef::parse(&plugin.plugin).plugin == "csv" => marks(&plugin.settings),
        _ => None,
    }
}

fn source(producer: &ProducerSpec) -> Option<(&'static str, Marks)> {
    let framed = |at, framing: &FramingSpec| {
        let (delimiter, quote) = (framing.delimiter.unwrap_or(','), framing.quote.unwrap_or('"'));
        (framing.kind == FramingType::Csv).then_some((at, Marks { delimiter, quote, header: None }))
    };
    if let Some(stream) = &producer.stream {
        let is_csv = text(&stream.settings, "framing").is_some_and(|framing| framing == "csv");
        let marks =
            (PluginRef::parse(&stream.plugin).plugin == "files" && is_csv).then(|| marks(&stream.settings)).flatten();
        return marks.map(|marks| ("stream.settings", marks));
    }
    let stdin = producer.stdin.as_ref().and_then(|spec| framed("stdin.framing", &spec.framing));
    let tcp = || producer.tcp.as_ref().and_then(|spec| framed("tcp.framing", &spec.framing));
    let http = || {
        let framing = producer.http.as_ref()?.framing.as_ref()?;
        framed("http.framing", framing)
    };
    stdin.or_else(tcp).or_else(http)
}

fn text(settings: &Settings, name: &str) -> Option<String> {
    settings.0.get(name).map(Setting::to_string)
}

/// What settings of a plugin say; `None` if that is nothing the plugin takes, which it says itself.
fn marks(settings: &Settings) -> Option<Marks> {
    let delimiter = match text(settings, "delimiter") {
        Some(delimiter) => Style::delimiter_of(&delimiter).ok()?,
        None => ',',
    };
    let quote = text(settings, "quote").map_or(Some('"'), |quote| quote.parse().ok())?;
    Some(Marks { delimiter, quote, header: text(settings, "header").and_then(|header| header.parse().ok()) })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse;

    fn check(source: &str, decoder: &str, expected: Option<&str>) {
        let text = format!("pipeline: {{name: p}}\nproducer:\n  {source}\n  decoder: {decoder}\n");
        let said = parse(&text, Path::new("s.yaml"), Path::new("/")).err().map(|error| error.to_string());
        match (said.as_deref(), expected) {
            (None, None) => {}
            (Some(said), Some(part)) => assert!(said.contains(part) && said.contains("s.yaml:3"), "{source}: {said}"),
            (said, _) => panic!("{source} and {decoder}: {said:?}"),
        }
    }

    #[test]
    fn source_and_decoder_mean_the_same_characters() {
        let files = |settings: &str| format!("stream: {{plugin: files, topic: in, settings: {{{settings}}}}}");
        check(&files("framing: csv"), "{type: csv}", None);
        check(&files("framing: csv, delimiter: tab"), "{type: csv, delimiter: \"\\t\"}", None);
        check(&files("framing: csv, delimiter: tab"), "{plugin: csv, settings: {delimiter: tab}}", None);
        check(&files("delimiter: ';'"), "{type: csv}", None);
        check(&files("framing: csv, delimiter: ';'"), "{type: csv}", Some("`delimiter` is `;`"));
        check(&files("framing: csv"), "{plugin: csv, settings: {delimiter: ';'}}", Some("`;` in the decoder"));
        check(&files("framing: csv, quote: \"'\""), "{type: csv}", Some("`quote` is `\\'`"));
        check(&files("framing: csv, header: true"), "{type: csv, header: false}", Some("`header: false`"));
        check(&files("framing: csv, header: true"), "{type: csv, header: [a, b]}", None);
        check("stdin: {framing: {type: csv}}", "{type: csv, delimiter: ';'}", Some("`delimiter` is `,`"));
        check("http: {listen: 'a:1'}", "{type: csv, delimiter: ';'}", None);
    }
}
