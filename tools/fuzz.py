"""Read files of strangers that were damaged at random: whatever they hold, a reader answers with a result or a sentence.

    python tools/fuzz.py --minutes 10 [--reads 1000000] [--reader NAME ...] [--seed 0] [--keep FOLDER]

Each reader begins with sound files. A read changes one of them, in its bytes or in its values, or makes a new one from the same grammar
(`fuzz_mutations.py`), and gives it to the reader (`fuzz_readers.py`). Reads are done in a process of their own. Faults are

- exceptions other than those of stages/errors.py, and Python's warnings, which show a user lines of code;
- a process that dies, by a signal or by itself;
- reads that take longer than `HANG` seconds, or more than `MEMORY` bytes of memory, even where the reader answers with a sentence;
- files that are written, moved or removed outside the folder of the read.

Each kind of fault is reported once, and its files are put into the folder of --keep. With --reads a reader stops after that number of
reads, or after its share of the minutes, whichever is first.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import torch
from fuzz_mutations import mutated
from fuzz_reader import Files, Reader, all_of
from fuzz_readers import READERS

ROOT = Path(__file__).resolve().parents[1]
HANG = 10.0
MEMORY = 1 << 30
ADDRESSES = 4 * MEMORY
"""What a read may ask for; more is refused by the system, so that a fault does not take the machine down."""
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
fork = multiprocessing.get_context("fork")


class Hang(BaseException):
    """A read took longer than `HANG` seconds."""


@dataclass
class Result:
    """What became of the reads of one reader."""

    reads: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: dict[str, Files] = field(default_factory=dict)
    """What happened and where -> the files that made it happen first."""


def fuzz(reader: Reader, seconds: float, reads: int | None = None, seed: int = 0) -> Result:
    """Change and read until `seconds` are over or a number of `reads` is done."""
    result, begun = Result(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=FAST) as place:
        sound = reader.sound(Path(place, "sound"))
        shutil.rmtree(Path(place, "sound"), ignore_errors=True)
        life = 0
        while time.monotonic() - begun < seconds and (reads is None or result.reads < reads):
            shutil.rmtree(Path(place, "read"), ignore_errors=True)
            work, before = _Reads(reader, sound, Path(place), random.Random(f"{seed} {life}")), result.reads
            _watch(work, begun + seconds, None if reads is None else reads - result.reads, result)
            life += 1
            if result.reads == before:  # not even sound files can be read
                break
    result.seconds = time.monotonic() - begun
    return result


def _watch(work: _Reads, end: float, reads: int | None, result: Result) -> None:
    """Let a process read until it is done, or dead, or hangs in code that no signal interrupts."""
    counts = fork.RawArray("q", 2)
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=work.run, args=(end, reads, counts, there))
    process.start()
    there.close()
    seen, since, fault = 0, time.monotonic(), ""
    with contextlib.suppress(EOFError):
        while not fault:
            if here.poll(0.1):
                said, files = here.recv()
                result.faults.setdefault(said, files)
            if counts[0] != seen:
                seen, since = counts[0], time.monotonic()
            elif time.monotonic() - since > HANG + 2:
                process.kill()
                fault = _too_long()
    process.join()
    if process.exitcode and not fault:
        fault = f"died of {signal.Signals(-process.exitcode).name}" if process.exitcode < 0 else f"left with {process.exitcode}"
    if fault:
        result.faults.setdefault(fault, all_of(work.folder))
    result.reads += counts[0]
    result.refused += counts[1]


def _too_long() -> str:
    return f"took longer than {HANG:g} s"


class _Reads:
    """The reads of one process. Its folder holds the files of the read that is going on."""

    def __init__(self, reader: Reader, sound: Files, place: Path, draw: random.Random) -> None:
        self.reader, self.sound, self.place, self.draw = reader, sound, place, draw
        self.folder = place / "read"
        self.changeable = [name for name in sound if name.endswith(reader.only)]
        self.tops = {name.split("/")[0] for name in sound}
        self.written: list[str] = []

    def run(self, end: float, reads: int | None, counts: Any, pipe: Connection) -> None:
        """counts: the numbers of reads and of refusals so far; `pipe` takes (fault, files)."""
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)  # libraries written in C complain of each damaged file
            sys.stdout = sys.stderr = nowhere
            try:
                self._prepare()
            except Exception as error:
                pipe.send((f"the sound files: {_described(error)}: {error}", self.sound))
                sys.exit(1)
            last = ""
            while time.monotonic() < end and (reads is None or counts[0] < reads):
                name = self.draw.choice(self.changeable)
                if last not in ("", name):
                    self._write(last, self.sound[last])
                content = mutated(self.sound[name], self.draw)
                self._write(name, content)
                last = name
                counts[0] += 1
                refused, fault = self._read()
                counts[1] += refused
                if fault:
                    pipe.send((fault, {**self.sound, name: content}))
                self._clear()
                if fault.startswith("took"):  # the memory, or a thread, may still be taken
                    return

    def _prepare(self) -> None:
        signal.signal(signal.SIGALRM, _hang)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        faulthandler.disable()
        torch.set_num_threads(1)  # the threads of the parent are not here
        cv2.setNumThreads(0)
        sys.dont_write_bytecode = True
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        self._lay_out()
        self.reader.read(self.folder)  # what it imports counts neither as time nor as memory of a read
        self._clear()
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + ADDRESSES, hard))
        self.most = _peak() + MEMORY
        sys.addaudithook(self._audit)

    def _read(self) -> tuple[bool, str]:
        """Whether the files were refused; and the fault, if there is one."""
        refused, fault = False, ""
        self.written.clear()
        self.watching = True
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            self.reader.read(self.folder)
        except self.reader.refusals as error:
            refused = True
            fault = _of_memory(error)
        except Hang:
            fault = _too_long()
        except Exception as error:
            fault = _of_memory(error) or _described(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.watching = False
        if strays := [*self.written, *(name for name in os.listdir(self.place) if name != "read")]:
            fault = f"wrote outside its folder: {sorted(set(strays))}"
        if not fault and _peak() > self.most:
            fault = f"took more than {MEMORY >> 20} MiB of memory"
        return refused, fault

    watching = False

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        """Python tells of each file that is opened, moved or removed."""
        if self.watching and event in CHANGES:
            self.written += [path for path in CHANGES[event](given) if not _is_in(path, self.folder)]

    def _lay_out(self) -> None:
        for name, content in self.sound.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        with open(f"{self.folder}/{name}", "wb") as file:
            file.write(content)

    def _clear(self) -> None:
        """Take away what a read has written."""
        for name in os.listdir(self.place):
            if name != "read":
                _remove(self.place / name)
        if set(os.listdir(self.folder)) != self.tops:
            shutil.rmtree(self.folder)
            self._lay_out()


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang


def _opened(given: tuple[Any, ...]) -> Iterator[Any]:
    path, _, flags = given
    if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        yield path


def _paths(count: int) -> Callable[[tuple[Any, ...]], Sequence[Any]]:
    """The paths of an event that has a descriptor of a folder behind them, or two; those that are relative to one are left out."""
    return lambda given: given[:count] if all(number in (None, -1) for number in given[count:] if not isinstance(number, bool)) else ()


CHANGES: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "open": _opened,
    "os.mkdir": lambda given: _paths(1)((given[0], given[2])),
    "os.rename": _paths(2),
    "os.link": _paths(2),
    "os.symlink": lambda given: _paths(1)((given[1], given[2])),
    "os.remove": _paths(1),
    "os.rmdir": _paths(1),
    "os.truncate": lambda given: given[:1],
}


def _is_in(path: Any, folder: Path) -> bool:
    if isinstance(path, int) or path == os.devnull:
        return True
    return f"{os.path.realpath(os.fsdecode(path))}/".startswith(f"{folder}/")


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if frame.filename.startswith((f"{ROOT}/stages", f"{ROOT}/fsv2v_cli"))), frames[0])
    return f"{type(error).__name__} at {Path(own.filename).name}:{own.lineno}, in {frames[-1].name}"


def _of_memory(error: BaseException | None) -> str:
    """What a read asked for in vain is a fault, too, whatever the reader made of it."""
    while error is not None:
        if isinstance(error, MemoryError):
            return f"asked for more than {ADDRESSES >> 20} MiB: {_described(error)}"
        error = error.__cause__ or error.__context__
    return ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all readers together")
    parser.add_argument("--reads", type=int, help="of each reader at most")
    parser.add_argument("--reader", action="append", choices=READERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    names, faults, begun = asked.reader or list(READERS), 0, time.monotonic()
    print(f"{'reader':18} {'reads':>9} {'refused':>9} {'faults':>7} {'seconds':>8}", flush=True)
    for index, name in enumerate(names):
        left = (60 * asked.minutes - (time.monotonic() - begun)) / (len(names) - index)
        result = fuzz(READERS[name], left, asked.reads, asked.seed)
        print(f"{name:18} {result.reads:9} {result.refused:9} {len(result.faults):7} {result.seconds:8.1f}", flush=True)
        for number, (fault, files) in enumerate(result.faults.items()):
            faults += 1
            print(f"    {fault}", flush=True)
            for path, content in files.items() if asked.keep else ():
                place = asked.keep / name.replace(" ", "-") / str(number) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    sys.modules["fuzz"] = sys.modules["__main__"]  # which fuzz_readers imports
    main()
