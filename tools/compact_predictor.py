"""Makes the file of a dlib shape predictor a third smaller, by storing eight bits of each leaf value instead of 24.

dlib writes a number as a control byte, which holds the number of bytes that follow and the sign, and these bytes. A float is a mantissa and
an exponent, and low zero bytes of the mantissa are not written. dlib can read the smaller file. A prediction adds up hundreds of leaf
values, so errors of at most 0.4 % in each, with random signs, do not matter.
"""

from __future__ import annotations

from collections.abc import Callable

LEAF_BITS = 8


class _Rewriter:
    """Copies numbers from `data` to `out`, in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self.out = bytearray()

    def copy_integer(self) -> int:
        """Copy one integer and return it."""
        start = self._position
        value = self._read_number()
        self.out += self._data[start : self._position]
        return value

    def copy_float(self) -> None:
        """Copy one float unchanged."""
        self.copy_integer()
        self.copy_integer()

    def copy_rounded_float(self) -> None:
        """Copy one float with its mantissa rounded to LEAF_BITS."""
        mantissa, exponent = self._read_number(), self._read_number()
        excess = max(abs(mantissa).bit_length() - LEAF_BITS, 0)
        mantissa, exponent = (abs(mantissa) + (1 << excess >> 1) >> excess) * (1 if mantissa >= 0 else -1), exponent + excess
        while mantissa and mantissa & 0xFF == 0:
            mantissa, exponent = mantissa >> 8, exponent + 8
        self._write_number(mantissa)
        self._write_number(exponent)

    def copy_vector(self, copy: Callable[[], object]) -> None:
        """Copy a vector: its length, then its items, each with `copy`."""
        for _ in range(self.copy_integer()):
            copy()

    def copy_matrix(self, copy: Callable[[], object]) -> None:
        """Copy a matrix: its numbers of rows and columns, both negated, then its items, each with `copy`."""
        for _ in range(self.copy_integer() * self.copy_integer()):
            copy()

    def finish(self) -> bytes:
        """The written bytes. Raises ValueError if input is left, because then the file is not a predictor of version 1."""
        if self._position != len(self._data):
            raise ValueError("this is not a dlib shape predictor of version 1")
        return bytes(self.out)

    def _read_number(self) -> int:
        control = self._data[self._position]
        end = self._position + 1 + (control & 0x0F)
        value = int.from_bytes(self._data[self._position + 1 : end], "little")
        self._position = end
        return -value if control & 0x80 else value

    def _write_number(self, value: int) -> None:
        size = max(1, (abs(value).bit_length() + 7) // 8)
        self.out.append(size | (0x80 if value < 0 else 0))
        self.out += abs(value).to_bytes(size, "little")


def compact(predictor: bytes) -> bytes:
    """The bytes of a predictor's file with shorter leaf values. Raises ValueError if the input is not such a file."""
    file = _Rewriter(predictor)

    def copy_split() -> None:
        file.copy_integer()
        file.copy_integer()
        file.copy_float()

    def copy_tree() -> None:
        file.copy_vector(copy_split)
        file.copy_vector(lambda: file.copy_matrix(file.copy_rounded_float))

    def copy_delta() -> None:
        file.copy_float()
        file.copy_float()

    if file.copy_integer() != 1:
        raise ValueError("this is not a dlib shape predictor of version 1")
    file.copy_matrix(file.copy_float)
    file.copy_vector(lambda: file.copy_vector(copy_tree))
    file.copy_vector(lambda: file.copy_vector(file.copy_integer))
    file.copy_vector(lambda: file.copy_vector(copy_delta))
    return file.finish()
