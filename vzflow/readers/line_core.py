# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False, cdivision=True
"""
Lines -> columns: the wanted fields of many lines at once, for logs too large to be read one line at a time.

Only what is plain is read here: an object a line in ASCII without escaped characters (`JsonLines`), or a line of text
whose columns are told apart by blanks and quotes and hold neither (`TextLines`). Every other line is left to whoever
reads one line at a time, and so is everything of which this file is not sure that it would be read the same there.
Text is numbered: a value that comes again has the same number, so what it means is asked once.

The same file runs under CPython and compiles to C (Cython's pure Python mode), as `packet_core.py` does.

Source: RFC 8259; the columns of text lines are those of `envoy/format.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import cython
except ImportError:  # users' machines: the stand-in runs the same file
    from vzflow.readers import _nocython as cython

#: Whether this file runs as machine code.
COMPILED = bool(cython.compiled)

#: Different texts that are numbered at a time, and their bytes: as many as stay in the processor's cache.
MAX_TEXTS, MAX_TEXT_BYTES = 1 << 16, 16 << 20
#: Different names that are remembered, wanted or not, and their bytes; then how many of a line.
MAX_NAMES, MAX_NAME_BYTES, MAX_TURNS = 1 << 10, 1 << 16, 1 << 8

Array = npt.NDArray[Any]

# Signed and unsigned 64-bit numbers.
Int = cython.typedef(cython.longlong)
Word = cython.typedef(cython.ulonglong)

cython.declare(
    DEPTH=cython.int, DIGITS=Int, LONGEST=Int, PROBES=cython.int,
    TEXT_WORDS=Int, T_HASH=Int, T_FIELD=Int, T_AT=Int, T_SIZE=Int, T_CODE=Int,
    NAMES=Int, NAME_BYTES=Int, TURNS=Int,
    NAME_WORDS=Int, N_INSIDE=Int, N_AT=Int, N_SIZE=Int, N_FIELD=Int, N_OPENS=Int,
    K_NOTHING=cython.uchar, K_WHOLE=cython.uchar, K_COUNT=cython.int, K_ADDRESS=cython.int, K_TIME=cython.int,
    K_NUMBER=cython.int, K_SKIP=cython.int, MIX=Word, ONES=Word, SECOND=Int,
    LOW=Word, HIGH=Word, QUOTES=Word, BACKSLASHES=Word, BLANKS=Word, WORDS=Word,
)  # fmt: skip

#: Objects and arrays in each other, digits of a number, places where a text is looked for: a line with more is left.
DEPTH, DIGITS, PROBES = 32, 18, 64
# Digits of a number that nobody wants as one: `json` may refuse more (sys.int_info.str_digits_check_threshold).
LONGEST = 640
MIX, ONES = 0x9E3779B97F4A7C15, 0xFFFFFFFFFFFFFFFF
# Eight bytes at once: one in each, the highest bit of each, quotes, backslashes, blanks, and what comes after them.
LOW, HIGH, QUOTES = 0x0101010101010101, 0x8080808080808080, 0x2222222222222222
BACKSLASHES, BLANKS, WORDS = 0x5C5C5C5C5C5C5C5C, 0x2020202020202020, 0x2121212121212121

#: What a field is read as: text, which is numbered; a JSON number; digits, also as a JSON string; an address with a
#: port; a time as ISO 8601 in UTC; or nothing, so that it is passed over (in lines of text).
TEXT, NUMBER, COUNT, ADDRESS, TIME, SKIP = range(6)

# What a field holds besides text; 0 is nothing: null, or what stands for it; a whole number.
NOTHING, WHOLE = 1, 2

# As numbers in machine code.
NAMES, NAME_BYTES, TURNS = MAX_NAMES, MAX_NAME_BYTES, MAX_TURNS
K_NUMBER, K_COUNT, K_ADDRESS, K_TIME, K_SKIP = NUMBER, COUNT, ADDRESS, TIME, SKIP
K_NOTHING, K_WHOLE = NOTHING, WHOLE
SECOND = 1_000_000

# A numbered text: its hash, its field, where its bytes lie, how many, its number from 1.
TEXT_WORDS = 5
T_HASH, T_FIELD, T_AT, T_SIZE, T_CODE = 0, 1, 2, 3, 4
# A name: the object it stands in, where its bytes lie, how many; the field it is from 1, and the object it
# opens, where that is wanted.
NAME_WORDS = 5
N_INSIDE, N_AT, N_SIZE, N_FIELD, N_OPENS = 0, 1, 2, 3, 4


@cython.cclass
class Lines:
    """
    The wanted fields of lines; how a line is taken apart is for its heirs.

    Args:
        key: 8 bytes that nobody who writes logs knows: they key the hashes of names and of numbered texts.
        kinds: What each field is read as.
        rows: Lines at most that are read at a time.
        max_texts, max_text_bytes: See the constants.
        wrapping: What stands between the time with which a container runtime begins a line and the line itself; empty
            if the lines have none. Lines that begin otherwise are left.

    After each `feed`, what it read is in `lines`, `text` and `number`.
    """

    buf: cython.const[cython.uchar][::1]
    end: Int
    rows: Int
    row: Int
    key: Word
    plain_memory: cython.uchar[::1]
    begin_memory: Int[::1]
    end_memory: Int[::1]
    code_memory: cython.int[:, ::1]
    number_memory: Int[:, ::1]
    state_memory: cython.uchar[:, ::1]
    kinds: cython.uchar[::1]
    groups: Int[::1]
    wrapping: cython.uchar[::1]
    stamp: cython.uchar[::1]
    text_bytes: cython.uchar[::1]
    text_words: Int[::1]
    text_table: cython.int[::1]
    text_mask: Word
    lasts: Int[::1]
    texts_known: Int
    texts_max: Int
    bytes_used: Int
    field_count: Int
    columns: tuple
    texts: list
    full: cython.bint

    def __init__(
        self,
        key: bytes,
        kinds: Sequence[int],
        rows: int,
        max_texts: int = MAX_TEXTS,
        max_text_bytes: int = MAX_TEXT_BYTES,
        wrapping: bytes = b"",
    ) -> None:
        self.buf = b""
        self.wrapping = bytearray(wrapping)
        self.stamp = bytearray(b"0000-00-00T00:00:00")
        self.end = 0
        self.rows = rows
        self.row = 0
        self.key = int.from_bytes(key[:8], "little")
        many = len(kinds)
        self.field_count = many
        self.columns = (
            np.zeros(rows, "B"), np.zeros(rows, "q"), np.zeros(rows, "q"),
            np.zeros((many, rows), "i"), np.zeros((many, rows), "q"), np.zeros((many, rows), "B"),
        )  # fmt: skip
        # As memory, which Python reads as its own numbers.
        self.plain_memory, self.begin_memory, self.end_memory = (memoryview(column) for column in self.columns[:3])
        self.code_memory, self.number_memory, self.state_memory = (memoryview(column) for column in self.columns[3:])
        self.kinds = bytearray(kinds)
        # Addresses of all fields are numbered together: they are the same ones.
        first = [*kinds, ADDRESS].index(ADDRESS)
        groups = [first if kind == ADDRESS else field for field, kind in enumerate(kinds)]
        self.groups = memoryview(np.array(groups, "q"))
        size = 16
        while size < 2 * max_texts:
            size *= 2
        self.text_mask = size - 1
        self.texts_max = max_texts
        self.text_bytes = memoryview(np.zeros(max_text_bytes, "B"))
        self.text_words = memoryview(np.zeros((max_texts + 1) * TEXT_WORDS, "q"))
        self.text_table = memoryview(np.zeros(size, "i"))
        self.lasts = memoryview(np.zeros(many, "q"))
        self.texts_known = 0
        self.bytes_used = 0
        self.texts = [[] for _ in kinds]
        self.full = False

    @property
    def lines(self) -> tuple[Array, Array, Array]:
        """Of each line: whether it was read, and where it begins and ends in the buffer."""
        plain, begins, ends = self.columns[:3]
        return plain[: self.row].view("?"), begins[: self.row], ends[: self.row]

    def text(self, field: int) -> tuple[Array, list[bytes]]:
        """Return of each line the number of a text, 0 where there is none, and the texts, from 1; of addresses all."""
        return self.columns[3][field, : self.row], self.texts[self.groups[field]]

    def number(self, field: int) -> tuple[Array, Array]:
        """Return of each line a number, 0 where there is none, and what there is: WHOLE, NOTHING, or no field (0)."""
        return self.columns[4][field, : self.row], self.columns[5][field, : self.row]

    @property
    def wrapped(self) -> bool:
        """Whether it reads what a container runtime wrote."""
        return len(self.wrapping) > 0

    @property
    def forgets(self) -> bool:
        """Whether the next `feed` numbers texts from 1 again, since no more have place."""
        return bool(self.full)

    def feed(self, buf: cython.const[cython.uchar][::1], pos: int, end: int) -> int:
        """
        Read the whole lines of *buf*[*pos*:*end*], as many as there is place for; eight bytes more may be looked at.

        Returns:
            Where the first line begins that was not read.
        """
        at: Int = pos
        begin: Int
        after: Int
        if pos < 0 or end + 8 > len(buf) or pos > end:
            raise ValueError("bad range: eight bytes must follow it")
        if self.full:
            self._forget()
        # What was read before, and the beginning of a line that was not all there.
        for memory in self.columns[3:]:
            memory[:, : self.row + 1] = 0
        self.buf = buf
        self.end = end
        self.row = 0
        while at < self.end and self.row < self.rows and not self.full:
            begin = at
            at = self._line(begin) if len(self.wrapping) == 0 else self._inside(begin)
            after = self._line_end(begin if at < 0 else at)
            if after < 0:
                at = begin
                break
            self.plain_memory[self.row] = at == after
            self.begin_memory[self.row] = begin
            self.end_memory[self.row] = after
            self.row += 1
            at = after + 1
        self.buf = b""
        return at

    def _forget(self) -> None:
        """Number texts from 1 again."""
        np.asarray(self.text_table).fill(0)
        np.asarray(self.lasts).fill(0)
        self.texts = [[] for _ in range(self.field_count)]
        self.texts_known = 0
        self.bytes_used = 0
        self.full = False

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _line_end(self, p: Int) -> Int:
        """Return where the line ends that *p* is in, or -1 if that is not there yet."""
        while p < self.end:
            if self.buf[p] == 10:
                return p
            p += 1
        return -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _line(self, p: Int) -> Int:
        """Read a line. Returns where it ends; anything else leaves it."""
        return -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _inside(self, p: Int) -> Int:
        """Read a line inside its wrapping: a time in UTC, and what stands behind it."""
        i: Int
        begin: Int
        if p + 20 + len(self.wrapping) > self.end:
            return -1
        for i in range(19):
            if self.stamp[i] != 48 and self.buf[p + i] != self.stamp[i]:
                return -1
            if self.stamp[i] == 48 and not 48 <= self.buf[p + i] <= 57:
                return -1
        p += 19
        if self.buf[p] == 46:
            begin = p + 1
            p = self._digits(begin)
            if p == begin or p > begin + 9:
                return -1
        if p >= self.end or self.buf[p] != 90:
            return -1
        p += 1
        if p + len(self.wrapping) > self.end:
            return -1
        for i in range(len(self.wrapping)):
            if self.buf[p + i] != self.wrapping[i]:
                return -1
        return self._line(p + len(self.wrapping))

    @cython.cfunc
    @cython.inline
    @cython.boundscheck(False)
    @cython.exceptval(9, check=True)
    def _eight(self, p: Int) -> Word:
        """Eight bytes of the line, which whoever asks knows to be there: one load in machine code."""
        w: Word = self.buf[p]
        i: Int
        for i in range(1, 8):
            w |= cython.cast(Word, self.buf[p + i]) << (8 * i)
        return w

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _digits(self, p: Int) -> Int:
        """Return where digits end that begin at *p*."""
        while p < self.end and 48 <= self.buf[p] <= 57:
            p += 1
        return p

    # ------------------------------------------------------------------------------------------------ values
    #
    # Each returns the position after what it read; -1 if it is not of this kind.

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _last(self, p: Int, field: Int) -> Int:
        """Note what the line before had in this field, if it stands here too; what follows it is for the caller."""
        word: Int = self.lasts[field]
        size: Int = self.text_words[word + T_SIZE]
        if word != 0 and p + size <= self.end and self._is_text(self.text_words[word + T_AT], p, size):
            self.code_memory[field, self.row] = self.text_words[word + T_CODE]
            return p + size
        return -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _count(self, p: Int, field: Int) -> Int:
        """Digits."""
        begin: Int = p
        value: Int = 0
        while p < self.end and 48 <= self.buf[p] <= 57 and p - begin <= DIGITS:
            value = value * 10 + self.buf[p] - 48
            p += 1
        if p == begin or p - begin > DIGITS:
            return -1
        self.state_memory[field, self.row] = K_WHOLE
        self.number_memory[field, self.row] = value
        return p

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _address(self, p: Int, field: Int) -> Int:
        """`ip:port` or `[ip]:port`: the text is what is before the port, the number the port."""
        begin: Int = p
        ends: Int
        port: cython.int = 0
        if p < self.end and self.buf[p] == 91:
            while p < self.end and self.buf[p] > 32 and self.buf[p] < 128 and self.buf[p] != 93 and self.buf[p] != 34:
                p += 1
            p += 1
        else:
            while p < self.end and (48 <= self.buf[p] <= 57 or self.buf[p] == 46):
                p += 1
        if p == begin or p + 1 >= self.end or self.buf[p] != 58:
            return -1
        ends = p
        p += 1
        while p < self.end and 48 <= self.buf[p] <= 57 and p - ends <= 5:
            port = port * 10 + self.buf[p] - 48
            p += 1
        if p == ends + 1 or port > 65535:
            return -1
        if not (self._last(begin, field) == ends or self._note_text(begin, ends, field)):
            return -1
        self.state_memory[field, self.row] = K_WHOLE
        self.number_memory[field, self.row] = port
        return p

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _two(self, p: Int, lowest: cython.int, highest: cython.int) -> cython.int:
        """Two digits and what they say, -1 if it is less or more."""
        value: cython.int
        if not (48 <= self.buf[p] <= 57 and 48 <= self.buf[p + 1] <= 57):
            return -1
        value = (self.buf[p] - 48) * 10 + self.buf[p + 1] - 48
        return value if lowest <= value <= highest else -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _time(self, p: Int, field: Int) -> Int:
        """`2026-01-02T03:04:05.678Z`, with up to six digits of a second, or none; in microseconds since 1970."""
        century: cython.int
        year: cython.int
        month: cython.int
        day: cython.int
        hour: cython.int
        minute: cython.int
        second: cython.int
        days: Int
        fraction: Int = 0
        scale: Int = SECOND
        if p + 20 > self.end:
            return -1
        century, year, month, day = self._two(p, 1, 89), self._two(p + 2, 0, 99), self._two(p + 5, 1, 12), -1
        hour, minute, second = self._two(p + 11, 0, 23), self._two(p + 14, 0, 59), self._two(p + 17, 0, 59)
        if (
            century < 0 or year < 0 or month < 0 or hour < 0 or minute < 0 or second < 0
            or self.buf[p + 4] != 45 or self.buf[p + 7] != 45 or self.buf[p + 10] != 84
            or self.buf[p + 13] != 58 or self.buf[p + 16] != 58
        ):  # fmt: skip
            return -1
        year += 100 * century
        day = 31
        if month == 2:
            day = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
        elif month == 4 or month == 6 or month == 9 or month == 11:
            day = 30
        day = self._two(p + 8, 1, day)
        if day < 0:
            return -1
        p += 19
        if self.buf[p] == 46:
            p += 1
            while p < self.end and 48 <= self.buf[p] <= 57 and scale > 1:
                scale //= 10
                fraction += (self.buf[p] - 48) * scale
                p += 1
            if scale == SECOND:
                return -1
        if p >= self.end or self.buf[p] != 90:
            return -1
        # Days since 1970 in the calendar whose years begin in March.
        if month < 3:
            year -= 1
            month += 12
        days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
        self.state_memory[field, self.row] = K_WHOLE
        self.number_memory[field, self.row] = (
            ((days * 24 + hour) * 60 + minute) * 60 * SECOND + second * SECOND + fraction
        )
        return p + 1

    # ------------------------------------------------------------------------------------------------ texts

    @cython.cfunc
    @cython.inline
    @cython.boundscheck(False)
    @cython.exceptval(9, check=True)
    def _eight_known(self, p: Int) -> Word:
        """Eight bytes of the texts, as `_eight`."""
        w: Word = self.text_bytes[p]
        i: Int
        for i in range(1, 8):
            w |= cython.cast(Word, self.text_bytes[p + i]) << (8 * i)
        return w

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _is_text(self, at: Int, begin: Int, size: Int) -> cython.bint:
        """Whether the bytes of a text that begin at *at* are those of the line that begin at *begin*."""
        end: Int = begin + size
        if at < 0 or begin < 0 or end > self.end or at + size > len(self.text_bytes):
            raise IndexError("a text beyond its buffer")
        while begin + 8 <= end:
            if self._eight_known(at) != self._eight(begin):
                return False
            at += 8
            begin += 8
        while begin < end:
            if self.text_bytes[at] != self.buf[begin]:
                return False
            at += 1
            begin += 1
        return True

    @cython.cfunc
    @cython.exceptval(9, check=True)
    def _text_hash(self, p: Int, end: Int, field: Int) -> Word:
        h: Word = self.key ^ (cython.cast(Word, field) * MIX) & ONES
        c: Word
        while p + 8 <= end:
            h = ((h ^ self._eight(p)) * MIX) & ONES
            h ^= h >> 29
            p += 8
        c = 1
        while p < end:
            c = c << 8 | self.buf[p]
            p += 1
        h = ((h ^ c) * MIX) & ONES
        return (h ^ h >> 32) >> 2

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _note_text(self, begin: Int, end: Int, field: Int) -> cython.bint:
        """Note the number of a text; false where there is no place for it, or too many are looked at."""
        group: Int = self.groups[field]
        h: Word = self._text_hash(begin, end, group)
        place: Word = h & self.text_mask
        size: Int = end - begin
        word: Int
        _: cython.int
        for _ in range(PROBES):
            word = self.text_table[place]
            word *= TEXT_WORDS
            if word == 0:
                break
            if (
                self.text_words[word + T_HASH] == cython.cast(Int, h) and self.text_words[word + T_SIZE] == size
                and self.text_words[word + T_FIELD] == group
                and self._is_text(self.text_words[word + T_AT], begin, size)
            ):  # fmt: skip
                self.code_memory[field, self.row] = self.text_words[word + T_CODE]
                self.lasts[field] = word
                return True
            place = (place + 1) & self.text_mask
        else:
            return False
        return self._number_text(begin, end, field, h, place)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _number_text(self, begin: Int, end: Int, field: Int, h: Word, place: Word) -> cython.bint:
        """Give a text that is seen for the first time a number; false where there is no place for it."""
        size: Int = end - begin
        at: Int = self.bytes_used
        group: Int = self.groups[field]
        word: Int
        i: Int
        if self.texts_known >= self.texts_max or at + size + 8 > len(self.text_bytes):
            self.full = True
            return False
        for i in range(size):
            self.text_bytes[at + i] = self.buf[begin + i]
        self.bytes_used += size
        self.texts_known += 1
        self.text_table[place] = self.texts_known
        word = self.texts_known * TEXT_WORDS
        self.texts[group].append(bytes(self.buf[begin:end]))
        self.text_words[word] = cython.cast(Int, h)
        self.text_words[word + T_FIELD] = group
        self.text_words[word + T_AT] = at
        self.text_words[word + T_SIZE] = size
        self.text_words[word + T_CODE] = len(self.texts[group])
        self.code_memory[field, self.row] = len(self.texts[group])
        self.lasts[field] = word
        return True


@cython.final
@cython.cclass
class JsonLines(Lines):
    """
    The wanted fields of lines that are a JSON object each.

    Args:
        key, rows, max_texts, max_text_bytes, wrapping: As of Lines.
        fields: (path, kind): a path is a name, or names of objects in each other joined by dots.
        once: Leave lines in which a name stands twice, and, to be sure of that, those with objects in the object.

    Texts are as they stand in the JSON; an address has no quotes if its port was read.
    """

    name_bytes: cython.uchar[::1]
    name_words: Int[::1]
    name_table: cython.int[::1]
    names_known: Int
    names_used: Int
    turn: Int
    turns: Int[::1]
    once: cython.bint
    line: Int
    lines_of_names: Int[::1]
    entered: Int[::1]

    def __init__(
        self,
        key: bytes,
        fields: Sequence[tuple[str, int]],
        rows: int,
        max_texts: int = MAX_TEXTS,
        max_text_bytes: int = MAX_TEXT_BYTES,
        once: bool = False,
        wrapping: bytes = b"",
    ) -> None:
        Lines.__init__(self, key, [kind for _, kind in fields], rows, max_texts, max_text_bytes, wrapping)
        self.once = once
        self.line = 0
        self.lines_of_names = memoryview(np.zeros((MAX_NAMES + 1) * NAME_WORDS, "q"))
        self._want([path for path, _ in fields])

    def _want(self, paths: list[str]) -> None:
        """Enter the names of all paths, each with the object it stands in: 0 is the line's own."""
        names: dict[tuple[int, bytes], list[int]] = {}
        objects = 1
        for field, path in enumerate(paths, 1):
            inside = 0
            *outer, last = path.encode("ascii").split(b".")
            for name in outer:
                entry = names.setdefault((inside, name), [0, 0])
                if not entry[1]:
                    entry[1] = objects
                    objects += 1
                inside = entry[1]
            names.setdefault((inside, last), [0, 0])[0] = field
        # Of each object, in which line it was read last.
        self.entered = memoryview(np.zeros(objects, "q"))
        self.name_bytes = bytearray(MAX_NAME_BYTES + 8)
        self.name_words = memoryview(np.zeros((MAX_NAMES + 1) * NAME_WORDS, "q"))
        self.name_table = memoryview(np.zeros(4 * MAX_NAMES, "i"))
        self.names_known = self.names_used = 0
        self.turn = 0
        self.turns = memoryview(np.zeros(MAX_TURNS, "q"))
        for (inside, name), (field, opens) in names.items():
            self.buf = name
            if not self._learn(0, len(name), inside, field, opens):
                raise ValueError("too many fields")
        self.buf = b""

    # ------------------------------------------------------------------------------------------------ JSON
    #
    # Each returns the position after what it read; -1 leaves the line.

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _line(self, p: Int) -> Int:
        """Read a line: an object and white space. Returns where the line ends."""
        if p >= self.end or self.buf[p] != 123:
            return -1
        self.turn = 0
        self.line += 1
        p = self._object(p + 1, 0, 0)
        if p < 0:
            return -1
        p = self._blank(p)
        return p if p < self.end and self.buf[p] == 10 else -1

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _blank(self, p: Int) -> Int:
        """Skip white space within a line."""
        while p < self.end and (self.buf[p] == 32 or self.buf[p] == 9 or self.buf[p] == 13):
            p += 1
        return p

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _string(self, p: Int) -> Int:
        """Return where the string ends whose first character is at *p*."""
        c: cython.int
        w: Word
        quotes: Word
        backslashes: Word
        while p + 8 <= self.end:
            w = self._eight(p)
            quotes = w ^ QUOTES
            backslashes = w ^ BACKSLASHES
            # The highest bit of a byte stays 0 where it is a character that just goes on (Hacker's Delight, 6-1).
            if (((quotes - LOW) & ~quotes | (backslashes - LOW) & ~backslashes | (w - BLANKS) & ~w | w) & HIGH) != 0:
                break
            p += 8
        while p < self.end:
            c = self.buf[p]
            if c == 34:
                return p
            if c < 32 or c > 127 or c == 92:
                return -1
            p += 1
        return -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _object(self, p: Int, inside: Int, depth: cython.int) -> Int:
        """Read an object behind its brace; *inside* is its number, or -1 where nothing of it is wanted."""
        begin: Int
        name: Int
        p = self._blank(p)
        if p < self.end and self.buf[p] == 125:
            return p + 1
        while p < self.end and self.buf[p] == 34:
            begin = p + 1
            name = 0
            if inside >= 0:
                name = self._next_name(begin, inside)
            p = self._string(begin) if name == 0 else begin + self.name_words[name + N_SIZE]
            if p < 0:
                return -1
            if inside >= 0 and name == 0:
                name = self._name(begin, p, inside)
            if self.once:
                if name == 0 or self.lines_of_names[name] == self.line:
                    return -1
                self.lines_of_names[name] = self.line
            p = self._blank(p + 1)
            if p >= self.end or self.buf[p] != 58:
                return -1
            p = self._blank(p + 1)
            p = self._value(p, depth) if name == 0 else self._wanted(p, name, depth)
            if p < 0:
                return -1
            p = self._blank(p)
            if p >= self.end:
                return -1
            if self.buf[p] == 125:
                return p + 1
            if self.buf[p] != 44:
                return -1
            p = self._blank(p + 1)
        return -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _value(self, p: Int, depth: cython.int) -> Int:
        """Read a value that nobody wants, or wants as it is."""
        c: cython.int
        if p >= self.end or depth >= DEPTH:
            return -1
        c = self.buf[p]
        if c == 34:
            p = self._string(p + 1)
            return -1 if p < 0 else p + 1
        if c == 123:
            return self._object(p + 1, -1, depth + 1)
        if c == 91:
            p = self._blank(p + 1)
            if p < self.end and self.buf[p] == 93:
                return p + 1
            while True:
                p = self._value(p, depth + 1)
                if p < 0:
                    return -1
                p = self._blank(p)
                if p >= self.end:
                    return -1
                if self.buf[p] == 93:
                    return p + 1
                if self.buf[p] != 44:
                    return -1
                p = self._blank(p + 1)
        if c == 116:
            return self._word(p, 114, 117, 101)
        if c == 110:
            return self._word(p, 117, 108, 108)
        if c == 102:
            return self._word(p + 1, 108, 115, 101) if p + 1 < self.end and self.buf[p + 1] == 97 else -1
        return self._number(p)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _word(self, p: Int, b: cython.int, c: cython.int, d: cython.int) -> Int:
        """Read the rest of `true`, `null` or `false` behind the letter at *p*."""
        if p + 3 < self.end and self.buf[p + 1] == b and self.buf[p + 2] == c and self.buf[p + 3] == d:
            return p + 4
        return -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _number(self, p: Int) -> Int:
        begin: Int
        if p < self.end and self.buf[p] == 45:
            p += 1
        begin = p
        p = self._digits(p)
        if p == begin or (p > begin + 1 and self.buf[begin] == 48) or p - begin > LONGEST:
            return -1
        if p < self.end and self.buf[p] == 46:
            begin = p + 1
            p = self._digits(begin)
            if p == begin:
                return -1
        if p < self.end and (self.buf[p] == 69 or self.buf[p] == 101):
            p += 1
            if p < self.end and (self.buf[p] == 43 or self.buf[p] == 45):
                p += 1
            begin = p
            p = self._digits(begin)
            if p == begin:
                return -1
        return p

    # ------------------------------------------------------------------------------------------------ fields

    @cython.cfunc
    @cython.exceptval(9, check=True)
    def _name_hash(self, begin: Int, end: Int, inside: Int) -> Word:
        h: Word = self.key ^ cython.cast(Word, inside) + 1
        c: Word
        p: Int
        for p in range(begin, end):
            c = self.buf[p]
            h = ((h ^ c) * MIX) & ONES
        return h >> 40

    @cython.cfunc
    @cython.boundscheck(False)
    @cython.exceptval(-1, check=False)
    def _is_name(self, word: Int, begin: Int) -> cython.bint:
        """Whether a name and the quote behind it stand in the line at *begin*; its object is not looked at."""
        at: Int = self.name_words[word + N_AT]
        size: Int = self.name_words[word + N_SIZE]
        w: Word
        i: Int
        if begin + size >= self.end or self.buf[begin + size] != 34:
            return False
        while size > 0:
            w = self.name_bytes[at]
            for i in range(1, 8):
                w |= cython.cast(Word, self.name_bytes[at + i]) << (8 * i)
            w ^= self._eight(begin)
            if size < 8:
                w &= (cython.cast(Word, 1) << (8 * size)) - 1
            if w != 0:
                return False
            at += 8
            begin += 8
            size -= 8
        return True

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _next_name(self, begin: Int, inside: Int) -> Int:
        """Return where the words of the name at *begin* are, if it stood here in the line before too; else 0."""
        word: Int
        self.turn += 1
        if self.turn >= TURNS:
            return 0
        word = self.turns[self.turn]
        if word != 0 and self.name_words[word + N_INSIDE] == inside and self._is_name(word, begin):
            return word
        return 0

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _name(self, begin: Int, end: Int, inside: Int) -> Int:
        """Return where the words of a name are, or 0 if it is not wanted."""
        place: Word = self._name_hash(begin, end, inside) & (4 * NAMES - 1)
        word: Int
        while self.name_table[place] != 0:
            word = self.name_table[place] * NAME_WORDS
            if (
                self.name_words[word + N_SIZE] == end - begin and self.name_words[word + N_INSIDE] == inside
                and self._is_name(word, begin)
            ):  # fmt: skip
                if self.turn < TURNS:
                    self.turns[self.turn] = word
                return word
            place = (place + 1) & (4 * NAMES - 1)
        return self._learn(begin, end, inside, 0, 0)

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _learn(self, begin: Int, end: Int, inside: Int, field: Int, opens: Int) -> Int:
        """Remember a name, wanted or not; returns where its words are, or 0 if there is no place for it."""
        place: Word = self._name_hash(begin, end, inside) & (4 * NAMES - 1)
        word: Int
        i: Int
        if self.names_known >= NAMES or self.names_used + end - begin > NAME_BYTES:
            return 0
        self.names_known += 1
        word = self.names_known * NAME_WORDS
        for i in range(end - begin):
            self.name_bytes[self.names_used + i] = self.buf[begin + i]
        self.name_words[word + N_INSIDE] = inside
        self.name_words[word + N_AT] = self.names_used
        self.name_words[word + N_SIZE] = end - begin
        self.name_words[word + N_FIELD] = field
        self.name_words[word + N_OPENS] = opens
        self.names_used += end - begin
        while self.name_table[place] != 0:
            place = (place + 1) & (4 * NAMES - 1)
        self.name_table[place] = self.names_known
        if self.turn < TURNS:
            self.turns[self.turn] = word
        return word

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _wanted(self, p: Int, name: Int, depth: cython.int) -> Int:
        """Read the value of a wanted name: note it, or what is wanted inside it."""
        field: Int = self.name_words[name + N_FIELD] - 1
        opens: Int = self.name_words[name + N_OPENS]
        begin: Int = p
        size: Int
        if opens != 0:
            if self.entered[opens] == self.line:  # what comes last counts, and is not all that was noted
                return -1
            self.entered[opens] = self.line
            if p < self.end and self.buf[p] == 123:
                return -1 if field >= 0 or depth >= DEPTH else self._object(p + 1, opens, depth + 1)
        if field < 0:
            return self._value(p, depth)
        if self.code_memory[field, self.row] != 0 or self.state_memory[field, self.row] != 0:
            return -1
        if self.kinds[field] != 0:
            return self._note_number(p, field) if self.kinds[field] == K_NUMBER else self._note_value(p, field)
        # Often it is what the line before says. Where a string, an object or an array ends, it says itself.
        if p < self.end and (self.buf[p] == 34 or self.buf[p] == 123 or self.buf[p] == 91):
            size = self._last(p, field)
            if size >= 0:
                return size
        p = self._value(p, depth)
        if p < 0:
            return -1
        return p if self._note_text(begin, p, field) else -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _note_number(self, p: Int, field: Int) -> Int:
        """Note a whole number, or null."""
        begin: Int = p
        if p < self.end and self.buf[p] == 110:
            self.state_memory[field, self.row] = K_NOTHING
            return self._word(p, 117, 108, 108)
        if p < self.end and self.buf[p] == 45:
            begin += 1
        p = self._count(begin, field)
        if p < 0 or p >= self.end or (p > begin + 1 and self.buf[begin] == 48):
            return -1
        if self.buf[p] == 46 or self.buf[p] == 69 or self.buf[p] == 101:
            return -1
        if self.buf[begin - 1] == 45:
            self.number_memory[field, self.row] = -self.number_memory[field, self.row]
        return p

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _note_value(self, p: Int, field: Int) -> Int:
        """Note a value of another kind, as a string or not; an address of other form as text."""
        begin: Int = p
        kind: cython.int = self.kinds[field]
        if p < self.end and self.buf[p] != 34:
            if kind == K_COUNT:
                return self._note_number(p, field) if self.buf[p] != 45 else -1
            p = self._value(p, 0)
            return p if kind == K_ADDRESS and p >= 0 and self._note_text(begin, p, field) else -1
        p += 1
        if kind == K_COUNT and p < self.end and self.buf[p] == 45:
            self.state_memory[field, self.row] = K_NOTHING
            p += 1
        elif kind == K_COUNT:
            p = self._count(p, field)
        elif kind == K_TIME:
            p = self._time(p, field)
        else:
            p = self._address(p, field)
        if p >= 0 and p < self.end and self.buf[p] == 34:
            return p + 1
        if kind != K_ADDRESS:
            return -1
        self.state_memory[field, self.row] = 0
        self.number_memory[field, self.row] = 0
        p = self._string(begin + 1)
        return p + 1 if p >= 0 and self._note_text(begin, p + 1, field) else -1


@cython.final
@cython.cclass
class TextLines(Lines):
    """
    The fields of lines of text.

    Args:
        key, rows, max_texts, max_text_bytes, wrapping: As of Lines.
        first: What a line begins with.
        fields: (kind, what follows it). What follows begins with a blank or a quote; the last may be followed by
            nothing, and a time by anything. A field that a quote follows and that a quote begins may hold blanks.
    """

    literals: cython.uchar[::1]
    literal_ends: Int[::1]
    blanks: cython.uchar[::1]

    def __init__(
        self,
        key: bytes,
        first: bytes,
        fields: Sequence[tuple[int, bytes]],
        rows: int,
        max_texts: int = MAX_TEXTS,
        max_text_bytes: int = MAX_TEXT_BYTES,
        wrapping: bytes = b"",
    ) -> None:
        Lines.__init__(self, key, [kind for kind, _ in fields], rows, max_texts, max_text_bytes, wrapping)
        literals = [first, *(literal for _, literal in fields)]
        self.literals = bytearray(b"".join(literals) + bytes(8))
        self.literal_ends = memoryview(np.cumsum([len(literal) for literal in literals], dtype="q"))
        self.blanks = bytearray(
            before.endswith(b'"') and literal.startswith(b'"') for before, literal in pairwise(literals)
        )

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _line(self, p: Int) -> Int:
        """Read a line. Returns where it ends; -1 leaves it."""
        field: Int
        p = self._literal(p, 0)
        for field in range(self.field_count):
            if p < 0:
                return -1
            p = self._field(p, field)
            p = self._literal(p, field + 1)
        return p if p >= 0 and p < self.end and self.buf[p] == 10 else -1

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _literal(self, p: Int, number: Int) -> Int:
        """What stands between two fields."""
        at: Int = self.literal_ends[number - 1] if number > 0 else 0
        size: Int = self.literal_ends[number] - at
        i: Int
        if p < 0 or p + size > self.end:
            return -1
        for i in range(size):
            if self.buf[p + i] != self.literals[at + i]:
                return -1
        return p + size

    @cython.cfunc
    @cython.exceptval(-9, check=False)
    def _field(self, p: Int, field: Int) -> Int:
        kind: cython.int = self.kinds[field]
        begin: Int = p
        if kind == K_SKIP:
            return self._quoted(p) if self.blanks[field] else self._unquoted(p)
        if kind == K_TIME:
            return self._time(p, field)
        if kind in (K_COUNT, K_ADDRESS):
            if kind == K_COUNT and p < self.end and self.buf[p] == 45:
                self.state_memory[field, self.row] = K_NOTHING
                return p + 1
            p = self._count(p, field) if kind == K_COUNT else self._address(p, field)
            if kind == K_COUNT or (p >= 0 and p < self.end and (self.buf[p] <= 32 or self.buf[p] == 34)):
                return p
            self.state_memory[field, self.row] = 0
            self.number_memory[field, self.row] = 0
            p = begin
        else:
            p = self._last(begin, field)
            if p >= 0 and p < self.end and (self.buf[p] == 34 or (self.buf[p] <= 32 and not self.blanks[field])):
                return p
        p = self._quoted(begin) if self.blanks[field] else self._unquoted(begin)
        if p < 0 or not self._note_text(begin, p, field):
            return -1
        return p

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _unquoted(self, p: Int) -> Int:
        """What goes on to a blank, a quote, or a character that is none of text; -1 if it is beyond ASCII."""
        w: Word
        quotes: Word
        while p + 8 <= self.end:
            w = self._eight(p)
            quotes = w ^ QUOTES
            # As in `_string`; less than an exclamation mark ends a word.
            if (((quotes - LOW) & ~quotes | (w - WORDS) & ~w | w) & HIGH) != 0:
                break
            p += 8
        while p < self.end and self.buf[p] > 32 and self.buf[p] != 34:
            if self.buf[p] > 127:
                return -1
            p += 1
        return p

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-9, check=False)
    def _quoted(self, p: Int) -> Int:
        """What goes on to a quote; -1 if it holds what is no character of text, or is beyond ASCII."""
        w: Word
        quotes: Word
        while p + 8 <= self.end:
            w = self._eight(p)
            quotes = w ^ QUOTES
            if (((quotes - LOW) & ~quotes | (w - BLANKS) & ~w | w) & HIGH) != 0:
                break
            p += 8
        while p < self.end and self.buf[p] != 34:
            if self.buf[p] < 32 or self.buf[p] > 127:
                return -1
            p += 1
        return p
