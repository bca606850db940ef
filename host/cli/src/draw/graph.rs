//! Who feeds whom: sources, pipelines and the repos that they read, as nodes and arrows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use spout_api::{Drawing, Graph as Whole, GraphEdge, GraphNode, LOOKS_UP, NodeKind, SUBSCRIBES};
use spout_keeper::draw;
use spout_spec::Loaded;

/// Nodes by name, and arrows between them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Graph {
    pub(super) nodes: BTreeMap<String, Kind>,
    pub(super) arrows: BTreeSet<Arrow>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Outside of the store.
    Source,
    /// A repo that nothing here writes.
    Repo,
    /// A pipeline, and the repo it writes.
    Pipeline,
}

/// Rows go from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) how: How,
}

/// How rows get from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// By its producer.
    Reads,
    /// Over a link between two running pipelines.
    Subscribes,
    /// As a table that rows are looked up in.
    Lookup,
}

impl How {
    /// What is written at an arrow; nothing at most of them.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Reads => "",
            Self::Subscribes => "subscribes",
            Self::Lookup => "looks up",
        }
    }
}

impl Graph {
    /// What specs say.
    pub(super) fn of_specs(specs: &[Loaded]) -> Self {
        let mut drawing = Drawing::default();
        draw(specs, &mut drawing);
        Self::of(Whole::from(drawing))
    }

    /// As it is drawn: without where rows go besides repos.
    pub(super) fn of(whole: Whole) -> Self {
        let kind = |node: &GraphNode| match node.kind {
            NodeKind::Pipeline => Some(Kind::Pipeline),
            NodeKind::Repo => Some(Kind::Repo),
            NodeKind::Source => Some(Kind::Source),
            NodeKind::Consumer => None,
        };
        let named: BTreeMap<&str, (&str, Kind)> =
            whole.nodes.iter().filter_map(|node| Some((node.id.as_str(), (node.name.as_str(), kind(node)?)))).collect();
        let mut graph = Self::default();
        for (name, kind) in named.values() {
            graph.nodes.insert((*name).to_owned(), *kind);
        }
        for GraphEdge { from, to, label } in &whole.edges {
            let how = match label.as_deref() {
                Some(SUBSCRIBES) => How::Subscribes,
                Some(LOOKS_UP) => How::Lookup,
                _ => How::Reads,
            };
            if let (Some((from, _)), Some((to, _))) = (named.get(from.as_str()), named.get(to.as_str())) {
                graph.arrows.insert(Arrow { from: (*from).to_owned(), to: (*to).to_owned(), how });
            }
        }
        graph
    }

    /// Adds an arrow to a pipeline; a node that is there already stays what it is.
    #[cfg(test)]
    fn draw(&mut self, from: &str, kind: Kind, to: &str, how: How) {
        self.nodes.entry(from.to_owned()).or_insert(kind);
        self.nodes.entry(to.to_owned()).or_insert(Kind::Pipeline);
        if from != to {
            self.arrows.insert(Arrow { from: from.to_owned(), to: to.to_owned(), how });
        }
    }

    /// The arrows that start at a node.
    pub(super) fn out_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arrow> {
        self.arrows.iter().filter(move |arrow| arrow.from == node)
    }

    /// Nodes that no arrow leads to; where arrows go in a circle, the first of that.
    pub(super) fn roots(&self) -> Vec<&str> {
        let targets: BTreeSet<&str> = self.arrows.iter().map(|arrow| arrow.to.as_str()).collect();
        let mut roots: Vec<&str> =
            self.nodes.keys().map(String::as_str).filter(|name| !targets.contains(name)).collect();
        let mut reached = BTreeSet::new();
        roots.iter().for_each(|root| self.reach(root, &mut reached));
        for name in self.nodes.keys() {
            if !reached.contains(name.as_str()) {
                roots.push(name);
                self.reach(name, &mut reached);
            }
        }
        roots
    }

    fn reach<'a>(&'a self, from: &'a str, reached: &mut BTreeSet<&'a str>) {
        let mut left = vec![from];
        while let Some(node) = left.pop() {
            if reached.insert(node) {
                left.extend(self.out_of(node).map(|arrow| arrow.to.as_str()));
            }
        }
    }

    /// How many arrows are at most before each node. Where they go in a circle, that ends somewhere.
    pub(super) fn layers(&self) -> BTreeMap<&str, usize> {
        let mut layers: BTreeMap<&str, usize> = self.nodes.keys().map(|name| (name.as_str(), 0)).collect();
        for _ in 0..self.nodes.len() {
            let mut moved = false;
            for Arrow { from, to, .. } in &self.arrows {
                let least = (layers.get(from.as_str()).copied().unwrap_or_default() + 1).min(self.nodes.len());
                if let Some(layer) = layers.get_mut(to.as_str()).filter(|layer| **layer < least) {
                    *layer = least;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        layers
    }
}

#[cfg(test)]
pub(super) fn example() -> Graph {
    let mut graph = Graph::default();
    graph.draw("files events", Kind::Source, "events", How::Reads);
    graph.draw("events", Kind::Repo, "pushes", How::Reads);
    graph.draw("events", Kind::Repo, "stars", How::Subscribes);
    graph.draw("users", Kind::Repo, "pushes", How::Lookup);
    graph.draw("pushes", Kind::Repo, "hourly", How::Reads);
    graph
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_comes_after_all_that_lead_to_it() {
        let mut graph = example();
        graph.draw("stars", Kind::Pipeline, "pushes", How::Lookup);
        let layers = graph.layers();
        let of = |name: &str| layers.get(name).copied();
        assert_eq!(
            [of("files events"), of("events"), of("stars"), of("pushes"), of("hourly")],
            [0, 1, 2, 3, 4].map(Some)
        );
        assert_eq!(graph.roots(), ["files events", "users"]);
    }

    #[test]
    fn circles_end() {
        let mut graph = Graph::default();
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a")] {
            graph.draw(from, Kind::Pipeline, to, How::Lookup);
        }
        assert_eq!(graph.roots(), ["a"]);
        assert!(graph.layers().values().all(|layer| *layer <= 3));
    }
}
