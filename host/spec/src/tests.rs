//! Specs and what is said about them: one line of input away from a good spec, one line of complaint.

use std::path::Path;

use spout_base::error::Coded;

use super::*;

const GOOD: &str = "pipeline: {name: p}
producer:
  stream:
    plugin: files
    topic: events
  decoder: {type: json}
";

fn all(text: &str) -> Result<Vec<Loaded>, Error> {
    let all = parse(text, Path::new("s.yaml"), Path::new("/specs"))?;
    match together(&all).into_iter().next() {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

fn complaint(text: &str) -> String {
    match all(text) {
        Ok(_) => "nothing".into(),
        Err(error) => format!("{} {error}", error.code()),
    }
}

/// What is said about the good spec with `more` after it, or with its `from` replaced.
fn added(more: &str, expected: &str) {
    assert_eq!(complaint(&format!("{GOOD}{more}")), expected, "{more}");
}

fn changed(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from));
    assert_eq!(complaint(&GOOD.replace(from, to)), expected, "{from} -> {to}");
}

#[test]
fn the_good_spec_is_good() {
    added("", "nothing");
    assert_eq!(complaint(EXAMPLE), "nothing");
    added("spout: {service: {internalPort: 8000, externalPort: 31800}}\n", "nothing");
    added("spout: {service: {internal_port: 8000, external_port: 31800, address: 0.0.0.0}}\n", "nothing");
    let env = "env: {TOPIC: events, PORT: 9092, KEY: {env: KAFKA_KEY}, CERT: {file: ./cert}}";
    added(
        &format!("grants: {{files: {{net: ['*.example.com:443'], listen: [8000, '0.0.0.0:81'], {env}}}}}\n"),
        "nothing",
    );
}

#[test]
fn unknown_keys_name_the_nearest() {
    changed(
        "plugin:",
        "pluginn:",
        "E0103 s.yaml:4: unknown key `pluginn` at `producer.stream.pluginn`; did you mean `plugin`?",
    );
    changed("pipeline:", "pipelin:", "E0103 s.yaml:1: unknown key `pipelin` at `pipelin`; did you mean `pipeline`?");
    changed(
        "{type: json}",
        "{type: json, shema: {}}",
        "E0103 s.yaml:6: unknown key `shema` at `producer.decoder.shema`; did you mean `schema`?",
    );
    changed(
        "{type: json}",
        "{plugn: json}",
        "E0103 s.yaml:6: unknown key `plugn` at `producer.decoder.plugn`; did you mean `plugin`?",
    );
    added(
        "commit:\n  flush: {zeit: 5s}\n",
        "E0103 s.yaml:8: unknown key `zeit` at `commit.flush.zeit`; known: bytes, rows, time",
    );
    added(
        "node:\n  - {type: filter, where: a}\n  - type: filter\n    wehre: b\n",
        "E0103 s.yaml:10: unknown key `wehre` at `node[1].wehre`; did you mean `where`?",
    );
    added(
        "grants: {files: {dir: {a: b}}}\n",
        "E0103 s.yaml:7: unknown key `dir` at `grants.files.dir`; did you mean `dirs`?",
    );
    added(
        "grants: {files: {dirs: {a: {pth: b}}}}\n",
        "E0103 s.yaml:7: unknown key `pth` at `grants.files.dirs.a.pth`; did you mean `path`?",
    );
    changed(
        "topic: events",
        "start: {tiem: 5}",
        "E0103 s.yaml:5: unknown key `tiem` at `producer.stream.start.tiem`; did you mean `time`?",
    );
}

#[test]
fn wrong_types_and_values_say_what_is_expected() {
    changed(
        "{name: p}",
        "{name: 5}",
        "E0104 s.yaml:1: `pipeline.name` is the number 5; expected a string (in quotes, if it looks like something else)",
    );
    changed("{name: p}", "p", "E0104 s.yaml:1: `pipeline` is the string `p`; expected a map with `name`");
    changed(
        "{type: json}",
        "json",
        "E0104 s.yaml:6: `producer.decoder` is the string `json`; expected a map with `type` or a map with `plugin`",
    );
    changed(
        "{type: json}",
        "{type: jsn}",
        "E0104 s.yaml:6: `producer.decoder.type` is the string `jsn`; did you mean `json`?",
    );
    for (net, how) in [
        ("broker", "write it like broker:9092, *.example.com:443, 10.0.0.0/8:5432 or [2001:db8::1]:9092"),
        ("10.0.0.1/8:80", "write the first address of the range"),
    ] {
        added(
            &format!("grants: {{files: {{net: ['{net}']}}}}\n"),
            &format!("E0104 s.yaml:7: `grants.files.net[0]` is the string `{net}`; {how}"),
        );
    }
    added(
        "grants: {files: {listen: [8000, localhost]}}\n",
        "E0104 s.yaml:7: `grants.files.listen[1]` is the string `localhost`; write it like 8000 or 0.0.0.0:8000",
    );
    added(
        "grants: {files: {listen: [70000]}}\n",
        "E0104 s.yaml:7: `grants.files.listen[0]` is the number 70000; it must be at most 65535",
    );
    changed(
        "topic: events",
        "start: earlist",
        "E0104 s.yaml:5: `producer.stream.start` is the string `earlist`; did you mean `earliest`?",
    );
    changed(
        "topic: events",
        "start: monday",
        "E0104 s.yaml:5: `producer.stream.start` is the string `monday`; expected `earliest`, `latest`, a map with `time`, a map with `ago` or a map with `offset`",
    );
    changed(
        "topic: events",
        "start: {time: yesterday}",
        "E0104 s.yaml:5: `producer.stream.start.time` is the string `yesterday`; write it like 2026-01-01T00:00:00Z",
    );
    changed(
        "topic: events",
        "start: {offset: {zero: 1}}",
        "E0103 s.yaml:5: unknown key `zero` at `producer.stream.start.offset.zero`; the keys here are partition numbers, as in `{0: 12}`",
    );
    changed(
        "topic: events",
        "consumerType: midlevel",
        "E0104 s.yaml:5: `producer.stream.consumerType` is the string `midlevel`; expected `lowlevel`, `highlevel` or `acked`",
    );
    changed(
        "topic: events",
        "fetch: {messages: 5000000000}",
        "E0104 s.yaml:5: `producer.stream.fetch.messages` is the number 5000000000; it must be at most 4294967295",
    );
    added(
        "commit:\n  flush:\n    rows: many\n",
        "E0104 s.yaml:9: `commit.flush.rows` is the string `many`; expected a whole number",
    );
    added(
        "commit:\n  flush:\n    rows: -1\n",
        "E0104 s.yaml:9: `commit.flush.rows` is the number -1; it must be at least 0",
    );
    added(
        "commit:\n  flush:\n    rows: 1.5\n",
        "E0104 s.yaml:9: `commit.flush.rows` is the number 1.5; expected a whole number",
    );
    added(
        "commit:\n  flush:\n    time: 5\n",
        "E0104 s.yaml:9: `commit.flush.time` is the number 5; expected a length of time like 250ms, 5s or 10m",
    );
    let daily = "pipeline: {name: p}\nproducer:\n  repo: {repo: r, trigger: {cron: 0 * * *}}\n";
    assert_eq!(
        complaint(daily),
        "E0104 s.yaml:3: `producer.repo.trigger.cron` is the string `0 * * *`; it has 4 fields, not 5; write it like `0 * * * *` or @daily"
    );
    added(
        "commit:\n  flush:\n    time: soon\n",
        "E0104 s.yaml:9: `commit.flush.time` is the string `soon`; write it like 250ms, 5s, 10m or 1h",
    );
    added(
        "limits: {memory: lots}\n",
        "E0104 s.yaml:7: `limits.memory` is the string `lots`; write it like 65536, 64KiB or 10MB",
    );
    added(
        "commit: {format: parket}\n",
        "E0104 s.yaml:7: `commit.format` is the string `parket`; did you mean `parquet`?",
    );
    added("node: {type: filter}\n", "E0104 s.yaml:7: `node` is a map; expected a list");
    added("node:\n- {type: fliter}\n", "E0104 s.yaml:8: `node[0].type` is the string `fliter`; did you mean `filter`?");
    added(
        "spout: {overwrite: maybe}\n",
        "E0104 s.yaml:7: `spout.overwrite` is the string `maybe`; expected true or false",
    );
    assert_eq!(
        complaint("just a text"),
        "E0104 s.yaml:1: `the document` is the string `just a text`; expected a map with `pipeline`"
    );
}

#[test]
fn missing_keys_say_what_they_are() {
    changed(
        "plugin: files",
        "topic: x",
        "E0107 s.yaml:5: the key `topic` is already given on line 4; keep one of them",
    );
    changed(
        "    plugin: files\n",
        "",
        "E0105 s.yaml:4: `producer.stream` has no `plugin`; add `plugin: …` (name of the plugin, `files`, or of one of its sources, `weblog/gzipped`; `files@sha256:…` pins its digest too)",
    );
    changed(
        "pipeline: {name: p}\n",
        "",
        "E0105 s.yaml:1: the pipeline spec has no `pipeline`; add `pipeline: …` (the name of a pipeline, which is also the name of its output repo)",
    );
    changed(
        "  decoder: {type: json}\n",
        "",
        "E0105 s.yaml:2: `producer` has no `decoder`; add `decoder: {type: json}`, `{type: raw}` or `{plugin: …}`",
    );
    changed(
        "{type: json}",
        "{settings: {}}",
        "E0105 s.yaml:6: `producer.decoder` has no key that says what it is; add `type: …` (json, csv, graphite, influx, arrow, avro, protobuf, registry, syslog, raw) or `plugin: …`",
    );
    added(
        "node:\n- {where: a}\n",
        "E0105 s.yaml:8: `node[0]` has no key that says what it is; add `type: …` (aggregate, dedupe, default, derivative, dispatch, dynamic-window, filter, group, join, log, lookup, map, plugin, sample, sort, sql, threshold, throttle, window)",
    );
    assert_eq!(
        complaint("pipeline: {name: p}\nproducer: {}\n"),
        "E0105 s.yaml:2: `producer` has no source; add one of `stream`, `tcp`, `http`, `stdin`, `subscribe`, `repo`, or Pinot's `streamConfigs`; or write a `transform` instead of it"
    );
    assert_eq!(
        complaint("# nothing\n"),
        "E0105 s.yaml contains no pipeline; `spout schema --example` prints one to start from"
    );
}

#[test]
fn texts_that_are_no_specs_are_refused() {
    added("node: [\n", "E0102 s.yaml:7: this is neither YAML nor JSON: unclosed bracket '['");
    added(
        "\t- x\n",
        "E0102 s.yaml:7: this is neither YAML nor JSON: tabs disallowed within this context (block indentation)",
    );
    added(
        "a: !secret b\n",
        "E0102 s.yaml:7: this is neither YAML nor JSON: the tag `!secret` means nothing here; leave it out",
    );
    added(
        "description: *nobody\n",
        "E0102 s.yaml:7: this is neither YAML nor JSON: while parsing node, found unknown anchor",
    );
    added("producer: 1\n", "E0107 s.yaml:7: the key `producer` is already given on line 2; keep one of them");
    changed(
        "topic: events",
        "consumerType: lowlevel\n    consumer_type: highlevel",
        "E0107 s.yaml:6: the key `consumerType` is already given on line 5; keep one of them",
    );
}

#[test]
fn bombs_are_refused_early() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let last = format!("*a{},", level - 1).repeat(10);
        bomb += &format!("a{level}: &a{level} [{last}]\n");
    }
    assert!(complaint(&bomb).starts_with("E0106 s.yaml:"), "{}", complaint(&bomb));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(100));
    assert!(complaint(&long).starts_with("E0106 s.yaml:2"), "{}", complaint(&long));
    for deep in ["[".repeat(5000), "- ".repeat(5000), "{a: ".repeat(5000)] {
        let said = complaint(&deep);
        assert!(said.starts_with("E0102") || said.starts_with("E0106"), "{said}");
    }
    assert_eq!(
        complaint("a: &a {b: *a}\n"),
        "E0102 s.yaml:1: this is neither YAML nor JSON: an alias (`*name`) refers to a value it is part of"
    );
}

#[test]
fn names_and_paths_have_rules() {
    let names = "use letters, digits, `-`, `_` and `.`, at most 63, starting with a letter or a digit";
    changed(
        "{name: p}",
        "{name: ../etc}",
        &format!("E0108 s.yaml:1: `pipeline.name` is `../etc`, which cannot be the name of a pipeline; {names}"),
    );
    changed(
        "{name: p}",
        "{name: ''}",
        &format!("E0108 s.yaml:1: `pipeline.name` is ``, which cannot be the name of a pipeline; {names}"),
    );
    added(
        "commit: {branch: a/b}\n",
        &format!("E0108 s.yaml:7: `commit.branch` is `a/b`, which cannot be the name of a branch; {names}"),
    );
    let paths = "write it like /events/ or /{commit}.parquet: from the root, without `..`, and with no placeholder but {commit} and {part}";
    for path in ["events/", "/../x", "/{date}/", "/a//b", "/{commit"] {
        added(
            &format!("commit: {{path: '{path}'}}\n"),
            &format!("E0108 s.yaml:7: `commit.path` is `{path}`, which cannot be the path of data files; {paths}"),
        );
    }
    for path in ["/", "/events/", "/{commit}.parquet", "/a/{commit}/{part}.parquet", "/one.parquet"] {
        added(&format!("commit: {{path: '{path}'}}\n"), "nothing");
    }
    changed(
        "plugin: files",
        "plugin: files@md5:1",
        "E0108 s.yaml:4: `producer.stream.plugin` is `files@md5:1`, which cannot be the name of a plugin; write the plugin's name, name/offer if it offers several, or name@sha256:… with its digest",
    );
    changed(
        "plugin: files",
        "plugin: ../files",
        "E0108 s.yaml:4: `producer.stream.plugin` is `../files`, which cannot be the name of a plugin; write the plugin's name, name/offer if it offers several, or name@sha256:… with its digest",
    );
    changed("plugin: files", "plugin: files/lines@sha256:0123456789ab", "nothing");
    changed(
        "plugin: files",
        "plugin: files/a/b",
        "E0108 s.yaml:4: `producer.stream.plugin` is `files/a/b`, which cannot be the name of a plugin; write the plugin's name, name/offer if it offers several, or name@sha256:… with its digest",
    );
    added(
        "spout: {marker: ../x}\n",
        "E0108 s.yaml:7: `spout.marker` is `../x`, which cannot be the marker's file; `../x` cannot be the path of a file: it has a segment `.` or `..`; write it like /events/2026-01.parquet",
    );
}

#[test]
fn contradictions_are_found_before_anything_runs() {
    added(
        "commit: {flush: {rows: 0}}\n",
        "E0104 s.yaml:7: `commit.flush.rows` is 0; it must be more than 0; leave it out for the default",
    );
    added(
        "commit: {flush: {time: 0s}}\n",
        "E0104 s.yaml:7: `commit.flush.time` is 0; it must be more than 0; leave it out for the default",
    );
    added(
        "spout: {service: {internalPort: 0, externalPort: 31800}}\n",
        "E0110 s.yaml:7: pipeline `p`: `internalPort` is 0, so no plugin can listen at it; write the port that the plugin listens at",
    );
    added(
        "grants: {file: {dirs: {a: b}}}\n",
        "E0114 s.yaml:7: pipeline `p` grants something to the plugin `file` but does not use it; did you mean `files`?",
    );
    added(
        "consumers:\n- {type: file, path: x, format: parquet}\n",
        "E0110 s.yaml:8: pipeline `p`: there will be several files, but `x` names one; add {n} or {time} to it",
    );
    changed(
        "topic: events",
        "consumerType: highlevel\n    start: {ago: 1h}",
        "E0110 s.yaml:6: pipeline `p`: a stream read as a whole (consumerType: highlevel) can start at earliest or latest only; read it by partition (lowlevel) to start at a time or an offset",
    );
    added(
        "node:\n- {type: filter, id: a, where: x}\n- {type: map, id: a, drop: [x]}\n",
        "E0113 s.yaml:9: pipeline `p` has two handlers with the id `a`; give each its own",
    );
    added(
        "node:\n- {type: map}\n",
        "E0110 s.yaml:8: pipeline `p`: the handler `map-0` changes nothing; set `columns`, `drop` or `select`",
    );
    added(
        &format!("---\n{GOOD}"),
        "E0112 s.yaml:8: pipeline `p` writes `p@master`, as s.yaml:1 does; only one pipeline can write a branch: change pipeline.name or commit.branch",
    );
    added(
        &format!("commit: {{branch: dev}}\n---\n{GOOD}"),
        "E0111 s.yaml:9: the pipeline name `p` is already taken by s.yaml:1; give each pipeline its own name",
    );
}

#[test]
fn yaml_json_camel_and_snake_mean_the_same() {
    let yaml = "pipeline: {name: p}\nproducer:\n  stream: {plugin: files, consumerType: highlevel, onOutOfRange: latest, fetch: {bytes: 1MiB}}\n  decoder: {type: json}\nlimits: {tableElements: 5}\n";
    let snake = yaml
        .replace("consumerType", "consumer_type")
        .replace("onOutOfRange", "on_out_of_range")
        .replace("tableElements", "table_elements");
    let json = "{\"pipeline\": {\"name\": \"p\"},\n\t\"limits\": {\"tableElements\": 5},\n\t\"producer\": {\"decoder\": {\"type\": \"json\"}, \"stream\": {\"fetch\": {\"bytes\": 1048576}, \"plugin\": \"files\", \"consumerType\": \"highlevel\", \"onOutOfRange\": \"latest\"}}}";
    let digests: Vec<String> = [yaml, &snake, json].map(|text| all(text).unwrap().remove(0).digest).to_vec();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
    assert_ne!(digests[0], all(GOOD).unwrap().remove(0).digest);
}

#[test]
fn other_words_for_a_key_mean_the_same() {
    let spec = |near: &str, columns: &str| {
        let derivative = format!("{{id: d, type: derivative, columns: {{v: {{column: p}}}}, {near}: 2s}}");
        let aggregate = format!("{{id: a, type: aggregate, per: commit, {columns}: {{n: count(*)}}}}");
        let text = format!("{GOOD}node: [{derivative}, {aggregate}]\n");
        all(&text).unwrap().remove(0).digest
    };
    assert_eq!(spec("neighbourhood", "columns"), spec("neighborhood", "aggregate"));
}

#[test]
fn what_users_name_keeps_its_spelling_and_its_order() {
    let text =
        format!("{GOOD}node:\n- {{type: map, columns: {{z_z: a, a_a: 1, m: 'true'}}}}\n- {{type: filter, where: a}}\n");
    let loaded = all(&text).unwrap().remove(0);
    let spout_node::NodeSpec::Map(map) = &loaded.spec.node[0] else { panic!("a map") };
    assert_eq!(serde_json::to_string(&map.columns).unwrap(), r#"{"z_z":"a","a_a":"1","m":"true"}"#);
    assert_eq!((loaded.spec.node[0].id(), loaded.spec.node[1].id()), ("map-0", "filter-1"));
    assert_eq!(loaded.place("node[1].where").line, 9);
    assert_eq!(loaded.resolve(Path::new("./data")).to_str(), Some("/specs/data"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.yaml");
    let error = load(&missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read the spec {}; check the path and its permissions", missing.display())
    );
    let broken = dir.path().join("broken.yaml");
    std::fs::write(&broken, b"a: b\nc: \xff\n").unwrap();
    assert_eq!(
        load(&broken).unwrap_err().to_string(),
        format!("{}:2: this is neither YAML nor JSON: it is not UTF-8 text", broken.display())
    );
    let huge = dir.path().join("huge.yaml");
    std::fs::write(&huge, vec![b'#'; 2 << 20]).unwrap();
    assert_eq!(load(&huge).unwrap_err().code(), "E0106");
}

#[test]
fn every_example_is_a_good_spec() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml" || ending == "json") {
            let loaded = load_all(&[&path]).unwrap_or_else(|error| panic!("{error}"));
            assert!(!loaded.is_empty());
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} examples");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let alphabet: Vec<char> = EXAMPLE.chars().chain("&*!|>%@`\t\u{feff}\\\"'{}[],:#-\n é😀\0".chars()).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let json = serde_json::to_string_pretty(&all(EXAMPLE).unwrap()[0].spec).unwrap();
    assert_eq!(all(&json).unwrap()[0].digest, all(EXAMPLE).unwrap()[0].digest, "a written spec reads as it was");
    let mut refused = 0;
    for round in 0..4000 {
        let mut text: Vec<char> = if round % 2 == 0 { EXAMPLE } else { &json }.chars().collect();
        for _ in 0..=dice(6) {
            let at = dice(text.len().max(1));
            match dice(4) {
                0 if !text.is_empty() => text[at] = alphabet[dice(alphabet.len())],
                1 => text.insert(at, alphabet[dice(alphabet.len())]),
                2 if text.len() > 1 => drop(text.remove(at)),
                _ => text.truncate(at.max(1)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = all(&text) {
            refused += 1;
            assert!(error.to_string().starts_with("s.yaml"), "{error}");
        }
    }
    assert!(refused > 1000, "only {refused} of the mutated specs are refused");
}

#[test]
fn tests_of_a_spec_are_checked_without_running_them() {
    let node = "node: [{id: a, type: filter, where: 'n > 1'}, {id: b, type: filter, where: 'n > 2'}]\n";
    let check = |test: &str, part: &str| {
        let said = complaint(&format!("{GOOD}{node}tests:\n  - {test}\n"));
        assert!(said.contains(part), "{test}: {said}");
    };
    check("{name: t, input: [{n: 1, other: {x: [1]}}], expect: []}", "nothing");
    check("{name: t, input: [{n: 1}]}", "it expects nothing; add `expect: []`");
    check("{name: t, from: c, input: [{n: 1}], expect: []}", "there is no handler `c`");
    check("{name: t, from: b, to: a, input: [{n: 1}], expect: []}", "comes after");
    check("{name: t, from: b, lines: ['{}'], expect: []}", "to start at `from`");
    check("{name: t, lines: ['{}'], input: [{n: 1}], expect: []}", "use steps for several");
    check("{name: t, input: [{n: 1}], steps: [{cut: true}], expect: []}", "into `steps`");
    check("{name: t, schema: {n: int65}, expect: []}", "unknown type `int65`");
    check("{name: t, expct: []}", "did you mean `expect`?");
    check("{name: t, input: [], expect: []}\n  - {name: t, input: [], expect: []}", "another test has this name");
    let with = all(&format!("{GOOD}{node}tests: [{{name: t, expect: []}}]\n")).unwrap();
    let without = all(&format!("{GOOD}{node}")).unwrap();
    assert_eq!(with[0].digest, without[0].digest, "tests are no part of what a pipeline does");
}

#[test]
fn handlers_within_handlers_have_ids_and_are_checked() {
    let dispatch = |nodes: &str| format!("{GOOD}node: [{{type: dispatch, groupBy: [h], nodes: [{nodes}]}}]\n");
    let loaded = all(&dispatch("{type: filter, where: 'n > 1'}")).unwrap();
    assert_eq!(loaded[0].spec.node[0].within()[0].id(), "dispatch-0-filter-0");
    for (nodes, part) in [
        ("{type: filter, where: ''}", "has no condition"),
        ("{type: filter, wher: 'n'}", "did you mean `where`?"),
        ("{id: dispatch-0, type: filter, where: 'n > 1'}", "two handlers with the id `dispatch-0`"),
        ("", "has nothing in `nodes`"),
        ("{type: plugin, plugin: '!'}", "`node[0].nodes[0].plugin`"),
    ] {
        let said = complaint(&dispatch(nodes));
        assert!(said.contains(part), "{nodes}: {said}");
    }
}
