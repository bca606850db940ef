"""Exports the interface `metadata-provider`."""

from spout_boundary import open_plugin, position, told
from wit_world.exports import metadata_provider as export


class Provider(export.Provider):
    @classmethod
    def open(cls, name, topic, settings):
        provider = cls()
        with told():
            provider.plugin = open_plugin("partition-consumer", name, settings)
            provider.plugin.topic = topic
            provider.plugin.open()
        return provider

    def partitions(self, known, timeout_ms):
        with told():
            found = self.plugin.partitions()
        return [export.PartitionInfo(one.id, one.label or f"partition {one.id}", one.ended) for one in found]

    def resolve(self, partition, at, timeout_ms):
        with told():
            match at:
                case export.OffsetCriteria_Earliest():
                    return position(0)
                case export.OffsetCriteria_AtOffset(offset):
                    return position(offset)
                case export.OffsetCriteria_Latest():
                    latest = self.plugin.latest(partition)
                    return None if latest is None else position(latest)
                case export.OffsetCriteria_AtTimeMs(time_ms):
                    found = self.plugin.at(partition, time_ms)
                    return None if found is None else position(found)
        return None
