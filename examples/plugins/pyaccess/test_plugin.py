"""The plugin's logic in plain Python: `spout plugin build` has put the package `spout` here."""

import unittest
from datetime import datetime, timezone

from plugin import Access, AtLeast
from spout import testing


class Tests(unittest.TestCase):
    def test_a_bad_line_does_not_affect_its_neighbours(self):
        line = b'1.1.1.1 - - [17/May/2015:10:05:03 +0200] "GET / HTTP/1.1" 200 7 "-" "curl"'
        rows, faults = testing.decode(testing.open(Access), line, b"nonsense", line.replace(b"May", b"Mai"))
        self.assertEqual(rows[0]["at"], datetime(2015, 5, 17, 8, 5, 3, tzinfo=timezone.utc))
        self.assertEqual((rows[0]["bytes"], rows[0]["user"], len(rows)), (7, None, 1))
        self.assertEqual(sorted(faults), [1, 2])

    def test_large_values_are_kept(self):
        handler = testing.open(AtLeast, column="size", least=5)
        kept = testing.process(handler, {"size": "int64"}, [{"size": 1}, {"size": None}, {"size": 9}])
        self.assertEqual(kept, [{"size": 9}])


if __name__ == "__main__":
    unittest.main()
