//! What can be said about producers without opening them: one source each, a decoder that suits it, names, and what is promised.

use std::collections::BTreeSet;

use spout_producer::{DecoderSpec, PerFileSpec, ProducerSpec, TransformSpec, Upstream};

use super::{
    Loaded, PipelineSpec,
    check::{contradiction, name},
    csv,
    error::Error,
};

/// A `transform` is the source of the only producer, with the `input` that it is run for.
pub(super) fn drive(loaded: &mut Loaded) {
    if let Some(transform) = loaded.spec.transform.take().map(TransformSpec::without_image) {
        loaded.spec.transform = Some(transform.clone());
        loaded.note_all("producer.transform", "transform");
        match loaded.spec.input.clone() {
            Some(input) => {
                loaded.spec.producer.per_file = Some(Box::new(PerFileSpec { input, transform }));
                loaded.note_all("producer.transform.input", "input");
            }
            None => loaded.spec.producer.transform = Some(transform),
        }
    }
}

/// Everything that is wrong with the producers of a pipeline.
pub(super) fn problems(loaded: &Loaded) -> Vec<Error> {
    let mut wrong = names(loaded);
    wrong.extend(linked_twice(loaded));
    wrong.extend(loaded.spec.producers().filter_map(|(at, producer)| one(loaded, &at, producer).err()));
    wrong.extend(guarantee(loaded));
    wrong.extend(per_file(loaded));
    wrong
}

/// What does not go together with an `input`, or without one.
fn per_file(loaded: &Loaded) -> Vec<Error> {
    let why = if loaded.spec.input.is_none() {
        [("errors.file", "only a pipeline with an `input` is given files; leave `file` out")].as_slice()
    } else if loaded.spec.transform.is_none() {
        [("input", "files of an `input` are given to a plugin; name it as `transform: {plugin: NAME}`, or read rows with `producer: {repo: …}`")].as_slice()
    } else {
        &[
            (
                "node",
                "a pipeline with an `input` makes files and has no rows; let another one read its files with `producer: {repo: …}`",
            ),
            (
                "consumers",
                "a pipeline with an `input` makes files and has no rows; let another one read its files with `producer: {repo: …}`",
            ),
            ("spout.onExit", "a pipeline with an `input` goes on as long as its input does; leave `onExit` out"),
        ]
    };
    why.iter().filter(|(key, _)| loaded.says(key)).map(|&(key, what)| contradiction(loaded, key, what)).collect()
}

/// `producer` or `producers`, and in the latter a name each.
fn names(loaded: &Loaded) -> Vec<Error> {
    let PipelineSpec { producer, producers, .. } = &loaded.spec;
    let mut wrong = Vec::new();
    if loaded.spec.transform.is_some() {
        for key in ["producer", "producers"].into_iter().filter(|key| loaded.says(key)) {
            let what = "a pipeline has either a `transform`, which drives itself, or a `producer`; remove one of them";
            wrong.push(contradiction(loaded, key, what));
        }
        if loaded.says("commit.flush") {
            let what = "a `transform` decides itself when a commit is made; leave `flush` out";
            wrong.push(contradiction(loaded, "commit.flush", what));
        }
    } else if loaded.says("spout.onExit") {
        let what = "only a `transform` ends by itself and can be run again; leave `onExit` out";
        wrong.push(contradiction(loaded, "spout.onExit", what));
    }
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
    let linked = loaded.spec.sources().filter_map(|(at, source)| match source.spec.upstream() {
        Some(Upstream::Link(pipeline)) => Some((format!("{at}.{}.pipeline", source.key), pipeline.to_owned())),
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
            let keys = ProducerSpec::SOURCES.join("`, `");
            return Err(missing(
                "source",
                &format!("add one of `{keys}`, or Pinot's `streamConfigs`; or write a `transform` instead of it"),
            ));
        }
        [first, second, ..] => {
            let what = format!(
                "a producer reads one source, but this one has `{}` and `{}`; keep one of them, or write both as `producers`",
                first.key, second.key
            );
            return Err(contradiction(loaded, &format!("{at}.{}", second.key), what));
        }
    };
    if source.spec.decodes() && producer.decoder.is_none() && source.spec.usual_decoder().is_none() {
        return Err(missing("`decoder`", "add `decoder: {type: json}`, `{type: raw}` or `{plugin: …}`"));
    }
    if !source.spec.decodes() && producer.decoder.is_some() {
        let what = format!(
            "`{}` delivers rows as it is set up here, so there is nothing to decode; leave `decoder` out",
            source.key
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
    if let Some((key, what)) = source.spec.problem() {
        let key = PipelineSpec::written_at(at, &format!("{}.{key}", source.key));
        return Err(contradiction(loaded, &key, what));
    }
    if let Some(decoder) = &producer.decoder
        && let Some((key, what)) = csv::problem(source, decoder)
    {
        return Err(contradiction(loaded, &format!("{at}.{}.{key}", source.key), what));
    }
    Ok(())
}

/// Compares the guarantee that the spec demands with what each source can promise.
fn guarantee(loaded: &Loaded) -> Vec<Error> {
    let Some(wanted) = loaded.spec.guarantee else { return Vec::new() };
    let less = loaded.spec.sources().filter(|(_, source)| !source.spec.promise().keeps(wanted));
    less.map(|(at, source)| {
        let promise = source.spec.promise();
        let what = format!(
            "`guarantee` demands {wanted}, but the {} `{}` promises {promise}; demand less, or read a source that promises more",
            if at == "producer" { at } else { format!("source of {at},") },
            source.key
        );
        contradiction(loaded, "guarantee", what)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{PipelineSpec, parse, parse_every};

    #[test]
    fn keys_are_said_as_they_are_written() {
        let check = |at: &str, key: &str, expected: &str| assert_eq!(PipelineSpec::written_at(at, key), expected);
        check("producer", "transform", "transform");
        check("producer", "transform.args", "transform.args");
        check("producer", "transform.input.pfs.repo", "input.pfs.repo");
        check("producer", "stream.topic", "producer.stream.topic");
        check("producers[1]", "repo", "producers[1].repo");
    }

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

    fn check(producer: &str, rest: &str, expected: &str) {
        let text = format!("pipeline: {{name: p}}\nproducer:\n  {producer}\n{rest}");
        let said = parse(&text, Path::new("s.yaml"), Path::new("/")).err().map(|error| error.to_string());
        let said = said.unwrap_or_else(|| "nothing".into());
        assert!(said.contains(expected), "{producer}: {said}");
    }

    const RAW: &str = "  decoder: {type: raw}\n";

    #[test]
    fn sources_are_checked_before_they_are_opened() {
        check("tcp: {listen: 'localhost:0', reply: line}", RAW, "nothing");
        check("tcp: {listen: '9000'}", RAW, "s.yaml:3: pipeline `p`: `9000` is not a host and port");
        check("tcp: {listen: 'a:1', maxClients: 0}", RAW, "`maxClients` is 0");
        check("tcp: {listen: 'a:1', framing: {prefix: u16}}", RAW, "`prefix` belongs to type length");
        check("http: {listen: 'a:1', token: {env: TOKEN}}", RAW, "nothing");
        check("http: {listen: 'a:1', token: secret}", RAW, "`producer.http.token`");
        check("http: {listen: 'a:1', path: events}", RAW, "begins with a slash");
        check("http: {listen: 'a:1', path: /health}", RAW, "choose another path");
        check("http: {listen: 'a:1', keys: 0, requireKey: true}", RAW, "raise `keys`");
        check("http: {listen: 'a:1'}", "", "has no `decoder`");
        check("stdin: {}", RAW, "nothing");
        check("repo: {repo: events}", "", "nothing");
        check("repo: {repo: events}", RAW, "leave `decoder` out");
        check("repo: {repo: events, mode: lines}", RAW, "nothing");
        check("repo: {repo: events, mode: lines}", "", "has no `decoder`");
        check("repo: {repo: ../x}", "", "`../x`");
        check("repo: {repo: events, path: '/[a'}", "", "s.yaml:3");
        check("repo: {repo: events, start: {commit: x}}", "", "at least four digits");
        check("repo: {repo: events, metadata: [key]}", "", "committed rows have no messages");
        check("stdin: {}\n  tcp: {listen: 'a:1'}", RAW, "this one has `tcp` and `stdin`; keep one");
    }

    #[test]
    fn a_guarantee_is_compared_with_what_the_source_can_promise() {
        let with = |guarantee: &str| format!("{RAW}guarantee: {guarantee}\n");
        check("stream: {plugin: files}", &with("exactly-once"), "nothing");
        check(
            "tcp: {listen: 'a:1'}",
            &with("at-least-once"),
            "demands at-least-once, but the producer `tcp` promises none",
        );
        check("tcp: {listen: 'a:1', reply: line}", &with("at-least-once"), "nothing");
        check(
            "http: {listen: 'a:1'}",
            &with("exactly-once"),
            "promises at-least-once (push source: exactly once after",
        );
        check("http: {listen: 'a:1'}", &with("effectively-once"), "set `requireKey: true`");
        check("http: {listen: 'a:1', requireKey: true}", &with("effectively-once"), "nothing");
        check("stdin: {}", &with("at-least-once"), "a pipe cannot be read again");
        check("repo: {repo: events}", "guarantee: exactly-once\n", "nothing");
    }
}
