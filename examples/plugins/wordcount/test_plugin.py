import unittest

from plugin import Wordcount
from spout import testing


class Tests(unittest.TestCase):
    def test_words_are_counted_over_lines(self):
        repo = testing.transform(testing.open(Wordcount, least=2), "/a.txt", b"to be or\nnot to be")
        self.assertEqual(repo.tables, {"/a.txt.csv": [{"word": "to", "times": 2}, {"word": "be", "times": 2}]})


if __name__ == "__main__":
    unittest.main()
