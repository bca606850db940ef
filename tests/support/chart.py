# Renders a Helm chart with each of the values of standard input, a line of JSON each: Helm's own library does, as `helm lint` and
# `helm template` would, and what comes of it is held against the schemas of Kubernetes. An answer a line: the objects, or what is wrong.
import json
import sys

import helm_python as helm
import kubernetes_validate
import yaml

CHART, NAME, NAMESPACE = sys.argv[1:]
# Kinds that Kubernetes itself does not have.
OTHERS = {"Certificate"}


def objects(values):
    """What the chart makes of them."""
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(values, name=NAME, namespace=NAMESPACE)
    notes = [text for path, text in rendered.items() if path.endswith("NOTES.txt")]
    files = [text for path, text in rendered.items() if path.endswith(".yaml")]
    found = [one for text in files for one in yaml.safe_load_all(text) if one]
    for one in found:
        if one["kind"] not in OTHERS:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    said = helm.lint(CHART, values)["errors"]
    if said:
        raise RuntimeError(f"lint: {said}")
    return found + [{"kind": "Notes", "text": text} for text in notes]


for line in sys.stdin:
    try:
        answer = {"objects": objects(json.loads(line))}
    except Exception as error:
        answer = {"wrong": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
