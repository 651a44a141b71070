"""Reads untrusted files that were damaged at random. A reader must always return a result or raise an error with a sentence.

    python tools/fuzz.py --minutes 10 [--reads 1000000] [--reader NAME ...] [--seed 0] [--keep FOLDER]

Each reader has valid files. For a read, one of them is changed in its bytes or in its values, or replaced by a new one of the same format
(`fuzz_mutations.py`), and the reader (`fuzz_readers.py`) reads it in another process. Faults are

- exceptions other than those of stages/errors.py, and Python's warnings, which print lines of code;
- a process that is killed by a signal or exits;
- reads that take longer than `HANG` seconds or more than `MEMORY` bytes of memory, even if the reader then raises a correct error;
- files that are written, moved or removed outside the folder of the read.

Each kind of fault is reported once, and its files are written to the folder of --keep. With --reads a reader stops after that number of
reads or after its share of the minutes, whichever comes first.
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
from fuzz_mutations import mutate
from fuzz_reader import Files, Reader, read_files
from fuzz_readers import READERS

ROOT = Path(__file__).resolve().parents[1]
HANG = 10.0
"""Seconds after which a read counts as hanging."""
MEMORY = 1 << 30
"""Bytes of memory that a read may use in addition to those in use before it."""
ADDRESSES = 4 * MEMORY
"""Bytes that a read can allocate. The system refuses more, so that a fault does not use up the memory of the machine."""
RAM_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
fork = multiprocessing.get_context("fork")


class Hang(BaseException):
    """A read took longer than `HANG` seconds."""


@dataclass
class Result:
    """Counts and faults of one reader."""

    reads: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: dict[str, Files] = field(default_factory=dict)
    """Description of a fault -> the files that caused it first."""


def fuzz(reader: Reader, seconds: float, reads: int | None = None, seed: int = 0) -> Result:
    """Change and read files for a number of seconds, or until a number of `reads` is done."""
    result, started = Result(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=RAM_FOLDER) as folder:
        valid = reader.valid_files(Path(folder, "valid"))
        shutil.rmtree(Path(folder, "valid"), ignore_errors=True)
        run = 0
        while time.monotonic() - started < seconds and (reads is None or result.reads < reads):
            shutil.rmtree(Path(folder, "read"), ignore_errors=True)
            work, before = _Reads(reader, valid, Path(folder), random.Random(f"{seed} {run}")), result.reads
            _watch(work, started + seconds, None if reads is None else reads - result.reads, result)
            run += 1
            if result.reads == before:  # not even the valid files can be read
                break
    result.seconds = time.monotonic() - started
    return result


def _watch(work: _Reads, end: float, reads: int | None, result: Result) -> None:
    """Run the reads in another process until it is done or dies, or kill it if it hangs in code that no signal interrupts."""
    counts = fork.RawArray("q", 2)
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=work.run, args=(end, reads, counts, sender))
    process.start()
    sender.close()
    last_count, since, fault = 0, time.monotonic(), ""
    with contextlib.suppress(EOFError):
        while not fault:
            if receiver.poll(0.1):
                reported, files = receiver.recv()
                result.faults.setdefault(reported, files)
            if counts[0] != last_count:
                last_count, since = counts[0], time.monotonic()
            elif time.monotonic() - since > HANG + 2:
                process.kill()
                fault = _hang_fault()
    process.join()
    if process.exitcode and not fault:
        fault = f"died of {signal.Signals(-process.exitcode).name}" if process.exitcode < 0 else f"exited with code {process.exitcode}"
    if fault:
        result.faults.setdefault(fault, read_files(work.folder))
    result.reads += counts[0]
    result.refused += counts[1]


def _hang_fault() -> str:
    return f"took longer than {HANG:g} s"


class _Reads:
    """The reads of one process. `folder` contains the files of the current read."""

    def __init__(self, reader: Reader, valid: Files, parent: Path, rng: random.Random) -> None:
        self.reader, self.valid, self.parent, self.rng = reader, valid, parent, rng
        self.folder = parent / "read"
        self.changeable = [name for name in valid if name.endswith(reader.only)]
        self.top_names = {name.split("/")[0] for name in valid}
        self.written: list[str] = []

    def run(self, end: float, reads: int | None, counts: Any, pipe: Connection) -> None:
        """counts: the numbers of reads and of refusals so far; pipe: receives (fault, files)."""
        with open(os.devnull, "w") as null_device:
            os.dup2(null_device.fileno(), 1)
            os.dup2(null_device.fileno(), 2)  # libraries written in C print messages about each damaged file
            sys.stdout = sys.stderr = null_device
            try:
                self._prepare()
            except Exception as error:
                pipe.send((f"the valid files: {_describe(error)}: {error}", self.valid))
                sys.exit(1)
            last = ""
            while time.monotonic() < end and (reads is None or counts[0] < reads):
                name = self.rng.choice(self.changeable)
                if last not in ("", name):
                    self._write(last, self.valid[last])
                content = mutate(self.valid[name], self.rng)
                self._write(name, content)
                last = name
                counts[0] += 1
                refused, fault = self._read()
                counts[1] += refused
                if fault:
                    pipe.send((fault, {**self.valid, name: content}))
                self._clear()
                if fault.startswith("took"):  # the memory, or a thread, may still be in use
                    return

    def _prepare(self) -> None:
        signal.signal(signal.SIGALRM, _hang)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        faulthandler.disable()
        torch.set_num_threads(1)  # a forked process does not have the threads of its parent
        cv2.setNumThreads(0)
        sys.dont_write_bytecode = True
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        self._write_valid()
        self.reader.read(self.folder)  # a first read, so that imports do not count as time and memory of the next
        self._clear()
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + ADDRESSES, hard))
        self.max_peak = _peak_memory() + MEMORY
        sys.addaudithook(self._audit)

    def _read(self) -> tuple[bool, str]:
        """(whether the files were refused, the fault or "")."""
        refused, fault = False, ""
        self.written.clear()
        self.watching = True
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            self.reader.read(self.folder)
        except self.reader.refusals as error:
            refused = True
            fault = _memory_fault(error)
        except Hang:
            fault = _hang_fault()
        except Exception as error:
            fault = _memory_fault(error) or _describe(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.watching = False
        if strays := [*self.written, *(name for name in os.listdir(self.parent) if name != "read")]:
            fault = f"wrote outside its folder: {sorted(set(strays))}"
        if not fault and _peak_memory() > self.max_peak:
            fault = f"took more than {MEMORY >> 20} MiB of memory"
        return refused, fault

    watching = False

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python calls this for each file that is opened, moved or removed."""
        if self.watching and event in CHANGES:
            self.written += [path for path in CHANGES[event](arguments) if not _is_in(path, self.folder)]

    def _write_valid(self) -> None:
        for name, content in self.valid.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        with open(f"{self.folder}/{name}", "wb") as file:
            file.write(content)

    def _clear(self) -> None:
        """Remove the files that a read has written."""
        for name in os.listdir(self.parent):
            if name != "read":
                _remove(self.parent / name)
        if set(os.listdir(self.folder)) != self.top_names:
            shutil.rmtree(self.folder)
            self._write_valid()


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang


def _written_path(arguments: tuple[Any, ...]) -> Iterator[Any]:
    """The path of an event `open`, if the file is opened for writing."""
    path, _, flags = arguments
    if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        yield path


def _paths(count: int) -> Callable[[tuple[Any, ...]], Sequence[Any]]:
    """A function from the arguments of an audit event to its paths, which are the first `count`.

    The further arguments are descriptors of folders, to which the paths are relative. Events with descriptors are left out.
    """

    def paths(arguments: tuple[Any, ...]) -> Sequence[Any]:
        descriptors = [number for number in arguments[count:] if not isinstance(number, bool)]
        return arguments[:count] if all(number in (None, -1) for number in descriptors) else ()

    return paths


CHANGES: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "open": _written_path,
    "os.mkdir": lambda arguments: _paths(1)((arguments[0], arguments[2])),
    "os.rename": _paths(2),
    "os.link": _paths(2),
    "os.symlink": lambda arguments: _paths(1)((arguments[1], arguments[2])),
    "os.remove": _paths(1),
    "os.rmdir": _paths(1),
    "os.truncate": lambda arguments: arguments[:1],
}
"""Audit event that changes files -> a function from its arguments to the changed paths."""


def _is_in(path: Any, folder: Path) -> bool:
    if isinstance(path, int) or path == os.devnull:
        return True
    return f"{os.path.realpath(os.fsdecode(path))}/".startswith(f"{folder}/")


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _describe(error: BaseException) -> str:
    """The type of an error and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if frame.filename.startswith((f"{ROOT}/stages", f"{ROOT}/fsv2v_cli"))), frames[0])
    return f"{type(error).__name__} at {Path(own.filename).name}:{own.lineno}, in {frames[-1].name}"


def _memory_fault(error: BaseException | None) -> str:
    """The fault of a read that tried to allocate too much memory, even if the reader has replaced the MemoryError; otherwise ""."""
    while error is not None:
        if isinstance(error, MemoryError):
            return f"tried to allocate more than {ADDRESSES >> 20} MiB: {_describe(error)}"
        error = error.__cause__ or error.__context__
    return ""


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all readers together")
    parser.add_argument("--reads", type=int, help="largest number of reads of each reader")
    parser.add_argument("--reader", action="append", choices=READERS, help="test only this reader; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random changes")
    parser.add_argument("--keep", type=Path, help="folder for the files of the faults")
    arguments = parser.parse_args()
    names, faults, started = arguments.reader or list(READERS), 0, time.monotonic()
    print(f"{'reader':18} {'reads':>9} {'refused':>9} {'faults':>7} {'seconds':>8}", flush=True)
    for index, name in enumerate(names):
        seconds = (60 * arguments.minutes - (time.monotonic() - started)) / (len(names) - index)
        result = fuzz(READERS[name], seconds, arguments.reads, arguments.seed)
        print(f"{name:18} {result.reads:9} {result.refused:9} {len(result.faults):7} {result.seconds:8.1f}", flush=True)
        for number, (fault, files) in enumerate(result.faults.items()):
            faults += 1
            print(f"    {fault}", flush=True)
            for path, content in files.items() if arguments.keep else ():
                kept = arguments.keep / name.replace(" ", "-") / str(number) / path
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(content)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    sys.modules["fuzz"] = sys.modules["__main__"]  # fuzz_readers imports it
    main()
