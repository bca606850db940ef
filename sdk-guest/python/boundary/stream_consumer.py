"""Exports the interface `stream-consumer`."""

import spout_network  # noqa: F401 (it gives plugins the host's connections)
from spout import Limits
from spout_boundary import lower_messages, open_plugin, position, told
from wit_world.exports import stream_consumer as export
from wit_world.imports.types import Progress


class Consumer(export.Consumer):
    @classmethod
    def open(cls, name, topic, group, at, settings):
        consumer = cls()
        with told():
            consumer.plugin = open_plugin("stream-consumer", name, settings)
            consumer.plugin.topic = topic
            consumer.plugin.open()
            match at:
                case export.StartAt_Checkpoint(checkpoint):
                    consumer.plugin.start(checkpoint.extra or b"")
                case export.StartAt_Latest():
                    consumer.plugin.start("latest")
                case _:
                    consumer.plugin.start("earliest")
        return consumer

    def next(self, limits):
        with told():
            messages, progress = self.plugin.next(Limits(limits.max_messages, limits.max_bytes))
        return lower_messages(messages), Progress[progress.upper()]

    def checkpoint(self):
        with told():
            positions = [(partition, position(offset)) for partition, offset in sorted(self.plugin.positions().items())]
            return export.Checkpoint(positions, self.plugin.checkpoint())

    def committed(self, upto):
        with told():
            self.plugin.committed(upto.extra or b"")
