"""Reading untrusted JSON and npz files: every defect is a ValueError, and the size of unpacked arrays is limited."""

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

from stages.errors import READ_ERRORS

MAX_UNPACKED = 256 << 20
"""Largest size in bytes of the arrays of a compressed npz."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def parse_json(text: str | bytes) -> Any:
    """Any JSON value. Raises ValueError for anything else, and for nesting that is too deep."""
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
    """The arrays of an npz by name.

    Raises FileNotFoundError when the file does not exist. Raises ValueError when it is not an npz, is damaged, holds Python objects, or
    unpacks to more than `MAX_UNPACKED` bytes (to more than its own size, if that is larger).
    """
    data = file.read_bytes() if isinstance(file, Path) else file
    try:
        with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as archive:
            warnings.simplefilter("ignore")  # numpy warns of headers that Python 2 wrote
            if sum(info.file_size for info in archive.infolist()) > max(MAX_UNPACKED, len(data)):
                raise ValueError(f"its arrays unpack to more than {MAX_UNPACKED >> 20} MiB")
            return {info.filename.removesuffix(".npy"): _read_array(archive, info) for info in archive.infolist()}
    except READ_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as member:
        _check_header(member, info)
    with archive.open(info) as member:
        array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _check_header(member: IO[bytes], info: zipfile.ZipInfo) -> None:
    """Raises ValueError if the array is larger than its file in the npz. numpy would allocate it before it reads the data."""
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"{info.filename} has the unknown npy version {version}")
    shape, _, dtype = _HEADERS[version](member)
    if math.prod(shape) * dtype.itemsize > info.file_size:
        raise ValueError(f"{info.filename} is truncated")
