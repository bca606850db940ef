//! A plugin in C: a file, and what it cannot say about itself.

use super::{Written, usage};
use crate::{error::Error, plugin::kind::Kind};

const HANDLER: &str = r#"{
  "name": "__NAME__",
  "version": "0.1.0",
  "kind": "handler",
  "summary": "keeps rows whose column has at least a given value",
  "settings": {
    "column": {"type": "string", "description": "Column to look at."},
    "least": {"type": "integer", "description": "Smallest value that passes."}
  }
}
"#;

const DECODER: &str = r#"{
  "name": "__NAME__",
  "version": "0.1.0",
  "kind": "decoder",
  "summary": "decodes lines of a level and a text",
  "settings": {}
}
"#;

const SOURCE: &str = r#"{
  "name": "__NAME__",
  "version": "0.1.0",
  "kind": "source",
  "summary": "gives numbered lines, by partition",
  "settings": {
    "partitions": {"type": "integer", "description": "Number of partitions."},
    "lines": {"type": "integer", "description": "Lines in each of them."}
  }
}
"#;

const STREAM: &str = r#"{
  "name": "__NAME__",
  "version": "0.1.0",
  "kind": "stream",
  "summary": "gives numbered lines, as one stream",
  "settings": {
    "lines": {"type": "integer", "description": "Number of lines."}
  }
}
"#;

const COMMAND: &str = r#"{
  "name": "__NAME__",
  "version": "0.1.0",
  "kind": "command",
  "summary": "counts, a tar archive and so a commit for each number"
}
"#;

/// The files of a project.
///
/// # Errors
/// A kind that C has no library for.
pub(super) fn files(kind: Kind) -> Result<Written, Error> {
    let (about, code) = if kind.decoder {
        (DECODER, include_str!("c/decoder.c.txt"))
    } else if kind.handler {
        (HANDLER, include_str!("c/handler.c.txt"))
    } else if kind.source {
        (SOURCE, include_str!("c/source.c.txt"))
    } else if kind.stream {
        (STREAM, include_str!("c/stream.c.txt"))
    } else if kind.command {
        (COMMAND, include_str!("c/command.c.txt"))
    } else {
        return Err(usage(
            "a spout in C is a command that writes tar archives (--command); one that makes its commits itself, or a transformer, is written in Rust or Python".into(),
        ));
    };
    let files = vec![("spout.json", about.to_owned()), ("plugin.c", code.to_owned())];
    Ok(Written { files, change: "plugin.c", test: None })
}
