//! Graphite templates: which part of a path is the measurement, the field, a tag.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap};

use crate::reason::quote;

/// Names that tags cannot have.
pub(super) const RESERVED: [&str; 3] = ["time", "measurement", "field"];

/// Most tags of a path: more than any table has columns.
const MOST_TAGS: usize = 1 << 17;

/// All templates of a decoder.
#[derive(Clone, Debug)]
pub(super) struct Templates {
    list: Vec<Template>,
    separator: String,
    tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Template {
    /// What the path begins with; empty for a default.
    filter: Vec<String>,
    parts: Vec<String>,
    /// Whether the last part takes the rest of the path.
    greedy: bool,
    tags: Vec<(String, String)>,
}

/// A split path. Borrowed from the path or template, unless joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken<'a> {
    pub(super) measurement: Cow<'a, str>,
    /// By name.
    pub(super) tags: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) field: Cow<'a, str>,
}

impl Templates {
    /// # Errors
    /// Names the invalid template and why.
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

    /// Names of all tags that the templates set.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.list.iter().flat_map(Template::names).chain(self.tags.keys().map(String::as_str))
    }

    /// Splits `path` (which may end in `;tag=value`) by the most specific template. `parts` is a buffer for its parts.
    ///
    /// # Errors
    /// No template matches, or a tag has two values.
    pub(super) fn take<'a>(&'a self, path: &'a str, parts: &mut Vec<&'a str>) -> Result<Taken<'a>, String> {
        let (path, own) = path.split_once(';').map_or((path, None), |(path, own)| (path, Some(own)));
        parts.clear();
        parts.extend(path.split('.'));
        let mut best: Option<&Template> = None;
        // Of equals the first counts.
        for template in self.list.iter().filter(|template| template.matches(parts)) {
            if best.is_none_or(|best| template.specific(best) == Ordering::Greater) {
                best = Some(template);
            }
        }
        let template = best.ok_or_else(|| {
            let (path, count) = (quote(path.as_bytes()), parts.len());
            format!("no template matches the path {path} of {count} parts; add one, or `measurement*` as the default")
        })?;
        let mut taken = template.take(parts, &self.separator);
        for tag in own.into_iter().flat_map(|own| own.split(';')) {
            let (name, value) = own_tag(tag)?;
            taken.tags.push((name, Cow::Borrowed(value)));
            if taken.tags.len() > MOST_TAGS {
                return Err(format!("the path has more than {MOST_TAGS} tags"));
            }
        }
        taken.tags.sort_unstable();
        if let Some([(name, _), _]) = taken.tags.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(format!("there are two values for the tag {}", quote(name.as_bytes())));
        }
        // What templates and settings add counts where the path has none of that name.
        template.tags.iter().for_each(|(name, value)| add(&mut taken, name, value));
        self.tags.iter().for_each(|(name, value)| add(&mut taken, name, value));
        taken.tags.sort_unstable();
        if taken.measurement.is_empty() {
            Err(format!("the path {} has an empty measurement", quote(path.as_bytes())))
        } else {
            Ok(taken)
        }
    }
}

/// The name and value of `tag=value` after a path.
fn own_tag(tag: &str) -> Result<(&str, &str), String> {
    match tag.split_once('=') {
        Some((name, _)) if RESERVED.contains(&name) => Err(format!("a tag cannot be called `{name}`")),
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => Err(format!("{} behind the path is not `tag=value`", quote(tag.as_bytes()))),
    }
}

fn add<'a>(taken: &mut Taken<'a>, name: &'a str, value: &'a str) {
    if taken.tags.iter().all(|(known, _)| *known != name) {
        taken.tags.push((name, Cow::Borrowed(value)));
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

    /// Names of the tags it sets.
    fn names(&self) -> impl Iterator<Item = &str> {
        let parts = self.parts.iter().map(String::as_str);
        let parts = parts.filter(|part| !part.is_empty() && !RESERVED.contains(part));
        parts.chain(self.tags.iter().map(|(name, _)| name.as_str()))
    }

    fn matches(&self, path: &[&str]) -> bool {
        let fits = if self.greedy { path.len() >= self.parts.len() } else { path.len() == self.parts.len() };
        fits && self.filter.len() <= path.len() && self.filter.iter().zip(path).all(|(glob, part)| like(glob, part))
    }

    /// Which of two matching filters is more specific: a literal part beats one with `*`, which beats `*` alone.
    fn specific(&self, other: &Self) -> Ordering {
        let rank = |part: &String| match part.as_str() {
            "*" => 0,
            part if part.contains('*') => 1,
            _ => 2,
        };
        self.filter.iter().map(rank).cmp(other.filter.iter().map(rank))
    }

    fn take<'a>(&'a self, path: &[&'a str], separator: &str) -> Taken<'a> {
        let mut taken: Vec<(&'a str, Cow<'a, str>)> = Vec::with_capacity(self.parts.len() + 2);
        for (index, &part) in path.iter().enumerate() {
            let name = self.parts.get(index).or(self.parts.last()).map_or("", String::as_str);
            match taken.iter_mut().find(|(known, _)| *known == name) {
                _ if name.is_empty() => {}
                Some((_, value)) => {
                    let value = value.to_mut();
                    value.push_str(separator);
                    value.push_str(part);
                }
                None => taken.push((name, Cow::Borrowed(part))),
            }
        }
        let mut one = |name: &str| {
            let at = taken.iter().position(|(known, _)| *known == name)?;
            Some(taken.swap_remove(at).1)
        };
        let (measurement, field) = (one("measurement").unwrap_or_default(), one("field"));
        let field = field.filter(|field| !field.is_empty()).unwrap_or(Cow::Borrowed("value"));
        Taken { measurement, tags: taken, field }
    }
}

/// Whether `text` matches `glob`, where `*` is any run of characters; takes time proportional to the product of their
/// lengths at most.
fn like(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|head| text.strip_prefix(head)) else { return false };
    let Some(tail) = pieces.next_back() else { return rest.is_empty() };
    // The first place of each piece leaves the most to those behind it.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(templates: &[&str], path: &str, expected: Result<(&str, &str, &str), &str>) {
        let list: Vec<String> = templates.iter().map(|&text| text.to_owned()).collect();
        let tags = BTreeMap::from([("dc".to_owned(), "eu".to_owned())]);
        let templates = Templates::parse(&list, "_", &tags);
        let told = templates.as_ref().map_err(Clone::clone).and_then(|templates| {
            let taken = templates.take(path, &mut Vec::new())?;
            let tags: Vec<String> = taken.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Ok((taken.measurement.into_owned(), tags.join(","), taken.field.into_owned()))
        });
        let told = told.as_ref().map(|(m, t, f)| (m.as_str(), t.as_str(), f.as_str()));
        match (told, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{list:?} {path}"),
            (got, _) => panic!("{list:?} {path}: {got:?}"),
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

    #[test]
    fn tags_behind_a_path_have_one_value_each() {
        check(&["measurement.host"], "cpu.a;host=b", Err("two values for the tag `host`"));
        check(&["measurement"], "cpu;host=a;host=a", Err("two values for the tag `host`"));
        check(&["measurement"], "cpu;host=", Err("`host=` behind the path is not `tag=value`"));
        check(&["measurement"], "cpu;=a", Err("`=a` behind the path"));
        check(&["measurement"], "cpu;", Err("`` behind the path"));
        check(&["measurement"], "cpu;time=1", Err("a tag cannot be called `time`"));
        check(&["measurement"], "cpu;a=b=c", Ok(("cpu", "a=b=c,dc=eu", "value")));
    }

    #[test]
    fn globs_are_any_run_of_characters() {
        for (glob, text, expected) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("*b*", "abc", true),
            ("*b*", "ac", false),
            ("a*b*c", "axbxbxc", true),
            ("ab*ba", "aba", false),
            ("*é*", "aéb", true),
        ] {
            assert_eq!(like(glob, text), expected, "{glob} {text}");
        }
        assert!(!like(&"*a".repeat(1000), &"a".repeat(999)));
        assert!(!like(&format!("{}b", "*a".repeat(30)), &"a".repeat(100_000)));
    }
}
