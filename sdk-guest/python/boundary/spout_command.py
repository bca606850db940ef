"""The component of a command: its module's `main`, which runs as a program of its own, with arguments, environment and files."""

import importlib
import os
import sys
import traceback

from componentize_py_types import Err
from spout_project import MODULE, NAME
from wit_world import exports
from wit_world.imports import environment

main = importlib.import_module(MODULE).main


class Run(exports.Run):
    def run(self):
        # What was there when the component was made is not what is there now.
        os.environ.clear()
        os.environ.update(environment.get_environment())
        sys.argv[:] = environment.get_arguments() or [NAME]
        try:
            status = main()
        except SystemExit as over:
            status = over.code
        except BaseException:
            traceback.print_exc()
            status = 1
        if isinstance(status, str):
            print(status, file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if status not in (None, 0):
            raise Err(None)
