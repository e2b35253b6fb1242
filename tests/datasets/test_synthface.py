"""The rendered faces move as their labels say, and their trees are what the owners ship."""

from __future__ import annotations

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.datasets.bp4d import Bp4dPlus
from zoo.datasets.synthface import MARKER, contact_sheet, generate, layouts
from zoo.datasets.synthface import tree as tree_module
from zoo.datasets.synthface.au_sets import BP4D_TASKS, DISFA_AUS, DISFA_NUMBERS
from zoo.datasets.synthface.expression_sets import (
    AFFECTNET_NPY_COUNTS,
    FER_TOTALS,
    RAFDB_CLASSES,
    RAFDB_COUNTS,
    _aligned,
    _fer_counts,
    apportioned,
)
from zoo.datasets.synthface.face import Face, Pose
from zoo.datasets.synthface.landmarks import landmarks
from zoo.datasets.synthface.subjects import EXPRESSIONS, face_of, recording, rest_of, time_courses
from zoo.datasets.synthface.units import COLUMN, UNITS, intensities
from zoo.errors import UnknownNameError, UsageError, ZooError

SIZE = (320, 240)


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    return [face_of(0, person, SIZE) for person in (1, 2, 4)]  # long hair; glasses and dark skin; light skin


def _change(face: Face, unit: int, level: float, pose: Pose, beside: dict[int, float]) -> np.ndarray:
    still = face.render(intensities(beside), pose, noise=None).astype(float)
    return np.abs(face.render(intensities({**beside, unit: level}), pose, noise=None) - still).mean(axis=2)


# The face --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_moves_its_own_region_more_the_stronger_it_is(faces: list[Face], unit: int) -> None:
    for face in faces:
        pose = face.rest
        region = face.where(unit, pose)
        levels = [_change(face, unit, k, pose, {}) for k in (1, 2, 3, 4, 5)]
        inside = [float(c[region].mean()) for c in levels]
        assert np.all(np.diff([0, *inside]) > 0), inside
        assert inside[-1] > 2.5  # grey values: visible
        assert inside[-1] > 15 * levels[-1][~region].mean()
        assert levels[-1][region].sum() > 0.55 * levels[-1].sum()


def test_a_dropped_jaw_opens_parted_lips_wider(faces: list[Face]) -> None:
    face = faces[2]
    inside = [_change(face, 26, k, face.rest, {25: 2})[face.where(26, face.rest)].mean() for k in (1, 3, 5)]
    assert inside[0] < inside[1] < inside[2]


def test_units_move_the_skin_the_way_the_facs_manual_says(faces: list[Face]) -> None:
    def moved(units: dict[int, float], points: list[int]) -> np.ndarray:
        face = faces[2]
        pose = Pose(scale=1.0)
        return (landmarks(face, intensities(units), pose) - landmarks(face, intensities({}), pose))[points].mean(0)

    inner, outer, corners, chin = [21, 22], [17, 26], [48, 54], [8]
    assert moved({1: 5}, inner)[1] < -3
    assert moved({2: 5}, outer)[1] < -3
    assert moved({4: 5}, inner)[1] > 2
    assert moved({12: 5}, corners)[1] < -3
    assert moved({15: 5}, corners)[1] > 3
    assert moved({26: 5}, chin)[1] > 5
    assert moved({12: 5}, [54])[0] > 3 > -3 > moved({12: 5}, [48])[0]
    assert moved({4: 5}, [22])[0] < -1  # the right brow's inner end comes to the middle


def test_the_same_numbers_give_the_same_pixels() -> None:
    au, pose = intensities({6: 2.5, 12: 3.5, 25: 1.5}), Pose(x=3, y=2, scale=0.9, roll=4, yaw=-6, pitch=2)
    first = face_of(7, 3, SIZE)
    a, b, c = first.render(au, pose, 5), first.render(au, pose, 5), face_of(7, 3, SIZE).render(au, pose, 5)
    assert a.shape == (240, 320, 3)
    assert a.dtype == np.uint8
    assert np.array_equal(a, b)
    assert np.array_equal(a, c)
    assert not np.array_equal(a, first.render(au, pose, 6))  # sensor noise differs from frame to frame


def test_people_differ_more_than_frames_of_one_person_at_rest() -> None:
    pose = Pose(scale=0.9)
    people = [Face(face_of(0, p, SIZE).who, SIZE, pose) for p in range(6)]
    still = [f.render(intensities({}), pose, 0).astype(float)[60:200, 110:210] for f in people]
    between = [np.abs(a - b).mean() for i, a in enumerate(still) for b in still[:i]]
    again = np.abs(people[0].render(intensities({}), pose, 9).astype(float)[60:200, 110:210] - still[0]).mean()
    assert min(between) > 3 * again
    assert len({f.who.skin for f in people}) == 6


def test_pose_moves_the_picture_and_the_landmarks_with_it() -> None:
    face = face_of(0, 4, SIZE)
    au = intensities({12: 4})
    a, b = Pose(scale=0.9), Pose(x=17, y=-9, scale=0.9)
    assert np.allclose(landmarks(face, au, b) - landmarks(face, au, a), [17, -9], atol=0.01)
    turned = landmarks(face, au, Pose(scale=0.9, yaw=10)) - landmarks(face, au, a)
    assert turned[30, 0] > turned[0, 0] + 3  # the nose goes further than the jaw's edge
    for point in (0, 30, 8, 45):  # the way from a picture point to the head and back
        there = landmarks(face, au, b)[point]
        where = face._head_points(au, b, np.asarray([complex(*there)], np.complex64))
        back = face.project(au, b, where)[0]
        assert abs(back - complex(*there)) < 0.5


def test_a_size_may_be_odd_and_small_or_large() -> None:
    for size in ((48, 48), (101, 77), (641, 480)):
        assert face_of(0, 2, size).render(intensities({12: 5}), Pose(scale=size[1] / 270)).shape == (
            size[1],
            size[0],
            3,
        )


def test_unknown_units_are_refused() -> None:
    with pytest.raises(KeyError):
        intensities({3: 1.0})


# Over time -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 400))
@settings(max_examples=25)
def test_intensities_stay_in_range_and_move_smoothly(seed: int, frames: int) -> None:
    au = time_courses(np.random.default_rng(seed), frames)
    assert au.shape == (frames, len(UNITS))
    assert au.min() >= 0
    assert au.max() <= 5
    if frames > 200:
        lasting = np.delete(au, COLUMN[45], axis=1)  # all but blinks
        assert np.abs(np.diff(lasting, axis=0)).max() < 1.5


def test_a_short_video_shows_most_units_of_most_people() -> None:
    videos = [recording((0, n, 0), rest_of(0, n, SIZE), 40) for n in DISFA_NUMBERS]
    for unit in DISFA_AUS:
        coded = [v.labels(unit) for v in videos]
        assert sum(c.max() >= 1 for c in coded) >= 18
        assert 0.02 < np.mean(np.concatenate(coded) >= 2) < 0.40
    au25, au2 = (np.mean([(v.labels(u) >= 2).mean() for v in videos]) for u in (25, 2))
    assert au25 > 2 * au2  # lips part often, outer brows rise seldom, as in DISFA


def test_the_units_can_be_learnt_across_people_but_not_perfectly() -> None:
    """HOG and ridge regression, people exclusive: neither trivial nor hopeless."""
    from skimage.feature import hog
    from sklearn.linear_model import Ridge

    features, truth, group = [], [], []
    for person in range(1, 11):
        face = face_of(0, person, SIZE)
        video = recording((0, person, 0), face.rest, 20)
        for i, pose in enumerate(video.poses):
            crop = _aligned(face.render(video.au[i], pose, i), pose, 112, 0.58, 0.4)
            features.append(hog(crop @ [0.299, 0.587, 0.114], 8, (8, 8), (2, 2)))
            truth.append([video.labels(u)[i] for u in DISFA_AUS])
            group.append(person)
    x, y, g = np.asarray(features), np.asarray(truth, float), np.asarray(group)
    predicted = np.zeros_like(y)
    for fold in range(4):
        test = g % 4 == fold
        predicted[test] = Ridge(30.0, solver="cholesky").fit(x[~test], y[~test]).predict(x[test])
    pcc = [np.corrcoef(predicted[:, j], y[:, j])[0, 1] for j in range(len(DISFA_AUS))]
    assert 0.45 < np.mean(pcc) < 0.95


# Trees -----------------------------------------------------------------------------------------------------------


def _files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def disfa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("disfa") / "tree"
    return generate("disfa", root, subjects=9, frames=6, workers=1, progress=False, cameras=("left", "right"))


def test_disfa_has_the_owners_names(disfa: Path) -> None:
    names = {p.relative_to(disfa).as_posix() for p in disfa.rglob("*") if p.is_file()}
    subjects = [f"SN{n:03d}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    expected = {MARKER}
    for s in subjects:
        expected |= {f"ActionUnit_Labels/{s}/{s}_au{u}.txt" for u in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)}
        expected |= {f"Videos_LeftCamera/LeftVideo{s}_comp.avi", f"Video_RightCamera/RightVideo{s}_Comp.avi"}
    assert names == expected
    text = (disfa / "ActionUnit_Labels/SN003/SN003_au12.txt").read_text()
    assert [row.split(",")[0] for row in text.splitlines()] == ["1", "2", "3", "4", "5", "6"]
    assert {row.split(",")[1] for row in text.splitlines()} <= set("012345")


def test_disfa_has_27_people_and_sn010_is_one_frame_short(tmp_path: Path) -> None:
    root = generate("disfa", tmp_path / "t", frames=4, size=(64, 48), workers=1, progress=False, pixels="flat")
    rows = {
        p.name: len((p / f"{p.name}_au1.txt").read_text().splitlines()) for p in (root / "ActionUnit_Labels").iterdir()
    }
    assert len(rows) == 27
    assert {n for n, count in rows.items() if count != 4} == {"SN010"}
    assert rows["SN010"] == 3
    assert not {"SN014", "SN015", "SN019", "SN020", "SN022"} & rows.keys()
    with av.open(str(root / "Videos_LeftCamera/LeftVideoSN010_comp.avi")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 3


def test_disfa_videos_hold_the_labelled_frames(disfa: Path) -> None:
    face = face_of(0, 4, SIZE)
    video = recording((0, 4, 0), face.rest, 6)
    with av.open(str(disfa / "Videos_LeftCamera/LeftVideoSN004_comp.avi")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, int(stream.average_rate)) == (320, 240, 20)
        decoded = [f.to_ndarray(format="rgb24").astype(float) for f in container.decode(stream)]
    assert len(decoded) == 6
    for i, picture in enumerate(decoded):
        rendered = face.render(video.au[i], video.poses[i], i)
        assert np.abs(picture - rendered).mean() < 3  # the codec's loss, no other frame's
    for unit in DISFA_AUS:
        rows = (disfa / f"ActionUnit_Labels/SN004/SN004_au{unit}.txt").read_text().split()
        assert [int(r.split(",")[1]) for r in rows] == [int(v + 0.5) for v in video.au[:, COLUMN[unit]]]
    with av.open(str(disfa / "Video_RightCamera/RightVideoSN004_Comp.avi")) as container:
        other = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    assert np.abs(other - decoded[0]).mean() > 3


def test_the_marker_says_what_the_tree_is(disfa: Path) -> None:
    marker = json.loads((disfa / MARKER).read_text())
    assert marker["synthetic"] is True
    assert marker["identities"] == "synthface"
    assert marker["plan"]["layout"] == "disfa"
    assert marker["plan"]["cameras"] == ["left", "right"]
    assert (marker["plan"]["subjects"], marker["plan"]["frames"], marker["plan"]["seed"]) == (9, 6, 0)


def test_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    options = {"subjects": 2, "frames": 3, "size": (96, 80), "progress": False}
    alone = _files(generate("disfa", tmp_path / "a", workers=1, **options))
    together = _files(generate("disfa", tmp_path / "b", workers=2, **options))
    assert alone == together
    other = _files(generate("disfa", tmp_path / "c", workers=1, seed=1, **options))
    assert other.keys() == alone.keys()
    assert other["Videos_LeftCamera/LeftVideoSN001_comp.avi"] != alone["Videos_LeftCamera/LeftVideoSN001_comp.avi"]


SMALL = {"subjects": 1, "frames": 2, "size": (64, 64), "workers": 1, "progress": False, "pixels": "flat"}


def test_a_tree_that_is_there_is_kept_and_anything_else_is_not_touched(tmp_path: Path) -> None:
    root = generate("disfa", tmp_path / "t", **SMALL)
    before = (root / MARKER).stat().st_mtime_ns
    assert generate("disfa", root, **SMALL) == root
    assert (root / MARKER).stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="already holds something else"):
        generate("disfa", root, **{**SMALL, "seed": 1})
    licensed = tmp_path / "DISFA"
    licensed.mkdir()
    (licensed / "readme.txt").write_text("precious")
    with pytest.raises(UsageError, match="already holds something else"):
        generate("disfa", licensed, **SMALL)
    assert [p.name for p in licensed.iterdir()] == ["readme.txt"]
    with pytest.raises(UsageError, match="is a file"):
        generate("disfa", licensed / "readme.txt", **SMALL)
    (tmp_path / "empty").mkdir()
    assert (generate("disfa", tmp_path / "empty", **SMALL) / MARKER).is_file()


def test_an_interrupted_call_leaves_nothing_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "t"
    done = []

    def interrupted(plan: object, job: int, folder: Path) -> None:
        done.append(job)
        (folder / f"half-{job}").write_text("x")
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tree_module, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate("disfa", root, **{**SMALL, "subjects": 3})
    assert list(tmp_path.iterdir()) == []
    generate("disfa", root, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module.socket, "gethostname", lambda: "here")
    dead, alive, elsewhere = (
        tmp_path / f".t.{n}.part" for n in (f"here.{2**22 + 1}", f"here.{os.getppid()}", "there.1")
    )
    for folder in (dead, alive, elsewhere):
        (folder / "ActionUnit_Labels").mkdir(parents=True)
    generate("disfa", tmp_path / "t", **SMALL)
    assert not dead.exists()
    assert alive.exists()
    assert elsewhere.exists()


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="could not be written") as raised:
        generate("disfa", tmp_path / "file" / "t", **SMALL)
    assert raised.value.fix


@pytest.mark.parametrize(
    "wrong",
    [
        {"subjects": 0}, {"subjects": 28}, {"frames": 1}, {"size": (20, 20)}, {"cameras": ()}, {"cameras": ("top",)},
        {"pixels": "pretty"}, {"images": 100}, {"seed": -1},
    ],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        generate("disfa", tmp_path / "t", **{**SMALL, **wrong})
    assert not (tmp_path / "t").exists()


def test_an_unknown_layout_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="rafdb"):
        generate("rafbd", tmp_path / "t")
    assert set(layouts()) == {
        "disfa", "disfaplus", "bp4d", "bp4dplus", "ckplus", "rafdb", "affectnet-csv", "affectnet-npy", "fer2013",
        "affwild2",
    }  # fmt: skip


@given(st.integers(0, 20_000), st.lists(st.integers(1, 5_000), min_size=1, max_size=11))
def test_shares_add_up_and_are_close(total: int, shares: list[int]) -> None:
    parts = apportioned(total, shares)
    assert sum(parts) == total
    assert min(parts) >= 0
    assert apportioned(sum(shares), shares) == shares
    if total >= 2 * len(shares) * max(shares):
        assert np.allclose(np.asarray(parts), np.asarray(shares) * total / sum(shares), atol=1)


def test_rafdb_is_as_the_owners_ship_it(tmp_path: Path) -> None:
    root = generate("rafdb", tmp_path / "t", subjects=5, images=60, workers=1, progress=False)
    lines = (root / "basic/EmoLabel/list_patition_label.txt").read_text().splitlines()
    assert lines[0].startswith("train_00001.jpg ")
    assert lines[-1].startswith("test_0012.jpg ")
    assert len(lines) == 60
    names = [line.split()[0].removesuffix(".jpg") for line in lines]
    assert {p.name for p in (root / "basic/Image/aligned").iterdir()} == {f"{n}_aligned.jpg" for n in names}
    assert {p.name for p in (root / "basic/Image/original").iterdir()} == {f"{n}.jpg" for n in names}
    assert {line.split()[1] for line in lines} == set("1234567")
    happy = sum(line.endswith(" 4") for line in lines)
    assert 20 <= happy <= 27  # 39 % of the owners' images
    for name in names[::20]:
        assert Image.open(root / f"basic/Image/aligned/{name}_aligned.jpg").size == (100, 100)


def test_full_sizes_have_the_owners_class_counts(tmp_path: Path) -> None:
    kinds = layouts()
    for name, counts in (("rafdb", RAFDB_COUNTS), ("affectnet-npy", AFFECTNET_NPY_COUNTS), ("fer2013", _fer_counts())):
        plan = tree_module.Plan(name, None, 40, 0, (64, 64), ("left",), "flat", kinds[name].full)
        found = {split: np.zeros(len(c), int) for split, c in counts.items()}
        people: dict[str, set[int]] = {split: set() for split in counts}
        for batch in kinds[name].jobs(plan):
            for split, _, label in batch.items:
                found[split][label] += 1
                people[split].add(batch.person)
        assert {s: tuple(f.tolist()) for s, f in found.items()} == counts
        assert len(set.union(*people.values())) == sum(map(len, people.values()))  # nobody is in two splits
    assert tuple(np.sum(list(_fer_counts().values()), axis=0)) == FER_TOTALS


def test_every_expression_moves_the_units_of_its_prototype() -> None:
    assert set(RAFDB_CLASSES) <= set(EXPRESSIONS)
    assert {6, 12} <= EXPRESSIONS["happiness"].keys()
    assert {1, 4, 15} <= EXPRESSIONS["sadness"].keys()
    assert {1, 2, 5, 26} <= EXPRESSIONS["surprise"].keys()
    assert {1, 2, 4, 5, 20} <= EXPRESSIONS["fear"].keys()
    assert 9 in EXPRESSIONS["disgust"]
    assert {4, 5, 7, 23} <= EXPRESSIONS["anger"].keys()
    assert 14 in EXPRESSIONS["contempt"]


def test_bp4dplus_codes_four_tasks_under_columns_that_skip_numbers(tmp_path: Path) -> None:
    make = {"subjects": 84, "frames": 3, "workers": 1, "progress": False, "pixels": "flat"}
    root = generate("bp4dplus", tmp_path / "t", **make)
    assert sorted(p.name for p in (root / "2D+3D").iterdir())[41:43] == ["F042", "M001"]
    assert not (root / "2D+3D/F042/T11").exists()
    header = (root / "AUCoding/AU_OCC/F001_T6.csv").read_text().splitlines()[0].split(",")
    assert header[:7] == ["0", "1", "2", "4", "5", "6", "7"] and len(header) == 35
    assert {p.stem.split("_")[1] for p in (root / "AUCoding/AU_OCC").iterdir()} == {"T1", "T6", "T7", "T8"}
    index = Bp4dPlus().index(root)
    assert set(index.sequence) == {"T1", "T6", "T7", "T8"} and len(index.subjects) == 84
    short = index.subject == "F041"
    assert (short & (index.sequence == "T7")).sum() == 2  # a label has no picture
    assert (short & (index.sequence == "T8")).sum() == 3
    twelve = index.labels["au-occurrence"]
    truth = (root / "AUCoding/AU_OCC/F001_T6.csv").read_text().splitlines()[1].split(",")
    row = int(np.flatnonzero((index.subject == "F001") & (index.sequence == "T6"))[0])
    for unit in (1, 4, 12, 24):
        assert twelve.values[row, twelve.names.index(f"AU{unit:02d}")] == int(truth[header.index(str(unit))])


def test_bp4d_has_mixed_zero_padding_and_nines(tmp_path: Path) -> None:
    root = generate("bp4d", tmp_path / "t", subjects=4, frames=5, workers=1, progress=False, pixels="flat")
    images = root / "BP4D-training"
    assert sorted(p.name for p in images.iterdir()) == ["F001", "F002", "M001", "M002"]
    widths = set()
    for subject in images.iterdir():
        assert sorted(p.name for p in subject.iterdir()) == list(BP4D_TASKS)
        for task in subject.iterdir():
            stems = [p.stem for p in task.iterdir()]
            widths |= {len(s) for s in stems}
            table = (root / f"AUCoding/AU_OCC/{subject.name}_{task.name}.csv").read_text().splitlines()
            header = table[0].split(",")
            assert header[:4] == ["0", "1", "2", "3"]
            rows = np.asarray([r.split(",") for r in table[1:]], int)
            assert len(rows) == 5
            assert np.array_equal(np.diff(rows[:, 0]), np.ones(4))
            assert set(rows[:, 0]) <= {int(s) for s in stems}
            assert len(stems) > 5  # pictures outside the coded segment
            benchmark = rows[:, [header.index(str(u)) for u in (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)]]
            assert set(benchmark.ravel()) <= {0, 1}
            assert set(rows[:, header.index("39")]) == {9}
            for unit in (6, 10, 12, 14, 17):
                path = root / f"AUCoding/AU_INT/AU{unit:02d}/{subject.name}_{task.name}_AU{unit:02d}.csv"
                coded = np.asarray([r.split(",") for r in path.read_text().splitlines()], int)
                assert np.array_equal(coded[:, 0], rows[:, 0])
                known = coded[:, 1] != 9
                assert np.array_equal(coded[known, 1] >= 1, rows[known, header.index(str(unit))] == 1)
    assert widths == {3, 4}


def test_disfaplus_has_two_header_lines_and_names_from_zero(tmp_path: Path) -> None:
    root = generate("disfaplus", tmp_path / "t", subjects=4, frames=3, workers=1, progress=False, pixels="flat")
    assert [p.name for p in sorted((root / "Images").iterdir())] == ["SN001", "SN003", "SN004", "SN007"]
    trial = "A3_AU1_2_TrailNo_2"
    assert {p.name for p in (root / "Images/SN001" / trial).iterdir()} == {
        "000.jpg",
        "001.jpg",
        "002.jpg",
        "TimeStamp.txt",
    }
    lines = (root / f"Labels/SN001/{trial}/AU2.txt").read_text().splitlines()
    assert len(lines) == 5
    assert [line.split()[0] for line in lines[2:]] == ["000.jpg", "001.jpg", "002.jpg"]
    assert "     " in lines[2]
    assert (root / f"Labels/SN004/SN004/{trial}/AU1.txt").is_file()  # an archive unpacked with its folder doubled


def test_affectnet_lists_have_their_odd_rows(tmp_path: Path) -> None:
    root = generate("affectnet-csv", tmp_path / "t", subjects=6, images=400, workers=1, progress=False, pixels="flat")
    lists = root / "Manually_Annotated_file_lists"
    rows = [line.split(",") for line in (lists / "training.csv").read_text().splitlines()]
    assert rows[0][0] == "subDirectory_filePath"
    assert all(len(r) == 9 for r in rows)
    body = rows[1:] + [line.split(",") for line in (lists / "validation.csv").read_text().splitlines()]
    assert body[-1][0] != "subDirectory_filePath"
    assert len(body) == 400
    assert {Path(r[0]).suffix for r in body} > {".jpg", ".JPG"}
    assert all((root / "Manually_Annotated_Images" / r[0]).is_file() for r in body)
    assert len({r[0] for r in body}) == 399  # one is listed twice
    for r in body:
        nobody = r[6] == "10"
        assert (r[3] == "-1") == nobody
        assert (r[7] == "-2") == (r[6] in ("9", "10"))
        assert r[5] == "NULL" if nobody else len(r[5].split(";")) == 136


def test_affectnet_arrays_can_be_read_as_loaders_read_them(tmp_path: Path) -> None:
    root = generate("affectnet-npy", tmp_path / "t", subjects=2, images=20, workers=1, progress=False)
    images = sorted((root / "train_set/images").iterdir())
    for path in images:
        note = root / "train_set/annotations"
        assert int(np.load(note / f"{path.stem}_exp.npy")) in range(8)
        assert -1 <= float(np.load(note / f"{path.stem}_val.npy")) <= 1
        assert -1 <= float(np.load(note / f"{path.stem}_aro.npy")) <= 1
        marks = np.load(note / f"{path.stem}_lnd.npy").reshape(68, 2)
        assert Image.open(path).size == (224, 224)
        assert marks[36:42, 0].mean() < 112 < marks[42:48, 0].mean()  # eyes left and right of the middle
        assert marks[36:48, 1].mean() < marks[48:, 1].mean()
    assert (root / "val_set/images").is_dir()


def test_fer2013_and_ferplus_have_the_same_rows(tmp_path: Path) -> None:
    root = generate("fer2013", tmp_path / "t", subjects=4, images=420, workers=1, progress=False, pixels="flat")
    faces = (root / "fer2013.csv").read_text().splitlines()
    votes = (root / "fer2013new.csv").read_text().splitlines()
    assert faces[0] == "emotion,pixels,Usage"
    assert votes[0].startswith("Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt")
    assert len(faces) == len(votes) == 421
    assert [r.rsplit(",", 1)[1] for r in faces[1:]] == [r.split(",")[0] for r in votes[1:]]
    assert all(len(r.split(",")[1].split()) == 48 * 48 for r in faces[1:])
    sums = [sum(map(int, r.split(",")[2:])) for r in votes[1:]]
    assert sorted(set(sums)) == [9, 10]
    assert sums.count(9) == 1
    assert any(r.split(",")[1] == "" for r in votes[1:])


def test_ckplus_peaks_at_the_last_frame(tmp_path: Path) -> None:
    root = generate("ckplus", tmp_path / "t", subjects=2, frames=4, workers=1, progress=False)
    for sequence in (root / "cohn-kanade-images").glob("*/*"):
        names = sorted(p.name for p in sequence.iterdir())
        stem = f"{sequence.parent.name}_{sequence.name}_"
        assert names == [f"{stem}{i + 1:08d}.png" for i in range(len(names))]
        assert Image.open(sequence / names[0]).mode == "L"
        coded = root / "FACS" / sequence.parent.name / sequence.name / names[-1].replace(".png", "_facs.txt")
        rows = [line.split() for line in coded.read_text().splitlines() if line.strip()]
        assert all(float(u) in UNITS and 0 <= float(v) <= 5 for u, v in rows)
    emotions = list((root / "Emotion").rglob("*_emotion.txt"))
    assert emotions
    assert all(1 <= float(p.read_text()) <= 7 for p in emotions)


def test_affwild2_rows_are_frames_and_missing_values_are_marked(tmp_path: Path) -> None:
    root = generate("affwild2", tmp_path / "t", subjects=5, frames=60, workers=1, progress=False, pixels="flat")
    seen = set()
    for listing in root.glob("EXPR_Classification_Challenge/*/*.txt"):
        rows = listing.read_text().splitlines()
        assert rows[0] == "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
        assert len(rows) == 61
        seen |= {int(r) for r in rows[1:]}
        crops = {int(p.stem) for p in (root / "cropped_aligned" / listing.stem).iterdir()}
        assert crops <= set(range(1, 61))
        assert len(crops) < 60 or listing.stem != "1-30-1280x720"
        units = (root / "AU_Detection_Challenge" / listing.parent.name / listing.name).read_text().splitlines()
        assert units[0] == "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
        affect = (root / "VA_Estimation_Challenge" / listing.parent.name / listing.name).read_text().splitlines()
        values = np.asarray([r.split(",") for r in affect[1:]], float)
        assert np.all((np.abs(values) <= 1) | (values == -5))
    assert -1 in seen
    for file, split in (("train_set.txt", "Train_Set"), ("validation_set.txt", "Validation_Set")):
        listed = (root / "MTL_Challenge" / file).read_text().splitlines()
        assert listed[0] == "image,valence,arousal,expression,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
        videos = {p.stem for p in (root / "EXPR_Classification_Challenge" / split).glob("*.txt")}
        crops = {f"{v}/{p.name}" for v in videos for p in (root / "cropped_aligned" / v).iterdir()}
        assert {row.partition(",")[0] for row in listed[1:]} == crops
    assert {p.stem.split("_")[-1] for p in root.glob("EXPR*/*/*.txt")} >= {"left", "right"}


def test_a_contact_sheet_has_a_row_a_person(tmp_path: Path) -> None:
    path = contact_sheet(tmp_path / "sheet.png", people=2, tile=48, columns=({}, {12: 5}, {4: 5}))
    picture = np.asarray(Image.open(path)).astype(float)
    assert picture.shape == (96, 144, 3)
    assert np.abs(picture[:48, :48] - picture[:48, 48:96]).mean() > 0.3
    assert np.abs(picture[:48, :48] - picture[48:, :48]).mean() > 5


@pytest.fixture(scope="module")
def tools_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the face detector and the mesh, filled once."""
    from zoo.faces import _tools
    from zoo.weights import locate

    home = tmp_path_factory.mktemp("tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        for file in _tools.FILES:
            locate(file, entry=_tools.ENTRY)
    return home


@pytest.mark.package
def test_the_default_detector_finds_the_faces_and_the_mesh_fits(
    tools_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.faces.detect import BlazeFace
    from zoo.faces.landmarks import FaceMesh, region_of_detection

    monkeypatch.setenv("ZOO_HOME", str(tools_home))
    detector, mesh = BlazeFace("mediapipe-short-range"), FaceMesh()
    found, off = [], []
    for person in DISFA_NUMBERS:
        face = face_of(0, person, SIZE)
        video = recording((0, person, 0), face.rest, 40)
        for i in range(0, 40, 8):
            picture = face.render(video.au[i], video.poses[i], i)
            faces = detector(picture)
            found.append(len(faces) == 1)
            if len(faces):
                points, presence = mesh(picture, region_of_detection(faces.boxes[0], faces.keypoints[0]))
                assert presence > 0.5
                truth = landmarks(face, video.au[i], video.poses[i])
                pairs = {33: 36, 133: 39, 362: 42, 263: 45, 61: 48, 291: 54, 1: 30, 152: 8}  # mesh: iBUG
                gap = points[list(pairs), :2] - truth[list(pairs.values())]
                off.append(np.linalg.norm(gap, axis=1) / np.linalg.norm(truth[36] - truth[45]))
    assert np.mean(found) >= 0.95
    # Of the distance between the outer eye corners: eyes, mouth corners, tip of the nose, chin.
    eyes, mouth, nose, chin = np.split(np.mean(off, axis=0), [4, 6, 7])
    assert eyes.max() < 0.06
    assert mouth.max() < 0.06
    assert nose[0] < 0.08
    assert chin[0] < 0.10
