"""The one writer of files and folders: each appears whole under its name, or not at all.

Symptom: a process killed while it writes, or a power cut soon after, leaves a file with half of its
content, which the next reader takes for whole.
Reason: opening a file for writing makes its name before its content, and the system writes content
and names to the disk in an order of its own.
Protocol: the content is written in a hidden sibling folder, ``.NAME.PID``, where libraries may have
temporary files of their own, and takes its name by one rename.
What a resume or a user's result depends on is *durable*, the default: the content, then the name
in its folder, are on the disk (fsync) before the call returns. A cache, or a file that lives no
longer than a process, is ``durable=False``: renamed alone, since its reader checks it or makes it
again.
What can still go wrong: a disk that says done before it is; a sibling stays where a process was
killed, until the same name is written again or its owner sweeps the folder (:func:`is_partial`);
two threads of a process that write one name need a lock of their own.
"""

import errno
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from echofm_core.runtime.errors import EchoFMError, OutputError

#: What the system says where there is no room, or no more is allowed.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, content: bytes, *, durable: bool = True, private: bool = False) -> Path:
    """Write a file; the folder is made where needed.

    With ``private``, only its owner may read it from its first byte on.
    """
    with whole_file(path, durable=durable) as partial:
        mode = 0o600 if private else 0o666
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(partial, flags, mode), "wb") as file:
            file.write(content)
    return path


@contextmanager
def whole_file(path: Path, *, durable: bool = True, sweep: bool = True) -> Iterator[Path]:
    """Yield where to write a file; it takes its name when the block ends, unless by an error.

    Its folder is made where needed; ``sweep`` as of :func:`partial_path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = partial_path(path, sweep=sweep)
    partial = folder / path.name
    try:
        folder.mkdir()
        yield partial
        if durable:
            _sync(partial)
        partial.replace(path)
        if durable:
            _sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a new folder to fill; it takes its name when the block ends, unless by an error.

    Nothing, or an empty folder, may have the name; its parent is made where needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        partial.mkdir()
        yield partial
        install_folder(partial, path, durable=durable)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def install_folder(partial: Path, path: Path, *, durable: bool = True) -> None:
    """Give a whole folder its name; arguments as of :func:`whole_folder`."""
    if durable:
        for item in [*partial.rglob("*"), partial]:
            _sync(item)
    with suppress(FileNotFoundError):
        path.rmdir()
    partial.rename(path)
    if durable:
        _sync(path.parent)


def settle(folder: Path) -> None:
    """Have a folder, all that is in it, and its name, on the disk, whoever wrote them."""
    for item in [*folder.rglob("*"), folder, folder.resolve().parent]:
        if item.is_file() or item.is_dir():
            _sync(item)


@contextmanager
def owners_alone() -> Iterator[None]:
    """What this process makes in the block only its owner may read: files 600, folders 700."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def partial_path(path: Path, *, sweep: bool = True) -> Path:
    """A hidden sibling, this process's alone, for what is to take a path's name when it is whole.

    With ``sweep`` the folder is listed, and what killed processes left under such a name removed.
    """
    form = re.compile(rf"\.{re.escape(path.name)}\.(\d+)")
    for sibling in path.parent.iterdir() if sweep and path.parent.is_dir() else ():
        found = form.fullmatch(sibling.name)
        if found and not _runs(int(found[1])):
            remove(sibling)
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; one that is not there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def keep_only(folder: Path, names: Collection[str]) -> None:
    """Delete what a folder holds under other names."""
    for item in folder.iterdir():
        if item.name not in names:
            remove(item)


def is_partial(name: str) -> bool:
    """Is it the name of a sibling that never became whole?"""
    return re.fullmatch(r"\..+\.\d+", name) is not None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Wrap what a command writes, a file or a folder.

    Raises:
        OutputError: The system refuses, for want of room or of permission as a rule.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{path} cannot be written ({reason}); make room there or choose another place, and "
            "run the same command again."
        ) from error


def check_place(path: Path, *, folder: bool) -> None:
    """Refuse a place that nothing can be written to, before any work is done; nothing is made.

    Args:
        path: Of a file or folder to be written, which may be there already.
        folder: Which of the two.

    Raises:
        OutputError: The other of the two is there, a file stands where a folder above it would, or
            there is no permission.
    """
    wanted, other = ("folder", "file") if folder else ("file", "folder")
    try:
        if path.exists() and path.is_dir() != folder:
            raise OutputError(f"{path} is a {other}, and a {wanted} is wanted; choose another.")
        above = next((up for up in path.parents if up.exists()), Path())
        place = path if path.is_dir() else above
        writable = os.access(place, os.W_OK | os.X_OK)
        if not place.is_dir():
            raise OutputError(f"{path} cannot be written: {place} is a file; choose another place.")
    except PermissionError:  # not even to look
        place, writable = path.parent, False
    if not writable:
        raise OutputError(
            f"{path} cannot be written: there is no permission to write in {place}; choose another "
            "place, or have it permitted."
        )


def full_disk(
    error: BaseException | None, *, but_of: type[BaseException] | tuple[()] = ()
) -> OSError | None:
    """What the system said of a full disk, at the bottom of an error; None where it said nothing.

    Errors of the kind ``but_of`` speak for themselves, whatever is below them.
    """
    while error is not None and not isinstance(error, but_of):
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def naming_full_disk(place: Path | None = None) -> Iterator[None]:
    """Let a full disk be an error that says so, whatever a run did when it met it.

    Args:
        place: What is written; the system does not always say which file it was.

    Raises:
        OutputError: There is no room. Errors of ours say themselves what they were about.
    """
    try:
        yield
    except EchoFMError:
        raise
    except Exception as error:
        if (found := full_disk(error)) is None:
            raise
        where = f"the disk of {place or found.filename}" if place or found.filename else "a disk"
        raise OutputError(
            f"{where} is full ({found.strerror}); nothing half-written is left under its name: "
            "make room there and run the same command again, with --resume where it has that."
        ) from error


@contextmanager
def naming_refused_place() -> Iterator[None]:
    """Let a place that the system keeps from us be an error that names it, whatever was wanted.

    Raises:
        OutputError: There is no permission, or a file where a folder should be, or the reverse.
    """
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        if error.filename is None:  # no place: a port, a process
            raise
        permit = "have it permitted, or " if isinstance(error, PermissionError) else ""
        raise OutputError(
            f"{error.filename} cannot be used ({error.strerror}); {permit}choose another place."
        ) from error


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process's number
        return True
    return True


def _sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
