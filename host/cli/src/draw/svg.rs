//! A graph as a picture: layers from left to right, a box for each node.

use std::collections::BTreeMap;

use super::graph::{Graph, Kind};

/// Sizes in pixels: of a box for each letter, a box's height, and the room between boxes.
const LETTER: usize = 8;
const HEIGHT: usize = 36;
const GAP: [usize; 2] = [96, 20];
const MARGIN: usize = 16;

/// Where a box is.
#[derive(Clone, Copy, Debug)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

/// The picture of `graph`, as an SVG document.
pub(super) fn svg(graph: &Graph) -> String {
    let boxes = boxes(graph);
    let right = boxes.values().map(|place| place.x + place.width).max().unwrap_or_default() + MARGIN;
    let bottom = boxes.values().map(|place| place.y + HEIGHT).max().unwrap_or_default() + MARGIN;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" width="{right}" height="{bottom}" font-family="sans-serif" font-size="13">
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>
"##
    );
    for arrow in &graph.arrows {
        let (Some(from), Some(to)) = (boxes.get(arrow.from.as_str()), boxes.get(arrow.to.as_str())) else { continue };
        let ([x1, y1], [x2, y2]) = ([from.x + from.width, from.y + HEIGHT / 2], [to.x, to.y + HEIGHT / 2]);
        let (middle, dashed) =
            (x1.midpoint(x2), if arrow.how.label().is_empty() { "" } else { r#" stroke-dasharray="5 4""# });
        out += &format!(
            "<path d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#head)\"{dashed}/>\n"
        );
        if !arrow.how.label().is_empty() {
            let y = y1.midpoint(y2).saturating_sub(4);
            out += &format!(
                "<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#555\">{}</text>\n",
                arrow.how.label()
            );
        }
    }
    for (name, kind) in &graph.nodes {
        let Some(Place { x, y, width }) = boxes.get(name.as_str()) else { continue };
        let (fill, corner) = match kind {
            Kind::Source => ("#fff", 18),
            Kind::Repo => ("#eef2f7", 2),
            Kind::Pipeline => ("#dcefe3", 6),
        };
        let (middle, line) = (x + width / 2, y + HEIGHT / 2 + 5);
        out += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"{corner}\" fill=\"{fill}\" stroke=\"#555\"/>\n\
             <text x=\"{middle}\" y=\"{line}\" text-anchor=\"middle\">{}</text>\n",
            escaped(name)
        );
    }
    out + "</svg>\n"
}

/// Columns of boxes, each as wide as its longest name.
fn boxes(graph: &Graph) -> BTreeMap<&str, Place> {
    let mut columns: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (name, layer) in graph.layers() {
        columns.entry(layer).or_default().push(name);
    }
    let (mut boxes, mut x) = (BTreeMap::new(), MARGIN);
    for names in columns.into_values() {
        let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        let width = (letters + 3) * LETTER;
        for (row, name) in names.into_iter().enumerate() {
            boxes.insert(name, Place { x, y: MARGIN + row * (HEIGHT + GAP[1]), width });
        }
        x += width + GAP[0];
    }
    boxes
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::graph::example;

    #[test]
    fn every_node_has_a_box_of_its_own() {
        let graph = example();
        let places = boxes(&graph);
        assert_eq!(places.len(), graph.nodes.len());
        for (name, one) in &places {
            for (other, two) in places.iter().filter(|(other, _)| *other != name) {
                let apart = one.x + one.width <= two.x || two.x + two.width <= one.x || one.y.abs_diff(two.y) >= HEIGHT;
                assert!(apart, "{name} and {other} overlap");
            }
        }
        let picture = svg(&graph);
        assert_eq!(picture.matches("<rect").count(), graph.nodes.len());
        assert_eq!(picture.matches("marker-end").count(), graph.arrows.len());
    }

    #[test]
    fn names_cannot_be_markup() {
        let mut graph = example();
        graph.nodes.insert("<script>&".into(), Kind::Source);
        assert!(svg(&graph).contains("&lt;script&gt;&amp;"));
    }
}
