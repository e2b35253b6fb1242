"""Py-Feat's classifiers from the picture on: the landmark network, the aligned and masked face, HOG, trees and margins.

skops files are read without building an object; the libraries that Py-Feat uses are the references.
"""

from __future__ import annotations

import csv
import json
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import drawn, entry_of, frozen, layout_of, read_layout, runtimes_agree, seeded
from zoo.errors import ContractError, RegistryError, UnsafeFileError, UsageError, ZooError
from zoo.models import apply_outputs, load_family, select_files
from zoo.models.networks.mobilefacenet import MobileFaceNet
from zoo.models.networks.py_feat_classifiers import Judge, align, hog, hull_mask
from zoo.models.py_feat import AUS, EXPRESSIONS, HOG, read_classifiers
from zoo.models.ubjson import read_ubjson
from zoo.predict import main as predict
from zoo.registry import ModelEntry
from zoo.weights.skops import read_skops

# Regions by AU, read from Py-Feat's SL_test.py; every other AU reads the whole face.
XGB = {"upper": (1, 2, 7), "lower": (11, 14, 17, 23, 24, 26)}
SVM = {"upper": (1, 4, 6), "lower": (11, 12, 17)}


def _region(regions: dict[str, tuple[int, ...]], au: int) -> str:
    return next((name for name, aus in regions.items() if au in aus), "full")


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HOG-like features and landmarks of 90 made-up faces; answers of the first 60, which stand-ins are fitted to.

    Trees split at values of the faces that they were fitted to, where the last digit decides: the rest is asked.
    """
    rng = np.random.default_rng(0)
    return rng.random((90, HOG)), rng.integers(0, 112, (90, 68, 2)), rng.integers(0, 2, (60, 20))


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
        joined[region] = np.hstack([pca.transform(scaler.transform(features)), points.reshape(90, -1)])
        parts |= {f"scaler_{region}": scaler, f"pca_model_{region}": pca}
    folder = tmp_path_factory.mktemp("py-feat")

    def make(kind: str, **change: Any) -> tuple[Path, np.ndarray]:
        path = folder / f"{kind}{len(list(folder.iterdir()))}.skops"
        found, wanted = {}, []
        names = list(EXPRESSIONS) if kind == "emo" else [f"AU{int(au[2:])}" for au in AUS]
        for column, name in enumerate(names):
            region = "full" if kind == "emo" else _region(XGB if kind == "xgb" else SVM, int(name[2:]))
            x, new, y = joined[region][:60], joined[region][60:], answers[:, column]
            if kind == "xgb":
                hinge = name == "AU7"
                model = xgboost.XGBClassifier(
                    n_jobs=1, n_estimators=8, max_depth=3, objective="binary:hinge" if hinge else "binary:logistic",
                    base_score=0.5 if column % 2 else None, early_stopping_rounds=2 if column % 3 == 0 else None,
                ).fit(x, y, eval_set=[(x[::-1], answers[:, 19 - column])], verbose=False)  # fmt: skip
                wanted.append(model.predict_proba(new)[:, 1])
            else:
                model = LinearSVC(max_iter=50, random_state=0).fit(x, y)
                wanted.append(model.decision_function(new))
            found[name] = model
        skops_io.dump({**parts, "classifiers": found, **change}, path)
        return path, np.array(wanted).T

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield make


def _values(path: Path, features: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The values of a file's classifiers, ``[n, labels]``."""
    judge = Judge(read_classifiers(path)).eval()
    with torch.inference_mode():
        return judge(torch.from_numpy(features).float(), torch.from_numpy(points).float()).numpy()


@pytest.mark.parametrize("kind", ["xgb", "svm", "emo"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_gives_what_the_libraries_give(kind: str, made: Any, faces: Any) -> None:
    path, wanted = made(kind)
    assert list(read_classifiers(path).models) == (list(EXPRESSIONS.values()) if kind == "emo" else list(AUS))
    got = _values(path, faces[0][60:], faces[1][60:])
    np.testing.assert_allclose(got, wanted, atol=2e-4 if kind != "xgb" else 1e-5)
    assert np.median(np.ptp(got, axis=0)) > 0.1  # the faces are told apart
    if kind == "xgb":
        assert set(np.unique(got[:, AUS.index("AU07")])) == {0.0, 1.0}  # the hinge


@pytest.mark.filterwarnings("ignore")
def test_what_would_have_to_be_guessed_is_refused(made: Any) -> None:
    from sklearn.isotonic import IsotonicRegression

    path, _ = made("svm")
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
@settings(max_examples=60)
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
@settings(max_examples=150)
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
@settings(max_examples=200)
def test_ubjson_of_any_bytes_ends(data: bytes) -> None:
    with suppress(ValueError):
        read_ubjson(b"{" + data)


SIDE = 112


def face_points() -> np.ndarray:
    """68 points of a plain frontal face in the order of the 300-W annotation, shares of the crop, ``[68, 2]``."""
    jaw = np.pi * np.linspace(1, 0, 17)
    rows = [
        np.c_[0.5 + 0.38 * np.cos(jaw), 0.42 + 0.5 * np.sin(jaw)],
        np.c_[np.linspace(0.2, 0.42, 5), [0.3, 0.27, 0.26, 0.27, 0.29]],
        np.c_[np.linspace(0.58, 0.8, 5), [0.29, 0.27, 0.26, 0.27, 0.3]],
        np.c_[np.full(4, 0.5), np.linspace(0.37, 0.56, 4)],
        np.c_[np.linspace(0.43, 0.57, 5), [0.6, 0.61, 0.62, 0.61, 0.6]],
        *(np.c_[x + 0.06 * np.cos(t), 0.38 + 0.025 * np.sin(t)]
          for x in (0.32, 0.68) for t in [np.pi * np.arange(3, -3, -1) / 3]),
        *(np.c_[0.5 + w * np.cos(t), 0.74 + h * np.sin(t)]
          for w, h, n in ((0.15, 0.07, 12), (0.12, 0.03, 8)) for t in [np.pi + 2 * np.pi * np.arange(n) / n]),
    ]  # fmt: skip
    return np.concatenate(rows)


def placed_faces(n: int, seed: int = 0) -> np.ndarray:
    """The plain face turned, moved, sized and shaken, in pixels of the crop; some of it outside, ``[n, 68, 2]``."""
    rng = np.random.default_rng(seed)
    angle, size = rng.uniform(-0.7, 0.7, n), rng.uniform(0.6, 1.4, n)
    turn = size[:, None, None] * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).T
    points = (face_points() - 0.5) @ turn + 0.5 + rng.uniform(-0.15, 0.15, (n, 1, 2))
    return SIDE * (points + rng.normal(0, 0.01, points.shape))


def portrait() -> np.ndarray:
    """A photograph as a crop, ``[112, 112, 3]`` in 0..1."""
    import skimage.data
    from PIL import Image

    return np.asarray(Image.fromarray(skimage.data.astronaut()[40:190, 150:300]).resize((SIDE, SIDE))) / 255.0


def aligned_by_hand(face: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The alignment in float64, one face: eyes level, a square of 2.5 times the box of five anchors."""
    from scipy.ndimage import map_coordinates

    left, right = points[36:42].mean(0), points[42:48].mean(0)
    angle = np.arctan2(*(right - left)[::-1])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    anchors = np.stack([left, right, points[30], points[48], points[54]]) @ turn.T
    low, high = anchors.min(0), anchors.max(0)
    half = 1.25 * (high - low).max()
    origin, scale = (low + high) / 2 - half, 111 / (2 * half)
    y, x = np.mgrid[:SIDE, :SIDE]
    source = (np.stack([x, y], -1) / scale + origin) @ turn
    # Pixels beyond the crop's edge count as 0 in the interpolation; those whose centre lies beyond it become 128.
    wide = np.pad(face, ((1, 1), (1, 1), (0, 0)))
    where = [source[..., 1] + 1, source[..., 0] + 1]
    image = np.stack([map_coordinates(wide[..., c], where, order=1) for c in range(3)], -1)
    outside = ((source < -0.5) | (source > SIDE - 0.5)).any(-1)
    return np.where(outside[..., None], 128.0, image), (points @ turn.T - origin) * scale


def test_a_face_is_aligned_as_by_hand() -> None:
    face, points = portrait(), placed_faces(8)
    crops = torch.from_numpy(face).float().permute(2, 0, 1).expand(8, -1, -1, -1)
    images, placed = align(crops, torch.from_numpy(points).float())
    share = []
    for image, got, own in zip(images, placed.numpy(), points, strict=True):
        wanted, exact = aligned_by_hand(face, own)
        off = np.abs(image.permute(1, 2, 0).numpy() - wanted).max(-1)
        # At the crop's edge the last digit decides whether a pixel lies outside.
        assert (off > 1e-3).mean() < 1e-3 and np.median(off) < 1e-5
        share.append((wanted == 128).mean())
        clear = np.abs(exact - np.rint(exact)) > 1e-3
        np.testing.assert_array_equal(got[clear], np.trunc(exact)[clear])
    assert max(share) > 0.1 > min(share)


def test_the_mask_is_that_of_scipy_and_scikit_image() -> None:
    """Hull and forehead of whole points, some outside the picture, as Py-Feat's code draws them."""
    from scipy.spatial import ConvexHull
    from skimage.measure import grid_points_in_poly

    points = np.trunc(placed_faces(30, seed=1) * 1.1 - 6)
    points[0, 0, 0], points[1, [0, 16], 1], points[2, 0, 0] = -3, -2, -200  # bounds that count from the other side
    masks = hull_mask(torch.from_numpy(points).float()).numpy()
    assert (points < 0).any() and (points > SIDE).any()
    for mask, own in zip(masks, points.astype(int), strict=True):
        corners = own[ConvexHull(own).vertices]
        wanted = grid_points_in_poly((SIDE, SIDE), corners[:, ::-1])
        wanted[0 : min(own[0, 1], own[16, 1]), own[0, 0] : own[16, 0]] = True
        np.testing.assert_array_equal(mask, wanted)
    line = torch.full((1, 68, 2), 7.0)
    line[0, ::2, 0] = 10  # no area: Py-Feat stops there
    assert hull_mask(line)[0].nonzero().tolist() == [[7, x] for x in range(7, 11)]


def test_hog_is_scikit_images() -> None:
    import skimage.feature

    rng = np.random.default_rng(3)
    faces = rng.random((3, 14, 14, 3)).repeat(8, 1).repeat(8, 2) + 0.1 * rng.random((3, 112, 112, 3))
    faces[0], faces[1] = portrait() * 255 / 256, (faces[1] * 4).round()
    faces[2] = (faces[2] * 256).round() / 256  # all are fractions that are exact: equal gradients are equal
    faces[:, :20], faces[:, 90:, 100:] = 0, 128  # the mask, and what lies outside
    wanted = [
        skimage.feature.hog(
            f, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2), block_norm="L2-Hys", channel_axis=-1
        )
        for f in faces
    ]
    found = hog(torch.from_numpy(faces).float().permute(0, 3, 1, 2))
    assert found.shape == (3, HOG)
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-4)


def test_the_landmark_network_is_the_publishers(tmp_path: Path) -> None:
    with torch.device("meta"):
        module = MobileFaceNet()
    layout = read_layout("py-feat-mobilefacenet")
    assert layout_of(module.state_dict()) == layout and len(layout) == 333
    assert sum(p.numel() for p in module.parameters()) == 1_007_248
    whole = MobileFaceNet().eval()
    whole.load_state_dict(frozen(layout))
    with torch.inference_mode():
        found = whole(drawn(2, SIDE))
    np.testing.assert_allclose(found[1, :6].numpy(), REFERENCE, rtol=1e-3)


# What the publisher's own module gives on these weights and this picture.
REFERENCE = [104850544.0, 331754688.0, -658183744.0, 274810720.0, -77056048.0, -138811296.0]


def landmark_checkpoint(path: Path, **change: Any) -> Path:
    """A seeded file of the published kind, whose points are a face that moves a little with the picture."""
    state = seeded(read_layout("py-feat-mobilefacenet"), gain=0.8)
    state["output_layer.bn.weight"] = torch.full((136,), 0.05)
    state["output_layer.bn.bias"] = torch.from_numpy(face_points()).float().flatten()
    changed = {k: v for k, v in {**state, **change}.items() if v is not None}
    torch.save({"epoch": 1, "state_dict": changed, "optimizer": {"state": {0: torch.zeros(2)}}}, path)
    return path


def my_entry(kind: str, landmarks: Path, classifiers: Path) -> ModelEntry:
    """The entry that a user who has the files would write, from the registry's contract."""
    name = {"xgb": "py-feat-xgb", "svm": "py-feat-svm", "emo": "py-feat-svm-emotion"}[kind]
    raw = entry_of(name).model_dump(mode="json", exclude_none=True)
    files = [
        {"name": path.name, "role": role, "format": form, "sources": [f"path:{path}"], "sha256": "0" * 64}
        for path, role, form in ((landmarks, "landmarks", "torch"), (classifiers, "model", "skops"))
    ]
    return ModelEntry.model_validate({**raw, "status": "unverified", "weights": files})


@pytest.mark.parametrize("kind", ["xgb", "svm"])
@pytest.mark.filterwarnings("ignore")
def test_pictures_run_the_same_everywhere(kind: str, made: Any, tmp_path: Path) -> None:
    """The emotions' graph is that of the AUs' support vector machines with one region."""
    landmarks, (classifiers, _) = landmark_checkpoint(tmp_path / "m.pth.tar"), made(kind)
    entry = my_entry(kind, landmarks, classifiers)
    files = {landmarks.name: landmarks, classifiers.name: classifiers}
    assert {f.name for f in select_files(entry, entry.tasks, runtime="openvino")} == set(files)
    values = apply_outputs(entry, runtimes_agree(entry, files, n=3))["au-occurrence"]
    assert values.shape == (3, 20)


def build(entry: ModelEntry, *paths: Path) -> torch.nn.Module:
    return load_family(entry.family).graph(entry, {p.name: p for p in paths}, entry.tasks).torch()


@pytest.mark.filterwarnings("ignore")
def test_other_files_are_refused(made: Any, tmp_path: Path) -> None:
    path, (svm, _) = tmp_path / "m.pth.tar", made("svm")
    entry = my_entry("svm", path, svm)
    assert build(entry, landmark_checkpoint(path), svm)
    for change, words in (
        ({"conv1.conv.weight": None}, r"missing: conv1\.conv\.weight"),
        ({"fc.weight": torch.zeros(1)}, r"left over: fc\.weight"),
        ({"output_layer.linear.weight": torch.zeros(196, 512)}, r"is \[196, 512\], \[136, 512\] is needed"),
    ):
        with pytest.raises(ContractError, match=words):
            build(entry, landmark_checkpoint(path, **change), svm)
    torch.save({"state_dict": MobileFaceNet()}, path)
    with pytest.raises(UnsafeFileError, match="executing"):
        build(entry, path, svm)
    landmark_checkpoint(path)
    with pytest.raises(UsageError, match="no file of the role 'landmarks'"):
        build(entry, svm)
    with pytest.raises(RegistryError, match="column 0 of au-occurrence is labelled AU01"):
        build(entry, path, made("emo")[0].replace(svm))
    swapped = my_entry("svm", svm, path)
    with pytest.raises(ContractError, match="is not a skops file"):
        build(swapped, path, svm)


@pytest.mark.filterwarnings("ignore")
def test_a_users_own_entry_predicts(
    made: Any, tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The entry that CONTRIBUTING.md shows, with a stand-in's hash, on a photograph."""
    import skimage.data
    from PIL import Image

    from zoo._util.files import sha256_of

    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (example,) = [block.partition("```")[0] for block in text.split("```yaml\n")[1:] if "my-py-feat" in block]
    content = yaml.safe_load(example)
    (raw,) = content["models"]
    made("svm")[0].rename(tmp_path / "svm_au_classifier_v2.skops")
    landmark_checkpoint(tmp_path / "mobilefacenet_model_best.pth.tar")
    for file in raw["weights"]:
        file.pop("size", None)
        file |= {"sources": [f"path:{file['name']}"], "sha256": sha256_of(tmp_path / file["name"])}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "photo.png")
    given = [
        f"registry={tmp_path / 'mine.yaml'}", f"model={raw['name']}", f"input={tmp_path / 'photo.png'}",
        f"out={tmp_path / 'out'}", "draw=false", "runtime=torch",
    ]  # fmt: skip
    assert predict(given) == 0, capsys.readouterr().err
    (table,) = (tmp_path / "out").glob("*.csv")
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["success"] == "1"
    scores = {au: float(row[f"{au}_p"]) for au in AUS}  # four decimals: a sign lost in rounding decides nothing
    assert all(int(row[f"{au}_c"]) == (score > 0) for au, score in scores.items() if score)
    assert sum(score != 0 for score in scores.values()) > 15
    raw["weights"][1]["sha256"] = "0" * 64
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert predict(given) == 1
    assert "sha256" in capsys.readouterr().err


def test_the_orders_are_those_of_the_entries() -> None:
    for name in ("py-feat-xgb", "py-feat-svm"):
        assert entry_of(name).output("au-occurrence").labels == AUS
    assert entry_of("py-feat-svm-emotion").output("expression").labels == tuple(EXPRESSIONS.values())
