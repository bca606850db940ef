//! What can be said about a source without opening it: addresses, paths, sizes, names.

use spout_producer::{FramingSpec, HttpSpec, RepoMode, RepoSpec, RepoStart, Source, StdinSpec, TcpSpec};

/// The first thing that is wrong with a source: the key within it, and what to do.
pub(super) fn problem(source: &Source) -> Option<(&'static str, String)> {
    match source {
        Source::Stream(_) => None,
        Source::Tcp(TcpSpec { listen, framing, max_clients, queue, .. }) => address(listen)
            .or_else(|| framed(framing))
            .or_else(|| zero("maxClients", u64::from(*max_clients)))
            .or_else(|| zero("queue", queue.0)),
        Source::Http(spec) => http(spec),
        Source::Stdin(StdinSpec { framing, queue, .. }) => framed(framing).or_else(|| zero("queue", queue.0)),
        Source::Repo(spec) => repo(spec),
        Source::Subscribe(spec) => {
            let problem = spec.problem().map(|(key, what)| (key, what.to_owned()));
            problem.or_else(|| zero("queue", spec.queue.0))
        }
    }
}

fn http(spec: &HttpSpec) -> Option<(&'static str, String)> {
    let path = || {
        let why = match spec.path.as_str() {
            "/health" => "`/health` says whether the pipeline runs; choose another path",
            path if !path.starts_with('/') || path.contains(['?', '#', ' ']) => {
                "the path of a URL begins with a slash and has no `?`, `#` or blank, as in `/events`"
            }
            _ => return None,
        };
        Some(("path", why.to_owned()))
    };
    let keys = || {
        let without = spec.require_key && spec.keys == 0;
        without.then(|| ("keys", "`requireKey` needs at least one remembered key; raise `keys`".to_owned()))
    };
    let many = || (spec.keys > 4096).then(|| ("keys", "every commit holds the keys; remember at most 4096".to_owned()));
    address(&spec.listen)
        .or_else(path)
        .or_else(|| spec.framing.as_ref().and_then(framed))
        .or_else(|| zero("maxBody", spec.max_body.0))
        .or_else(|| zero("maxRequests", u64::from(spec.max_requests)))
        .or_else(|| zero("queue", spec.queue.0))
        .or_else(keys)
        .or_else(many)
}

fn repo(spec: &RepoSpec) -> Option<(&'static str, String)> {
    let name = || spout_repo::path::repo_name(&spec.repo).err().map(|error| ("repo", error.to_string()));
    let branch = || spout_repo::path::branch_name(&spec.branch).err().map(|error| ("branch", error.to_string()));
    let path = || {
        let path = spec.path.as_deref()?;
        spout_repo::path::pattern(path).err().map(|error| ("path", error.to_string()))
    };
    let mode = || match spec.mode {
        RepoMode::Lines => framed(&spec.framing),
        _ if spec.framing != FramingSpec::default() => {
            Some(("framing", "`framing` is for `mode: lines`; set that, or leave it out".to_owned()))
        }
        RepoMode::Rows if !spec.metadata.is_empty() => {
            let why = "committed rows have no messages; use `mode: lines` or `mode: files`, or leave it out";
            Some(("metadata", why.to_owned()))
        }
        _ => None,
    };
    let start = || match &spec.start {
        RepoStart::Commit(id) if id.len() < 4 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Some(("start", "write the id of a commit, or at least four digits of it".to_owned()))
        }
        _ => None,
    };
    name().or_else(branch).or_else(path).or_else(mode).or_else(start)
}

fn address(listen: &str) -> Option<(&'static str, String)> {
    let sound = listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let why = || format!("`{listen}` is not a host and port; write it like 127.0.0.1:9000, or 0.0.0.0:9000 for all");
    (!sound).then(|| ("listen", why()))
}

fn framed(framing: &FramingSpec) -> Option<(&'static str, String)> {
    framing.check().err().map(|why| ("framing", why))
}

fn zero(key: &'static str, value: u64) -> Option<(&'static str, String)> {
    (value == 0).then(|| (key, format!("`{key}` is 0, so nothing could be received; leave it out for the default")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::parse;

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
