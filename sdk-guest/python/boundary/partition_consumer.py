"""Exports the interface `partition-consumer`: waits once for all partitions."""

import time

from componentize_py_types import Err, Ok
import spout_network  # noqa: F401 (it gives plugins the host's connections)
from spout import Fetched, Limits, pause
from spout.source import fetch_all
from spout_boundary import crash, lower_error, lower_messages, open_plugin, position, raise_position, told
from wit_world.exports import partition_consumer as export
from wit_world.imports.types import Progress


class Consumer(export.Consumer):
    @classmethod
    def open(cls, name, topic, settings):
        consumer = cls()
        with told():
            consumer.plugin = open_plugin("partition-consumer", name, settings)
            consumer.plugin.topic = topic
            consumer.plugin.open()
        return consumer

    def fetch(self, wanted, limits):
        until = time.monotonic() + limits.timeout_ms / 1000
        places = [(partition, raise_position(start)) for partition, start in wanted]
        while True:
            answers = fetch_all(self.plugin, places, Limits(limits.max_messages, limits.max_bytes))
            idle = all(isinstance(one, Fetched) and one.progress == "idle" and not one.messages for one in answers.values())
            left = until - time.monotonic()
            if not idle or left <= 0:
                return [(partition, self.lower(answer)) for partition, answer in answers.items()]
            pause(min(left, 0.1))

    @staticmethod
    def lower(answer):
        if isinstance(answer, Exception):
            lowered = lower_error(answer)
            if lowered is None:
                crash(answer)
            return Err(lowered)
        progress = Progress[answer.progress.upper()]
        return Ok(export.Fetched(lower_messages(answer.messages), position(answer.next), answer.high_watermark, progress))

    def committed(self, upto):
        with told():
            for partition, place in upto:
                self.plugin.committed(partition, raise_position(place))
