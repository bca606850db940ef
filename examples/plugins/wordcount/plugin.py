"""wordcount: how often each word is in a file, as a CSV file beside it."""

import re
from collections import Counter
from typing import Annotated

from spout import Transformer


class Wordcount(Transformer):
    """How often each word is in a file, as /PATH.csv."""

    class Settings:
        least: Annotated[int, "Words that are there less often are left out."] = 1

    def transform(self, input, output):
        words = Counter()
        for line in input:
            words.update(re.findall(r"\w+", line.decode("utf-8", "replace").lower()))
        rows = [{"word": word, "times": times} for word, times in words.most_common() if times >= self.settings.least]
        output.put_table(input.path + ".csv", {"word": "utf8", "times": "int64"}, rows)
