//! Graphite templates: which part of a path is the measurement, the field, a tag.

use std::{cmp::Ordering, collections::BTreeMap};

/// Columns that are not tags.
const RESERVED: [&str; 3] = ["time", "measurement", "field"];

/// All templates of a decoder.
#[derive(Debug)]
pub(super) struct Templates {
    list: Vec<Template>,
    separator: String,
    tags: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Template {
    /// What the path begins with; empty for a default.
    filter: Vec<String>,
    parts: Vec<String>,
    /// Whether the last part takes the rest of the path.
    greedy: bool,
    tags: Vec<(String, String)>,
}

/// A path taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) measurement: String,
    /// By name.
    pub(super) tags: Vec<(String, String)>,
    pub(super) field: String,
}

impl Templates {
    /// # Errors
    /// Which template is wrong, and how.
    pub(super) fn parse(list: &[String], separator: &str, tags: &BTreeMap<String, String>) -> Result<Self, String> {
        if list.is_empty() {
            return Err("`templates` is empty; use [\"measurement*\"] to take whole paths as measurements".into());
        }
        let parse = |text: &String| Template::parse(text).map_err(|reason| format!("template `{text}`: {reason}"));
        if let Some(tag) = tags.keys().find(|tag| RESERVED.contains(&tag.as_str())) {
            return Err(format!("a tag cannot be called `{tag}`"));
        }
        Ok(Self {
            list: list.iter().map(parse).collect::<Result<_, _>>()?,
            separator: separator.to_owned(),
            tags: tags.clone(),
        })
    }

    /// Names of all tags that the templates give.
    pub(super) fn tags(&self) -> Vec<String> {
        let of = |template: &Template| {
            let parts = template.parts.iter().filter(|part| !part.is_empty() && !RESERVED.contains(&part.as_str()));
            parts.cloned().chain(template.tags.iter().map(|(name, _)| name.clone())).collect::<Vec<_>>()
        };
        self.list.iter().flat_map(of).chain(self.tags.keys().cloned()).collect()
    }

    /// `path` (which may end in `;tag=value`) by the most specific template.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn take(&self, path: &str) -> Result<Taken, String> {
        let (path, own) = path.split_once(';').map_or((path, ""), |(path, own)| (path, own));
        let parts: Vec<&str> = path.split('.').collect();
        let matching = self.list.iter().filter(|template| template.matches(&parts));
        // Of equals the first counts: `max_by` gives the last, so they are looked at from behind.
        let matching: Vec<&Template> = matching.collect();
        let best = matching.into_iter().rev().max_by(|a, b| a.specific(b));
        let template = best.ok_or_else(|| {
            format!(
                "no template matches the path `{path}` of {} parts; add one, or `measurement*` as the default",
                parts.len()
            )
        })?;
        let mut taken = template.take(&parts, &self.separator);
        let mut add = |name: &str, value: &str| {
            if taken.tags.iter().all(|(known, _)| known != name) {
                taken.tags.push((name.to_owned(), value.to_owned()));
            }
        };
        for tag in own.split(';').filter(|tag| !tag.is_empty()) {
            match tag.split_once('=') {
                Some((name, value)) if !name.is_empty() && !RESERVED.contains(&name) => add(name, value),
                _ => return Err(format!("`{tag}` after the path is not `tag=value`")),
            }
        }
        template.tags.iter().for_each(|(name, value)| add(name, value));
        self.tags.iter().for_each(|(name, value)| add(name, value));
        taken.tags.sort();
        match taken.measurement.is_empty() {
            true => Err(format!("the path `{path}` has an empty measurement")),
            false => Ok(taken),
        }
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (filter, parts, tags) = match words.as_slice() {
            [parts] => ("", *parts, ""),
            [parts, tags] if tags.contains('=') => ("", *parts, *tags),
            [filter, parts] => (*filter, *parts, ""),
            [filter, parts, tags] => (*filter, *parts, *tags),
            _ => return Err("write it as `[filter] parts [tag=value,…]`".into()),
        };
        let greedy = parts.ends_with('*');
        let parts: Vec<String> = parts.strip_suffix('*').unwrap_or(parts).split('.').map(str::to_owned).collect();
        if let Some(part) = parts.iter().find(|part| part.contains('*') || part.as_str() == "time") {
            return Err(format!(
                "`{part}` cannot be a part; only the last one can end in `*`, and only for measurement and field"
            ));
        }
        if greedy && !matches!(parts.last().map(String::as_str), Some("measurement" | "field")) {
            return Err("only `measurement*` and `field*` can take the rest of a path".into());
        }
        if !parts.iter().any(|part| part == "measurement") {
            return Err("it has no part `measurement`".into());
        }
        let tag = |tag: &str| match tag.split_once('=') {
            Some((name, value)) if !name.is_empty() && !RESERVED.contains(&name) => {
                Ok((name.to_owned(), value.to_owned()))
            }
            _ => Err(format!("`{tag}` is not `tag=value`")),
        };
        let filter = filter.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let tags = tags.split(',').filter(|text| !text.is_empty()).map(tag).collect::<Result<_, _>>()?;
        Ok(Self { filter, parts, greedy, tags })
    }

    fn matches(&self, path: &[&str]) -> bool {
        let fits = match self.greedy {
            true => path.len() >= self.parts.len(),
            false => path.len() == self.parts.len(),
        };
        fits && self.filter.len() <= path.len() && self.filter.iter().zip(path).all(|(glob, part)| like(glob, part))
    }

    /// Which of two matching filters says more: a literal part more than one with `*`, that more than `*` alone.
    fn specific(&self, other: &Self) -> Ordering {
        let rank = |part: &String| match part.as_str() {
            "*" => 0,
            part if part.contains('*') => 1,
            _ => 2,
        };
        self.filter.iter().map(rank).cmp(other.filter.iter().map(rank))
    }

    fn take(&self, path: &[&str], separator: &str) -> Taken {
        let mut taken: Vec<(&str, String)> = Vec::new();
        for (index, part) in path.iter().enumerate() {
            let name = self.parts.get(index).or(self.parts.last()).map_or("", String::as_str);
            match taken.iter_mut().find(|(known, _)| *known == name) {
                _ if name.is_empty() => {}
                Some((_, value)) => {
                    value.push_str(separator);
                    value.push_str(part);
                }
                None => taken.push((name, (*part).to_owned())),
            }
        }
        let mut one = |name: &str| {
            let at = taken.iter().position(|(known, _)| *known == name)?;
            Some(taken.swap_remove(at).1)
        };
        let (measurement, field) = (one("measurement").unwrap_or_default(), one("field"));
        let field = field.filter(|field| !field.is_empty()).unwrap_or_else(|| "value".into());
        let tags = taken.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Taken { measurement, tags, field }
    }
}

/// Whether `text` is what `glob` says, in which `*` is any run of characters.
fn like(glob: &str, text: &str) -> bool {
    let Some((head, tail)) = glob.split_once('*') else { return glob == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|&at| rest.is_char_boundary(at)).any(|at| like(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(templates: &[&str], path: &str, expected: Result<(&str, &str, &str), &str>) {
        let list: Vec<String> = templates.iter().map(|&text| text.to_owned()).collect();
        let tags = BTreeMap::from([("dc".to_owned(), "eu".to_owned())]);
        let taken = Templates::parse(&list, "_", &tags).and_then(|templates| templates.take(path));
        let told = taken.map(|taken| {
            let tags: Vec<String> = taken.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (taken.measurement, tags.join(","), taken.field)
        });
        let told = told.as_ref().map(|(m, t, f)| (m.as_str(), t.as_str(), f.as_str()));
        match (told, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{templates:?} {path}"),
            (got, _) => panic!("{templates:?} {path}: {got:?}"),
        }
    }

    #[test]
    fn parts_are_taken_by_name() {
        check(
            &["measurement.measurement.field.field.region"],
            "cpu.usage.idle.percent.eu-east",
            Ok(("cpu_usage", "dc=eu,region=eu-east", "idle_percent")),
        );
        check(&["region.measurement*"], "us.cpu.load", Ok(("cpu_load", "dc=eu,region=us", "value")));
        check(&[".host.measurement.field*"], "servers.a.cpu.load.avg", Ok(("cpu", "dc=eu,host=a", "load_avg")));
        check(&["measurement.dc"], "cpu.us", Ok(("cpu", "dc=us", "value")));
        check(&["measurement dc=uk,env=x"], "cpu", Ok(("cpu", "dc=uk,env=x", "value")));
        check(&["measurement"], "cpu;dc=de;host=h", Ok(("cpu", "dc=de,host=h", "value")));
        check(&["measurement.host.host"], "cpu.a.b", Ok(("cpu", "dc=eu,host=a_b", "value")));
    }

    #[test]
    fn the_most_specific_filter_counts() {
        let all = [
            "* any.measurement",
            "servers.* srv.measurement",
            "servers.web* web.measurement",
            "servers.web1 one.measurement",
            "measurement*",
            "servers.* second.measurement",
        ];
        check(&all, "other.x", Ok(("x", "any=other,dc=eu", "value")));
        check(&all, "servers.x", Ok(("x", "dc=eu,srv=servers", "value")));
        check(&all, "servers.web2", Ok(("web2", "dc=eu,web=servers", "value")));
        check(&all, "servers.web1", Ok(("web1", "dc=eu,one=servers", "value")));
        check(&all, "a.b.c", Ok(("a_b_c", "dc=eu", "value")));
    }

    #[test]
    fn what_matches_nothing_is_said() {
        check(&["measurement.host"], "a.b.c", Err("no template matches the path `a.b.c` of 3 parts"));
        check(&["x.* measurement.host"], "y.b", Err("no template matches"));
        check(&["host"], "a", Err("no part `measurement`"));
        check(&["measurement.host*"], "a.b", Err("only `measurement*`"));
        check(&["a b c=1 d"], "a", Err("write it as"));
        check(&["measurement"], "", Err("empty measurement"));
    }
}
