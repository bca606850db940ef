"""Where messages come from: a source by partition, or one stream."""

from dataclasses import dataclass, field

from .plugin import Plugin


@dataclass
class Partition:
    """A partition: its number, which means the same forever, and its name for people."""

    id: int
    label: str = ""
    ended: bool = False


@dataclass
class Limits:
    """How much a call may return: messages, bytes."""

    messages: int
    bytes: int


@dataclass
class Fetched:
    """Messages as (offset, payload), offsets rising; where the next fetch starts; and "more", "idle" or "ended".

    A payload is `bytes`, a `Message` with key, time or headers, or None for a tombstone.
    """

    messages: list = field(default_factory=list)
    #: A `Position`, for a source whose own place in a partition is more than an offset.
    next: int = 0
    progress: str = "more"
    #: Offset after the newest message, if known.
    high_watermark: int | None = None


class Source(Plugin):
    """A source by partition. Any offset may be asked for again and must return the same messages.

    The directory NAME that a spec grants is at `/NAME`; `asks` names those that the plugin needs.
    """

    asks = ()
    topic = ""

    def partitions(self):
        """All current partitions."""
        raise NotImplementedError

    def fetch(self, partition, start, limits):
        """The messages of a partition from `start` on, without waiting for more; `start` is an offset, and a `Position`."""
        raise NotImplementedError

    def latest(self, partition):
        """The offset after the newest message, if the source can tell."""
        return None

    def at(self, partition, time_ms):
        """The offset of the first message that is not older than `time_ms` (since 1970), if the source can tell."""
        return None

    def committed(self, partition, offset):
        """Everything before `offset` is durable. A hint."""


class Stream(Plugin):
    """A source read as a whole; `checkpoint` covers exactly what `next` has returned."""

    asks = ()
    topic = ""

    def start(self, at):
        """Begins at "earliest", "latest", or the bytes of a checkpoint."""
        raise NotImplementedError

    def next(self, limits):
        """The next messages as (partition, offset, payload), and "more", "idle" or "ended"."""
        raise NotImplementedError

    def checkpoint(self):
        """Where to resume, as bytes."""
        raise NotImplementedError

    def positions(self):
        """The next offset of each partition, for people."""
        return {}

    def committed(self, checkpoint):
        """Everything before this checkpoint is durable. A hint."""


def fetch_all(source, wanted, limits):
    """The answers of `wanted` partitions, with limits for all of them together: {partition: Fetched or an exception}."""
    answers, messages, bytes_left = {}, limits.messages, limits.bytes
    for at, (partition, start) in enumerate(wanted):
        share = len(wanted) - at
        if messages <= 0 or bytes_left <= 0:
            break
        try:
            fetched = source.fetch(partition, start, Limits(max(messages // share, 1), max(bytes_left // share, 1)))
        except Exception as error:
            answers[partition] = error
            continue
        messages -= len(fetched.messages)
        bytes_left -= sum(len(payload or b"") for _, payload in fetched.messages)
        answers[partition] = fetched
    return answers
