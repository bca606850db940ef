//! A keeper over a store of its own, changed from outside.

use std::path::Path;

use spout_api::Phase;
use spout_base::reach::Reach;
use spout_pipeline::Update;
use spout_plugin::Plugins;
use spout_repo::{Edit, MASTER, PutMode, SPECS, Store};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

struct Site {
    place: TempDir,
    store: Store,
    specs: Specs,
    statuses: Statuses,
    updates: mpsc::UnboundedReceiver<Update>,
    _stop: DropGuard,
}

impl Site {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("store").display().to_string()).await.unwrap();
        let plugins = Plugins::open(place.path(), None).unwrap();
        let (sender, updates) = mpsc::unbounded_channel();
        let keeper = Keeper::new(&store, &plugins, Vec::new(), Default::default(), sender);
        let (statuses, stop) = (keeper.statuses(), CancellationToken::new());
        tokio::spawn(keeper.run(stop.clone()));
        let specs = Specs::open(&store).await.unwrap();
        Self { place, store, specs, statuses, updates, _stop: stop.drop_guard() }
    }

    fn wanted(&self, text: &str) -> Vec<Wanted> {
        let all = Wanted::of_text(text, Path::new("s.yaml"), self.place.path(), &Reach::ALL).unwrap();
        all.into_iter().map(|(wanted, _)| wanted).collect()
    }

    /// Waits until a pipeline is doing that.
    async fn reach(&mut self, name: &str, phase: Option<Phase>) {
        let now = || self.statuses.all().get(name).map(|status| status.state);
        for _ in 0..3_000 {
            if now() == phase {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{name} is {:?} and not {phase:?}", self.statuses.all().get(name));
    }
}

fn http(name: &str, description: &str) -> String {
    format!(
        "pipeline: {{name: {name}}}\ndescription: {description}\nproducer:\n  http: {{listen: \"127.0.0.1:0\"}}\n  decoder: {{type: json}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_are_made_changed_stopped_and_removed() {
    let mut site = Site::new().await;
    site.specs.create(&site.wanted(&http("a", "one"))).await.unwrap();
    site.reach("a", Some(Phase::Running)).await;
    assert!(matches!(site.specs.create(&site.wanted(&http("a", "two"))).await, Err(Error::Exists { .. })));
    let epoch = async |site: &Site| site.store.repo("a").await.unwrap().edit(MASTER).await.map(|_| ()).unwrap();
    epoch(&site).await;
    site.updates.close();
    while site.updates.try_recv().is_ok() {}
    site.specs.update(&site.wanted(&http("a", "two")), false).await.unwrap();
    site.reach("a", Some(Phase::Running)).await;
    assert!(site.specs.set_running("a", false).await.unwrap().is_some());
    site.reach("a", Some(Phase::Stopped)).await;
    assert!(site.specs.set_running("a", false).await.unwrap().is_none(), "it is stopped already");
    site.specs.update(&site.wanted(&http("a", "three")), false).await.unwrap();
    assert!(!site.specs.get("a").await.unwrap().wish.running, "an update starts nothing");
    site.specs.set_running("a", true).await.unwrap();
    site.reach("a", Some(Phase::Running)).await;
    site.specs.delete("a").await.unwrap();
    site.reach("a", None).await;
    assert!(matches!(site.specs.get("a").await, Err(Error::Unknown { .. })));
    assert!(matches!(site.specs.delete("a").await, Err(Error::Unknown { .. })));
    let repo = site.store.repo(SPECS).await.unwrap();
    let history = repo.history(&format!("{SPECS}@master").parse().unwrap(), 99).await.unwrap();
    let said: Vec<&str> = history.iter().rev().map(|commit| commit.reason.as_str()).collect();
    let expected = ["create", "update", "stop", "update", "start", "delete"].map(|verb| format!("{verb} pipeline a"));
    assert_eq!(said, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_run_does_not_touch_the_others() {
    let mut site = Site::new().await;
    let broken = "pipeline: {name: b}\nproducer:\n  stream: {plugin: nowhere, topic: t}\n  decoder: {type: json}\n";
    let all = [http("a", "one"), broken.to_owned()].join("---\n");
    site.specs.create(&site.wanted(&all)).await.unwrap();
    site.reach("a", Some(Phase::Running)).await;
    site.reach("b", Some(Phase::Failed)).await;
    assert_eq!(site.statuses.all()["b"].code.as_deref(), Some("E0211"));
    // By hand, as a file of the repo: one of another name, one that is no spec, and one that says nothing sound of itself.
    let repo = site.store.repo(SPECS).await.unwrap();
    let mut editor = repo.edit(MASTER).await.unwrap();
    let mut open = repo.open_commit();
    for (path, text) in [
        ("/c.yaml", http("other", "x")),
        ("/d.yaml", "[".into()),
        ("/e.yaml", http("e", "x")),
        ("/f.yaml", http("f", "x")),
        ("/e.json", "{".into()),
    ] {
        open.put_file(path, PutMode::Overwrite, text.into_bytes().into()).await.unwrap();
    }
    drop(editor.finish(open, Edit::new("put file")).await.unwrap());
    site.reach("f", Some(Phase::Running)).await;
    for (name, code) in [("c", "E0953"), ("d", "E0102"), ("e", "E0953")] {
        site.reach(name, Some(Phase::Failed)).await;
        assert_eq!(site.statuses.all()[name].code.as_deref(), Some(code));
    }
    site.reach("a", Some(Phase::Running)).await;
}
