"""Writes archives with Python's tarfile into a directory, whole and damaged, each with what tarfile reads of it.

Usage: others.py DIRECTORY SEED COUNT
"""

import hashlib
import io
import json
import pathlib
import random
import re
import sys
import tarfile

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def name(dice):
    parts = [dice.choice(["a", "data", "ü", "x y", "n" * dice.randrange(1, 120)]) for _ in range(dice.randrange(1, 5))]
    return "/".join(parts) + str(dice.randrange(1000))


def archive(dice):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=dice.choice(FORMATS)) as tar:
        for _ in range(dice.randrange(1, 6)):
            info = tarfile.TarInfo(name(dice))
            content = dice.randbytes(dice.choice([0, 1, 511, 512, 513, dice.randrange(5000)]))
            info.size = len(content)
            info.mtime = dice.choice([0, 1.5, 2**33])
            if dice.randrange(5) == 0:
                info.type, info.size, content = tarfile.DIRTYPE, 0, b""
            try:
                tar.addfile(info, io.BytesIO(content))
            except ValueError:  # too long a name for the format
                pass
    return out.getvalue()


def damaged(dice, whole):
    bytes_ = bytearray(whole)
    used = len(whole.rstrip(b"\0")) // 512 + 1
    for _ in range(dice.randrange(1, 4)):
        block = dice.randrange(used) * 512
        # Not in the prefix, which tarfile takes for a part of the name in GNU's format too.
        at = block + dice.choice([0, 100, 124, 135, 148, 156, dice.randrange(257)])
        bytes_[at] = dice.choice([0, 32, 0x30, 0x37, 0x80, 0xFF, dice.randrange(256)])
        if dice.randrange(2):  # with a checksum that is right again
            header = bytes_[block : block + 512]
            header[148:156] = b" " * 8
            bytes_[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    return bytes(bytes_)


def read(bytes_):
    """What tarfile reads; none where it finds something wrong."""
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes_), mode="r:", errorlevel=2) as tar:
            found = []
            for info in tar:
                info.name.encode()  # which fails where it is not UTF-8
                if info.isreg():
                    name = re.sub(r"^(\./+)+", "", info.name)
                    found.append([name, hashlib.sha256(tar.extractfile(info).read()).hexdigest(), info.size])
            return found
    except Exception:
        return None


def main(directory, seed, count):
    dice = random.Random(seed)
    for number in range(count):
        whole = archive(dice)
        bytes_ = whole if number % 2 else damaged(dice, whole)
        place = pathlib.Path(directory, str(number))
        place.with_suffix(".tar").write_bytes(bytes_)
        place.with_suffix(".json").write_text(json.dumps({"sound": bool(number % 2), "files": read(bytes_)}))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
