"""Everything a spout plugin in Python needs; plain Python, so that its logic runs and is tested anywhere.

A plugin is a module with classes derived from `Decoder`, `Handler`, `Source` or `Stream`. `spout plugin build` makes a
component of them. The first line of a class's documentation is what users read about it.
"""

from .decoder import Decoder, Message
from .errors import ConfigError, EndOfStream, Fatal, Fault, OutOfRange, Retriable
from .handler import Handler, Rows, add, new, take
from .host import log, metrics, pause
from .source import Fetched, Limits, Partition, Source, Stream

__all__ = [
    "ConfigError", "Decoder", "EndOfStream", "Fatal", "Fault", "Fetched", "Handler", "Limits", "Message", "OutOfRange",
    "Partition", "Retriable", "Rows", "Source", "Stream", "add", "log", "metrics", "new", "pause", "take",
]
