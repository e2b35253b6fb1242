"""The user's own images: class folders and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.datasets import load_index
from zoo.datasets.folder import Folder
from zoo.errors import DatasetError, DatasetMissingError, ZooError
from zoo.registry.labels import EXPRESSIONS


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def table(root: Path, text: str, *names: str) -> Path:
    images(root, *names)
    (root / "labels.csv").write_text(text)
    return root


def classes(root: Path) -> dict[str, str]:
    index = Folder().index(root)
    values = index.labels["expression"].values
    return {f: EXPRESSIONS[v] if v >= 0 else "" for f, v in zip(index.file.tolist(), values.tolist(), strict=True)}


def test_class_folders_in_any_known_spelling(tmp_path: Path) -> None:
    images(tmp_path, "Happy/a.jpg", "happiness/b.PNG", "0_neutral/c.jpg", "Angry/x/d.jpeg", "Sadness/notes.txt")
    assert classes(tmp_path) == {
        "Happy/a.jpg": "happiness", "happiness/b.PNG": "happiness", "0_neutral/c.jpg": "neutral",
        "Angry/x/d.jpeg": "anger",
    }  # fmt: skip
    codes = {f.code for f in Folder().index(tmp_path).findings}
    assert codes == {"two-folders-one-class", "unknown-file", "empty-class"}


def test_splits_above_the_classes(tmp_path: Path) -> None:
    images(tmp_path, "train/happy/a.jpg", "val/sad/b.jpg", "test/sad/c.jpg")
    index = Folder().index(tmp_path)
    assert dict(zip(index.split.tolist(), index.file.tolist(), strict=True)) == {
        "train": "train/happy/a.jpg", "validation": "val/sad/b.jpg", "test": "test/sad/c.jpg"
    }  # fmt: skip


@pytest.mark.parametrize(("name", "near"), [("hapy", "happiness"), ("suprise", "surprise"), ("7", ""), ("misc", "")])
def test_an_unknown_class_folder_is_an_error(tmp_path: Path, name: str, near: str) -> None:
    images(tmp_path, "sad/a.jpg", f"{name}/b.jpg")
    with pytest.raises(DatasetError, match=f"'{name}' is not the name of an expression") as caught:
        Folder().index(tmp_path)
    assert near in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="class folders"):
        Folder().index(tmp_path)
    (tmp_path / "happy").mkdir()
    with pytest.raises(DatasetMissingError, match="images in its class folders"):
        Folder().index(tmp_path)


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    images(tmp_path, "happy/a.jpg")
    (tmp_path / "happy" / "again").symlink_to(tmp_path / "happy")
    assert len(Folder().index(tmp_path)) == 1


def test_a_table_with_everything(tmp_path: Path) -> None:
    table(
        tmp_path,
        "path,subject,expression,AU01,au12,valence,Arousal,split\n"
        "p/b.jpg,s2,Happy,0,4.5,0.5,,val\n"
        "p/a.jpg,s1,,1,,-1,1,\n",
        "p/a.jpg",
        "p/b.jpg",
    )
    index = Folder().index(tmp_path)
    assert index.subject.tolist() == ["s1", "s2"]
    assert index.split.tolist() == ["", "validation"]
    assert index.labels["expression"].values.tolist() == [-1, EXPRESSIONS.index("happiness")]
    assert index.labels["au-intensity"].names == ("AU01", "AU12")
    np.testing.assert_array_equal(index.labels["au-intensity"].values, np.float32([[1, np.nan], [0, 4.5]]))
    np.testing.assert_array_equal(index.labels["valence-arousal"].values, np.float32([[-1, 1], [0.5, np.nan]]))
    assert index.labels["valence-arousal"].names == ("valence", "arousal")


def test_au_columns_say_what_they_are(tmp_path: Path) -> None:
    table(tmp_path, "path,AU1,AU2\na.jpg,0,1\nb.jpg,1,\n", "a.jpg", "b.jpg")
    index = Folder().index(tmp_path)
    assert index.labels.keys() == {"au-occurrence"}
    assert [f.code for f in index.findings] == ["au-kind"]
    table(tmp_path, "path,AU1_r,AU2_c\na.jpg,0,1\nb.jpg,1,\n")
    index = Folder().index(tmp_path)
    assert index.labels["au-intensity"].names == ("AU01",)
    assert index.labels["au-occurrence"].names == ("AU02",)
    assert index.findings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,expresion\na.jpg,happy\n", "did you mean 'expression'"),
        ("path,AU99\na.jpg,1\n", "unknown column 'AU99'"),
        ("path,AU1,AU01\na.jpg,1,1\n", "occurs twice"),
        ("path,AU1,AU01_r\na.jpg,1,1\n", "occurs twice"),
        ("file,expression\na.jpg,happy\n", "unknown column 'file'"),
        ("expression\nhappy\n", "no column 'path'"),
        ("path,subject\na.jpg,s1\n", "no labels"),
        ("path,expression\na.jpg,hapy\n", r"labels\.csv:2"),
        ("path,AU01\na.jpg,6\n", "AU01 = '6' is not a number from 0 to 5"),
        ("path,AU01\na.jpg,nan\n", "is not a number"),
        ("path,AU01_c\na.jpg,0.5\n", "is not 0 or 1"),
        ("path,valence\na.jpg,-2\n", "valence = '-2'"),
        ("path,valence\na.jpg,x\n", r"labels\.csv:2"),
        ("path,expression\na.jpg,happy,sad\n", "3 cells where the header has 2"),
        ("path,expression\n../a.jpg,happy\n", "does not lie under"),
        ("path,expression\n/etc/passwd,happy\n", "does not lie under"),
        ("path,expression\n,happy\n", "does not lie under"),
        ("path,expression\na.jpg,happy\na.jpg,happy\n", "more than once"),
        ("path,expression,frame\na.jpg,happy,1.5\n", "whole number"),
        ("", "the table is empty"),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    table(tmp_path, text, "a.jpg")
    with pytest.raises(DatasetError, match=message):
        Folder().index(tmp_path)


def test_missing_images_of_a_table_are_counted(tmp_path: Path) -> None:
    table(tmp_path, "path,expression\na.jpg,happy\nb.jpg,sad\nc.jpg,sad\n", "b.jpg")
    index = Folder().index(tmp_path)
    assert index.file.tolist() == ["b.jpg"]
    assert index.findings[0].count == 2
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(DatasetMissingError, match="none of the table's images"):
        Folder().index(tmp_path)


def test_the_root_may_be_the_table(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    (tmp_path / "mine.csv").write_text(f"path,expression\n{tmp_path / 'a.jpg'},happy\n")
    index = load_index("folder", tmp_path / "mine.csv")
    assert index.root == tmp_path
    assert index.file.tolist() == ["a.jpg"]
    with pytest.raises(DatasetMissingError, match="neither a folder nor"):
        load_index("folder", tmp_path / "a.jpg")


CELL = st.sampled_from(["path", "a.jpg", "AU01", "AU01_c", "expression", "happy", "", "1", "5", "-1", "x", '"', "\0"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.lists(
                CELL,
                     min_size=1, max_size=4).map(",".join),
            max_size=5,
        ).map("\n".join),
    )
)  # fmt: skip
def test_any_table_is_read_or_refused(tmp_path: Path, text: str) -> None:
    images(tmp_path, "a.jpg")
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        index = Folder().index(tmp_path)
    except ZooError:
        return
    assert index.file.tolist() == ["a.jpg"]
    for labels in index.labels.values():
        finite = labels.values[~np.isnan(labels.values)] if labels.values.dtype.kind == "f" else labels.values
        assert ((finite >= -1) & (finite <= 8)).all()
