"""Reading untrusted JSON and npz files: every defect is a ValueError, and memory is bounded by the size of the file."""

from __future__ import annotations

import io
import json
import math
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import DAMAGED

MAX_UNPACKED = 256 << 20
"""Bytes that the arrays of a compressed npz may take."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def parse_json(text: str | bytes) -> Any:
    """Any JSON value. Raises ValueError for anything else, also for nesting that is too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def load_npz(file: bytes | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz by their names. FileNotFoundError when the file is not there, ValueError when it is something else, is damaged,
    holds Python objects, or takes over `MAX_UNPACKED` bytes that are not in the file.
    """
    data = file.read_bytes() if isinstance(file, Path) else file
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as archive:
            warnings.simplefilter("ignore")  # numpy's, of headers that Python 2 wrote
            if sum(info.file_size for info in archive.infolist()) > max(MAX_UNPACKED, len(data)):
                raise ValueError(f"its arrays unpack to more than {MAX_UNPACKED >> 20} MiB")
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}
    except DAMAGED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as member:
        _require_whole(member, info)
    with archive.open(info) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _require_whole(member: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Check the header, since numpy allocates an array before it reads it."""
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"{info.filename} is of version {version}")
    shape, _, dtype = _HEADERS[version](member)
    if math.prod(shape) * dtype.itemsize > info.file_size:
        raise ValueError(f"{info.filename} breaks off")
