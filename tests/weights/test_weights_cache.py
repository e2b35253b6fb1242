"""The cache: a file by its hash, right or not there; no request for what is there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.weights.conftest import COMMIT
from zoo.errors import HashMismatchError, WeightsError, WeightsMissingError
from zoo.weights import cache_dir, cached, locate, status


def cache_files() -> list[Path]:
    """Files of the cache that are not notes or locks."""
    skip = ("verified", "locks")
    return [p for p in cache_dir().rglob("*") if p.is_file() and p.relative_to(cache_dir()).parts[0] not in skip]


def source(path: str = "model.onnx", repo: str = "owner/net") -> str:
    return f"hf:{repo}@{COMMIT}:{path}"


def test_a_file_is_fetched_once_and_then_costs_no_request(hub, weights, file_of):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    assert cached(file) is None
    assert status(file).state == "absent"
    path = locate(file, entry="net")
    assert path.read_bytes() == weights
    assert path == cache_dir() / file.sha256 / "model.onnx"
    assert len(hub.seen) == 1
    hub.seen.clear()
    assert locate(file, entry="net") == path == cached(file)
    assert status(file).state == "here"
    assert hub.seen == []
    assert cache_files() == [path]


def test_git_blob_hash_names_and_checks_a_file(hub, weights, file_of):
    blob = hashlib.sha1(b"blob %d\0" % len(weights) + weights).hexdigest()
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source(), sha256=None, git_sha1=blob)
    assert locate(file, entry="net") == cache_dir() / blob / "model.onnx"
    wrong = file_of(weights, source(), git_sha1="0" * 40)  # both hashes are checked where both are given
    cached(wrong) and pytest.fail("a file was taken on one of its two hashes")
    with pytest.raises(HashMismatchError, match="git sha1"):
        locate(wrong, entry="net")


def test_a_verified_file_is_not_hashed_again_until_it_changes(hub, weights, file_of, monkeypatch):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    path = locate(file, entry="net")
    hashed = []
    from zoo.weights import verification

    real = verification.sha256_of
    monkeypatch.setattr(verification, "sha256_of", lambda p: hashed.append(p) or real(p))
    assert cached(file) == path and hashed == []
    os.utime(path, ns=(1, 1))  # touched: looked at again, found right, remembered
    assert cached(file) == path and hashed == [path]
    assert cached(file) == path and hashed == [path]


@pytest.mark.parametrize("keep_mtime", [False, True])
def test_a_file_swapped_in_the_cache_is_noticed_and_replaced(hub, weights, file_of, keep_mtime, caplog):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    path = locate(file, entry="net")
    before = path.stat()
    path.write_bytes(bytes(len(weights)))
    if keep_mtime:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cached(file) is None
    assert status(file).state == "changed"
    assert locate(file, entry="net").read_bytes() == weights
    assert "had changed in the cache" in caplog.text


def test_a_swapped_file_is_not_used_offline_either(hub, weights, file_of):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    path = locate(file, entry="net")
    path.write_bytes(b"x" * len(weights))
    with pytest.raises(WeightsMissingError):
        locate(file, entry="net", offline=True)
    assert not path.exists()


def test_a_file_put_into_the_cache_by_hand_is_checked_and_used(weights, file_of):
    file = file_of(weights, source())
    place = status(file).path
    place.parent.mkdir(parents=True)
    place.write_bytes(weights)
    assert locate(file, entry="net", offline=True) == place


@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody_and_says_what_mends_it(hub, weights, file_of, monkeypatch, variable):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source(), f"{hub.url}/x.zip#member=m.onnx", "package:nothing==1:m", "gdrive:0123456789")
    monkeypatch.setenv(variable, "1")
    with pytest.raises(WeightsMissingError) as caught:
        locate(file, entry="net")
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert hub.seen == []
    for part in (
        "model.onnx", "models.net.weights[model.onnx]", source(), "gdrive:", "package:nothing==1:m",
        f"unset {variable}", "python -m zoo.fetch model=net", str(status(file).path),
    ):  # fmt: skip
        assert part in text
    monkeypatch.setenv(variable, "0")
    assert locate(file, entry="net").exists()


def test_offline_argument_wins_over_the_environment(hub, weights, file_of, monkeypatch):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert locate(file, entry="net", offline=False).exists()


def test_local_sources_are_used_in_place_and_checked(weights, file_of, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(weights)
    file = file_of(weights, "path:mine.onnx")
    assert locate(file, entry="net", base=tmp_path, offline=True) == tmp_path / "mine.onnx"
    assert cached(file, base=tmp_path) == tmp_path / "mine.onnx"
    assert cached(file) is None
    (tmp_path / "mine.onnx").write_bytes(weights[::-1])
    with pytest.raises(HashMismatchError, match="sha256"):
        locate(file, entry="net", base=tmp_path)
    assert (tmp_path / "mine.onnx").exists()  # a user's file is refused, never removed
    (tmp_path / "mine.onnx").unlink()
    with pytest.raises(WeightsMissingError, match="no such file"):
        locate(file, entry="net", base=tmp_path)


def test_builtin_files_are_used_in_place(file_of):
    import zoo

    path = Path(zoo.__file__).parent / "py.typed"
    if not path.exists():
        path = Path(zoo.__file__)
    file = file_of(path.read_bytes() or b"", f"builtin:{path.name}", size=path.stat().st_size or None)
    assert locate(file, entry="net", offline=True) == path
    with pytest.raises(WeightsMissingError, match="no such file"):
        locate(file_of(b"x", "builtin:nowhere/x.onnx"), entry="net")


def test_first_good_source_wins_and_a_mirror_goes_first(hub, weights, file_of, monkeypatch):
    hub.add_file("owner/net", COMMIT, "deep/model.onnx", weights)
    file = file_of(weights, source("gone.onnx"), source("deep/model.onnx"), source("never.onnx"))
    locate(file, entry="net")
    assert [p.rsplit(f"{COMMIT}/")[-1] for p in hub.gets] == ["gone.onnx", "deep/model.onnx"]
    hub.seen.clear()
    monkeypatch.setenv("ZOO_HUB_MIRROR", "lab")
    other = file_of(weights[:-1], source("deep/model.onnx"), name="other.onnx")
    hub.add_file("lab/net", "main", "other.onnx", weights[:-1])
    locate(other, entry="net")
    assert hub.gets == ["/lab/net/resolve/main/other.onnx"]


def test_wrong_bytes_of_an_earlier_source_are_not_passed_over_in_silence(hub, weights, file_of, caplog):
    bad, good = hub.add_url("/bad.onnx", weights[::-1]), hub.add_url("/good.onnx", weights)
    assert locate(file_of(weights, bad, good), entry="net").read_bytes() == weights
    assert bad in caplog.text and "sha256" in caplog.text


def test_a_missing_file_of_no_entry_is_named_by_its_tool(hub, file_of):
    with pytest.raises(WeightsMissingError) as caught:
        locate(file_of(b"abc", f"{hub.url}/none"), entry="tool:mediapipe")
    text = str(caught.value)
    assert "where: mediapipe: model.onnx" in text
    assert "run the command again" in text
    assert "model=tool" not in text


def test_an_unusable_cache_folder_is_one_clear_error(hub, weights, file_of, tmp_path, monkeypatch):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="cache folder cannot be used") as caught:
        locate(file_of(weights, source()), entry="net")
    assert "ZOO_HOME" in str(caught.value)


def test_a_full_disk_is_one_clear_error(hub, weights, file_of, monkeypatch):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(WeightsError, match="disk is full") as caught:
        locate(file_of(weights, source()), entry="net")
    assert "ZOO_HOME" in str(caught.value)
    assert cache_files() == []


def test_a_cache_without_room_for_notes_still_serves(hub, weights, file_of):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    path = locate(file, entry="net")
    shutil.rmtree(cache_dir() / "verified")
    (cache_dir() / "verified").write_text("in the way")
    hub.seen.clear()
    assert locate(file, entry="net") == path
    assert hub.seen == []


_CHILD = """
import json, sys
from zoo.registry.schema import WeightFile
from zoo.weights import locate
print(locate(WeightFile(**json.loads(sys.argv[1])), entry="net", progress=False))
"""


def start(file) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _CHILD, file.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_download_once(hub, weights, file_of):
    hub.knobs(hub.add_file("owner/net", COMMIT, "model.onnx", weights)).slow = 0.2
    file = file_of(weights, source())
    children = [start(file), start(file)]
    answers = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(cache_dir() / file.sha256 / "model.onnx")}
    assert len(hub.gets) == 1


def test_a_killed_download_leaves_no_lock_and_resumes(hub, weights, file_of):
    knobs = hub.knobs(hub.add_file("owner/net", COMMIT, "model.onnx", weights))
    knobs.slow = 60  # however busy the machine, the child is killed before it has all
    file = file_of(weights, source())
    child = start(file)
    deadline = time.monotonic() + 60
    while status(file).bytes_here < 1 << 16 and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.communicate()
    assert status(file).state == "partial"
    have = status(file).bytes_here
    knobs.slow = 0
    assert locate(file, entry="net").read_bytes() == weights
    assert hub.seen[-1].range == f"bytes={have}-"
    assert hub.seen[-1].status == 206
    assert len(cache_files()) == 1


def test_ctrl_c_leaves_only_what_can_be_resumed(hub, weights, file_of, monkeypatch):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    from tqdm import tqdm

    real, calls = tqdm.update, []

    def update(self, n=1):
        calls.append(n)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, n)

    monkeypatch.setattr(tqdm, "update", update)
    with pytest.raises(KeyboardInterrupt):
        locate(file, entry="net")
    assert {p.parent.name for p in cache_files()} == {"partial"}
    assert status(file).state == "partial"
    locate(file, entry="net")
    assert hub.seen[-1].status == 206


def test_notes_are_data_and_a_broken_one_is_no_matter(hub, weights, file_of):
    hub.add_file("owner/net", COMMIT, "model.onnx", weights)
    file = file_of(weights, source())
    locate(file, entry="net")
    (note,) = (cache_dir() / "verified").iterdir()
    assert json.loads(note.read_text())["size"] == len(weights)
    note.write_text("{")
    assert cached(file) is not None


def test_a_file_of_the_users_own_entry_is_not_to_be_fetched(weights, file_of, tmp_path):
    file = file_of(weights, "path:absent.onnx")
    with pytest.raises(WeightsMissingError) as caught:
        locate(file, entry="net", base=tmp_path)
    assert caught.value.fix is not None
    assert "correct path:" in caught.value.fix and "zoo.fetch" not in caught.value.fix
