"""Datasets of the Hub, from a server on 127.0.0.1: layouts, splits, label maps, and everything that can go wrong."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.helpers.tiny import tiny_registry
from tests.weights.hub_server import HubServer, zip_of
from zoo import check, eval, score
from zoo.datasets import check as check_copy
from zoo.datasets import identities_of, load_index
from zoo.datasets.base import Index, pictures
from zoo.datasets.hub import Hub, read_map
from zoo.datasets.hub_files import unpack
from zoo.errors import (
    DatasetError,
    DatasetMissingError,
    HashMismatchError,
    LicenseError,
    UnknownNameError,
    UsageError,
    ZooError,
)
from zoo.registry.labels import EXPRESSIONS
from zoo.weights import http

COMMIT = "ab" * 20
NAME = f"hub:faces/open@{COMMIT}"
CARD = b"---\nlicense: cc0-1.0\n---\n# Open faces\n"


def picture(colour: int = 0, seed: int = 0) -> bytes:
    """A small picture in which one channel stands out."""
    pixels = np.random.default_rng(seed).integers(0, 60, (16, 16, 3), dtype=np.uint8)
    pixels[..., colour] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def shard(
    labels: list[Any], names: list[str] | None = None, *, rows: int = 4, kind: pa.DataType | None = None
) -> bytes:
    """A parquet shard as the datasets library writes it; picture i has the seed i and the colour i % 3."""
    image = [{"bytes": picture(i % 3, i), "path": f"{i}.png"} for i in range(len(labels))]
    table = pa.table({"image": image, "label": pa.array(labels, kind)})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=rows)
    return file.getvalue()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(http, "BACKOFF_S", 0.001)
        yield server


Publish = Callable[..., str]


@pytest.fixture
def publish(hub: HubServer) -> Publish:
    """Puts a dataset on the server."""

    def put(files: dict[str, bytes], card: bytes | None = CARD, **more: Any) -> str:
        return hub.add_dataset("faces/open", COMMIT, {**files, **({"README.md": card} if card else {})}, **more)

    return put


def folders(*splits: str) -> dict[str, bytes]:
    """Six pictures a split, two of each class, as an imagefolder."""
    names = ("angry", "happy", "neutral")
    return {f"{s}/{c}/{i}.png": picture(k, i) for s in splits for k, c in enumerate(names) for i in range(2)}


def by_file(index: Index) -> dict[str, str]:
    values = index.labels["expression"].values
    return {f: EXPRESSIONS[v] if v >= 0 else "" for f, v in zip(index.file.tolist(), values.tolist(), strict=True)}


def notes(index: Index) -> dict[str, str]:
    return {f.code: f.message for f in index.findings}


# Pinning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["faces/open", "faces/open@main", "faces/open@v1.0", "faces/open@abcdef1"])
def test_a_dataset_that_is_not_pinned_is_refused(hub: HubServer, publish: Publish, reference: str) -> None:
    publish(folders("data"))
    with pytest.raises(UsageError, match="not pinned by a commit") as caught:
        load_index(f"hub:{reference}")
    text = str(caught.value)
    assert "https://huggingface.co/datasets/faces/open/commits/main" in text
    asked = reference.partition("@")[2] in ("", "main")
    assert (f"dataset={NAME} is its newest commit" in text) is asked


def test_the_hint_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(UsageError, match="commits/main"):
        load_index("hub:faces/open")


@pytest.mark.parametrize("name", ["hub:", "hub", "hub:faces", "hub:a/b/c@" + COMMIT, f"hub:../x@{COMMIT}/y"])
def test_what_is_no_name_of_a_dataset(name: str) -> None:
    with pytest.raises(UsageError, match="names no dataset"):
        load_index(name)


# Layouts ----------------------------------------------------------------------------------------------------------


def test_folders_of_classes(publish: Publish) -> None:
    publish({**folders("data"), "data/happy/.hidden.png": b"x", "data/happy/notes.txt": b"x"})
    index = load_index(NAME)
    assert by_file(index) == {
        f"data/{c}/{i}.png": e
        for c, e in (("angry", "anger"), ("happy", "happiness"), ("neutral", "neutral"))
        for i in range(2)
    }
    assert index.dataset == "hub"
    assert index.options == {"repo": f"faces/open@{COMMIT}"}
    assert index.identities == "hub:faces/open" == identities_of(NAME) == identities_of("hub:faces/open")
    assert "cc0-1.0" in notes(index)["licence"]
    assert "angry -> anger (2)" in notes(index)["labels"]
    assert all(p.image is not None for p in pictures(index, range(len(index))))


def test_splits_are_chosen_and_only_they_are_fetched(hub: HubServer, publish: Publish) -> None:
    publish(folders("train", "val"))
    with pytest.raises(UsageError, match="several splits: train, validation") as caught:
        load_index(NAME)
    assert "split=" in str(caught.value)
    assert not any("train/" in path or "val/" in path for path in hub.gets)
    index = load_index(NAME, split="validation")
    assert set(index.split.tolist()) == {"validation"}
    assert not any("/train/" in path for path in hub.gets)
    assert len(load_index(NAME, split="val")) == 6
    assert len(load_index(NAME, split="all")) == 12
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        load_index(NAME, split="trian")


def test_archives_are_unpacked(publish: Publish) -> None:
    inside = {"angry/a.png": picture(0), "__MACOSX/angry/a.png": b"x", "angry/.DS_Store": b"x", "angry/list.txt": b"x"}
    publish({"faces/cropped/angry.zip": zip_of(inside), "faces/cropped/happy.zip": zip_of({"b.png": picture(1)}),
             "faces/original/angry.zip": zip_of({"angry/a.png": picture(0)}), "faces/sheet.csv": b"a,b\n"})  # fmt: skip
    assert len(load_index(NAME)) == 3
    index = load_index(NAME, folder="faces/cropped")
    assert by_file(index) == {
        "faces/cropped/angry.zip!/angry/a.png": "anger", "faces/cropped/happy.zip!/b.png": "happiness"
    }  # fmt: skip
    assert [p.image is not None for p in pictures(index, range(2))] == [True, True]


def test_splits_inside_an_archive(publish: Publish) -> None:
    inside = {"train/angry/a.png": picture(0), "test/happy/b.png": picture(1)}
    publish({"archive.zip": zip_of(inside)})
    with pytest.raises(UsageError, match="several splits: test, train"):
        load_index(NAME)
    assert by_file(load_index(NAME, split="test")) == {"archive.zip!/test/happy/b.png": "happiness"}
    with pytest.raises(UnknownNameError):
        load_index(NAME, split="validation")


def test_metadata_files_give_labels(publish: Publish) -> None:
    table = "file_name,label,age\na.png,sad,3\nsub/b.png,happy,4\nc.png,,5\n"
    lines = '{"file_name": "d.png", "label": "fear"}\n\n{"file_name": "gone.png", "label": "fear"}\n'
    files = {name: picture() for name in ("one/a.png", "one/sub/b.png", "one/c.png", "two/d.png", "two/e.png")}
    publish({**files, "one/metadata.csv": table.encode(), "two/metadata.jsonl": lines.encode()})
    index = load_index(NAME)
    assert by_file(index) == {
        "one/a.png": "sadness", "one/c.png": "", "one/sub/b.png": "happiness", "two/d.png": "fear", "two/e.png": ""
    }  # fmt: skip
    assert "2 pictures have no label" in notes(index)["not-labelled"]
    with pytest.raises(UsageError, match=r"3 labels .* '3' "):
        load_index(NAME, column="age")
    with pytest.raises(UsageError, match="no metadata file has a column 'agee'"):
        load_index(NAME, column="agee")


def test_metadata_without_labels_leaves_the_folders(publish: Publish) -> None:
    publish({"sad/a.png": picture(), "metadata.csv": b"file_name,width\nsad/a.png,16\n"})
    assert by_file(load_index(NAME)) == {"sad/a.png": "sadness"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.csv", "file_name,label\na.png,sad,extra\n", "more or fewer cells"),
        ("metadata.csv", "file_name,label\n,sad\n", "names no file"),
        ("metadata.csv", 'file_name,label\na.png,"sad\n', "cannot be read"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": "sad"\n', "cannot be read"),
        ("metadata.jsonl", "[1]\n", "no JSON object"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": ["sad"]}\n', "is no label"),
        ("metadata.jsonl", '{"file_name": "a.png", "label": 0.5}\n', "is no label"),
        ("metadata.jsonl", '{"file_name": 7, "label": "sad"}\n', "names no file"),
    ],
)
def test_damaged_metadata_is_named(publish: Publish, name: str, text: str, message: str) -> None:
    publish({"a.png": picture(), name: text.encode()})
    with pytest.raises(DatasetError, match=message) as caught:
        load_index(NAME)
    assert name in str(caught.value)


def test_parquet_shards(publish: Publish) -> None:
    names = ["angry", "happy", "neutral"]
    publish(
        {
            "data/train-00000-of-00001.parquet": shard([0] * 9, names),
            "data/test-00000-of-00002.parquet": shard([0, 1, 2, 0, 1, 2, -1, None, 1, 1], names),
            "data/test-00001-of-00002.parquet": shard([2, 2], names),
        }
    )
    index = load_index(NAME, split="test")
    file = "data/test-00000-of-00002.parquet"
    values = [EXPRESSIONS[v] if v >= 0 else "" for v in index.labels["expression"].values]
    assert values[:10] == ["anger", "happiness", "neutral"] * 2 + ["", "", "happiness", "happiness"]
    assert index.file.tolist() == [file] * 10 + ["data/test-00001-of-00002.parquet"] * 2
    assert index.position.tolist() == [*range(10), 0, 1]
    assert "2 pictures" in notes(index)["not-labelled"]
    # Forwards with gaps, across row groups, back again, and into the next shard.
    wanted = [1, 3, 8, 9, 2, 0, 11, 10]
    for found, row in zip(pictures(index, wanted), wanted, strict=True):
        assert found.sample == row
        i = row % 10
        np.testing.assert_array_equal(found.image, np.asarray(Image.open(io.BytesIO(picture(i % 3, i)))))


@pytest.mark.parametrize(
    ("labels", "kind", "given"),
    [
        (["Angry", "happy", " sad "], None, ""),
        ([0, 3, 4], pa.uint8(), "0:anger,3:happiness,4:sadness"),
        (["a", "b", "c"], pa.dictionary(pa.int8(), pa.string()), "a:anger,b:happiness,c:sadness"),
    ],
)
def test_labels_of_other_kinds(publish: Publish, labels: list[Any], kind: pa.DataType | None, given: str) -> None:
    publish({"some.parquet": shard(labels, kind=kind)})
    index = load_index(NAME, map=given)
    assert list(by_file(index).values()) == ["sadness"]  # three rows of one file
    assert [EXPRESSIONS[v] for v in index.labels["expression"].values] == ["anger", "happiness", "sadness"]


def test_class_names_from_the_card(publish: Publish) -> None:
    card = b"""---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': angry
          '1': happy
---
"""
    publish({"data/train-00000-of-00001.parquet": shard([1, 0])}, card)
    assert load_index(NAME).labels["expression"].values.tolist() == [
        EXPRESSIONS.index("happiness"), EXPRESSIONS.index("anger")
    ]  # fmt: skip


def test_a_label_outside_the_declared_classes_is_an_error(publish: Publish) -> None:
    publish({"data/train-00000-of-00001.parquet": shard([0, 7], ["angry", "happy"])})
    with pytest.raises(DatasetError, match="label 7 is none of the 2 classes") as caught:
        load_index(NAME)
    assert "angry, happy" in str(caught.value)


def test_which_column_is_the_label(publish: Publish) -> None:
    table = pa.table(
        {
            "face": [{"bytes": picture(), "path": None}],
            "gender": ["f"],
            "mood": ["happy"],
            "score": [0.5],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    publish({"x.parquet": file.getvalue()})
    with pytest.raises(UsageError, match="which column is the label") as caught:
        load_index(NAME)
    assert "gender, mood, score" in str(caught.value)
    assert by_file(load_index(NAME, column="mood")) == {"x.parquet": "happiness"}
    with pytest.raises(DatasetError, match="holds no labels but double"):
        load_index(NAME, column="score")
    with pytest.raises(UsageError, match="no column 'moood'"):
        load_index(NAME, column="moood")


def test_pictures_that_are_not_in_the_shard_are_problems_not_crashes(publish: Publish) -> None:
    image = [{"bytes": None, "path": "a.png"}, {"bytes": b"no picture", "path": None}, None]
    table = pa.table({"image": pa.array([*image, {"bytes": picture(), "path": None}]), "label": ["sad"] * 4})
    file = io.BytesIO()
    pq.write_table(table, file)
    publish({"x.parquet": file.getvalue()})
    found = list(pictures(load_index(NAME), range(4)))
    assert [p.image is not None for p in found] == [False, False, False, True]
    assert "x.parquet row 0: no picture is stored in it" in str(found[0].problem)
    assert "x.parquet row 1" in str(found[1].problem)


def test_a_damaged_shard(publish: Publish) -> None:
    publish({"x.parquet": b"PAR1 but nothing more"})
    with pytest.raises(DatasetError, match="cannot be read as parquet"):
        load_index(NAME)


def test_subsets_and_splits_of_the_card(hub: HubServer, publish: Publish) -> None:
    card = b"""---
license: [cc-by-4.0, mit]
configs:
- config_name: small
  data_files:
  - split: holdout
    path: a/**/*.png
- config_name: big
  data_files:
    train: ["b/x.parquet", "b/[yz]*.parquet"]
- config_name: plain
  data_files: "c/*/*.png"
---
"""
    publish(
        {
            "a/angry/1.png": picture(), "a/x/sad/1.png": picture(), "b/x.parquet": shard(["fear"]),
            "b/y1.parquet": shard(["anger"]), "b/other.parquet": shard(["bad"]), "c/sad/1.png": picture(),
        },
        card,
    )  # fmt: skip
    with pytest.raises(UsageError, match="several subsets: small, big, plain"):
        load_index(NAME)
    small = load_index(NAME, subset="small")
    assert by_file(small) == {"a/angry/1.png": "anger", "a/x/sad/1.png": "sadness"}
    assert set(small.split.tolist()) == {"holdout"}
    assert "cc-by-4.0, mit" in notes(small)["licence"]
    assert by_file(load_index(NAME, subset="big")) == {"b/x.parquet": "fear", "b/y1.parquet": "anger"}
    assert by_file(load_index(NAME, subset="plain")) == {"c/sad/1.png": "sadness"}
    with pytest.raises(UnknownNameError, match="did you mean 'small'"):
        load_index(NAME, subset="smal")


@pytest.mark.parametrize("card", [None, b"# no head", b"---\n: [\n---\n", b"---\n- 1\n---\n", b"\xff\xfe"])
def test_a_card_without_a_licence_is_said(publish: Publish, card: bytes | None) -> None:
    publish(folders("data"), card)
    index = load_index(NAME)
    assert [(f.severity, f.code) for f in index.findings if f.code == "licence"] == [("warning", "licence")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"data.tar.gz": b"x", "a.csv": b"x"}, "holds no pictures, zip archives or parquet shards"),
        ({}, "it is empty|it holds 1 x .md"),
        ({"a.parquet": b"x", "sad/b.png": b"x"}, "parquet shards and pictures"),
    ],
)
def test_what_is_no_dataset_of_pictures(publish: Publish, files: dict[str, bytes], message: str) -> None:
    publish(files)
    with pytest.raises(ZooError) as caught:
        load_index(NAME)
    import re

    assert re.search(message, str(caught.value))


# Labels -----------------------------------------------------------------------------------------------------------


def test_unmapped_labels_are_named_with_what_to_write(publish: Publish, tmp_path: Path) -> None:
    publish({f"{c}/a.png": picture() for c in ("hungry", "sad", "a,b:c", "assets")})
    with pytest.raises(UsageError, match="3 labels of faces/open are no expression's name") as caught:
        load_index(NAME)
    assert "'hungry' (1 pictures)" in str(caught.value)
    assert "map=a%2Cb%3Ac:EXPRESSION,assets:EXPRESSION,hungry:EXPRESSION" in str(caught.value)
    given = "hungry:angry,assets:ignore,a%2Cb%3Ac:Fear"
    index = load_index(NAME, map=given)
    assert by_file(index) == {
        "a,b:c/a.png": "fear",
        "assets/a.png": "",
        "hungry/a.png": "anger",
        "sad/a.png": "sadness",
    }
    assert "not-labelled" not in notes(index)
    file = tmp_path / "labels.yaml"
    file.write_text("hungry: angry\nassets: ignore\n'a,b:c': fear\n")
    again = load_index(NAME, labels=str(file))
    assert by_file(again) == by_file(index)
    # Records and stored predictions hold the map itself, in one spelling.
    assert again.options == index.options == {
        "repo": f"faces/open@{COMMIT}", "map": "a%2Cb%3Ac:fear,assets:ignore,hungry:anger"
    }  # fmt: skip
    assert again.manifest == index.manifest


def test_a_label_in_the_map_that_no_picture_has_is_said(publish: Publish) -> None:
    publish(folders("data"))
    assert "hapy" in notes(load_index(NAME, map="hapy:happiness"))["map-unused"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("a:hapiness", UnknownNameError, "did you mean 'happiness'"),
        ("angry", UsageError, "is not label:expression"),
        (":anger", UsageError, "is not label:expression"),
        ("a:anger,a:fear", UsageError, "mapped twice"),
    ],
)
def test_a_map_that_makes_no_sense(given: str, error: type[ZooError], message: str) -> None:
    with pytest.raises(error, match=message):
        read_map(given)


def test_options_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'split'"):
        load_index(NAME, splt="test")
    with pytest.raises(UsageError, match="say it once"):
        load_index(NAME, map="a:fear", labels=str(tmp_path / "x.yaml"))
    with pytest.raises(UsageError, match="say it once"):
        load_index(NAME, repo=f"faces/other@{COMMIT}")
    assert Hub(f"faces/open@{COMMIT}").chosen({"split": ""}) == {"repo": f"faces/open@{COMMIT}"}


def test_a_root_is_refused(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folders("data"))
    with pytest.raises(UsageError, match="needs no root"):
        load_index(NAME, tmp_path)
    load_index(NAME)
    monkeypatch.setenv("ZOO_HUB_ROOT", str(tmp_path))
    with pytest.raises(UsageError, match="needs no root"):
        load_index(NAME)


# Transfer ---------------------------------------------------------------------------------------------------------


def test_what_is_here_needs_no_network(hub: HubServer, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folders("train", "test"))
    first = load_index(NAME, split="test")
    before = len(hub.seen)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    again = load_index(NAME, split="test")
    assert again.manifest == first.manifest
    assert len(check_copy(NAME, split="test").index) == 6
    assert len(hub.seen) == before
    with pytest.raises(DatasetMissingError, match="6 of its files would have to be fetched") as caught:
        load_index(NAME, split="train")
    assert "ZOO_OFFLINE is set" in str(caught.value)
    monkeypatch.delenv("ZOO_OFFLINE")
    with pytest.raises(DatasetMissingError, match="offline mode was asked for"):
        load_index(NAME, split="train", offline=True)
    assert len(load_index(NAME, split="train")) == 6


def test_nothing_is_here_and_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DatasetMissingError, match="the Hub cannot be reached"):
        load_index(NAME)
    with pytest.raises(DatasetMissingError, match="its list of files would have to be fetched"):
        load_index(NAME, offline=True)


def test_a_long_list_comes_in_pages(hub: HubServer, publish: Publish) -> None:
    hub.page_size = 4
    publish(folders("a", "b", "c"))
    assert len(load_index(NAME)) == 18


def test_a_gated_dataset_says_where_to_accept_its_terms(hub: HubServer, publish: Publish) -> None:
    place = publish(folders("data"))
    knobs = hub.knobs(f"{place}data/happy/1.png")
    knobs.status, knobs.error_code = 403, "GatedRepo"
    with pytest.raises(LicenseError, match="is gated") as caught:
        load_index(NAME)
    assert f"accept the terms at {hub.url}/datasets/faces/open" in str(caught.value)
    assert "hf auth login" in str(caught.value)
    assert caught.value.exit_code == 3
    knobs.status = None
    assert len(load_index(NAME)) == 6


@pytest.mark.parametrize("what", ["tree", "revision"])
def test_a_gated_list(hub: HubServer, publish: Publish, what: str) -> None:
    publish(folders("data"))
    knobs = hub.knobs(f"/api/datasets/faces/open/{what}/{COMMIT}")
    knobs.status, knobs.error_code = 401, "GatedRepo"
    with pytest.raises(LicenseError, match="is gated"):
        load_index(NAME)


def test_a_repository_or_commit_that_is_not_there(hub: HubServer, publish: Publish) -> None:
    with pytest.raises(DatasetMissingError, match="no repository faces/open, or it is private"):
        load_index(NAME)
    publish(folders("data"))
    with pytest.raises(DatasetMissingError, match=f"no commit {'c' * 40}"):
        load_index(f"hub:faces/open@{'c' * 40}")
    knobs = hub.knobs(f"/api/datasets/faces/open/tree/{COMMIT}")
    knobs.status = 418
    with pytest.raises(DatasetMissingError, match="HTTP 418"):
        load_index(NAME)


def test_another_commit_is_refused(hub: HubServer, publish: Publish) -> None:
    place = publish(folders("data"))
    hub.knobs(f"{place}data/angry/0.png").commit = "c" * 40
    with pytest.raises(HashMismatchError, match=f"commit {'c' * 40}, not the pinned one"):
        load_index(NAME)


@pytest.mark.parametrize("lfs_above", [0, 1 << 20])
def test_other_bytes_are_refused(hub: HubServer, publish: Publish, lfs_above: int) -> None:
    place = publish(folders("data"), lfs_above=lfs_above)
    knobs = hub.knobs(f"{place}data/angry/0.png")
    knobs.wrong = True
    kind = "git sha1" if lfs_above else "sha256"
    with pytest.raises(HashMismatchError, match=f"not the file that the Hub lists: its {kind}"):
        load_index(NAME)
    knobs.wrong = False
    assert len(load_index(NAME)) == 6


def test_a_broken_transfer_goes_on_where_it_stopped(hub: HubServer, publish: Publish) -> None:
    data = shard([0, 1] * 60, ["angry", "happy"])
    place = publish({"data/train-00000-of-00001.parquet": data})
    knobs = hub.knobs(f"{place}data/train-00000-of-00001.parquet")
    knobs.cut_after = 40_000
    with pytest.raises(DatasetMissingError, match="could not be fetched whole") as caught:
        load_index(NAME)
    assert "goes on where this one stopped" in str(caught.value)
    knobs.cut_after = None
    before = len(hub.seen)
    assert len(load_index(NAME)) == 120
    ranges = [seen.range for seen in hub.seen[before:] if seen.path.endswith(".parquet")]
    assert ranges
    assert all(r and r != "bytes=0-" for r in ranges)


def test_a_file_that_is_lost_is_fetched_again(hub: HubServer, publish: Publish) -> None:
    publish(folders("data"))
    index = load_index(NAME)
    (index.root / "data/angry/0.png").unlink()
    assert len(load_index(NAME)) == 6
    assert (index.root / "data/angry/0.png").is_file()


def test_nothing_half_written_stays(hub: HubServer, publish: Publish) -> None:
    place = publish({**folders("data"), "data/sad.zip": b"PK\x03\x04 no archive"})
    with pytest.raises(DatasetError, match=r"data/sad.zip cannot be unpacked"):
        load_index(NAME)
    assert place
    from zoo._util.files import zoo_home

    left = [p.name for p in (zoo_home() / "hub").rglob("*") if p.is_file()]
    assert not [n for n in left if n.startswith(".")]
    assert not list((zoo_home() / "hub").rglob("sad.zip!"))


@pytest.mark.parametrize("name", ["../../outside.png", "/outside.png", "sad\\..\\..\\outside.png"])
def test_hostile_archives_write_nothing_outside(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(DatasetError, match="is no path below a folder"):
        unpack(archive, tmp_path / "a" / "b" / "out", "x.zip")
    assert not list(tmp_path.rglob("outside.png"))
    assert not (tmp_path / "a" / "b" / "out").exists()


def test_hostile_paths_of_a_repository(publish: Publish) -> None:
    publish({"../../outside.png": picture()})
    with pytest.raises(DatasetError, match="is no path below a folder"):
        load_index(NAME)


# The verbs --------------------------------------------------------------------------------------------------------


def test_the_verbs_from_a_shard_to_a_score(
    hub: HubServer, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = tiny_registry(tmp_path)
    names = ["angry", "happy", "neutral", "meh"]
    publish({"data/test-00000-of-00001.parquet": shard([i % 3 for i in range(29)] + [3], names)})
    words = [f"dataset={NAME}", "map=meh:ignore"]
    assert check.main(words) == 0
    out = capsys.readouterr().out
    assert "hub-expression@1: 29 samples, complete" in out
    assert "licence" in out
    run = ["model=tiny", f"registry={registry}", *words, f"out={tmp_path / 'out'}", "resamples=50"]
    assert eval.main(run) == 0
    shown = capsys.readouterr()
    assert "cc0-1.0" in shown.err
    assert "training data: unknown" in shown.out
    (path,) = (tmp_path / "out" / "results").rglob("*.json")
    record = json.loads(path.read_text())
    assert record["dataset"]["name"] == "hub"
    assert record["dataset"]["options"] == {"repo": f"faces/open@{COMMIT}", "map": "meh:ignore"}
    assert record["views"][0]["scores"][0]["mean"]["value"] == 1.0
    # Again without a network and without a model.
    (stored,) = _predictions()
    before = len(hub.seen)
    assert score.main([f"predictions={stored}", f"registry={registry}", "resamples=50"]) == 0
    assert "29 samples" in capsys.readouterr().err
    assert len(hub.seen) == before
    assert eval.main([*run, "split=train"]) == 2
    assert "unknown split of faces/open 'train'" in capsys.readouterr().err


def _predictions() -> list[Path]:
    from zoo._util.files import zoo_home

    return list((zoo_home() / "predictions").rglob("predictions.parquet"))
