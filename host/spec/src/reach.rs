//! What a spec reaches of the machine that runs it, and which repos it reads.

use std::iter;

use spout_base::{reach::Reach, secret::SecretSpec};
use spout_producer::{DecoderSpec, Upstream};

use super::{Loaded, PipelineSpec, all_handlers, error::Error};

/// What a spec reaches besides the store, each with the key that does. Nothing is opened or read to say so.
#[must_use]
pub fn reaches(spec: &PipelineSpec) -> Vec<(String, Reach)> {
    let mut all = Vec::new();
    let mut add = |key: String, reaches: Vec<Reach>| all.extend(reaches.into_iter().map(|reach| (key.clone(), reach)));
    for (at, producer) in spec.producers() {
        for (key, source) in producer.written() {
            let secret = source.secret().map(|(_, secret)| SecretSpec::reach(secret));
            let files = source.reads_files().then_some(Reach::Files);
            add(format!("{at}.{key}"), source.reach().into_iter().chain(files).chain(secret).collect());
        }
        if let Some(DecoderSpec::Native(native)) = &producer.decoder {
            add(format!("{at}.decoder"), native.reach());
        }
        for (plugin, grants) in &producer.grants {
            add(format!("{at}.grants.{plugin}"), grants.reach());
        }
    }
    for (plugin, grants) in &spec.grants {
        add(format!("grants.{plugin}"), grants.reach());
    }
    for (index, consumer) in spec.consumers.iter().enumerate() {
        add(format!("consumers[{index}]"), consumer.reach());
    }
    if let Some(service) = &spec.spout.service {
        let files = service.reads_files().then_some(Reach::Files);
        add("spout.service".into(), iter::once(Reach::Ports).chain(files).collect());
    }
    all
}

/// The repos that a spec reads, each with the key that says so: of other pipelines, and of tables that rows are looked up in.
#[must_use]
pub fn reads(spec: &PipelineSpec) -> Vec<(String, String)> {
    let sources = spec.sources().filter_map(|(at, source)| {
        let (Upstream::Link(repo) | Upstream::Branch(repo, _)) = source.spec.upstream()?;
        Some((PipelineSpec::written_at(&at, source.key), repo.to_owned()))
    });
    let tables = all_handlers(&spec.node, "node").into_iter().filter_map(|(at, node)| Some((at, node.table()?.repo)));
    sources.chain(tables).collect()
}

/// Refuses what is not among `allowed`.
pub(super) fn within(loaded: &Loaded, allowed: &[Reach]) -> Result<(), Error> {
    let beyond = reaches(&loaded.spec).into_iter().find(|(_, reach)| !allowed.contains(reach));
    match beyond {
        None => Ok(()),
        Some((key, reach)) => {
            Err(Error::Reaches { at: loaded.place(&key), pipeline: loaded.spec.pipeline.name.clone(), key, reach })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::parse_within;

    #[test]
    fn what_a_spec_reaches_is_refused_unless_it_is_allowed() {
        let check = |rest: &str, expected: &[Reach]| {
            let text = format!("pipeline: {{name: p}}\n{rest}");
            let parse = |allowed: &[Reach]| parse_within(&text, Path::new("s.yaml"), Path::new("/nowhere"), allowed);
            for one in expected {
                let less: Vec<Reach> = expected.iter().copied().filter(|other| other != one).collect();
                let error = parse(&less).err().map(|error| error.to_string()).unwrap_or_default();
                assert!(error.contains(&format!("--allow {one}")), "{rest}: {error}");
            }
            let error = parse(expected).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.contains("--allow"), "{rest}: {error}");
        };
        let raw = "decoder: {type: raw}";
        let stream = format!("producer: {{stream: {{plugin: files, topic: t}}, {raw}}}\n");
        check(&stream, &[]);
        check("producer: {repo: {repo: other}}\n", &[]);
        check("producer: {subscribe: {pipeline: other}}\n", &[]);
        check(&format!("producer: {{subscribe: {{address: 'tcp://a:1'}}, {raw}}}\n"), &[Reach::Network]);
        check(&format!("producer: {{http: {{listen: 'a:1'}}, {raw}}}\n"), &[Reach::Ports]);
        check(
            &format!("producer: {{http: {{listen: 'a:1', token: {{env: T}}}}, {raw}}}\n"),
            &[Reach::Ports, Reach::Environment],
        );
        check(&format!("producer: {{tcp: {{listen: 'a:1'}}, {raw}}}\n"), &[Reach::Ports]);
        check(&format!("producer: {{stdin: {{}}, {raw}}}\n"), &[Reach::Files]);
        check("transform: {cmd: [./x], trusted: true}\n", &[Reach::Commands]);
        check("transform: {plugin: x}\nspout: {service: {internalPort: 1, externalPort: 2}}\n", &[Reach::Ports]);
        check(
            "transform: {plugin: x}\nspout: {service: {internalPort: 1, externalPort: 2, cert: a.pem, key: b.pem}}\n",
            &[Reach::Ports, Reach::Files],
        );
        check(
            "producer: {http: {listen: '127.0.0.1:0', cert: a.pem, key: b.pem}, decoder: {type: json}}\n",
            &[Reach::Ports, Reach::Files],
        );
        // The file is not even looked at: whether it is there is nobody's business.
        let protobuf =
            "producer: {stream: {plugin: files, topic: t}, decoder: {type: protobuf, descriptor: x.pb, message: m}}\n";
        check(protobuf, &[Reach::Files]);
        let registry = |more: &str| {
            format!(
                "producer: {{stream: {{plugin: files, topic: t}}, decoder: {{type: registry, url: 'http://a:1'{more}}}}}\n"
            )
        };
        check(&registry(""), &[Reach::Network]);
        check(&registry(", token: {env: T}"), &[Reach::Network, Reach::Environment]);
        check(&registry(", keep: schemas"), &[Reach::Network, Reach::Files]);
        for (grant, reach) in [
            ("dirs: {a: /etc}", Reach::Files),
            ("net: ['a:1']", Reach::Network),
            ("listen: [8000]", Reach::Ports),
            ("env: {A: {env: HOME}}", Reach::Environment),
            ("env: {A: {file: /etc/passwd}}", Reach::Files),
        ] {
            check(&format!("{stream}grants: {{files: {{{grant}}}}}\n"), &[reach]);
        }
        check(&format!("{stream}grants: {{files: {{env: {{A: b}}}}}}\n"), &[]);
        for (consumer, reach) in [
            ("{type: print}", Reach::Files),
            ("{type: file, path: x.csv}", Reach::Files),
            ("{type: tcp, address: 'a:1'}", Reach::Network),
            ("{type: http, url: 'http://a'}", Reach::Network),
            ("{type: publish, address: 'tcp://*:1'}", Reach::Ports),
        ] {
            check(&format!("{stream}consumers: [{consumer}]\n"), &[reach]);
        }
    }

    #[test]
    fn the_repos_that_are_read_are_known() {
        let text = "pipeline: {name: p}\nproducer: {repo: {repo: a}}\nnode:\n  - {id: d, type: dispatch, groupBy: [x], nodes: [{id: l, type: lookup, repo: b, on: [x], columns: [y]}]}\n";
        let loaded = crate::parse(text, Path::new("s.yaml"), Path::new("/")).unwrap();
        let all: Vec<String> = reads(&loaded[0].spec).into_iter().map(|(_, repo)| repo).collect();
        assert_eq!(all, ["a", "b"]);
    }
}
