"""Exports the interface `handler`."""

from spout import Rows
from spout.columns import bits, decode
from spout.state import State
from spout_boundary import blobs, lower_parts, lower_schema, open_plugin, raise_schema, told, unblobs
from spout_kernels import Held
from wit_world.exports import handler
from wit_world.imports import state


class Store:
    """The keyed state that the host holds."""

    def get(self, keys):
        found = state.get(blobs(keys))
        missing = set(found.missing)
        return [None if at in missing else value for at, value in enumerate(unblobs(found.values))]

    def put(self, entries):
        state.put(state.Entries(blobs(key for key, _ in entries), blobs(value for _, value in entries)))

    def delete(self, keys):
        state.delete(blobs(keys))

    def scan(self, prefix, after, limit):
        found = state.scan(prefix, after, limit)
        return list(zip(unblobs(found.keys), unblobs(found.values)))


class Node(handler.Node):
    @classmethod
    def open(cls, name, settings, snapshot):
        node = cls()
        with told():
            node.plugin, node.input, node.told = open_plugin("handler", name, settings), (None, {}), None
            node.plugin.state = State(Store())
            node.plugin.open()
            if snapshot is not None:
                node.plugin.restore(snapshot)
        return node

    def output(self, input):
        if self.plugin.answers is None:
            return None
        with told():
            return lower_schema(self.plugin.output(raise_schema(input.schema())))

    def process(self, input):
        if input.schema_id() != self.input[0]:
            self.input = input.schema_id(), raise_schema(input.schema())
        types = self.input[1]

        def read(name):
            parts = input.read([list(types).index(name)])
            return decode(types[name], iter((node.length, node.nulls) for node in parts.nodes), iter(parts.buffers))

        def hold(name):
            return Held.of(input, list(types).index(name))

        with told():
            answer = self.plugin.answer(Rows(input.rows(), types, read, hold))
        self.plugin.state.write_back()
        match answer and answer.case:
            case None:
                return None
            case "all":
                return handler.Rows_All()
            case "masked":
                return handler.Rows_Masked(bits(answer.value))
            case "taken":
                return handler.Rows_Taken(answer.value)
            case "add":
                return handler.Rows_WithColumns(self.table(*answer.value))
            case "new":
                return handler.Rows_Fresh(self.table(*answer.value))
            case "selected":
                return handler.Rows_Selected(answer.value.give())
            case "hold":
                return handler.Rows_WithHeld([handler.NamedColumn(name, own.give()) for name, own in answer.value])

    def tick(self, watermark_ms):
        with told():
            made, following = self.plugin.ticked(watermark_ms)
        self.plugin.state.write_back()
        return handler.Ticked(self.table(*made) if made else None, following)

    def finish(self):
        with told():
            rows = self.plugin.finish()
            made = self.plugin.stored(rows) if rows else None
        self.plugin.state.write_back()
        return self.table(*made) if made else None

    def snapshot(self):
        with told():
            return self.plugin.snapshot()

    def table(self, types, values):
        schema = None if self.told == types else lower_schema(types)
        self.told = types
        return handler.Table(schema, lower_parts(types, values))
