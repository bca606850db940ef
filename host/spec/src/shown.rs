//! A spec as others may see it: whatever may be a secret in it is hidden.
//!
//! Secrets have no place in a spec, which says where they are (`{env: KEY}`, `{file: key}`). But nothing keeps somebody from writing
//! one out: as the value of a variable, as a setting of a plugin, within a URL. Such values are hidden by where they stand and by what
//! they are called, so that too much is hidden rather than too little.

use std::path::Path;

use super::{
    document::{self, Entry, Node, Tree},
    error::Error,
};

/// What stands in the place of a value.
const HIDDEN: &str = "(hidden)";

/// Keys under which values belong to plugins and other systems, and may have any name.
const FOREIGN: [&str; 6] = ["settings", "streamConfigs", "headers", "properties", "config", "options"];

/// What is in the names of secrets, in small letters and without what stands between words.
const SECRET: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "apikey",
    "accesskey",
    "privatekey",
    "jaas",
    "signature",
];

/// Keys below which names are those of columns.
const COLUMNS: [&str; 5] = ["schema", "columns", "fields", "set", "tests"];

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In what this host defines.
    Ours,
    /// Among values of others.
    Foreign,
    /// Among columns.
    Columns,
    /// Among arguments of a command.
    Arguments,
    /// Among variables.
    Variables,
    /// It is the value of a variable, or of what is called as secrets are.
    Secret,
}

/// `text`, one or more specs, without what may be a secret; as it was written but for that, if that can be done.
///
/// # Errors
/// It is neither YAML nor JSON.
pub fn shown(text: &str, path: &Path) -> Result<String, Error> {
    let mut nodes = document::read(text, path)?;
    let mut secrets = Secrets::default();
    nodes.iter_mut().for_each(|node| hide(node, Place::Ours, &mut secrets));
    if secrets.0.is_empty() {
        return Ok(text.to_owned());
    }
    if let Some(written) = secrets.out_of(text)
        && document::read(&written, path).is_ok_and(|read| json(&read) == json(&nodes))
    {
        return Ok(written);
    }
    let texts: Vec<String> = nodes.iter().map(document::yaml).collect::<Result<_, _>>()?;
    Ok(texts.join("---\n"))
}

/// `text` without the name and password of URLs in it.
#[must_use]
pub fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        shown += "://";
        match userinfo(rest) {
            Some(user) => shown.extend([HIDDEN, rest.get(user.len()..).unwrap_or_default()]),
            None => shown += rest,
        }
    }
    shown
}

/// What is looked for in a text, and what is put in its place.
#[derive(Debug, Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// More of them are not looked for, nor shorter ones: they are in other words, too.
    const MOST: usize = 64;
    const SHORTEST: usize = 4;

    fn add(&mut self, secret: &str, place: impl Fn(&str) -> String) {
        if !secret.is_empty() && secret != HIDDEN {
            self.0.push((place(secret), place(HIDDEN)));
        }
    }

    /// `text` without them, unless that would take more out of it, or take long.
    fn out_of(mut self, text: &str) -> Option<String> {
        let sound = |secret: &str| secret.len() >= Self::SHORTEST && !HIDDEN.contains(secret);
        if self.0.len() > Self::MOST || !self.0.iter().all(|(secret, _)| sound(secret)) {
            return None;
        }
        // What is within another one goes with it.
        self.0.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        Some(self.0.iter().fold(text.to_owned(), |text, (secret, hidden)| text.replace(secret, hidden)))
    }
}

fn json(nodes: &[Node]) -> Vec<String> {
    let one = |node: &Node| {
        let mut text = String::new();
        node.write_json(&mut text);
        text
    };
    nodes.iter().map(one).collect()
}

/// Hides values below `node`, and says which.
fn hide(node: &mut Node, place: Place, secrets: &mut Secrets) {
    match &mut node.tree {
        Tree::Map(entries) => {
            // As in a list of variables with names and values.
            let named =
                entries.iter().any(|entry| entry.key == "name" && text_of(&entry.value).is_some_and(sounds_secret));
            let only = entries.len() == 1;
            for Entry { key, value, .. } in entries {
                let within = within(key, value, place, (named, only));
                hide(value, within, secrets);
            }
        }
        Tree::List(list) => {
            let mut asked = false;
            for node in list {
                let secret = place == Place::Variables || std::mem::take(&mut asked);
                // The value of an argument such as `--password` follows it.
                let asks = |text: &str| text.starts_with('-') && sounds_secret(text) && !text.contains('=');
                asked = place == Place::Arguments && !secret && text_of(node).is_some_and(asks);
                hide(node, if secret { Place::Secret } else { place }, secrets);
            }
        }
        Tree::Text(text) if place == Place::Secret => {
            secrets.add(text, str::to_owned);
            HIDDEN.clone_into(text);
        }
        Tree::Text(text) => {
            for user in text.split("://").skip(1).filter_map(userinfo) {
                secrets.add(user, |user| format!("://{user}@"));
            }
            *text = without_userinfo(text);
            let argument = text.split_once('=').filter(|(name, _)| place == Place::Arguments && sounds_secret(name));
            if let Some((name, value)) = argument {
                secrets.add(value, |value| format!("{name}={value}"));
                *text = format!("{name}={HIDDEN}");
            }
        }
        Tree::Number(_, written) if place == Place::Secret => {
            secrets.add(written, str::to_owned);
            node.tree = Tree::Text(HIDDEN.to_owned());
        }
        Tree::Number(..) | Tree::Bool(_) | Tree::Null => {}
    }
}

/// Where the value of `key` stands, in a map at `place`: one of a name that sounds secret, or with no other key.
fn within(key: &str, value: &Node, place: Place, (named, only): (bool, bool)) -> Place {
    let holds = matches!(value.tree, Tree::Map(_) | Tree::List(_));
    match (place, key) {
        (Place::Columns, _) => Place::Columns,
        (Place::Variables, _) => Place::Secret,
        // Where a secret is, and what a variable is called.
        (Place::Secret, "env" | "file") if only => Place::Ours,
        (Place::Secret, "name") => Place::Ours,
        (Place::Secret, _) => Place::Secret,
        (_, "value") if named => Place::Secret,
        (_, "env") if holds => Place::Variables,
        (_, "stdin") if !holds => Place::Secret,
        (_, "args" | "cmd") => Place::Arguments,
        (Place::Ours, key) if COLUMNS.contains(&key) => Place::Columns,
        (_, key) if FOREIGN.contains(&key) => Place::Foreign,
        (Place::Foreign, key) if sounds_secret(key) => Place::Secret,
        // A value that is written out is none of ours.
        (Place::Ours, "password" | "secret" | "token") if !holds => Place::Secret,
        _ => place,
    }
}

fn text_of(node: &Node) -> Option<&str> {
    if let Tree::Text(text) = &node.tree { Some(text) } else { None }
}

fn sounds_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let plain = plain.to_ascii_lowercase();
    SECRET.iter().any(|part| plain.contains(part))
}

/// The name and password that stand before the host, in what follows `://`.
fn userinfo(rest: &str) -> Option<&str> {
    let end = rest.find(|letter: char| letter.is_whitespace() || "/?#\"'`,".contains(letter)).unwrap_or(rest.len());
    let (user, _) = rest.get(..end)?.rsplit_once('@')?;
    (!user.is_empty() && user != HIDDEN).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        shown(text, Path::new("s.yaml")).unwrap()
    }

    #[test]
    fn a_spec_without_secrets_is_shown_as_it_was_written() {
        let text = "# of the field\npipeline: {name: p}\nproducer:\n  kafka: {token: {env: KEY}} # by name\n\ngrants:\n  kafka: {env: {KEY: {env: KAFKA_KEY}, CA: {file: ca.pem}}, secrets: {password: {file: pw}}}\ndecoder: {schema: {token: string, env: {a: int64}}}\nnode: [{type: filter, where: 'token=1'}]\n";
        assert_eq!(show(text), text);
    }

    #[test]
    fn what_may_be_a_secret_is_hidden_where_it_stands() {
        let check = |line: &str, expected: &str| {
            let text = |line: &str| format!("# kept\npipeline: {{name: p}}\n{line}\nlast: 1\n");
            assert_eq!(show(&text(line)), text(expected));
        };
        check("env: {KEY: s3cret, OTHER: {env: KEY}}", "env: {KEY: (hidden), OTHER: {env: KEY}}");
        check("env: [{name: KEY, value: s3cret}]", "env: [{name: KEY, value: (hidden)}]");
        check("settings: {sasl.password: 's3cret', user: ada}", "settings: {sasl.password: '(hidden)', user: ada}");
        check("settings: {deep: [{apiKey: s3cret}]}", "settings: {deep: [{apiKey: (hidden)}]}");
        check("headers: {Authorization: Bearer x1y2}", "headers: {Authorization: (hidden)}");
        check("url: https://ada:pw@example.com/a@b", "url: https://(hidden)@example.com/a@b");
        check("args: [--password=s3cret, --user=ada]", "args: [--password=(hidden), --user=ada]");
        check("args: [--password, s3cret, --user, ada]", "args: [--password, (hidden), --user, ada]");
        check("env: {file: s3cret, env: x1y2}", "env: {file: (hidden), env: (hidden)}");
        check("token: s3cret", "token: (hidden)");
        check("stdin: 'machine x password s3cret'", "stdin: '(hidden)'");
    }

    #[test]
    fn where_a_value_cannot_be_taken_out_of_the_text_the_spec_is_written_anew() {
        // The value is a part of other words, or is written in another way.
        for line in ["env: {KEY: e}", "env: {KEY: 1}", "env: {KEY: \"a\\tb\"}", "env:\n  KEY: |\n    one\n    two"] {
            let text = show(&format!("# a comment\npipeline: {{name: one}}\n{line}\n"));
            assert!(!text.contains("a comment") && text.contains("name: one"), "{text}");
            let again = crate::shown(&text, Path::new("s.yaml")).unwrap();
            assert!(again.contains("KEY: (hidden)") || again.contains("KEY: \"(hidden)\""), "{again}");
        }
    }

    #[test]
    fn what_takes_long_or_grows_is_not_tried() {
        let users: Vec<String> = "(hidden)hidn".chars().map(|user| format!("http://{user}@h")).collect();
        let text = show(&format!("pipeline: {{name: p}}\nurls: '{}'\n", users.join(" ").repeat(1000)));
        assert!(text.len() < 300_000 && !text.contains("//d@"), "{} bytes", text.len());
        let variables: Vec<String> = (0..1000).map(|number| format!("K{number}: s3cret-{number}")).collect();
        let text = show(&format!("pipeline: {{name: p}}\nenv: {{{}}}\n", variables.join(", ")));
        assert!(!text.contains("s3cret") && text.contains("K999"), "{text}");
    }

    #[test]
    fn several_specs_are_shown_one_after_the_other() {
        let text = show("pipeline: {name: a}\nenv: {K: a}\n---\npipeline: {name: b}\n");
        assert!(text.contains("(hidden)") && text.contains("---") && text.contains("name: b"), "{text}");
    }
}
