//! Pachyderm's spec of a spout, of either generation, or of a pipeline over the files of a repo, as a pipeline spec.

use std::{collections::BTreeMap, path::Path};

use super::{Imported, Original, Remark, map, text, yaml};
use crate::{
    document::{Entry, Node, Tree},
    error::{Error, Place},
};

/// Keys that the spec has under the same or another name.
const TAKEN: &[&str] = &[
    "pipeline.name",
    "description",
    "transform.cmd",
    "transform.env",
    "transform.image",
    "transform.stdin",
    "spout",
    "spout.overwrite",
    "spout.marker",
    "spout.service.internal_port",
    "spout.service.external_port",
    "input.pfs.repo",
    "input.pfs.branch",
    "input.pfs.glob",
    "output_branch",
];

/// What the others mean here.
const SAID: &[(&str, &str)] = &[
    ("pipeline.project", "is a group of repos: each project can have a store of its own, `--store`"),
    (
        "transform.secrets",
        "are values that only the plugin sees: `grants: {NAME: {env: {KEY: {env: …}}}}`, or `{file: …}`",
    ),
    ("transform.image_pull_secrets", "fetch an image: plugins are files"),
    ("transform.err_cmd", "runs where a datum fails: a spout that fails runs again from its marker"),
    ("transform.err_stdin", "goes with err_cmd"),
    ("transform.accept_return_code", "is about datums: what follows an exit, `spout.onExit` says"),
    ("transform.user", "is whom code runs as: a plugin runs as nobody, in a sandbox"),
    ("transform.working_dir", "is where code runs: a plugin has the directories that `grants` names"),
    ("transform.dockerfile", "builds an image: `spout plugin build` builds a plugin"),
    ("transform.debug", "logs more: `--verbose`"),
    ("transform.memory_volume", "is scratch space in memory: a plugin has its own memory, `limits.memory`"),
    ("transform.datum_batching", "is about datums, which spouts have none of"),
    ("input.pfs.name", "is the directory in /pfs: a plugin is given the file itself, with its path in the repo"),
    ("input.pfs.lazy", "says when a file is copied: a plugin reads it as it goes"),
    ("input.pfs.empty_files", "leaves the bytes out: a plugin that does not read them gets none"),
    (
        "input.pfs.trigger",
        "says when commits are read: `input: {pfs: {trigger: {commits: 10, size: 64MiB, time: 1h}}}`",
    ),
    ("input.pfs.project", "is a group of repos: each project can have a store of its own, `--store`"),
    ("spout.service.ip", "is an address: write it before the port"),
    ("spout.service.type", "is how Kubernetes exposes a port"),
    ("spout.service.annotations", "are for Kubernetes"),
    ("service", "makes a pipeline of its own of a service: `spout.service` is one for a spout"),
    ("parallelism_spec", "starts several copies: a spout runs once, and stream plugins read in `readers` lanes"),
    ("resource_requests", "is for a scheduler: what a plugin may use is `limits`"),
    ("resource_limits", "is for a container: what a plugin may use is `limits`"),
    ("sidecar_resource_limits", "is for a container: there is no sidecar"),
    ("sidecar_resource_requests", "is for a container: there is no sidecar"),
    ("scheduling_spec", "is for Kubernetes"),
    ("pod_spec", "is for Kubernetes"),
    ("pod_patch", "is for Kubernetes"),
    ("tolerations", "are for Kubernetes"),
    ("metadata", "is for Kubernetes"),
    ("autoscaling", "stops idle workers: an idle spout costs next to nothing"),
    ("egress", "copies output elsewhere: the store can be a bucket, and every table is a Delta table too"),
    ("s3_out", "writes over S3, which spouts cannot do in Pachyderm either"),
    ("reprocess_spec", "is about datums: `spout update pipeline --reprocess` starts from the beginning"),
    ("salt", "is about datums"),
    ("datum_set_spec", "is about datums"),
    ("datum_timeout", "is about datums"),
    ("datum_tries", "is about datums: a spout that fails runs again from its marker"),
    ("job_timeout", "is about jobs, which spouts have none of"),
    ("update", "says whether the pipeline may exist: `spout update pipeline` does"),
    ("spec_commit", "is of Pachyderm's own making"),
];

/// Keys whose entries are the user's own names.
const FREE: &[&str] = &["env", "annotations", "labels"];

/// Makes a spec of that of a spout; `images` says which plugin stands for an image, or that its command runs as it is
/// ([`NATIVE`]). An image without such a word stands for the plugin that its own name names.
///
/// # Errors
/// It is no spec of a spout.
pub fn pachyderm(source: &str, file: &Path, images: &BTreeMap<String, String>) -> Result<Imported, Error> {
    let mut original = Original::read(source, file)?;
    snake_case(&mut original.node);
    let name = original.text("pipeline.name")?.to_owned();
    let missing = |missing: &str, advice: &str| Error::Missing {
        at: Place::new(file, original.node.line),
        within: format!("pipeline `{name}`"),
        missing: missing.into(),
        advice: advice.into(),
    };
    let per_file = original.at("input.pfs").is_some();
    if original.at("spout").is_none() && !per_file {
        let advice = "only spouts, and pipelines over the files of one repo (`input: {pfs: …}`), can be imported; others read rows, with `producer: {repo: …}`";
        return Err(missing("`spout` and no `input.pfs`", advice));
    }
    if original.at("transform").is_none() {
        return Err(missing("`transform`", "it says what runs"));
    }
    let mut remarks = original.left(TAKEN, SAID);
    let mut spec = vec![("pipeline", map([("name", text(&name))]))];
    spec.extend(kept(&original, "description", "description"));
    if per_file {
        let files = ["repo", "branch", "glob"].into_iter();
        let files = files.filter_map(|key| Some((key, original.at(&format!("input.pfs.{key}"))?.clone())));
        spec.push(("input", map([("pfs", map(files))])));
    } else {
        spec.push(("spout", spout(&original)));
    }
    spec.push(("transform", transform(&original, images, per_file, &mut remarks)));
    if let Some(branch) = original.at("output_branch") {
        spec.push(("commit", map([("branch", branch.clone())])));
    }
    remarks.sort_by_key(|remark| remark.line);
    let what = if per_file { "pipeline" } else { "spout" };
    let from = format!("From {}, a {what} of Pachyderm.", file.display());
    Ok(Imported { spec: yaml(&map(spec), &from, &remarks)?, remarks })
}

/// What stands for an image whose command is to run outside of any sandbox.
pub const NATIVE: &str = "native";

fn spout(original: &Original<'_>) -> Node {
    let mut spout = Vec::new();
    spout.extend(kept(original, "spout.overwrite", "overwrite"));
    spout.extend(kept(original, "spout.marker", "marker"));
    if original.at("spout.service").is_some() {
        let ports = [("spout.service.internal_port", "internalPort"), ("spout.service.external_port", "externalPort")];
        spout.push(("service", map(ports.into_iter().flat_map(|(path, key)| kept(original, path, key)))));
    }
    map(spout)
}

/// What runs: a plugin that gets what follows the command as its arguments, unless it is given files, or the command itself.
fn transform(
    original: &Original<'_>,
    images: &BTreeMap<String, String>,
    per_file: bool,
    remarks: &mut Vec<Remark>,
) -> Node {
    let mut transform = Vec::new();
    let cmd = match original.at("transform.cmd") {
        Some(Node { tree: Tree::List(words), .. }) => words.clone(),
        _ => Vec::new(),
    };
    let image = match original.at("transform.image") {
        Some(Node { tree: Tree::Text(image), line }) => Some((image.as_str(), *line)),
        _ => None,
    };
    let chosen = image.and_then(|(image, _)| images.get(image)).map(String::as_str);
    match (image, chosen) {
        (Some(_), Some(NATIVE)) | (None, _) => {
            transform.push(("cmd", Node { line: 0, tree: Tree::List(cmd) }));
            transform.push(("trusted", Node { line: 0, tree: Tree::Bool(true) }));
        }
        (Some((image, line)), chosen) => {
            let plugin = chosen.unwrap_or_else(|| own_name(image));
            if chosen.is_none() {
                let what = format!(
                    "is taken for the plugin `{plugin}`; `--image {image}=NAME` names another, and =native runs its command as it is"
                );
                remarks.push(Remark { line, key: "transform.image".into(), what });
            }
            transform.push(("plugin", text(plugin)));
            let args: Vec<Node> = cmd.into_iter().skip(1).collect();
            if per_file {
                let line = original.at("transform.cmd").map_or(line, |cmd| cmd.line);
                let what = "is what ran over /pfs: the plugin gets each file instead, and its `settings`".into();
                remarks.push(Remark { line, key: "transform.cmd".into(), what });
            } else if !args.is_empty() {
                transform.push(("args", Node { line: 0, tree: Tree::List(args) }));
            }
        }
    }
    transform.extend(kept(original, "transform.stdin", "stdin"));
    transform.extend(kept(original, "transform.env", "env"));
    map(transform)
}

/// `myaccount/myimage:0.1` is called `myimage`.
fn own_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(['@', ':']).next().unwrap_or(last)
}

fn kept(original: &Original<'_>, path: &str, key: &'static str) -> Option<(&'static str, Node)> {
    original.at(path).map(|node| (key, node.clone()))
}

/// Pachyderm reads `internalPort` and `internal_port` alike.
fn snake_case(node: &mut Node) {
    match &mut node.tree {
        Tree::Map(entries) => {
            for Entry { key, value, .. } in entries {
                let mut snake = String::with_capacity(key.len());
                for letter in key.chars() {
                    if letter.is_ascii_uppercase() {
                        snake.push('_');
                    }
                    snake.push(letter.to_ascii_lowercase());
                }
                *key = snake;
                if !FREE.contains(&key.as_str()) {
                    snake_case(value);
                }
            }
        }
        Tree::List(list) => list.iter_mut().for_each(snake_case),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn imported(text: &str, images: &[(&str, &str)]) -> Result<Imported, String> {
        let images = images.iter().map(|(image, name)| ((*image).to_owned(), (*name).to_owned())).collect();
        pachyderm(text, Path::new("spout.json"), &images).map_err(|error| error.to_string())
    }

    /// The documented one of 1.x.
    const OLD: &str = r#"{"pipeline":{"name":"my-spout"},
"transform":{"cmd":["go","run","./main.go"],"image":"myaccount/myimage:0.1","env":{"HOST":"kafkahost","TOPIC":"mytopic","PORT":"9092"}},
"spout":{"overwrite":false,"marker":"offset"}}"#;

    #[test]
    fn both_generations_become_specs() {
        let body = |imported: &Imported| -> String {
            imported.spec.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
        };
        let old = imported(OLD, &[]).unwrap();
        assert_eq!(
            body(&old),
            "pipeline:\n  name: my-spout\nspout:\n  overwrite: false\n  marker: offset\ntransform:\n  plugin: myimage\n  args:\n  - run\n  - ./main.go\n  env:\n    HOST: kafkahost\n    TOPIC: mytopic\n    PORT: \"9092\"\n"
        );
        assert_eq!(old.remarks.len(), 1, "{:?}", old.remarks);
        let new = r#"{"pipeline":{"name":"s"},"transform":{"image":"i:1","cmd":["./run.sh","-v"]},
"spout":{"service":{"internalPort":8000,"externalPort":31800}},
"parallelismSpec":{"constant":1},"output_branch":"staging"}"#;
        let new = imported(new, &[("i:1", NATIVE)]).unwrap();
        assert_eq!(
            body(&new),
            "pipeline:\n  name: s\nspout:\n  service:\n    internalPort: 8000\n    externalPort: 31800\ntransform:\n  cmd:\n  - ./run.sh\n  - -v\n  trusted: true\ncommit:\n  branch: staging\n"
        );
        let said: Vec<(usize, &str)> = new.remarks.iter().map(|remark| (remark.line, remark.key.as_str())).collect();
        assert_eq!(said, [(3, "parallelism_spec")]);
        assert!(new.spec.contains("# line 3: parallelism_spec starts several copies"), "{}", new.spec);
    }

    #[test]
    fn a_pipeline_over_files_becomes_a_spec() {
        let edges = r#"{"pipeline":{"name":"edges"},"input":{"pfs":{"repo":"images","glob":"/*","lazy":true}},
"transform":{"image":"pachyderm/opencv:1.0","cmd":["python3","/edges.py"]}}"#;
        let edges = imported(edges, &[]).unwrap();
        let body: Vec<&str> = edges.spec.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            body.join("\n"),
            "pipeline:\n  name: edges\ninput:\n  pfs:\n    repo: images\n    glob: /*\ntransform:\n  plugin: opencv"
        );
        let said: Vec<(usize, &str)> = edges.remarks.iter().map(|remark| (remark.line, remark.key.as_str())).collect();
        assert_eq!(said, [(1, "input.pfs.lazy"), (2, "transform.image"), (2, "transform.cmd")]);
        assert!(parse(&edges.spec, Path::new("edges.yaml"), Path::new("/")).is_ok(), "{}", edges.spec);
        let other = r#"{"pipeline":{"name":"c"},"input":{"cron":{"spec":"@daily"}},"transform":{"image":"i"}}"#;
        assert!(imported(other, &[]).unwrap_err().contains("input.pfs"));
    }

    /// Specs of spouts run as they are; imported, they mean the same.
    #[test]
    fn documented_specs_are_specs() {
        let parsed =
            |text: &str| parse(text, Path::new("spout.json"), Path::new("/")).map_err(|error| error.to_string());
        let old = parsed(OLD).unwrap().remove(0).spec;
        let transform = old.transform.clone().unwrap();
        assert_eq!(
            (transform.plugin.as_deref(), transform.args.as_slice()),
            (Some("myimage"), ["run", "./main.go"].map(str::to_owned).as_slice())
        );
        assert_eq!(transform.env.get("PORT").map(String::as_str), Some("9092"));
        assert_eq!(old.spout.marker.as_deref(), Some("offset"));
        let imported = parsed(&imported(OLD, &[]).unwrap().spec).unwrap().remove(0).spec;
        assert_eq!((imported.spout, imported.pipeline), (old.spout, old.pipeline));
        for spout in [
            "{}",
            r#"{"service":{"internalPort":8000,"externalPort":31800}}"#,
            r#"{"service":{"internal_port":8000,"external_port":31800}}"#,
        ] {
            let new =
                format!(r#"{{"pipeline":{{"name":"s"}},"transform":{{"cmd":["x"],"image":"i:1"}},"spout":{spout}}}"#);
            let new = parsed(&new).unwrap().remove(0).spec;
            assert_eq!(new.transform.unwrap().plugin.as_deref(), Some("i"), "{spout}");
        }
    }

    #[test]
    fn what_is_no_spout_is_refused() {
        let check = |text: &str, part: &str| {
            let error = imported(text, &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(
            r#"{"pipeline":{"name":"p"},"transform":{"cmd":["x"]},"input":{"cross":[{"pfs":{"repo":"r","glob":"/*"}}]}}"#,
            "no `spout`",
        );
        check(r#"{"pipeline":{"name":"p"},"spout":{}}"#, "no `transform`");
        check(r#"{"spout":{},"transform":{}}"#, "`pipeline.name` is missing");
    }

    #[test]
    fn an_image_has_a_name_of_its_own() {
        for (image, name) in [("a/b:1", "b"), ("b", "b"), ("host:5000/a/b@sha256:00", "b"), ("b:latest", "b")] {
            assert_eq!(own_name(image), name);
        }
    }
}
