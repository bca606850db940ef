"""Everything a spout plugin in Python needs; plain Python, so that its logic runs and is tested anywhere.

A plugin is a module with classes derived from `Decoder`, `Handler`, `Source`, `Stream`, `Spout` or `Transformer`. `spout plugin build` makes a
component of them. The first line of a class's documentation is what users read about it.
"""

from .decoder import Decoder
from .driven import Commit, File, Pfs, Spout, Writer
from .errors import ConfigError, EndOfStream, Fatal, Fault, OutOfRange, Retriable
from .handler import Handler, Rows, add, new, take
from .host import draining, log, metrics, pause
from .kernels import Column
from .message import Message, Position
from .network import Connection, Secret
from .source import Fetched, Limits, Partition, Source, Stream
from .transformer import InputFile, Output, Transformer

__all__ = [
    "Column", "Commit", "ConfigError", "Connection", "Decoder", "EndOfStream", "Fatal", "Fault", "Fetched", "File", "Handler",
    "InputFile", "Limits", "Message", "OutOfRange", "Output", "Partition", "Pfs", "Position", "Retriable", "Rows", "Secret",
    "Source", "Spout", "Stream", "Transformer", "Writer", "add", "draining", "log", "metrics", "new", "pause", "take",
]
