"""The reference, made of what the binary says of itself: specs, handlers, decoders, plugins, the API, commands, errors."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def written(spout, root, to):
    """Writes every page of the reference below `to`; their names."""
    host = Host(spout, root)
    schema = host.json("schema")
    made = {
        "index": overview(),
        "spec": spec(schema),
        "handlers": kinds(schema, "NodeSpec", "Handlers", HANDLERS, root / "docs/site/examples/handlers"),
        "decoders": kinds(schema, "NativeDecoder", "Decoders", DECODERS, root / "docs/site/examples/decoders"),
        "consumers": kinds(schema, "ConsumerSpec", "Consumers", CONSUMERS, None),
        "commands": commands(host),
        "api": api(host),
        "errors": errors(host),
        **plugins(host, root),
    }
    for name, text in made.items():
        path = to / "docs/reference" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [f"docs/reference/{name}.md" for name in made]


HANDLERS = """Handlers make up the `node` list of a spec, and pass rows to each other in that order. Each has a `type`, and an `id` that errors
and counts name it by. The examples are whole pipelines with tests: `spout test FILE` runs them, and so does CI."""
DECODERS = """A `decoder` makes rows of messages. A value is stored exactly as it was sent, or its message becomes a dead letter. The examples
are whole pipelines with tests: `spout test FILE` runs them, and so does CI. Plugins are decoders too: `{plugin: NAME}`."""
CONSUMERS = "Where rows go besides the repo, in the list `consumers`. All of them see rows at least once; the repo has them exactly once."


class Host:
    """The binary, and the directory of its plugins."""

    def __init__(self, spout, root):
        self.spout, self.root = spout, root

    def text(self, *args):
        environment = {**os.environ, "COLUMNS": "120"}
        environment = {name: value for name, value in environment.items() if not name.startswith("SPOUT_") or name == "SPOUT_CACHE"}
        said = subprocess.run([self.spout, *args], cwd=self.root, env=environment, capture_output=True, text=True)
        if said.returncode:
            sys.exit(f"spout {' '.join(args)}: {said.stderr}")
        return said.stdout

    def json(self, *args):
        return json.loads(self.text(*args, "--json"))

    def lines(self, *args):
        return [json.loads(line) for line in self.text(*args, "--json").splitlines()]


def overview():
    return """# Reference

Every page here is made from the binary when the site is built.

- [Specs](spec.md): every key of a pipeline
- [Handlers](handlers.md), [decoders](decoders.md) and [consumers](consumers.md), with examples that run
- [Commands](commands.md), as `--help` shows them
- [The HTTP API](api.md), as `/openapi.json` has it
- [Errors](errors.md), as `spout explain` has them
- [Plugins](plugins/index.md): what the bundled ones offer, ask for and can be set to
"""


def cell(text):
    """Text in a cell of a table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;").strip()


def named(ref):
    return ref.rsplit("/", 1)[-1]


def follow(schema, defs):
    """The schema that another stands for."""
    return defs.get(named(schema["$ref"]), {}) if "$ref" in schema else schema


def kind(schema, defs, depth=0):
    """What a value is, in a few words."""
    if schema is True or depth > 4:
        return "any"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        inner = defs.get(named(schema["$ref"]), {})
        simple = kind(inner, defs, depth + 1)
        return named(schema["$ref"]) if simple == "object" else simple
    for key in ("oneOf", "anyOf"):
        if key in schema:
            words = [kind(one, defs, depth + 1) for one in schema[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    what = schema.get("type", "any")
    if isinstance(what, list):
        what = " or ".join(one for one in what if one != "null")
    if what == "array":
        return "list of " + kind(schema.get("items", True), defs, depth + 1)
    return what


def linked(value, defs, at):
    """What a value is, with a link to the part of `at` that has its keys."""
    inner = value.get("items", value) if isinstance(value, dict) else value
    for one in [inner, *(inner.get("anyOf", []) if isinstance(inner, dict) else [])]:
        name = named(one["$ref"]) if isinstance(one, dict) and "$ref" in one else ""
        if at is not None and "properties" in defs.get(name, {}):
            return cell(kind(value, defs)).replace(name, f"[{name}]({at}#{name.lower()})")
    return cell(kind(value, defs))


def table(schema, defs, skip=("type",), at=None):
    """The keys of an object."""
    properties = {key: value for key, value in schema.get("properties", {}).items() if key not in skip}
    if not properties:
        return "It has no keys of its own.\n"
    rows = ["| Key | Is | Default | |", "|---|---|---|---|"]
    for key, value in properties.items():
        default = value.get("default")
        if key in schema.get("required", ()):
            default = "required"
        elif default in (None, "", [], {}) or isinstance(default, dict):
            default = ""
        else:
            default = f"`{json.dumps(default)}`"
        about = value.get("description") or follow(value, defs).get("description", "")
        rows.append(f"| `{key}` | {linked(value, defs, at)} | {cell(default)} | {cell(about)} |")
    return "\n".join(rows) + "\n"


def spec(schema):
    defs = schema["$defs"]
    # Those with pages of their own.
    elsewhere = {"NodeSpec": "handlers.md", "NativeDecoder": "decoders.md", "ConsumerSpec": "consumers.md"}
    text = f"# Specs\n\n{schema['description']}\n\n`spout schema` prints this as JSON schema, `spout schema --example` a spec with comments.\n\n"
    text += table(schema, defs, (), "") + "\n"
    for name in sorted(defs):
        one = defs[name]
        if name in elsewhere:
            text += f"## {name}\n\n{one.get('description', '')} See [its page]({elsewhere[name]}).\n\n"
        elif "properties" in one:
            text += f"## {name}\n\n{one.get('description', '')}\n\n{table(one, defs, (), '')}\n"
    return text


def kinds(schema, of, heading, about, examples):
    defs = schema["$defs"]
    text = f"# {heading}\n\n{about}\n\n"
    words = {}
    for one in defs[of]["oneOf"]:
        one = {**follow(one, defs), **one}
        words[one["properties"]["type"]["const"]] = one
    for word, one in words.items():
        text += f"## {word}\n\n{one.get('description', '')}\n\n{table(one, defs, at='spec.md')}\n"
        if examples:
            example = examples / f"{word}.yaml"
            if not example.is_file():
                sys.exit(f"{heading} `{word}` has no example: write {example}, with tests in it")
            text += f"```yaml\n{example.read_text().strip()}\n```\n\n"
    if examples:
        strange = [path.name for path in examples.glob("*.yaml") if path.stem not in words]
        if strange:
            sys.exit(f"examples of nothing that there is: {strange}")
    return text


def commands(host):
    text = "# Commands\n\nWhat `--help` says. Options of every command stand once, at the end.\n\n"
    shared = {}

    def walk(words):
        nonlocal text
        said = host.text(*words, "--help")
        listed = re.search(r"\nCommands:\n(.*?)(\n\n|$)", said, re.S)
        for option in ("--store", "--server", "--token", "--plugins", "--cache", "--compile-time", "--json", "--verbose", "--help"):
            # With what stands below it, in either of the two layouts of help, and the line that parts it from the next.
            found = re.search(rf"^ +(-\w, )?{option}\b.*\n(( {{10,}}.*)?\n(?= {{10,}}| *-|\n))*( {{10,}}.*\n)?", said, re.M)
            if found and words:
                shared[option] = found.group(0).rstrip("\n")
                said = said.replace(found.group(0), "")
        said = re.sub(r"\nOptions:\n+(?=Examples:)", "\n", said).rstrip()
        text += f"## spout {' '.join(words)}".rstrip() + f"\n\n```text\n{said}\n```\n\n"
        inner = re.findall(r"^  ([a-z-]+)(?:  |\n|$)", listed.group(1), re.M) if listed else []
        for word in inner:
            if word != "help":
                walk([*words, word])

    walk([])
    return text + "## Options of every command\n\n```text\n" + "\n".join(shared.values()) + "\n```\n"


def api(host):
    """The document of a server that has nothing."""
    import urllib.request

    with tempfile.TemporaryDirectory() as place:
        command = [host.spout, "serve", "--listen", "127.0.0.1:0", "--json", "--store", f"{place}/store", "--plugins", place]
        served = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            url = json.loads(served.stdout.readline())["url"]
            # A proxy of the environment knows nothing of this machine.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            document = json.loads(opener.open(f"{url}/openapi.json", timeout=60).read())
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait()
    defs = document.get("components", {}).get("schemas", {})
    text = f"# The HTTP API\n\n{document['info'].get('description', '')}\n\n`GET /openapi.json` of a server is this as a document.\n\n"
    text += "| | Route | |\n|---|---|---|\n"
    bodies = ""
    for path, methods in sorted(document["paths"].items()):
        for method, about in methods.items():
            if not isinstance(about, dict) or "responses" not in about:
                continue
            name = f"{method.upper()} {path}"
            text += f"| {method.upper()} | `{path}` | {cell(about.get('summary', ''))} |\n"
            bodies += f"## {name.replace('{', '&#123;')}\n\n{about.get('summary', '')}\n\n"
            asked = [one for one in about.get("parameters", [])]
            if asked:
                bodies += "| Parameter | In | |\n|---|---|---|\n"
                for one in asked:
                    bodies += f"| `{one['name']}` | {one['in']} | {cell(one.get('description') or one.get('schema', {}).get('description', ''))} |\n"
                bodies += "\n"
            for word, contents in (("Takes", about.get("requestBody", {})), ("Gives", next(iter(about["responses"].values()), {}))):
                for media, content in contents.get("content", {}).items():
                    bodies += f"{word} `{media}`: {cell(kind(content.get('schema', True), defs))}.\n\n"
    schemas = "".join(
        f"## {name}\n\n{one.get('description', '')}\n\n{table(one, defs, (), '')}\n" for name, one in sorted(defs.items()) if "properties" in one
    )
    return f"{text}\n{bodies}\n{schemas}"


def errors(host):
    text = "# Errors\n\n`spout explain CODE` prints the page of a code.\n\n| Code | |\n|---|---|\n"
    for one in host.lines("explain"):
        text += f"| [{one['code']}](../errors/{one['code']}.md) | {cell(one['title'])} |\n"
    return text


def plugins(host, root):
    made, listed = {}, "# Bundled plugins\n\n| Plugin | Worlds | Offers |\n|---|---|---|\n"
    for one in host.lines("plugin", "list"):
        name = one["name"]
        if not (root / "plugins" / name / "Cargo.toml").is_file():
            continue
        about = host.json("plugin", "inspect", name)
        offers = about.get("offers", [])
        listed += f"| [{name}]({name}.md) | {', '.join(about['worlds'])} | {cell('; '.join(dict.fromkeys(o['summary'] for o in offers)))} |\n"
        text = f"# {name}\n\n`spout plugin inspect {name}` prints this."
        if (root / "plugins" / name / "README.md").is_file():
            text += f" Its [README](../../../plugins/{name}/README.md) has the rest."
        text += "\n\n"
        for offer in offers:
            text += f"## {offer['name']}: {offer['interface']}\n\n{offer['summary']}\n\n"
            for key, value in (offer.get("asks") or {}).items():
                text += f"Asks for `{key}`: {', '.join(f'`{one}`' for one in value) if isinstance(value, list) else f'`{value}`'}.\n\n"
            settings = offer.get("settings") or {}
            text += table(settings, settings.get("$defs", {}), ()) + "\n"
        made[f"plugins/{name}"] = text
    return {"plugins/index": listed, **made}
