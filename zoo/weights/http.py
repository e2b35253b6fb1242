"""One file over HTTP: resumed where it broke off, within a call and across calls.

The bytes go to a ``.part`` file whose sidecar keeps the server's validator (ETag or date), so that ``If-Range``
starts over when the file on the server has changed. Whoever calls checks the hash of the whole.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo._util.files import write_text
from zoo._version import __version__
from zoo.errors import DependencyError, HashMismatchError, LicenseError, WeightsError, ZooError
from zoo.weights.safe import html_title, sniff_bytes

log = logging.getLogger("zoo.weights")

#: Broken transfers and busy servers in a row before a call gives up; a new megabyte starts the count again.
RETRIES = 4
#: Seconds before the first retry; doubled each time.
BACKOFF_S = 0.5
#: Longest wait, in seconds, that a server may ask for and be granted; longer ones are told to the user.
MAX_WAIT_S = 20.0
#: Seconds without a byte before a transfer counts as broken.
TIMEOUT_S = 30.0
#: No file here comes near this many bytes; a server that sends more is not sending a weights file.
MAX_BYTES = 16 << 30
_CHUNK = 1 << 15


class _BrokenError(Exception):
    """The transfer broke off, or the server is busy: worth another try after ``wait`` seconds."""

    def __init__(self, what: str, *, wait: float | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.wait, self.fix = wait, fix


def library() -> Any:
    """Returns the HTTP library: the one that huggingface_hub is built on (httpx2 since its version 2, httpx before)."""
    for name in ("httpx2", "httpx"):
        with suppress(ModuleNotFoundError):
            return import_module(name)
    raise DependencyError(
        "no HTTP library is installed", why="huggingface_hub brings it", fix="pip install 'huggingface_hub>=2'"
    )


@dataclass(frozen=True)
class Download:
    """One file to download, from where an earlier call left off if there is such a place."""

    url: str
    """Address; redirects are followed (credentials stay with the first host)."""
    part: Path
    """File that grows; it is kept when the transfer breaks, and whole when :meth:`run` returns."""
    label: str
    """Name in the progress bar."""
    size: int | None = None
    """Bytes that the file must have, when they are known; a server that offers another number is refused."""
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: Callable[[Any], ZooError | None] | None = None
    """Turns an answer of status 400 and above (its body read) into an error of its own, or None."""
    accepted: Callable[[Any], None] | None = None
    """Looks at an answer before its body is read; may raise."""
    first_bytes: Callable[[bytes], None] | None = None
    """Looks at the first bytes of a body that starts at byte 0, before any is written; may raise."""
    progress: bool = True

    def run(self) -> bool:
        """Downloads the file.

        Returns:
            Whether the file was put together from more than one request.

        Raises:
            WeightsError: The server cannot be reached, refuses, or the transfer keeps breaking.
            LicenseError: The server refuses access.
            HashMismatchError: The server offers another number of bytes, or a page instead of a file.
        """
        http = library()
        self.part.parent.mkdir(parents=True, exist_ok=True)
        failures, mark = 0, _size(self.part)
        headers = {"User-Agent": f"libreface-zoo/{__version__}", "Accept-Encoding": "identity", **self.headers}
        timeout = http.Timeout(TIMEOUT_S, connect=10.0)
        with http.Client(follow_redirects=True, timeout=timeout, headers=headers) as client:
            while True:
                try:
                    continued = self._request(client, http)
                    self._side.unlink(missing_ok=True)
                    return continued
                except _BrokenError as error:
                    have = _size(self.part)
                    if have - mark >= 1 << 20:
                        failures, mark = 0, have
                    failures += 1
                    wait = BACKOFF_S * 2 ** (failures - 1) if error.wait is None else error.wait
                    if failures > RETRIES or wait > MAX_WAIT_S:
                        kept = f"; {have:,} bytes are kept, and the next call resumes there" if have else ""
                        raise WeightsError(f"{error}{kept}", where=self.url, fix=error.fix) from None
                    log.log(
                        logging.WARNING if wait > 2 else logging.INFO,
                        "%s: %s; trying again in %.0f s",
                        self.label,
                        error,
                        wait,
                    )
                    time.sleep(wait)

    @property
    def _side(self) -> Path:
        return self.part.with_suffix(".json")

    def _request(self, client: Any, http: Any) -> bool:
        """Makes one request and keeps its body; returns whether it continued a file."""
        have = _size(self.part)
        if self.size is not None and have == self.size:
            return True
        headers = {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if validator := self._kept_validator():
                headers["If-Range"] = validator
        try:
            with client.stream("GET", self.url, headers=headers) as response:
                status, content_range = response.status_code, response.headers.get("content-range", "")
                if status == 416 and content_range == f"bytes */{have}":
                    return True  # it was whole already
                if status == 416 or (status == 206 and not content_range.startswith(f"bytes {have}-")):
                    self.part.unlink(missing_ok=True)
                    raise _BrokenError("the server has another file than before", wait=0)
                if status not in (200, 206):
                    response.read()
                    raise (self.refused(response) if self.refused else None) or _refusal(response)
                if self.accepted:
                    self.accepted(response)
                self._write(response, have if status == 206 else 0)
                return bool(status == 206)
        except http.TransportError as error:
            have = _size(self.part)
            text = str(error) or type(error).__name__
            if isinstance(error, (http.ConnectError, http.ConnectTimeout, http.ProxyError)):
                what = f"the server cannot be reached ({text})"
            else:
                what = f"the transfer broke off at {have:,}{f' of {self.size:,}' if self.size else ''} bytes ({text})"
            raise _BrokenError(what, fix="check the network and the proxy settings") from None
        except (http.TooManyRedirects, http.InvalidURL, http.DecodingError) as error:
            raise WeightsError(f"the address does not work ({error})", where=self.url) from None

    def _write(self, response: Any, start: int) -> None:
        from tqdm import tqdm

        body = response.iter_bytes(_CHUNK)
        chunk = next(body, b"")
        if start == 0:
            if sniff_bytes(chunk) == "html":
                title = html_title(chunk)
                named = f", titled '{title}'" if title else ""
                raise HashMismatchError(f"the server sent an HTML page instead of the file{named}", where=self.url)
            if self.first_bytes:
                self.first_bytes(chunk)
        total = None
        if "content-length" in response.headers and "content-encoding" not in response.headers:
            total = start + int(response.headers["content-length"])
            if self.size is not None and total != self.size:
                raise HashMismatchError(f"the server offers {total:,} bytes, not {self.size:,}", where=self.url)
            if shutil.disk_usage(self.part.parent).free < total - start:
                raise OSError(errno.ENOSPC, f"{total - start:,} bytes are needed")
        side = {"url": self.url, "validator": _validator(response)}
        write_text(self._side, json.dumps(side))
        tty = sys.stderr.isatty()
        bar = tqdm(
            total=total, initial=start, desc=self.label, unit="B", unit_scale=True, unit_divisor=1024, leave=False,
            file=sys.stderr, disable=not self.progress, delay=0 if tty else 1, mininterval=0.1 if tty else 5.0,
        )  # fmt: skip
        limit = MAX_BYTES if self.size is None else self.size
        with bar, self.part.open("ab" if start else "wb") as file:
            while chunk:
                start += len(chunk)
                if start > limit:
                    raise HashMismatchError(f"the server sends more than {limit:,} bytes", where=self.url)
                file.write(chunk)
                bar.update(len(chunk))
                chunk = next(body, b"")
        if self.size is not None and start < self.size:  # the connection ended early and without an error
            raise _BrokenError(f"the transfer broke off at {start:,} of {self.size:,} bytes")

    def _kept_validator(self) -> str | None:
        try:
            kept = json.loads(self._side.read_text())
            return kept["validator"] if kept["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _validator(response: Any) -> str | None:
    """Returns what If-Range may be asked with: a strong ETag, else the date of the last change."""
    etag = response.headers.get("etag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    date = response.headers.get("last-modified")
    return str(date) if date else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a server asks to wait, or None.

    Read from ``Retry-After`` (seconds or a date), else from the Hub's ``RateLimit: "api";r=0;t=55``.
    """
    if "retry-after" not in headers and (match := re.search(r";\s*t\s*=\s*(\d+)", headers.get("ratelimit", ""))):
        return float(match[1])
    text = (headers.get("retry-after") or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _refusal(response: Any) -> Exception:
    """Turns a status of 400 and above into an error, or into another try where one makes sense."""
    code = response.status_code
    if code == 429:
        wait = retry_after(response.headers)
        asked = f", it asks to wait {wait:.0f} s" if wait is not None else ""
        patience = f"wait {wait:.0f} s" if wait is not None else "wait a minute"
        return _BrokenError(f"the server limits the rate of requests (HTTP 429{asked})", wait=wait, fix=patience)
    if code in (408, 500, 502, 503, 504):
        return _BrokenError(f"the server is in trouble (HTTP {code})", wait=retry_after(response.headers))
    if code in (401, 403):
        return LicenseError(f"access refused (HTTP {code})", where=str(response.url))
    if code in (404, 410):
        return WeightsError(f"not there any more (HTTP {code})", where=str(response.url))
    return WeightsError(f"the server answers HTTP {code}", where=str(response.url))
