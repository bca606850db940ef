//! Who feeds whom, as specs say.

use spout_api::{Drawing, LOOKS_UP, SUBSCRIBES};
use spout_producer::Upstream;
use spout_spec::{Loaded, all_handlers, without_userinfo};

/// Draws what `specs` say.
pub fn draw(specs: &[Loaded], drawing: &mut Drawing) {
    for Loaded { spec, .. } in specs {
        let name = spec.pipeline.name.as_str();
        drawing.pipeline(name, &without_userinfo(&spec.description));
        for (_, source) in spec.sources() {
            match source.spec.upstream() {
                Some(Upstream::Link(from)) => {
                    drawing.pipeline(from, "");
                    drawing.reads(from, name, Some(SUBSCRIBES));
                }
                Some(Upstream::Branch(repo, _)) => drawing.reads(repo, name, None),
                None => drawing.source(&without_userinfo(&source.spec.reads()), name),
            }
        }
        for table in all_handlers(&spec.node, "node").into_iter().filter_map(|(_, handler)| handler.table()) {
            drawing.reads(&table.repo, name, Some(LOOKS_UP));
        }
        for consumer in &spec.consumers {
            drawing.consumer(&without_userinfo(&consumer.describe()), name);
        }
    }
}
