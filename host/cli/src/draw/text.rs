//! A graph as an indented tree. What several lead to is drawn in full once.

use std::collections::BTreeSet;

use super::graph::{Graph, How, Kind};

/// The lines of `graph`.
pub(super) fn text(graph: &Graph) -> String {
    let (mut out, mut drawn) = (String::new(), BTreeSet::new());
    for root in graph.roots() {
        branch(graph, (root, How::Reads), ["", ""], &mut drawn, &mut out);
    }
    out
}

/// A node below the lines of those before it, `first` before its own line and `rest` before those of what it leads to.
fn branch<'a>(
    graph: &'a Graph,
    (node, how): (&'a str, How),
    [first, rest]: [&str; 2],
    drawn: &mut BTreeSet<&'a str>,
    out: &mut String,
) {
    let again = !drawn.insert(node);
    let kind = match graph.nodes.get(node) {
        Some(Kind::Source) => "source",
        Some(Kind::Repo) => "repo",
        Some(Kind::Pipeline) | None => "",
    };
    let notes: Vec<&str> =
        [kind, how.label(), if again { "above" } else { "" }].into_iter().filter(|note| !note.is_empty()).collect();
    let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) };
    *out += &format!("{first}{node}{notes}\n");
    if again {
        return;
    }
    let arrows: Vec<_> = graph.out_of(node).collect();
    for (index, arrow) in arrows.iter().enumerate() {
        let [corner, line] = if index + 1 == arrows.len() { ["└─ ", "   "] } else { ["├─ ", "│  "] };
        let (first, rest) = (format!("{rest}{corner}"), format!("{rest}{line}"));
        branch(graph, (&arrow.to, arrow.how), [&first, &rest], drawn, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::graph::example;

    #[test]
    fn a_node_that_several_lead_to_is_drawn_once() {
        let expected = "\
files events  (source)
└─ events
   ├─ pushes
   │  └─ hourly
   └─ stars  (subscribes)
users  (repo)
└─ pushes  (looks up, above)
";
        assert_eq!(text(&example()), expected);
    }
}
