"""`python -m spout.describe PROJECT`: what a project offers, as JSON, for `spout plugin build`."""

import importlib
import json
import sys
import traceback
from pathlib import Path

from . import Decoder, Handler, Source, Spout, Stream, Transformer, types
from .settings import declare, schema

KINDS = [("partition-consumer", Source), ("stream-consumer", Stream), ("spout", Spout),
         ("transformer", Transformer), ("decoder", Decoder), ("handler", Handler)]
#: Modules that the component brings itself.
TAKEN = {"about", "decoder", "handler", "metadata_provider", "partition_consumer", "stream_consumer", "spout", "transformer",
         "wit_world"}


def offers(module, name):
    """The offers of a module: interface, class, name, summary and settings schema. One of a kind has the plugin's name."""
    found = []
    for interface, base in KINDS:
        classes = [value for value in vars(module).values()
                   if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__]
        for one in classes:
            offer = name if len(classes) == 1 and not one.name else one.offer()
            one.name = offer
            told = one.summary() or f"the {interface} of {name}"
            try:
                settings = schema(declare(one.Settings))
            except (NameError, TypeError, ValueError) as error:
                raise SystemExit(f"settings of {one.__name__}: {error}") from None
            found.append((interface, one, offer, told, settings))
            if isinstance(getattr(one, "columns", None), dict):
                try:
                    types.columns(one.columns)
                except (TypeError, ValueError) as error:
                    raise SystemExit(f"columns of {one.__name__}: {error}") from None
    return found


def project(directory):
    """Name, version, module and kind of the project: `[project]` and `[tool.spout]` of its pyproject.toml."""
    try:
        import tomllib
    except ImportError:
        from pip._vendor import tomli as tomllib
    text = tomllib.loads((Path(directory) / "pyproject.toml").read_text())
    about = text.get("project", {})
    module = text.get("tool", {}).get("spout", {}).get("module", "plugin")
    if "name" not in about:
        raise SystemExit("pyproject.toml has no [project] name")
    if module in TAKEN:
        raise SystemExit(f"a module cannot be called {module}, which the component needs itself; call it plugin")
    kind = text.get("tool", {}).get("spout", {}).get("kind", "plugin")
    if kind not in ("plugin", "command"):
        raise SystemExit(f"[tool.spout] kind is {kind}; leave it out, or write command for a program with a main()")
    return about["name"], about.get("version", "0.1.0"), module, kind


def imported(directory, module_name):
    """The module of a project. What it raises is told with the lines of the project alone, not those that led there."""
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        below = Path(directory).resolve()
        own = [frame for frame in traceback.extract_tb(error.__traceback__)
               if Path(frame.filename).resolve().is_relative_to(below) and ".venv" not in Path(frame.filename).parts]
        said = traceback.format_list(own) + traceback.format_exception_only(type(error), error)
        raise SystemExit("".join(said).rstrip()) from None


def main(directory):
    name, version, module_name, kind = project(directory)
    sys.path.insert(0, directory)
    if kind == "command":
        if not callable(getattr(imported(directory, module_name), "main", None)):
            raise SystemExit(f"{module_name}.py has no main(), which is what a command runs")
        print(json.dumps({"name": name, "version": version, "module": module_name, "asks": [], "interfaces": [kind]}))
        return
    found = offers(imported(directory, module_name), name)
    if not found:
        raise SystemExit(f"{module_name}.py has no class derived from Decoder, Handler, Source, Stream, Spout or Transformer")
    asks = sorted({ask for _, one, *_ in found for ask in getattr(one, "asks", ())})
    print(json.dumps({"name": name, "version": version, "module": module_name, "asks": asks,
                      "interfaces": sorted({interface for interface, *_ in found})}))


if __name__ == "__main__":
    main(sys.argv[1])
