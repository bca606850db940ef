"""Keyed state of a handler, held by the host: keys are texts, values whatever JSON holds."""

import json


class State:
    """A sorted map that may be larger than memory; a commit writes what changed.

    A call to the host costs far more than a key: `load` the keys of a batch at once, then `get`, `put` and `delete`.
    """

    def __init__(self, store):
        self._store, self._known, self._changed = store, {}, {}

    def load(self, keys):
        """Fetches the values of these keys together."""
        wanted = sorted({key for key in keys if key not in self._known})
        if wanted:
            found = self._store.get([key.encode() for key in wanted])
            self._known.update(zip(wanted, (value and json.loads(value) for value in found)))

    def get(self, key, default=None):
        """The value of a key."""
        if key not in self._known:
            self.load([key])
        value = self._known[key]
        return default if value is None else value

    def put(self, key, value):
        """Sets the value of a key; None removes it."""
        self._known[key] = value
        self._changed[key] = value

    def delete(self, key):
        """Removes a key."""
        self.put(key, None)

    def scan(self, prefix=""):
        """Keys and values of the keys that begin with `prefix`, in the order of their bytes."""
        self.write_back()
        after = None
        while entries := self._store.scan(prefix.encode(), after, 1000):
            for key, value in entries:
                yield key.decode(), json.loads(value)
            after = entries[-1][0]

    def write_back(self):
        """Gives the host what changed; the host keeps it if the call succeeds."""
        gone = sorted(key for key, value in self._changed.items() if value is None)
        entries = sorted((key, value) for key, value in self._changed.items() if value is not None)
        if gone:
            self._store.delete([key.encode() for key in gone])
        if entries:
            self._store.put([(key.encode(), canonical(value)) for key, value in entries])
        self._changed.clear()
        if len(self._known) > 100_000:
            self._known.clear()


def canonical(value):
    """JSON whose bytes are equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Memory:
    """A store in memory, for tests."""

    def __init__(self):
        self.entries = {}

    def get(self, keys):
        return [self.entries.get(key) for key in keys]

    def put(self, entries):
        self.entries.update(entries)

    def delete(self, keys):
        for key in keys:
            self.entries.pop(key, None)

    def scan(self, prefix, after, limit):
        keys = sorted(key for key in self.entries if key.startswith(prefix) and (after is None or key > after))
        return [(key, self.entries[key]) for key in keys[:limit]]
