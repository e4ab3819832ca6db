"""The race detector of races.cpp from Python: what a kernel may access, and what was found."""

import contextlib
import ctypes
import re
import subprocess
import weakref
from collections import Counter
from typing import NamedTuple

import numpy as np

#: In the preprocessor's order, which numbers the barriers; and what tells where they are.
_TOKENS = re.compile(
    r"//[^\n]*|/\*.*?\*/|#line (\d+) \"(.*?)\"\n|__syncthreads\(\)|\.sync\(\)|\n", re.S
)

#: In place of the number of a barrier: all that blocks wait for each other at.
GRID = -1


def barriers(code):
    """Where the barriers of a source are, in order: file and line."""
    file, line, found = "kernels.cu", 1, []
    for token in _TOKENS.finditer(code):
        if token[1]:
            file, line = token[2], int(token[1])
        elif "sync" in token[0] and not token[0].startswith("/"):
            found.append(f"{file}:{line}")
        else:
            line += token[0].count("\n")
    return found


class Memory(NamedTuple):
    """Where the arrays lie that a kernel was given: each, and the memory that it is part of."""

    given: tuple
    rooms: tuple


class Watch:
    """The detector in one library of kernels.

    Attributes
    ----------
    launches : Counter
        Of (kernel, grid, block), how often.
    barriers : list of str
        Where they are in the source.
    cooperative : bool
        Whether blocks wait for each other.
    """

    def __init__(self, library, path, code, cooperative):
        self._library, self._path, self.cooperative = library, path, cooperative
        self.barriers = barriers(code)
        self._rooms = {}
        self.launches = Counter()
        library.races_begin.argtypes = [ctypes.c_char_p, ctypes.c_void_p, *[ctypes.c_int] * 3]
        library.races_begin.restype = None
        library.races_reached.restype = ctypes.c_bool
        library.races_found.restype = ctypes.c_char_p
        library.races_accesses.restype = ctypes.c_longlong

    @property
    def accesses(self):
        """How many there have been."""
        return self._library.races_accesses()

    def reached(self):
        """The numbers of the barriers that kernels have come to since the last call."""
        numbers = range(len(self.barriers))
        return {number for number in numbers if self._library.races_reached(number + 1)}

    @contextlib.contextmanager
    def without(self, number):
        """Launches go as if this barrier, by its number in the list, were not in the source.

        GRID is all of those that the whole grid waits at.
        """
        self._library.races_remove(number if number == GRID else number + 1)
        try:
            yield
        finally:
            self._library.races_remove(0)

    def note(self, args):
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        return Memory(tuple(map(_range, arrays)), tuple(self._room(a) for a in arrays))

    def begin(self, name, grid, block, memory):
        self.launches[name, grid, block] += 1
        others = [room for room in self._rooms.values() if room not in memory.rooms]
        pairs = np.array([*memory.given, *memory.rooms, *others], np.uint64)
        sizes = len(memory.given), len(memory.rooms), len(others)
        self._library.races_begin(name.encode(), pairs.ctypes.data, *sizes)

    def _room(self, array):
        """The memory that an array is part of, known until it is gone."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        key = id(array)
        if key not in self._rooms:
            weakref.finalize(array, self._rooms.pop, key, None)
            self._rooms[key] = _range(array)
        return self._rooms[key]

    def findings(self):
        """What was found since the last call, a line each: kernel, what, where in the source."""
        lines = [line.split("|") for line in self._library.races_found().decode().splitlines()]
        places = self._places({place for _, _, *two, _ in lines for place in two})
        found = Counter()
        for kernel, what, first, second, count in lines:
            where = " and ".join(dict.fromkeys((places[first], places[second])))
            found[f"{kernel}: {what}, {where}"] += int(count)
        return [f"{what} ({count} times)" for what, count in sorted(found.items())]

    def _places(self, codes):
        """Lines of the source by addresses in the library; of inlined functions, all of them."""
        if not codes:
            return {}
        command = ["addr2line", "-i", "-a", "-s", "-e", str(self._path), *codes]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        places = {}
        for line in done.stdout.splitlines():
            if line.startswith("0x"):
                places[int(line, 16)] = within = []
            else:
                within.append(line.split(" ")[0])
        return {code: " in ".join(places[int(code, 16)]) for code in codes}


def _range(array):
    return array.ctypes.data, array.ctypes.data + array.nbytes
