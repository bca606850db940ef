"""Kernels of the host over columns of a call, which stay there: no value crosses into the sandbox, and none becomes an object.

    class Dear(Handler):
        least: int

        def process(self, rows):
            return (rows.held("price") >= self.least) & rows.held("buyer").matches(r"^[a-z]+@example\\.org$")

In tests, outside a host, the same is computed in plain Python, for numbers, booleans, texts and bytes.
"""


class Column:
    """A column that the host holds: from `rows.held`, and what kernels make of it. It may be kept after the call.

    Null stays null, unless it says otherwise. What cannot be computed is a `Fatal` that names the row.
    """

    __slots__ = ("_own",)
    __hash__ = None

    def __init__(self, own):
        """`own` is the host's column, or one of `spout.imitation`."""
        self._own = own

    def __len__(self):
        return self._own.rows()

    def __bool__(self):
        raise TypeError("a column is many truths: join them with `&` and `|`, turn them round with `~`, and return the column")

    def compare(self, how, other):
        """Booleans: `how` is one of `==`, `!=`, `<`, `<=`, `>`, `>=`; `other` is a value or a column of as many rows.

        Numbers are compared exactly, whatever their types; floats in the total order of IEEE 754, NaN last. Values for times, dates
        and decimals are texts as in JSON.
        """
        if isinstance(other, Column):
            return Column(self._own.compare_column(how, other._own))
        if not isinstance(other, (bool, int, float, str, bytes)):
            raise TypeError(f"a column is compared with a bool, int, float, str, bytes or another column, not with {other!r}")
        if isinstance(other, int) and not -(1 << 63) <= other < 1 << 63:
            raise ValueError(f"{other} is no 64-bit integer")
        return Column(self._own.compare(how, other))

    def __eq__(self, other):
        return self.compare("==", other)

    def __ne__(self, other):
        return self.compare("!=", other)

    def __lt__(self, other):
        return self.compare("<", other)

    def __le__(self, other):
        return self.compare("<=", other)

    def __gt__(self, other):
        return self.compare(">", other)

    def __ge__(self, other):
        return self.compare(">=", other)

    def is_null(self):
        """Booleans without a null."""
        return Column(self._own.is_null())

    def __and__(self, other):
        """Booleans of booleans, after Kleene as in SQL."""
        return Column(self._own.both(_column(other)))

    def __or__(self, other):
        return Column(self._own.either(_column(other)))

    def __invert__(self):
        return Column(self._own.negate())

    def matches(self, pattern):
        """Booleans: whether each text has a match of this regular expression, in the syntax of the crate `regex`."""
        return Column(self._own.matches(pattern))

    def replace(self, pattern, by):
        """Texts with each match replaced; `$1` in `by` stands for a group."""
        return Column(self._own.replace(pattern, by))

    def mask(self, first=0, last=0, by="*"):
        """Texts with each character replaced, except for the first and the last so many; whole if it has no more than these."""
        return Column(self._own.mask(first, last, by))

    def hash(self, salt=b""):
        """The SHA-256 of `salt` and each text, or bytes, behind it, in hexadecimal digits."""
        return Column(self._own.hash(bytes(salt)))

    def cast(self, to):
        """The column as another type, named as in a spec: `int64`, `timestamp(ms, UTC)`. A value that does not fit is an error."""
        return Column(self._own.cast(to))

    def truths(self):
        """A list of truths, of booleans; null is False."""
        return self._own.truths()


def _column(other):
    if not isinstance(other, Column):
        raise TypeError(f"{other!r} is no column")
    return other._own
