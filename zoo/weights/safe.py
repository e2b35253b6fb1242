"""What a file is by its first bytes, and a PyTorch checkpoint opened without executing anything in it."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path
from typing import Any

from zoo._util.optional import need
from zoo.errors import UnsafeFileError, WeightsError

#: What :func:`sniff` may answer, in words for an error.
KINDS = {
    "empty": "an empty file",
    "git-lfs": "a Git LFS pointer, not the file it stands for",
    "gzip": "a gzip archive",
    "hdf5": "an HDF5 file",
    "html": "an HTML page",
    "json": "JSON text",
    "onnx": "an ONNX model",
    "pickle": "a Python pickle",
    "safetensors": "a safetensors file",
    "tflite": "a TFLite model",
    "torch": "a PyTorch checkpoint",
    "unknown": "a file of no known kind",
    "xml": "XML text",
    "zip": "a zip archive",
}

_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_LFS = b"version https://git-lfs.github.com/spec/v1\n"
# Tags that may follow ir_version (field 1, varint) in onnx.ModelProto: fields 2-8 and 14 of onnx/onnx.proto.
_ONNX_TAGS = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72})
_HEAD = 4096


def sniff_bytes(head: bytes) -> str:
    """Returns what a file is by its first bytes: a key of :data:`KINDS`. Four kilobytes are enough."""
    if not head:
        return "empty"
    for magic, at, kind in (
        (b"\x89HDF\r\n\x1a\n", 0, "hdf5"),
        (b"TFL3", 4, "tflite"),
        (b"PK\x03\x04", 0, "zip"),
        (b"PK\x05\x06", 0, "zip"),
        (b"\x1f\x8b", 0, "gzip"),
        (_LFS, 0, "git-lfs"),
    ):
        if head[at : at + len(magic)] == magic:
            return kind
    if _HTML.match(head):
        return "html"
    # A safetensors file starts with the little-endian length of a JSON header.
    if len(head) >= 9 and struct.unpack("<Q", head[:8])[0] < 100_000_000 and head[8:9] == b"{":
        return "safetensors"
    if len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5:  # PROTO opcode and its version
        return "pickle"
    if len(head) >= 3 and head[0] == 0x08 and 1 <= head[1] < 64 and head[2] in _ONNX_TAGS:
        return "onnx"
    text = head.lstrip()
    if text.startswith(b"<?xml"):
        return "xml"
    if text.startswith((b"{", b"[")):
        return "json"
    return "unknown"


def sniff(path: Path) -> str:
    """Returns what a file is by its first bytes (a zip also by its members): a key of :data:`KINDS`."""
    with path.open("rb") as file:
        kind = sniff_bytes(file.read(_HEAD))
    if kind == "zip":
        try:
            with zipfile.ZipFile(path) as archive:
                if any(name == "data.pkl" or name.endswith("/data.pkl") for name in archive.namelist()):
                    return "torch"
        except (zipfile.BadZipFile, OSError):
            pass
    return kind


def html_title(head: bytes) -> str | None:
    """Returns the title of an HTML page, on one line."""
    match = _TITLE.search(head)
    return " ".join(match[1].decode("utf-8", "replace").split())[:120] if match else None


def load_torch(path: Path) -> Any:
    """Opens a PyTorch checkpoint on the CPU: tensors and plain containers only, no code of the file is executed.

    Raises:
        UnsafeFileError: It holds objects that only executing its pickle could make.
        WeightsError: It is not a PyTorch checkpoint.
        DependencyError: PyTorch is not installed.
    """
    import pickle

    torch = need("torch", f"{path.name} is a PyTorch checkpoint")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = sniff(path)
        if kind not in ("torch", "pickle"):
            raise _not_torch(path, kind) from None
        found = re.search(r"(?:GLOBAL|global|class)\s+'?([\w.]+)", str(error))
        raise UnsafeFileError(
            f"{path.name} can only be opened by executing what it holds",
            where=str(path),
            why=f"it refers to {found[1]}, which is no tensor and no plain container" if found else "it is a pickle",
            fix="ask its publisher for a state dict of tensors or a safetensors file; the zoo never unpickles",
        ) from None
    except FileNotFoundError:
        raise
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise _not_torch(path, sniff(path), str(error).splitlines()[0] if str(error) else None) from None


def _not_torch(path: Path, kind: str, detail: str | None = None) -> WeightsError:
    why = f"it is {KINDS[kind]}" if kind not in ("torch", "pickle", "zip") or not detail else detail
    return WeightsError(f"{path.name} is not a whole PyTorch checkpoint", where=str(path), why=why)
