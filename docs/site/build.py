#!/usr/bin/env python3
"""Builds the docs site into target/site: lays out the pages of this repository, adds the reference, and calls MkDocs.

Usage: build.py SPOUT [TO]. A broken link or anchor, a page that no menu has, or a handler without an example is an error.

Pages keep their places below the root, so that a link means the same here and on a forge. What is generated comes from the
binary: nothing of it is kept in the repository, and nothing of it can be out of date.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import reference

ROOT = Path(__file__).resolve().parents[2]
# Folders whose pages are of the tests alone.
LEFT_OUT = ("tests/", "docs/site/")
# What pages link to besides pages.
ALSO = ("examples/*.yaml", "examples/nexmark/*.yaml")


def pages():
    """Every page that is kept in the repository, and what pages link to, by its path below the root."""
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if said.returncode == 0:
        names = said.stdout.split("\n")
    else:
        # A copy of the tree without its history.
        names = [str(path.relative_to(ROOT)) for top in ROOT.iterdir() if top.name not in ("target", ".git") and top.is_dir()
                 for path in top.rglob("*") if path.is_file() and "node_modules" not in path.parts]
        names += [path.name for path in ROOT.glob("*.md")]
    for name in sorted(set(names)):
        page = name.endswith(".md") and not name.startswith(LEFT_OUT)
        if (page or any(fnmatch.fnmatch(name, also) for also in ALSO)) and (ROOT / name).is_file():
            yield name


def laid_out(to):
    """Copies the pages to `to`; their names."""
    names = []
    for name in pages():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, to / name)
        names.append(name)
    return names


def title(path):
    """The first heading of a page."""
    for line in path.read_text().splitlines():
        if line.startswith("# "):
            return re.sub(r"[`*]", "", line[2:])
    sys.exit(f"{path}: has no heading")


def expanded(entry, names, source, used):
    """An entry of the menu, with the pages that its pattern names in its place."""
    if isinstance(entry, list):
        return [page for part in entry for page in expanded(part, names, source, used)]
    if isinstance(entry, dict):
        [(word, inner)] = entry.items()
        if isinstance(inner, str) and "*" not in inner:
            used.add(inner)
            return [{word: inner}]
        return [{word: expanded(inner if isinstance(inner, list) else [inner], names, source, used)}]
    if "*" not in entry:
        used.add(entry)
        return [{title(source / entry): entry}]
    found = [name for name in sorted(names) if fnmatch.fnmatch(name, entry) and name.count("/") == entry.count("/")]
    if not found:
        sys.exit(f"mkdocs.yml: nothing is named like {entry}")
    # The overview of a folder stands first.
    found.sort(key=lambda name: (not name.endswith("/index.md"), name))
    used.update(found)
    return [{title(source / name): name} for name in found]


def named(site):
    """Gives the search of every page the name that the theme does not give it."""
    for page in site.rglob("*.html"):
        html = page.read_text()
        page.write_text(html.replace('data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'))


def main():
    spout, to = Path(sys.argv[1]).resolve(), Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "target/site").resolve()
    work = to.with_name(to.name + "-pages")
    source = work / "pages"
    shutil.rmtree(work, ignore_errors=True)
    source.mkdir(parents=True)
    names = laid_out(source) + reference.written(spout, ROOT, source)
    config = yaml.safe_load((ROOT / "docs/site/mkdocs.yml").read_text())
    used = set()
    config["nav"] = expanded(config["nav"], names, source, used)
    lost = [name for name in names if name.endswith(".md") and name not in used]
    if lost:
        sys.exit(f"pages that no menu has: {lost}; add them to docs/site/mkdocs.yml")
    shutil.copyfile(ROOT / "docs/site/extra.css", source / "extra.css")
    config["docs_dir"], config["site_dir"] = str(source), str(to)
    (work / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    # Says of pages that they are new, which they are not, and of itself that there is a newer one.
    environment = dict(os.environ, NO_MKDOCS_2_WARNING="true")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", work / "mkdocs.yml"],
        env=environment, stderr=subprocess.PIPE, text=True
    )
    # What it says at other levels is how far it is. With `--quiet` it would count no warning.
    print("\n".join(line for line in built.stderr.splitlines() if not line.startswith("INFO")), file=sys.stderr)
    if built.returncode == 0:
        named(to)
    sys.exit(built.returncode)


if __name__ == "__main__":
    main()
