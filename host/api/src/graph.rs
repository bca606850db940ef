//! Who feeds whom: sources, pipelines, the repos that they read, and where rows go besides, as nodes and edges.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{PLUGINS, SPECS};

use crate::{Api, Reference, Result};

/// Over a link between two running pipelines.
pub const SUBSCRIBES: &str = "subscribes";
/// As a table that rows are looked up in.
pub const LOOKS_UP: &str = "looks up";

/// Nodes by id, and edges between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// What rows come from and go to.
    pub nodes: Vec<GraphNode>,
    /// Which way they go.
    pub edges: Vec<GraphEdge>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A pipeline, and the repo it writes.
    Pipeline,
    /// A repo that no pipeline is known to write.
    Repo,
    /// Outside of the store, read by a pipeline.
    Source,
    /// Outside of the store, where a pipeline sends rows besides its repo.
    Consumer,
}

/// Something that rows come from or go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// What edges name it by.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its name: that of the pipeline or repo, else what it is in a few words.
    pub name: String,
    /// What is to be shown: its description, or else its name.
    pub label: String,
}

/// Rows go from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct GraphEdge {
    /// The id of the one.
    pub from: String,
    /// The id of the other.
    pub to: String,
    /// How, where that is not simply to be read or sent: `subscribes`, `looks up`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A graph that is being drawn.
#[derive(Debug, Default)]
pub struct Drawing {
    nodes: BTreeMap<String, GraphNode>,
    edges: BTreeSet<GraphEdge>,
}

impl Drawing {
    /// Adds a pipeline with its description; what was taken for a repo becomes one.
    pub fn pipeline(&mut self, name: &str, description: &str) {
        let node = self.node(name, NodeKind::Pipeline, name);
        node.kind = NodeKind::Pipeline;
        if !description.is_empty() {
            description.clone_into(&mut node.label);
        }
    }

    /// Adds a repo, unless it is known by what writes it.
    pub fn repo(&mut self, name: &str) {
        self.node(name, NodeKind::Repo, name);
    }

    /// Adds that rows of a repo go into a pipeline, in a way that may have a word.
    pub fn reads(&mut self, repo: &str, pipeline: &str, how: Option<&str>) {
        self.repo(repo);
        self.edge(repo, pipeline, how);
    }

    /// Adds something outside that a pipeline reads.
    pub fn source(&mut self, what: &str, pipeline: &str) {
        let id = format!("source: {what}");
        self.node(&id, NodeKind::Source, what);
        self.edge(&id, pipeline, None);
    }

    /// Adds something outside that a pipeline sends rows to.
    pub fn consumer(&mut self, what: &str, pipeline: &str) {
        let id = format!("consumer of {pipeline}: {what}");
        self.node(&id, NodeKind::Consumer, what);
        self.edge(pipeline, &id, None);
    }

    /// Adds what the newest commits of a store say of how they were made.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn add_store(&mut self, api: &dyn Api) -> Result<()> {
        let own = |name: &String| name == SPECS || name == PLUGINS;
        for name in api.repos().await?.into_iter().map(|repo| repo.name).filter(|name| !own(name)) {
            self.repo(&name);
            for branch in api.branches(&name).await?.into_iter().filter(|branch| branch.head.is_some()) {
                if !branch.pipeline.is_empty() {
                    self.pipeline(&name, "");
                }
                let head = api.commits(&Reference::head(&name, &branch.name), 1).await?;
                for from in head.iter().flat_map(|head| &head.provenance) {
                    self.reads(&from.repo, &name, from.lookup.then_some(LOOKS_UP));
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, id: &str, kind: NodeKind, name: &str) -> &mut GraphNode {
        let new = || GraphNode { id: id.to_owned(), kind, name: name.to_owned(), label: name.to_owned() };
        self.nodes.entry(id.to_owned()).or_insert_with(new)
    }

    fn edge(&mut self, from: &str, to: &str, label: Option<&str>) {
        if from != to {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.edges.insert(GraphEdge { from, to, label: label.map(str::to_owned) });
        }
    }
}

impl From<Drawing> for Graph {
    fn from(Drawing { nodes, edges }: Drawing) -> Self {
        Self { nodes: nodes.into_values().collect(), edges: edges.into_iter().collect() }
    }
}

impl Graph {
    /// What is left of it for one who sees only these repos and pipelines, with what is outside and reaches them.
    #[must_use]
    pub fn seen(mut self, sees: impl Fn(&str) -> bool) -> Self {
        let outside = |node: &GraphNode| matches!(node.kind, NodeKind::Source | NodeKind::Consumer);
        self.nodes.retain(|node| outside(node) || sees(&node.name));
        let there: BTreeSet<&str> = self.nodes.iter().map(|node| node.id.as_str()).collect();
        self.edges.retain(|edge| there.contains(edge.from.as_str()) && there.contains(edge.to.as_str()));
        let reached: BTreeSet<&str> =
            self.edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]).collect();
        self.nodes.retain(|node| !outside(node) || reached.contains(node.id.as_str()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_some_repos_sees_what_reaches_those_and_nothing_of_others() {
        let mut drawing = Drawing::default();
        drawing.repo("events");
        drawing.pipeline("events", "what happened");
        drawing.source("files events", "events");
        drawing.pipeline("secret", "");
        drawing.source("files of others", "secret");
        drawing.consumer("http https://example.com", "secret");
        drawing.consumer("prints", "events");
        drawing.reads("events", "secret", Some(LOOKS_UP));
        drawing.reads("users", "events", Some(LOOKS_UP));
        let graph = Graph::from(drawing);
        let all = graph.clone().seen(|_| true);
        assert_eq!(all, graph);
        assert_eq!((all.nodes.len(), all.edges.len()), (7, 6));
        let events = all.nodes.iter().find(|node| node.id == "events").unwrap();
        assert_eq!((events.kind, events.label.as_str()), (NodeKind::Pipeline, "what happened"));
        let some = graph.seen(|name| name == "events" || name == "users");
        let ids: Vec<&str> = some.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["consumer of events: prints", "events", "source: files events", "users"]);
        assert!(!format!("{some:?}").contains("secret"), "{some:?}");
        assert_eq!(some.edges.len(), 3);
    }
}
