//! Whether what frames CSV records and what reads them mean the same characters.

use spout_producer::{DecoderSpec, Source};

/// The setting in which a source that frames CSV records and the `csv` decoder differ, and what to do.
pub(super) fn problem(source: &Source, decoder: &DecoderSpec) -> Option<(&'static str, String)> {
    let decoder = decoder.csv()?;
    let (at, source) = source.spec.csv()?;
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
