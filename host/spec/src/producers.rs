//! What can be said about producers without opening them: one source each, a decoder that suits it, names, and what is promised.

use std::collections::BTreeSet;

use spout_producer::{ConsumerType, DecoderSpec, Source, Start};

use super::{
    Loaded, PipelineSpec, ProducerSpec,
    check::{contradiction, name},
    csv,
    error::Error,
    sources,
};

/// Everything that is wrong with the producers of a pipeline.
pub(super) fn problems(loaded: &Loaded) -> Vec<Error> {
    let mut wrong = names(loaded);
    wrong.extend(linked_twice(loaded));
    wrong.extend(loaded.spec.producers().filter_map(|(at, producer)| one(loaded, &at, producer).err()));
    wrong.extend(guarantee(loaded));
    wrong
}

/// `producer` or `producers`, and in the latter a name each.
fn names(loaded: &Loaded) -> Vec<Error> {
    let PipelineSpec { producer, producers, .. } = &loaded.spec;
    let mut wrong = Vec::new();
    if producers.is_empty() {
        if !producer.name.is_empty() {
            let what = "the only producer has no name; leave `name` out, or write a list of `producers`";
            wrong.push(contradiction(loaded, "producer.name", what));
        }
        return wrong;
    }
    if loaded.says("producer") {
        let what =
            "a pipeline has either `producer` or `producers`; move the one into the list of the others, with a name";
        wrong.push(contradiction(loaded, "producer", what));
    }
    let mut seen = BTreeSet::new();
    for (index, producer) in producers.iter().enumerate() {
        let at = format!("producers[{index}]");
        let path = format!("{at}.name");
        if producer.name.is_empty() {
            wrong.push(Error::Missing {
                at: loaded.place(&at),
                within: format!("`{at}`"),
                missing: "`name`".into(),
                advice: "name it, as in `name: orders`: rows and commits know it by that".into(),
            });
            continue;
        }
        wrong.extend(name(loaded, &path, &producer.name, "the name of a producer").err());
        if !seen.insert(&producer.name) {
            let what = format!("two producers are called `{}`; give each its own name", producer.name);
            wrong.push(contradiction(loaded, &path, what));
        }
    }
    wrong
}

/// Producers that subscribe to a pipeline to which another one of them does: each row would come twice.
fn linked_twice(loaded: &Loaded) -> Vec<Error> {
    let mut seen = BTreeSet::new();
    let linked = loaded.spec.sources().filter_map(|(at, source)| match source {
        Source::Subscribe(subscribe) => Some((format!("{at}.subscribe.pipeline"), subscribe.pipeline?)),
        _ => None,
    });
    let twice: Vec<(String, String)> = linked.filter(|(_, pipeline)| !seen.insert(pipeline.clone())).collect();
    twice
        .into_iter()
        .map(|(path, pipeline)| {
            let what = format!("another producer subscribes to `{pipeline}` already; remove one of them");
            contradiction(loaded, &path, what)
        })
        .collect()
}

/// The first thing that is wrong with the producer at `at`.
fn one(loaded: &Loaded, at: &str, producer: &ProducerSpec) -> Result<(), Error> {
    let missing = |missing: &str, advice: &str| Error::Missing {
        at: loaded.place(at),
        within: format!("`{at}`"),
        missing: missing.into(),
        advice: advice.into(),
    };
    let sources = producer.sources();
    let source = match sources.as_slice() {
        [source] => source,
        [] => {
            return Err(missing(
                "source",
                "add one of `stream` (or Pinot's `streamConfigs`), `tcp`, `http`, `stdin`, `repo` or `subscribe`",
            ));
        }
        [first, second, ..] => {
            let what = format!(
                "a producer reads one source, but this one has `{}` and `{}`; keep one of them, or write both as `producers`",
                first.key(),
                second.key()
            );
            return Err(contradiction(loaded, &format!("{at}.{}", second.key()), what));
        }
    };
    let linked = matches!(source, Source::Subscribe(subscribe) if subscribe.pipeline.is_some());
    if source.decodes() && producer.decoder.is_none() && !linked {
        return Err(missing("`decoder`", "add `decoder: {type: json}`, `{type: raw}` or `{plugin: …}`"));
    }
    if !source.decodes() && producer.decoder.is_some() {
        let what = format!(
            "`{}` delivers rows as it is set up here, so there is nothing to decode; leave `decoder` out",
            source.key()
        );
        return Err(contradiction(loaded, &format!("{at}.decoder"), what));
    }
    if let Some(DecoderSpec::Native(native)) = &producer.decoder
        && let Err(reason) = native.check(&loaded.base_dir)
    {
        let setting = reason.strip_prefix("setting").and_then(|reason| reason.split('`').nth(1));
        let decoder = format!("{at}.decoder");
        let path = setting.map(|setting| format!("{decoder}.{setting}")).filter(|path| loaded.says(path));
        let what = format!("the decoder {} cannot work: {reason}", native.name());
        return Err(contradiction(loaded, path.as_deref().unwrap_or(&decoder), what));
    }
    if let Some((key, what)) = sources::problem(source) {
        return Err(contradiction(loaded, &format!("{at}.{}.{key}", source.key()), what));
    }
    if let Some((key, what)) = csv::problem(producer) {
        return Err(contradiction(loaded, &format!("{at}.{key}"), what));
    }
    let Some(stream) = &producer.stream else { return Ok(()) };
    let by_time = matches!(stream.start, Start::Time(_) | Start::Ago(_) | Start::Offset(_));
    if stream.consumer_type == ConsumerType::Highlevel && by_time {
        let what = "a stream read as a whole (consumerType: highlevel) can start at earliest or latest only; \
                    read it by partition (lowlevel) to start at a time or an offset";
        return Err(contradiction(loaded, &format!("{at}.stream.start"), what));
    }
    Ok(())
}

/// Compares the guarantee that the spec demands with what each source can promise.
fn guarantee(loaded: &Loaded) -> Vec<Error> {
    let Some(wanted) = loaded.spec.guarantee else { return Vec::new() };
    let less = loaded.spec.sources().filter(|(_, source)| !source.promise().keeps(wanted));
    less.map(|(at, source)| {
        let promise = source.promise();
        let what = format!(
            "`guarantee` demands {wanted}, but the {} `{}` promises {promise}; demand less, or read a source that promises more",
            if at == "producer" { at } else { format!("source of {at},") },
            source.key()
        );
        contradiction(loaded, "guarantee", what)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse_every;

    #[test]
    fn what_is_wrong_with_several_producers_is_said_where_it_is() {
        let check = |producers: &str, rest: &str, expected: &[&str]| {
            let text = format!("pipeline: {{name: p}}\nproducers:\n{producers}{rest}");
            let (_, wrong) = parse_every(&text, Path::new("s.yaml"), Path::new("/"));
            let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            assert_eq!(said.len(), expected.len(), "{said:#?}");
            said.iter().zip(expected).for_each(|(said, part)| assert!(said.contains(part), "{part}: {said}"));
        };
        let raw = "decoder: {type: raw}";
        let files = format!("stream: {{plugin: files, topic: t}}, {raw}");
        let a = format!("  - {{name: a, {files}}}\n");
        check(&format!("{a}  - {{name: b, {files}}}\n"), "", &[]);
        check(&format!("{a}  - {{{files}}}\n"), "", &["s.yaml:4: `producers[1]` has no `name`"]);
        check(&format!("{a}{a}"), "", &["s.yaml:4: pipeline `p`: two producers are called `a`"]);
        check(&a, "producer: {stdin: {}, decoder: {type: raw}}\n", &["either `producer` or `producers`"]);
        check(&a, "guarantee: exactly-once\n", &[]);
        let stdin = format!("{a}  - {{name: b, stdin: {{}}, {raw}}}\n");
        check(&stdin, "guarantee: exactly-once\n", &["source of producers[1], `stdin` promises"]);
        check(&format!("{a}  - {{name: b, {raw}}}\n"), "", &["`producers[1]` has no source"]);
        check(&format!("{a}  - {{name: b, stdin: {{}}}}\n"), "", &["`producers[1]` has no `decoder`"]);
        let linked = |name: &str| format!("  - {{name: {name}, subscribe: {{pipeline: events}}}}\n");
        check(
            &(linked("a") + &linked("b")),
            "",
            &["s.yaml:4: pipeline `p`: another producer subscribes to `events` already"],
        );
    }
}
