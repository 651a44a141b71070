"""Mutations for `fuzz.py`: changes of a valid file in its bytes or in its values, and new values of the same structure.

If a value is changed, its container stays valid: the checksums of PNG chunks and zip members, the length of a safetensors header. Otherwise
almost every changed file would be refused because of its checksum, and the code behind the check would never run.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, 1e-320, float("nan"), float("inf"),
    "", "0", "\0", "../x", "/x", "é\u202e", "\ud800", "x" * 70000, [], {}, [[]], [None], {"": None}, [[[[[]]]]],
)  # fmt: skip
ODD_BYTES = (
    b"", b"\0", b"\xff", b"\n", b'"', b"{", b"[", b"]", b"}", b",", b"-", b"=", b"\t", b"1e999", b"NaN", b"null", b"9" * 400,
    b"\xef\xbb\xbf", b"[" * 5000, b'{"a":' * 5000,
)  # fmt: skip
ODD_NAMES = (
    "../x", "/tmp/x", "a/../../../x", "..\\x", "C:x", "", "a//b", "é.png", "x" * 300, "frames/layer.json", "clip.json", "con", "a\0b",
)  # fmt: skip
LARGEST = 2 << 20
"""Size of a file in bytes that no change may exceed."""
PNG = b"\x89PNG\r\n\x1a\n"


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change a file once or several times. A change that makes it larger than `LARGEST` bytes is dropped."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        changed = _change(content, rng) if rng.random() < 0.6 else _change_bytes(content, rng)
        content = changed if len(changed) < LARGEST else content
    return content


def _change(content: bytes, rng: random.Random) -> bytes:
    """Change a value in a file of a known format, or bytes in any other file."""
    if content.startswith(b"PK"):
        changes = [_change_zip]
    elif content.startswith(PNG):
        changes = [_change_png]
    elif content[:1].isspace() or content[:1] in b'{["':
        changes = [_change_json, _change_lines]
    elif content[8:9] == b"{":
        changes = [_change_safetensors]
    else:
        changes = [_change_toml, _change_lines]
    for change in changes:
        with contextlib.suppress(Exception):  # an earlier change has made it invalid
            return change(content, rng)
    return _change_bytes(content, rng)


# JSON, NDJSON and TOML


def _change_json(content: bytes, rng: random.Random) -> bytes:
    return _dump(_change_value(json.loads(content), rng))


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _change_lines(content: bytes, rng: random.Random) -> bytes:
    """Change, remove, repeat or move one line. Raises ValueError if there is only one."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        raise ValueError("no lines")
    index, action = rng.randrange(len(lines)), rng.randrange(5)
    line = lines.pop(index)
    if action == 0:
        lines.insert(rng.randrange(len(lines) + 1), line)
    elif action == 1:
        lines[index:index] = [line] * rng.choice((2, 3, 300))
    elif action > 2:
        lines.insert(index, _change_json(line, rng) + b"\n" if line[:1] == b"{" else _change_bytes(line, rng))
    return b"".join(lines)


def _change_toml(content: bytes, rng: random.Random) -> bytes:
    table = tomllib.loads(content.decode())
    if not table:
        raise ValueError("no TOML")
    value = _change_value(table, rng)
    if not isinstance(value, dict):
        raise ValueError("no table")
    return "".join(f"{json.dumps(key)} = {_toml(item)}\n" for key, item in value.items()).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    """A value in TOML, on one line. Null, which TOML does not have, becomes a date, which JSON does not have."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return "1979-05-27T07:32:00Z" if value is None else json.dumps(value, ensure_ascii=False).replace("\x7f", "")


def _change_value(value: Any, rng: random.Random) -> Any:
    """Remove, repeat, replace or change one value inside `value`; sometimes generate a new value."""
    if rng.random() < 0.05:
        return generate(value, rng)
    locations = list(_locations(value))
    if not locations:
        return rng.choice(ODD_VALUES)
    container, key = rng.choice(locations)
    action = rng.randrange(6)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, list):
        container.extend([container[key]] * rng.choice((1, 3, 300)))
    elif action == 2:
        other, name = rng.choice(locations)
        with contextlib.suppress(IndexError, KeyError):
            container[key] = _copy(other[name])
    elif action == 3 and isinstance(container[key], (int, float)) and abs(container[key]) < 1e18:
        container[key] = rng.choice((-1, 0.5, 2, 256, 1 + 1e-9)) * container[key] + rng.choice((0, 1, -1))
    elif isinstance(container[key], str) and container[key][:1] == "{":  # JSON within JSON: the header of a model
        container[key] = json.dumps(_change_value(json.loads(container[key]), rng))
    else:
        container[key] = rng.choice(ODD_VALUES)
    return value


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, (dict, list)) else value


def _locations(value: Any) -> Iterator[tuple[Any, Any]]:
    """(dict or list, key or index) of each value inside `value`."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        pairs = (
            list(container.items()) if isinstance(container, dict) else list(enumerate(container)) if isinstance(container, list) else []
        )
        for key, item in pairs:
            yield container, key
            if isinstance(item, (dict, list)):
                waiting.append(item)


def generate(sample: Any, rng: random.Random) -> Any:
    """A JSON value with a structure similar to that of `sample`: lists have other lengths, and values are odd, of another type, or
    missing."""
    locations = list(_locations(sample))
    names = [key for container, key in locations if isinstance(container, dict)] or ["a"]
    leaves = [container[key] for container, key in locations if not isinstance(container[key], (dict, list))] or [0]

    def like(value: Any, depth: int) -> Any:
        if depth > 6 or rng.random() < 0.05:
            return rng.choice((*ODD_VALUES, *leaves))
        if isinstance(value, dict):
            kept = {key: like(item, depth + 1) for key, item in value.items() if rng.random() < 0.95}
            return {**kept, rng.choice(names): like(rng.choice(leaves), depth + 1)} if rng.random() < 0.2 else kept
        if isinstance(value, list):
            length = rng.choice((0, 1, 2, 5)) if rng.random() < 0.3 else len(value)
            return [like(rng.choice(value), depth + 1) for _ in range(length)] if value else []
        return rng.choice(leaves) if rng.random() < 0.2 else value

    return like(sample, 0)


# Containers


def _change_zip(content: bytes, rng: random.Random) -> bytes:
    """Change, rename or remove a member, or change bytes of the archive; an array may get another shape or type."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    index, action, buffer = rng.randrange(len(members)), rng.randrange(6), io.BytesIO()
    name, data = members[index]
    if action == 0:
        members.pop(index)
    elif action == 1:
        members[index] = rng.choice((*ODD_NAMES, *(other for other, _ in members))), data
    elif action == 2 and name.endswith(".npy"):
        members[index] = name, _change_array(data, rng)
    else:
        members[index] = name, mutate(data, rng)
    compression = zipfile.ZIP_STORED if rng.random() < 0.9 else rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name or "a", (1980, 1, 1, 0, 0, 0)), data, compression)
    archive_bytes = buffer.getvalue()
    return _change_bytes(archive_bytes, rng) if rng.random() < 0.1 else archive_bytes


def _change_array(data: bytes, rng: random.Random) -> bytes:
    """Change the values, the shape or the type of the array in a .npy file."""
    array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    action = rng.randrange(4)
    if action == 0:
        with np.errstate(all="ignore"):
            array = array.astype(rng.choice(("f8", "f2", ">f4", "i8", "u1", "?", "c8", "U3", "S2", "M8[s]")))
    elif action == 1:
        shape = [rng.choice((side, 0, 1, side + 1)) for side in array.shape]
        array = np.resize(array, shape)
    elif action == 2:
        array = array[None] if rng.random() < 0.5 or not array.ndim else array[0]
    elif array.size and array.dtype.kind == "f":
        array = array.copy()
        array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -1e30, 1e30, -0.0))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _change_png(content: bytes, rng: random.Random) -> bytes:
    """Change, remove, repeat or move a chunk. Pixels are changed before compression, and checksums stay valid."""
    chunks, position = [], len(PNG)
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
        position += 12 + length
    index, action = rng.randrange(len(chunks)), rng.randrange(6)
    kind, data = chunks.pop(index)
    if action == 0:
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, data))
    elif action == 1:
        chunks[index:index] = [(kind, data)] * 2
    elif action == 2:
        chunks.insert(index, (kind, data))
        chunks.insert(rng.randrange(1, len(chunks) + 1), rng.choice(ODD_CHUNKS))
    elif action > 3:
        changed = zlib.compress(_change_bytes(zlib.decompress(data), rng)) if kind == b"IDAT" and rng.random() < 0.7 else None
        chunks.insert(index, (kind, changed or _change_bytes(data, rng)))
    return PNG + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)


ODD_CHUNKS = (
    (b"tRNS", b"\0\1"), (b"tRNS", b"\0\1\0\2\0\3"), (b"PLTE", b"\1\2\3" * 2), (b"PLTE", b"\1"), (b"gAMA", b"\0\0\0\0"),
    (b"iCCP", b"x\0\0x\x9c\3\0\0\0\0\1"),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"), (b"eXIf", b"MM\0*"), (b"tEXt", b"a"), (b"zTXt", b"a\0\0x\x9c\3"),
    (b"acTL", b"\0\0\0\2\0\0\0\0"), (b"fcTL", b"\0" * 26), (b"pHYs", b""), (b"sBIT", b"\1"), (b"IHDR", b"\0" * 13), (b"IEND", b""),
)  # fmt: skip


def _change_safetensors(content: bytes, rng: random.Random) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    header = _dump(_change_value(json.loads(content[8 : 8 + length]), rng))
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _change_bytes(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice((0, 1, 1, 2, 4, 8, 64, 4096)))
    action = rng.randrange(5)
    if action == 0:
        return content[:start]
    if action == 1:
        return content[:start] + rng.choice(ODD_BYTES) + content[end:]
    if action == 2:
        return content[:start] + content[start:end] * rng.choice((2, 3, 50)) + content[end:]
    if action == 3:
        return content[:start] + rng.randbytes(end - start) + content[end:]
    return content[:start] + bytes(byte ^ (1 << rng.randrange(8)) for byte in content[start:end]) + content[end:]
