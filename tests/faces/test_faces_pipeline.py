"""The pipeline: contracts that run, contracts that are refused, and which face counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from zoo.errors import ContractError, UsageError
from zoo.faces import align
from zoo.faces.pipeline import build_pipeline, describe
from zoo.registry.schema import Box, LibreFaceQuad, Preprocess, Similarity, WholeImage

MESH = {"detector": "mediapipe-short-range", "landmarks": "mesh-468"}
YUNET = {"detector": "yunet", "landmarks": "yunet-5"}
CONTRACTS = {
    "whole": Preprocess(size=(64, 96)),
    "box": Preprocess(detector="mediapipe-full-range", align=Box(expand=1.2), size=(224, 224)),
    "tight": Preprocess(detector="mediapipe-short-range", align=Box(square=False), size=(48, 40), colour="gray"),
    "arcface": Preprocess(**MESH, align=Similarity(template="arcface-112"), size=(112, 112), colour="bgr"),
    "openface": Preprocess(**MESH, align=Similarity(template="openface-112"), size=(112, 112)),
    "libreface": Preprocess(**MESH, align=LibreFaceQuad(), size=(224, 224), interpolation="pillow-bilinear"),
}


@pytest.fixture
def crowd(portrait):
    """A small face in the middle, a larger one at the left."""
    picture = np.full((400, 600, 3), 128, np.uint8)
    face = Image.fromarray(portrait[35:225, 130:320])
    picture[20:250, :230] = face.resize((230, 230), Image.Resampling.BILINEAR)
    picture[130:295, 235:400] = face.resize((165, 165), Image.Resampling.BILINEAR)
    return picture


def test_whole_image_needs_no_network_and_no_face(portrait):
    pipeline = build_pipeline(CONTRACTS["whole"])
    assert pipeline.shape == (64, 96, 3)
    faces = pipeline.process(portrait)
    assert len(faces) == 1 and faces.chosen == 0 and faces.landmarks is None
    assert faces.boxes.tolist() == [[0, 0, 512, 512]] and faces.scores.tolist() == [1.0]
    expected = np.asarray(Image.fromarray(portrait).resize((96, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pipeline.crop(portrait), expected)
    np.testing.assert_array_equal(faces.crops[0], expected)


def test_colours(portrait):
    part = portrait[60:200, 150:290]
    crops = {
        c: build_pipeline(Preprocess(size=(140, 140), colour=c, align=WholeImage())).crop(part)
        for c in ("rgb", "bgr", "gray")
    }
    np.testing.assert_array_equal(crops["rgb"], part)
    np.testing.assert_array_equal(crops["bgr"], part[..., ::-1])
    assert crops["gray"].shape == (140, 140, 1)
    assert np.abs(crops["gray"][..., 0] - part @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    assert all(c.flags.c_contiguous for c in crops.values())


@pytest.mark.package
@pytest.mark.parametrize("name", CONTRACTS)
def test_every_contract_gives_exactly_its_shape(name, portrait, crowd, tools):
    pipeline = build_pipeline(CONTRACTS[name])
    for picture in (portrait, crowd, portrait[:200, 130:300]):
        faces = pipeline.process(picture)
        assert len(faces) >= 1
        assert faces.crops.shape == (len(faces), *pipeline.shape) and faces.crops.dtype == np.uint8
        assert faces.boxes.shape == (len(faces), 4) and faces.scores.shape == (len(faces),)
        assert (faces.landmarks is not None) == (CONTRACTS[name].landmarks != "none")
        np.testing.assert_array_equal(pipeline.crop(picture), faces.crops[faces.chosen])


@pytest.mark.package
@pytest.mark.parametrize("name", [n for n in CONTRACTS if n != "whole"])
def test_no_face_is_no_crop(name, portrait, tools):
    pipeline = build_pipeline(CONTRACTS[name])
    empty = portrait[260:]
    assert pipeline.crop(empty) is None
    faces = pipeline.process(empty)
    assert len(faces) == 0 and faces.chosen == -1 and faces.crops.shape == (0, *pipeline.shape)
    assert faces.landmarks is None or faces.landmarks.shape == (0, 468, 3)


@pytest.mark.package
def test_which_face_counts(crowd, tools):
    for rule, left, right in (("largest", 0, 230), ("central", 235, 400)):
        for contract in (CONTRACTS["box"], CONTRACTS["libreface"]):
            pipeline = build_pipeline(contract.model_copy(update={"faces": rule}))
            faces = pipeline.process(crowd)
            assert len(faces) == 2
            box = faces.boxes[faces.chosen]
            assert left < (box[0] + box[2]) / 2 < right
            np.testing.assert_array_equal(pipeline.crop(crowd), faces.crops[faces.chosen])


@pytest.mark.package
def test_a_candidate_without_a_face_does_not_count(crowd, tools, monkeypatch):
    pipeline = build_pipeline(CONTRACTS["arcface"])
    mesh = pipeline._mesh

    def without_the_large_one(image, region):
        found, presence = mesh(image, region)
        return found, 0.1 if region.centre[0] < 230 else presence

    without_the_large_one.points = mesh.points
    monkeypatch.setattr(pipeline, "_mesh", without_the_large_one)
    faces = pipeline.process(crowd)
    assert len(faces) == 1 and 235 < faces.boxes[0].reshape(2, 2).mean(axis=0)[0] < 400
    np.testing.assert_array_equal(pipeline.crop(crowd), faces.crops[0])


@pytest.mark.package
def test_aligned_crops_are_upright(portrait, tools):
    turned = np.asarray(Image.fromarray(portrait).rotate(25, Image.Resampling.BICUBIC))
    pipeline = build_pipeline(CONTRACTS["openface"])
    upright, straightened = pipeline.crop(portrait), pipeline.crop(turned)
    middle = np.s_[20:100, 20:92]
    assert np.corrcoef(upright[middle].ravel(), straightened[middle].ravel())[0, 1] > 0.95


@pytest.mark.package
def test_landmarks_land_on_the_template(portrait, tools):
    faces = build_pipeline(CONTRACTS["arcface"]).process(portrait)
    matrix = align.similarity_matrix(faces.landmarks[0], "arcface-112", 112)
    placed = (align.five_points(faces.landmarks[0]) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    assert np.abs(placed - align.ARCFACE_112).max() < 5


@pytest.mark.package
def test_threads_give_the_same_crops(portrait, crowd, tools):
    pipeline = build_pipeline(CONTRACTS["libreface"], threads=2)
    pictures = [portrait, crowd, portrait[:200, 130:300], crowd[:, ::-1], portrait[::2, ::2]] * 6
    expected = [pipeline.crop(p) for p in pictures]
    with ThreadPoolExecutor(4) as pool:
        for crop, reference in zip(pool.map(pipeline.crop, pictures), expected, strict=True):
            np.testing.assert_array_equal(crop, reference)


class TestBoxesOfADataset:
    contract = Preprocess(detector="dataset-box", align=Box(square=False), size=(32, 32))

    def test_the_box_is_cut(self, portrait):
        pipeline = build_pipeline(self.contract)
        crop = pipeline.crop(portrait, (100, 50, 300, 210))
        part = Image.fromarray(portrait[50:210, 100:300]).resize((32, 32), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(crop, np.asarray(part))
        faces = pipeline.process(portrait, np.array([100, 50, 300, 210], np.float32))
        assert faces.boxes.tolist() == [[100, 50, 300, 210]] and faces.chosen == 0

    def test_it_may_reach_outside(self, portrait):
        crop = build_pipeline(self.contract).crop(portrait, (-512, 0, 512, 512))
        assert not crop[:, :15].any() and crop[:, 17:].any()

    @pytest.mark.parametrize("box", [(np.nan,) * 4, (5, 5, 5, 9), (9, 9, 5, 5), (-9, -9, -1, -1), (600, 0, 700, 90)])
    def test_a_box_without_a_face(self, box, portrait):
        pipeline = build_pipeline(self.contract)
        assert pipeline.crop(portrait, box) is None
        assert len(pipeline.process(portrait, box)) == 0

    def test_boxes_that_are_mistakes(self, portrait):
        pipeline = build_pipeline(self.contract)
        with pytest.raises(UsageError, match="from the dataset"):
            pipeline.crop(portrait)
        with pytest.raises(UsageError, match="shape"):
            pipeline.crop(portrait, (1, 2, 3))
        with pytest.raises(UsageError, match="far larger"):
            pipeline.crop(portrait, (0, 0, 1e9, 1e9))

    def test_other_detectors_do_not_read_it(self, portrait):
        pipeline = build_pipeline(CONTRACTS["whole"])
        np.testing.assert_array_equal(pipeline.crop(portrait, (1, 2, 3, 4)), pipeline.crop(portrait))

    @pytest.mark.package
    def test_with_a_mesh(self, portrait, tools):
        contract = Preprocess(detector="dataset-box", landmarks="mesh-468", align=LibreFaceQuad(), size=(224, 224))
        pipeline = build_pipeline(contract)
        detected = build_pipeline(CONTRACTS["libreface"]).crop(portrait)
        crop = pipeline.crop(portrait, (170, 70, 280, 185))
        assert np.corrcoef(crop.ravel(), detected.ravel())[0, 1] > 0.97
        assert pipeline.crop(portrait, (340, 370, 460, 490)) is None


@pytest.mark.parametrize(
    ("contract", "why"),
    [
        (Preprocess(**MESH | {"landmarks": "yunet-5"}, align=Box(), size=(9, 9)), "come from the detector yunet"),
        (Preprocess(**YUNET, align=LibreFaceQuad(), size=(9, 9)), "libreface-quad needs a mesh"),
        (Preprocess(**YUNET, align=Similarity(template="openface-112"), size=(9, 9)), "similarity needs a mesh"),
        (Preprocess(landmarks="mesh-468", size=(9, 9)), "need a detector"),
        (Preprocess(**MESH, align=LibreFaceQuad(output=200), size=(224, 224)), "larger than the aligned"),
        (Preprocess(**MESH, align=Similarity(template="arcface-112"), size=(112, 96)), "square"),
    ],
)
def test_contracts_that_cannot_be_run_are_refused_before_anything_is_loaded(contract, why):
    with pytest.raises(ContractError, match="cannot be run") as caught:
        build_pipeline(contract)
    assert why in caught.value.why


@pytest.mark.parametrize(
    "bad",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)],
)
def test_what_is_no_picture(bad):
    with pytest.raises(UsageError, match="RGB uint8"):
        build_pipeline(CONTRACTS["whole"]).crop(bad)


def test_pictures_that_are_not_contiguous_or_writable(portrait):
    pipeline = build_pipeline(CONTRACTS["whole"])
    flipped = portrait[:, ::-1]
    np.testing.assert_array_equal(pipeline.crop(flipped), pipeline.crop(flipped.copy()))


def test_steps_have_ids():
    assert describe(CONTRACTS["libreface"]) == [
        "detect:mediapipe-short-range", "choose:largest", "landmarks:mesh-468",
        "align:libreface-quad(output=256,supersample=1)", "warp:pillow-bilinear", "size:224x224", "colour:rgb",
    ]  # fmt: skip
    assert describe(CONTRACTS["box"])[2] == "align:box(expand=1.2,square=true)"
    assert describe(CONTRACTS["arcface"])[3] == "align:similarity(template=arcface-112)"
    hashes = {c.crop_hash for c in CONTRACTS.values()}
    assert len(hashes) == len({tuple(describe(c)) for c in CONTRACTS.values()}) == len(CONTRACTS)
