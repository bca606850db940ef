//! Which pipelines have to run together: those that are linked by `subscribe`, over sockets of one run.

use std::collections::BTreeMap;

use spout_producer::Upstream;
use spout_spec::Loaded;

/// The names of pipelines that run together, sorted.
pub(super) type Group = Vec<String>;

/// Every pipeline in its group.
pub(super) fn groups(all: Vec<Loaded>) -> BTreeMap<Group, Vec<Loaded>> {
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for (index, loaded) in all.iter().enumerate() {
        of.insert(loaded.spec.pipeline.name.clone(), index);
    }
    let links: Vec<(String, String)> = all.iter().flat_map(links).collect();
    for (from, to) in links {
        let (Some(&one), Some(&two)) = (of.get(&from), of.get(&to)) else { continue };
        of.values_mut().filter(|group| **group == two).for_each(|group| *group = one);
    }
    let mut groups: BTreeMap<usize, Vec<Loaded>> = BTreeMap::new();
    for loaded in all {
        let group = of.get(&loaded.spec.pipeline.name).copied().unwrap_or_default();
        groups.entry(group).or_default().push(loaded);
    }
    let named = |members: Vec<Loaded>| {
        let mut names: Group = members.iter().map(|loaded| loaded.spec.pipeline.name.clone()).collect();
        names.sort_unstable();
        (names, members)
    };
    groups.into_values().map(named).collect()
}

/// What a pipeline subscribes to, each with its own name.
fn links(loaded: &Loaded) -> Vec<(String, String)> {
    let name = &loaded.spec.pipeline.name;
    let link = |(_, source): (String, spout_producer::Source)| match source.spec.upstream() {
        Some(Upstream::Link(from)) => Some((from.to_owned(), name.clone())),
        _ => None,
    };
    loaded.spec.sources().filter_map(link).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn linked_pipelines_are_one_group() {
        let spec = |name: &str, source: &str| {
            format!("---\npipeline: {{name: {name}}}\nproducer: {{{source}, decoder: {{type: json}}}}\n")
        };
        let text = [
            spec("a", "stdin: {}"),
            spec("b", "subscribe: {pipeline: c}"),
            spec("c", "subscribe: {pipeline: a}"),
            spec("d", "repo: {repo: a}"),
        ];
        let text = text.concat().replace("repo: {repo: a}, decoder: {type: json}", "repo: {repo: a}");
        let all = spout_spec::parse(&text, Path::new("s.yaml"), Path::new("/")).unwrap();
        let names: Vec<Group> = groups(all).into_keys().collect();
        assert_eq!(names, [vec!["a".to_owned(), "b".into(), "c".into()], vec!["d".into()]]);
    }
}
