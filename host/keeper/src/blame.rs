//! Which line of a spec an error of its running pipeline is about.

use std::path::Path;

/// The line of a spec of one pipeline that an error of the running pipeline is about: that of the handler which it names, and of its
/// expression if that is quoted.
pub(super) fn blamed(text: &str, file: &Path, error: &str) -> Option<u64> {
    let loaded = spout_spec::parse(text, file, Path::new(".")).ok()?.into_iter().next()?;
    let named = |id: &str| error.contains(&format!("handler `{id}`"));
    let handlers = spout_spec::all_handlers(&loaded.spec.node, "node");
    let (path, _) = handlers.iter().find(|(_, node)| named(node.id()))?;
    let first = loaded.place(path).line;
    let expression = error.split_once("the expression `").and_then(|(_, rest)| rest.split_once('`'));
    // It is written on one of the lines of its handler.
    let next = handlers.iter().map(|(path, _)| loaded.place(path).line);
    let next = next.filter(|line| *line > first).min().unwrap_or(usize::MAX);
    let lines = text.lines().enumerate().skip(first.saturating_sub(1)).take(next.saturating_sub(first));
    let quoted = |line: &str| expression.is_some_and(|(expression, _)| line.contains(expression));
    let line = lines.into_iter().find(|(_, line)| quoted(line)).map_or(first, |(at, _)| at + 1);
    u64::try_from(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_handler_is_about_its_line() {
        let text = "pipeline: {name: p}\nproducer: {repo: {repo: r}}\nnode:\n  - {id: one, type: filter, where: a}\n  - id: two\n    type: filter\n    where: knd = 1\n";
        let check =
            |error: &str, line: Option<u64>| assert_eq!(blamed(text, Path::new("p.yaml"), error), line, "{error}");
        check(
            "its chain does not fit together: handler `two`: cannot use the expression `knd = 1`: no such field",
            Some(7),
        );
        check("handler `two`: something else", Some(5));
        check("handler `one`: cannot use the expression `knd = 1`", Some(4));
        check("handler `three`: something", None);
        check("the source is gone", None);
    }
}
