"""Exports the interface `decoder`."""

from spout_boundary import lower_parts, lower_schema, open_plugin, raise_messages, told
from wit_world.exports import decoder


class Decoding(decoder.Decoding):
    @classmethod
    def open(cls, name, topic, fields, schema, settings):
        decoding = cls()
        with told():
            decoding.plugin, decoding.is_told = open_plugin("decoder", name, settings), False
            decoding.plugin.topic = topic
            decoding.plugin.open()
            decoding.plugin.types()
        return decoding

    def output(self):
        types = self.plugin.types()
        return lower_schema(types) if types else None

    def decode(self, input):
        messages = raise_messages(input)
        sound = [at for at, message in enumerate(messages) if message is not None]
        with told():
            values, origins, faults = self.plugin.decode_batch([messages[at] for at in sound])
        types = self.plugin.types()
        schema = None if self.is_told else lower_schema(types)
        self.is_told = True
        faults = [decoder.RowFault(sound[at], code, reason) for at, code, reason in faults]
        return decoder.Decoded(schema, lower_parts(types, values), [sound[at] for at in origins], faults, [])
