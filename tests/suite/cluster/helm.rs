//! The chart for Kubernetes: what Helm makes of it, and whether a process runs as its pods say.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use spout_tests::{
    Site,
    chart::{Rendered, rendered},
    clustered,
    daemon::lasting_port,
    root, tls,
};

use super::fleet;

const TOKEN: &str = "a-token-of-this-test-0123456789";

/// What has to be said, and more.
fn values(more: &Value) -> Value {
    let mut all = json!({
        "image": {"repository": "registry.example/spout"},
        "store": {"url": "s3://bucket/prefix", "secret": "bucket"},
        "joinToken": {"secret": "token"},
        "tls": {"secret": "certificates"},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    all
}

/// The objects of each of `values`, or why it has none.
fn objects(values: &[Value]) -> Result<Option<Vec<Rendered>>> {
    rendered(&root().join("examples/deploy/helm/spout"), ("demo", "prod"), values)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind)
}

/// A path or a text with paths of a pod, where the directories of its mounts are below `site`; but for those that are on every machine.
fn placed(text: &str, mounts: &[Value], site: &Path) -> Result<String> {
    let mut text = text.to_owned();
    for mount in mounts.iter().filter(|mount| mount["mountPath"] != "/tmp") {
        let (name, path) = (mount["name"].as_str().context("a name")?, mount["mountPath"].as_str().context("a path")?);
        text = text.replace(&format!("{path}/"), &format!("{}/", site.join(name).display()));
    }
    Ok(text)
}

#[test]
fn helm_makes_of_the_chart_what_kubernetes_takes_and_pods_run() -> Result<()> {
    let port = lasting_port()?;
    let own = json!({
        "port": port,
        "store": {"url": "/data/store", "claim": "everywhere"},
        "joinToken": {"value": TOKEN},
        "tls": {"certManager": {"issuer": "spout"}},
        "labels": {"zone": "a", "disk": "nvme: \"fast\""},
        "extraArgs": ["--json"],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/spout"}},
        "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    });
    let Some(all) = objects(&[values(&json!({})), values(&own)])? else { return Ok(()) };
    let [first, second] = all.try_into().map_err(|_| anyhow::anyhow!("two answers"))?;
    let (usual, own) = (first.map_err(anyhow::Error::msg)?, second.map_err(anyhow::Error::msg)?);
    // Secrets that are there are left alone; others are made.
    ensure!(of_kind(&usual, "Secret").is_none() && of_kind(&usual, "Certificate").is_none());
    let secret = of_kind(&own, "Secret").context("a secret")?;
    let token = STANDARD.decode(secret["data"]["token"].as_str().context("a token")?)?;
    ensure!(token == TOKEN.as_bytes(), "{secret}");
    let certificate = of_kind(&own, "Certificate").context("a certificate")?;
    ensure!(certificate["spec"]["dnsNames"] == json!(["*.demo-spout.prod.svc"]), "{certificate}");
    for (objects, token, tls) in [(&usual, "token", "certificates"), (&own, "demo-spout-join-token", "demo-spout-tls")]
    {
        let pod = &of_kind(objects, "StatefulSet").context("a StatefulSet")?["spec"]["template"]["spec"];
        let secret = |at: usize| pod["volumes"][at]["secret"]["secretName"].as_str();
        ensure!((secret(0), secret(1)) == (Some(token), Some(tls)), "{pod}");
        ensure!(pod["securityContext"]["runAsNonRoot"] == true, "{pod}");
        ensure!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] == true, "{pod}");
    }
    runs(&own, port)
}

/// The pods' process, with their command line and environment, where their mounts are directories of this test.
fn runs(objects: &[Value], port: u16) -> Result<()> {
    if !fleet::built()? {
        return Ok(());
    }
    let site = Site::new()?;
    tls::fleet(&site.path().join("tls"), [127, 0, 0, 1].into())?;
    for (from, to) in [("worker.pem", "tls.crt"), ("worker.key", "tls.key"), ("ca.pem", "ca.crt")] {
        fs::rename(site.path().join("tls").join(from), site.path().join("tls").join(to))?;
    }
    site.write("token/token", TOKEN)?;
    fs::create_dir(site.path().join("store"))?;
    fs::create_dir(site.path().join("cache"))?;
    let pod = &of_kind(objects, "StatefulSet").context("a StatefulSet")?["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let mounts = container["volumeMounts"].as_array().context("mounts")?;
    let text = |value: &Value| -> Result<String> {
        let text = value.as_str().with_context(|| value.to_string())?;
        placed(&text.replace("$(POD_NAME)", "demo-spout-2").replace("$(POD_NAMESPACE)", "prod"), mounts, site.path())
    };
    let args = container["args"].as_array().context("arguments")?.iter().map(text).collect::<Result<Vec<_>>>()?;
    let mut command = Command::new(clustered());
    command.args(args).current_dir(site.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    for variable in container["env"].as_array().context("an environment")? {
        if let Some(value) = variable.get("value") {
            command.env(variable["name"].as_str().context("a name")?, text(value)?);
        }
    }
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("standard output")?).read_line(&mut line)?;
    let begun: Value = serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
    // As the probe of readiness does.
    let answers = TcpStream::connect(("127.0.0.1", port)).map(drop);
    Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
    let ended = child.wait()?;
    ensure!(begun["address"] == format!("demo-spout-2.demo-spout.prod.svc:{port}"), "{begun}");
    ensure!(answers.is_ok() && ended.success(), "{answers:?}, {ended}");
    Ok(())
}

#[test]
fn values_that_cannot_be_are_refused_and_named() -> Result<()> {
    let cases = [
        (json!({}), "store/url"),
        (json!({"image": {"repository": "registry.example/spout"}, "store": {"url": "https://bucket"}}), "store/url"),
        (values(&json!({"store": {"url": "/data/store"}})), "store/claim"),
        (values(&json!({"store": {"url": "/elsewhere", "claim": "c"}})), "store/url"),
        (values(&json!({"replicas": 3})), "replicas"),
        (values(&json!({"replicaCount": -1})), "replicaCount"),
        (values(&json!({"replicaCount": "three"})), "replicaCount"),
        (values(&json!({"image": {"repository": "registry.example/spout", "digest": "sha256:12"}})), "image/digest"),
        (values(&json!({"joinToken": {"value": "short"}})), "joinToken/value"),
        (values(&json!({"joinToken": {}})), "joinToken.secret"),
        (values(&json!({"joinToken": {"secret": "token", "value": TOKEN}})), "not both"),
        (values(&json!({"tls": {}})), "tls.secret"),
        (values(&json!({"tls": {"secret": "x", "certManager": {"issuer": "ca"}}})), "not both"),
        (values(&json!({"tls": {"certManager": {"issuer": "ca", "kind": "Authority"}}})), "tls/certManager/kind"),
        (values(&json!({"port": 80})), "port"),
        (values(&json!({"memoryHigh": "much"})), "memoryHigh"),
        (values(&json!({"extraArgs": ["serve"]})), "extraArgs/0"),
        // What only Kubernetes knows.
        (values(&json!({"tolerations": [{"effect": 1}]})), "effect"),
        (values(&json!({"resources": {"requests": []}})), "requests"),
    ];
    let all: Vec<Value> = cases.iter().map(|(values, _)| values.clone()).collect();
    let Some(answers) = objects(&all)? else { return Ok(()) };
    for ((values, named), answer) in cases.iter().zip(answers) {
        let refused = answer.err().with_context(|| format!("{values} is taken"))?;
        ensure!(refused.contains(named), "{values}: {refused}");
    }
    Ok(())
}
