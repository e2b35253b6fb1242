"""Py-Feat's skops files: read without building an object, and evaluated as scikit-learn and XGBoost evaluate them."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ContractError, UnsafeFileError, ZooError
from zoo.models.py_feat import AUS, EXPRESSIONS, HOG, hog, read_classifiers
from zoo.models.ubjson import read_ubjson
from zoo.registry import load_registry
from zoo.weights.skops import read_skops

# Regions by AU, read from Py-Feat's SL_test.py; every other AU reads the whole face.
XGB = {"upper": (1, 2, 7), "lower": (11, 14, 17, 23, 24, 26)}
SVM = {"upper": (1, 4, 6), "lower": (11, 12, 17)}


def _region(regions: dict[str, tuple[int, ...]], au: int) -> str:
    return next((name for name, aus in regions.items() if au in aus), "full")


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HOG-like features, landmarks and the answers of 60 made-up faces."""
    rng = np.random.default_rng(0)
    return rng.random((60, HOG)), rng.integers(0, 112, (60, 68, 2)), rng.integers(0, 2, (60, 20))


@pytest.fixture(scope="module")
def made(faces: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, np.ndarray]]:
    """Fits and saves stand-ins with the real libraries; returns the file and what the libraries answer."""
    import skops.io as skops_io
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    xgboost = pytest.importorskip("xgboost")  # not installed on macOS
    features, points, answers = faces
    parts: dict[str, Any] = {}
    joined = {}
    for seed, (region, whiten) in enumerate((("upper", False), ("lower", True), ("full", False))):
        scaler = StandardScaler().fit(features)
        pca = PCA(4 + seed, whiten=whiten, random_state=seed).fit(scaler.transform(features)[: 30 + 10 * seed])
        joined[region] = np.hstack([pca.transform(scaler.transform(features)), points.reshape(60, -1)])
        parts |= {f"scaler_{region}": scaler, f"pca_model_{region}": pca}
    folder = tmp_path_factory.mktemp("py-feat")

    def make(kind: str, **change: Any) -> tuple[Path, np.ndarray]:
        path = folder / f"{kind}{len(list(folder.iterdir()))}.skops"
        found, wanted = {}, []
        names = list(EXPRESSIONS) if kind == "emo" else [f"AU{int(au[2:])}" for au in AUS]
        for column, name in enumerate(names):
            region = "full" if kind == "emo" else _region(XGB if kind == "xgb" else SVM, int(name[2:]))
            x, y = joined[region], answers[:, column]
            if kind == "xgb":
                hinge = name == "AU7"
                model = xgboost.XGBClassifier(
                    n_estimators=8, max_depth=3, objective="binary:hinge" if hinge else "binary:logistic",
                    base_score=0.5 if column % 2 else None, early_stopping_rounds=2 if column % 3 == 0 else None,
                ).fit(x, y, eval_set=[(x[::-1], answers[:, 19 - column])], verbose=False)  # fmt: skip
                wanted.append(model.predict_proba(x)[:, 1])
            else:
                model = LinearSVC(max_iter=50).fit(x, y)
                wanted.append(model.predict(x).astype(float))
            found[name] = model
        skops_io.dump({**parts, "classifiers": found, **change}, path)
        return path, np.array(wanted).T

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield make


@pytest.mark.parametrize("kind", ["xgb", "svm", "emo"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_gives_what_the_libraries_give(kind: str, made: Any, faces: Any) -> None:
    path, wanted = made(kind)
    found = read_classifiers(path).predict(faces[0], faces[1])
    assert list(found) == (list(EXPRESSIONS.values()) if kind == "emo" else list(AUS))
    got = np.array(list(found.values())).T
    if kind == "xgb":
        np.testing.assert_allclose(got, wanted, atol=2e-6)
        assert set(np.unique(got[:, AUS.index("AU07")])) <= {0.0, 1.0}  # the hinge
        assert np.ptp(np.delete(got, AUS.index("AU07"), 1), axis=0).max() > 0.1
    else:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.filterwarnings("ignore")
def test_what_would_have_to_be_guessed_is_refused(made: Any, faces: Any) -> None:
    from sklearn.isotonic import IsotonicRegression

    path, _ = made("svm")
    with pytest.raises(ContractError, match=r"HOG \[n, 5408\]"):
        read_classifiers(path).predict(faces[0][:, 1:], faces[1])
    with pytest.raises(ContractError, match="landmarks"):
        read_classifiers(path).predict(faces[0], faces[1][:-1])
    calibrators = {"AU1": IsotonicRegression().fit([0, 1], [0, 1])}
    with pytest.raises(UnsafeFileError, match="IsotonicRegression"):
        read_classifiers(made("svm", calibrators=calibrators)[0])
    with pytest.raises(ContractError, match="calibrators"):
        read_classifiers(made("svm", calibrators={"AU1": 1})[0])
    with pytest.raises(ContractError, match="it has no 'pca_model_upper'"):
        _edited(path, lambda schema: schema["content"].pop("pca_model_upper"))


def _edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Reads a copy of a file whose schema was changed."""
    copy = path.with_name("changed.skops")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "schema.json":
                schema = json.loads(data)
                change(schema)
                data = json.dumps(schema).encode()
            new.writestr(member, data)
    read_classifiers(copy)


@pytest.mark.filterwarnings("ignore")
def test_classes_that_do_not_belong_are_refused_and_not_imported(made: Any) -> None:
    path, _ = made("svm")

    def other(schema: dict[str, Any]) -> None:
        schema["content"]["scaler_full"] |= {"__module__": "os", "__class__": "system"}

    with pytest.raises(UnsafeFileError, match=r"os\.system"):
        _edited(path, other)
    for loader in ("FunctionNode", "MethodNode", "ReduceNode", "OperatorFuncNode", "unsafe", "__init__"):
        with pytest.raises(UnsafeFileError, match=loader):
            _edited(path, lambda schema, loader=loader: schema["content"]["scaler_full"].update(__loader__=loader))
    with pytest.raises(ContractError, match=r"components_ is \[6, 5408\]|classes|needed"):
        _edited(path, lambda s: s["content"]["classifiers"]["content"].update(
            AU1=s["content"]["classifiers"]["content"]["AU2"]))  # another region's width  # fmt: skip


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "executed",)

    np.save(tmp_path / "a.npy", np.array([Trap()], object), allow_pickle=True)
    path = tmp_path / "x.skops"
    node = {
        "__loader__": "NdArrayNode",
        "__module__": "numpy",
        "__class__": "ndarray",
        "type": "numpy",
        "file": "a.npy",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "a.npy", "a.npy")
        archive.writestr("schema.json", json.dumps(node))
    with pytest.raises(ContractError, match="is not a skops file"):
        read_skops(path, ())
    assert not (tmp_path / "executed").exists()


@given(data=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_no_skops_file(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("x")
    (folder / "plain.skops").write_bytes(data)
    with zipfile.ZipFile(folder / "zip.skops", "w") as archive:
        archive.writestr("schema.json", data)
    for name in ("plain.skops", "zip.skops"):
        with pytest.raises(ZooError):
            read_classifiers(folder / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(
        st.sampled_from(["__loader__", "content", "__class__", "__module__", "file", "type", "__id__"]) | st.text(
            max_size=3), x | st.sampled_from(["JsonNode", "DictNode", "ListNode", "NdArrayNode", "CachedNode"]),
        max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(schema=JSON)
@settings(max_examples=150, deadline=None)
def test_any_schema_ends_in_a_value_or_an_error_of_ours(schema: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("x") / "x.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with suppress(ZooError):
        read_skops(path, ())


def test_ubjson_by_hand() -> None:
    assert read_ubjson(b"[i\x01U\xffI\x01\x00l\x00\x00\x00\x02]") == [1, 255, 256, 2]
    assert read_ubjson(b"{i\x01aSi\x02hii\x01bTi\x01cZ}") == {"a": "hi", "b": True, "c": None}
    assert read_ubjson(b"[$l#i\x02\x00\x00\x00\x07\xff\xff\xff\xff").tolist() == [7, -1]
    assert read_ubjson(b"[#i\x02i\x01[]") == [1, []]
    assert read_ubjson(b"d\x3f\x80\x00\x00") == 1.0
    for wrong in (
        b"",
        b"[i\x01",
        b"i\x01i\x01",
        b"X",
        b"[$l#i\x05\x00",
        b"[$i",
        b"Si\xffa",
        b"[" * 100,
        b"[$Z#l\x7f\xff\xff\xff",
    ):
        with pytest.raises(ValueError):
            read_ubjson(wrong)


@given(data=st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_ubjson_of_any_bytes_ends(data: bytes) -> None:
    with suppress(ValueError):
        read_ubjson(b"{" + data)


def test_hog_is_scikit_images() -> None:
    import skimage.feature as skimage

    rng = np.random.default_rng(3)
    faces = rng.random((2, 14, 14, 3)).repeat(8, 1).repeat(8, 2) + 0.1 * rng.random((2, 112, 112, 3))
    faces[:, :20] = 0  # the mask
    wanted = [
        skimage.hog(f, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2), block_norm="L2-Hys",
                    channel_axis=-1)
        for f in faces
    ]  # fmt: skip
    np.testing.assert_allclose(hog(faces), wanted, atol=1e-6)  # its cells are float32
    with pytest.raises(ContractError, match="112"):
        hog(faces[:, :100])


def test_the_orders_are_those_of_the_entries() -> None:
    registry = load_registry()
    for name in ("py-feat-xgb", "py-feat-svm"):
        assert registry.get(name).output("au-occurrence").labels == AUS
    assert registry.get("py-feat-svm-emotion").output("expression").labels == tuple(EXPRESSIONS.values())
