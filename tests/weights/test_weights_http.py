"""Transfers that break, servers that refuse: each ends in the right bytes or in one clear error."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.weights.conftest import COMMIT
from zoo.errors import HashMismatchError, LicenseError, WeightsError, WeightsMissingError
from zoo.weights import cache_dir, http, locate, status
from zoo.weights.layout import parts_of

SOURCE = f"hf:owner/net@{COMMIT}:model.onnx"


@pytest.fixture
def served(hub, weights):
    return hub.add_file("owner/net", COMMIT, "model.onnx", weights)


def failure(file, kind: type[WeightsError | WeightsMissingError]) -> str:
    with pytest.raises(kind) as caught:
        locate(file, entry="net")
    assert type(caught.value) is kind
    text = str(caught.value)
    assert "model.onnx" in text.splitlines()[0]
    assert "models.net.weights[model.onnx]" in text
    assert file.sources[0] in text
    assert "fix:" in text
    assert not (cache_dir() / file.sha256).exists()
    return text


def test_a_broken_transfer_resumes_within_a_call(hub, weights, file_of, served):
    knobs = hub.knobs(served)
    knobs.cut_after, knobs.cuts = 100_000, 2
    assert locate(file_of(weights, SOURCE), entry="net").read_bytes() == weights
    assert [seen.status for seen in hub.seen] == [200, 206, 206]


def test_a_broken_transfer_resumes_across_calls(hub, weights, file_of, served, monkeypatch):
    monkeypatch.setattr(http, "RETRIES", 0)
    knobs = hub.knobs(served)
    knobs.cut_after, knobs.cuts = 150_000, 1
    file = file_of(weights, SOURCE)
    text = failure(file, WeightsMissingError)
    assert "broke off" in text and "the next call resumes there" in text
    assert "python -m zoo.fetch model=net" in text
    have = status(file).bytes_here
    assert 0 < have <= 150_000
    assert locate(file, entry="net").read_bytes() == weights
    assert hub.seen[-1].range == f"bytes={have}-" and hub.seen[-1].status == 206


def test_a_transfer_that_keeps_breaking_gives_up(hub, weights, file_of, served):
    hub.knobs(served).cut_after = 0
    failure(file_of(weights, SOURCE), WeightsMissingError)
    assert len(hub.seen) == http.RETRIES + 1


def test_an_early_end_without_a_length_is_noticed(hub, weights, file_of, served):
    knobs = hub.knobs(served)
    knobs.length, knobs.cut_after, knobs.cuts = False, 100_000, 1
    assert locate(file_of(weights, SOURCE), entry="net").read_bytes() == weights
    assert len(hub.seen) == 2


def test_a_server_without_ranges_starts_over(hub, weights, file_of, served):
    knobs = hub.knobs(served)
    knobs.ranges, knobs.cut_after, knobs.cuts = False, 100_000, 1
    assert locate(file_of(weights, SOURCE), entry="net").read_bytes() == weights
    assert [seen.status for seen in hub.seen] == [200, 200]


def test_a_file_that_changed_while_it_was_away_starts_over(hub, weights, file_of, monkeypatch):
    """If-Range: the first half of one file and the second half of another are never joined."""
    monkeypatch.setattr(http, "RETRIES", 0)
    url = hub.add_url("/f/model.onnx", weights[::-1])
    hub.knobs(url).cut_after, hub.knobs(url).cuts = 100_000, 1
    file = file_of(weights, url)
    with pytest.raises(WeightsMissingError):
        locate(file, entry="net")
    hub.add_url("/f/model.onnx", weights)
    assert locate(file, entry="net").read_bytes() == weights
    assert hub.seen[-1].range and hub.seen[-1].status == 200


def test_pieces_that_do_not_fit_together_are_fetched_in_one_piece(hub, weights, file_of, monkeypatch):
    """The same without a validator that could tell: the hash tells, and the file is fetched once more."""
    monkeypatch.setattr(http, "RETRIES", 0)
    url = hub.add_url("/f/model.onnx", weights[::-1])
    knobs = hub.knobs(url)
    knobs.etag, knobs.cut_after, knobs.cuts = '"same"', 100_000, 1
    file = file_of(weights, url)
    with pytest.raises(WeightsMissingError):
        locate(file, entry="net")
    hub.add_url("/f/model.onnx", weights)
    assert locate(file, entry="net").read_bytes() == weights
    assert [seen.status for seen in hub.seen] == [200, 206, 200]


def test_a_part_that_is_whole_already_is_used(hub, weights, file_of):
    url = hub.add_url("/f/model.onnx", weights)
    for size in (len(weights), None):
        file = file_of(weights, url, size=size, name=f"{size}.onnx")
        from zoo.weights.layout import part_path

        part = part_path(file, url)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(weights)
        assert locate(file, entry="net").read_bytes() == weights
    assert [seen.status for seen in hub.seen] == [416]  # with a size, nobody has to be asked


def test_a_part_longer_than_the_file_starts_over(hub, weights, file_of):
    url = hub.add_url("/f/model.onnx", weights)
    file = file_of(weights, url, size=None)
    from zoo.weights.layout import part_path

    part = part_path(file, url)
    part.parent.mkdir(parents=True)
    part.write_bytes(weights + b"more")
    assert locate(file, entry="net").read_bytes() == weights


def test_wrong_bytes_never_stay(hub, weights, file_of):
    url = hub.add_url("/f/model.onnx", weights)
    hub.knobs(url).wrong = True
    file = file_of(weights, url)
    text = failure(file, HashMismatchError)
    assert file.sha256 in text and "python -m zoo.fetch model=net" in text
    assert parts_of(file) == []
    hub.knobs(url).wrong = False
    assert locate(file, entry="net").read_bytes() == weights


def test_another_length_is_refused_before_the_body(hub, weights, file_of):
    url = hub.add_url("/f/model.onnx", weights + b"x")
    text = failure(file_of(weights, url), HashMismatchError)
    assert f"offers {len(weights) + 1:,} bytes, not {len(weights):,}" in text
    hub.knobs(url).length = False
    assert "sends more than" in failure(file_of(weights, url), HashMismatchError)


def test_a_page_instead_of_a_file_is_named(hub, weights, file_of):
    page = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"
    hub.files["/drive/download"] = page
    text = failure(file_of(weights, "gdrive:1AbCdEfGhIj"), HashMismatchError)
    assert "HTML page" in text and "Quota exceeded" in text
    hub.files["/drive/download"] = weights
    assert locate(file_of(weights, "gdrive:1AbCdEfGhIj"), entry="net").read_bytes() == weights
    assert hub.gets[-1] == "/drive/download?id=1AbCdEfGhIj&export=download&confirm=t"


@pytest.mark.parametrize(
    ("status_code", "error_code", "kind", "says"),
    [
        (401, "GatedRepo", LicenseError, ("gated", "accept the terms at {url}/owner/net", "hf auth login")),
        (403, "GatedRepo", LicenseError, ("gated", "accept the terms at {url}/owner/net", "hf auth login")),
        (403, None, LicenseError, ("refused (HTTP 403)", "hf auth login")),
        (401, "RepoNotFound", WeightsMissingError, ("no repository owner/net, or it is private", "hf auth login")),
        (404, "RepoNotFound", WeightsMissingError, ("no repository owner/net",)),
        (404, "RevisionNotFound", WeightsMissingError, ("no commit " + COMMIT,)),
        (404, "EntryNotFound", WeightsMissingError, ("no file model.onnx",)),
        (404, None, WeightsMissingError, ("HTTP 404",)),
        (418, None, WeightsMissingError, ("HTTP 418",)),
    ],
)
def test_what_the_hub_refuses_is_said_plainly(hub, weights, file_of, served, status_code, error_code, kind, says):
    hub.knobs(served).status, hub.knobs(served).error_code = status_code, error_code
    text = failure(file_of(weights, SOURCE), kind)
    for part in says:
        assert part.format(url=hub.url) in text
    assert len(hub.seen) == 1  # no use in asking again


def test_missing_repository_commit_and_file_by_the_servers_own_answers(hub, weights, file_of, served):
    for source, says in (
        (f"hf:owner/gone@{COMMIT}:model.onnx", "no repository owner/gone"),
        (f"hf:owner/net@{'1' * 40}:model.onnx", "no commit 1111"),
        (f"hf:owner/net@{COMMIT}:else.onnx", "no file else.onnx"),
    ):
        assert says in failure(file_of(weights, source), WeightsMissingError)


def test_a_moved_revision_is_refused(hub, weights, file_of, served):
    hub.knobs(served).commit = "d" * 40
    text = failure(file_of(weights, SOURCE), HashMismatchError)
    assert "d" * 40 in text and "not the pinned one" in text


def test_the_hubs_own_hash_is_read_before_the_body(hub, weights, file_of, served):
    file = file_of(weights, SOURCE, sha256="0" * 64)
    assert "the Hub has a file with sha256" in failure(file, HashMismatchError)
    assert parts_of(file) == []


def test_large_files_are_followed_to_another_host_without_the_token(hub, weights, file_of, served, monkeypatch):
    hub.add_url("/cdn/blob", weights)
    hub.knobs(served).redirect = f"{hub.url.replace('127.0.0.1', 'localhost')}/cdn/blob"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert locate(file_of(weights, SOURCE), entry="net").read_bytes() == weights
    assert [seen.authorization for seen in hub.seen] == ["Bearer hf_secret", None]


def test_rate_limit_is_waited_out_when_short(hub, weights, file_of, served):
    knobs = hub.knobs(served)
    knobs.status, knobs.retry_after, knobs.refusals = 429, "0", 2
    assert locate(file_of(weights, SOURCE), entry="net").read_bytes() == weights
    assert [seen.status for seen in hub.seen] == [429, 429, 200]


def test_rate_limit_is_told_when_long(hub, weights, file_of, served):
    knobs = hub.knobs(served)
    knobs.status, knobs.retry_after = 429, "300"
    text = failure(file_of(weights, SOURCE), WeightsMissingError)
    assert "HTTP 429" in text and "wait 300 s" in text and "python -m zoo.fetch model=net" in text
    assert len(hub.seen) == 1


def test_a_server_in_trouble_is_asked_again(hub, weights, file_of, served):
    knobs = hub.knobs(served)
    knobs.status, knobs.refusals = 503, 2
    assert locate(file_of(weights, SOURCE), entry="net").read_bytes() == weights


def test_no_server_at_all(weights, file_of, monkeypatch):
    monkeypatch.setattr(http, "BACKOFF_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    text = failure(file_of(weights, "http://127.0.0.1:9/model.onnx"), WeightsMissingError)
    assert "cannot be reached" in text and "check the network" in text


def test_every_source_is_named_with_its_reason(hub, weights, file_of, served):
    hub.knobs(served).status, hub.knobs(served).error_code = 403, "GatedRepo"
    file = file_of(weights, SOURCE, f"{hub.url}/none", "path:here.onnx", f"github:a/b@{COMMIT}:model.onnx")
    text = failure(file, LicenseError)
    assert [line.split()[0] for line in text.splitlines() if line.startswith("    ")][:4] == ["1.", "2.", "3.", "4."]
    for part in (*file.sources, "gated", "HTTP 404", "no such file"):
        assert part in text


def test_retry_after_is_read_as_seconds_date_or_the_hubs_header():
    assert http.retry_after({"retry-after": "7"}) == 7
    assert http.retry_after({"retry-after": formatdate(time.time() + 100, usegmt=True)}) == pytest.approx(100, abs=5)
    assert http.retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert http.retry_after({"ratelimit": '"api";r=0;t=55'}) == 55
    assert http.retry_after({}) is None


@given(st.text())
def test_retry_after_never_fails(text):
    http.retry_after({"retry-after": text})
    http.retry_after({"ratelimit": text})
