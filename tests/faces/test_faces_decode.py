"""Pictures: every way to store one, every way to spoil one."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.errors import ImageError
from zoo.faces import decode
from zoo.faces.decode import read_image

rng = np.random.default_rng(5)
PIXELS = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(PIXELS[::4, ::4]).resize((64, 48), Image.Resampling.BICUBIC))


def saved(kind, pixels=SMOOTH, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def complaint(path):
    with pytest.raises(ImageError) as caught:
        read_image(path)
    error = caught.value
    assert error.what.startswith(path.name + ": ") and "\n" not in error.what
    assert error.where == str(path)
    assert error.what.count(path.name) == 1, "the name once"
    return error.what


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels_back(kind, write):
    image = read_image(write("a.bin", saved(kind, PIXELS)))
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, PIXELS)


def test_webp_lossless_and_jpeg(write):
    np.testing.assert_array_equal(read_image(write("a.webp", saved("WEBP", PIXELS, lossless=True))), PIXELS)
    image = read_image(write("a.jpg", saved("JPEG", quality=95, subsampling=0)))
    assert np.abs(image.astype(int) - SMOOTH).mean() < 3


# EXIF 2.3, tag 0x0112: where the first row and column of the stored picture belong.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind, write):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(write("turned", saved(kind, PIXELS, exif=exif.tobytes())))
    np.testing.assert_array_equal(image, UPRIGHT[orientation](PIXELS))


def test_an_orientation_out_of_range_changes_nothing(write):
    exif = Image.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(read_image(write("a.png", saved("PNG", PIXELS, exif=exif.tobytes()))), PIXELS)


def test_grey_two_tone_and_palette(write):
    grey = PIXELS[..., 0]
    np.testing.assert_array_equal(read_image(write("g.png", saved("PNG", grey))), np.repeat(grey[..., None], 3, 2))
    two = write("t.png", saved("PNG", grey > 100))
    np.testing.assert_array_equal(read_image(two)[..., 1], (grey > 100) * np.uint8(255))
    palette = Image.fromarray(PIXELS // 128 * 255).quantize(8)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    np.testing.assert_array_equal(read_image(write("p.png", buffer.getvalue())), PIXELS // 128 * 255)


def test_sixteen_bit_grey_keeps_the_upper_byte(write):
    deep = rng.integers(0, 65536, (6, 7), dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        image = read_image(write("deep." + kind.lower(), saved(kind, deep)))
        np.testing.assert_array_equal(image, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2))


def test_cmyk_jpeg(write):
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).convert("CMYK").save(buffer, "JPEG", quality=98, subsampling=0)
    assert np.abs(read_image(write("c.jpg", buffer.getvalue())).astype(int) - SMOOTH).mean() < 6


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_lies_over_black(kind, write):
    alpha = np.zeros((12, 20, 1), np.uint8)
    alpha[:4], alpha[4:8] = 255, 102
    image = read_image(write("a", saved(kind, np.concatenate((PIXELS, alpha), 2), lossless=True, exact=True)))
    np.testing.assert_array_equal(image[:4], PIXELS[:4])
    assert np.abs(image[4:8].astype(float) - PIXELS[4:8] * 0.4).max() <= 1
    assert not image[8:].any()


def test_transparent_palette_and_grey_with_alpha(write):
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L").convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=1)
    expected = [[[255, 0, 0], [0, 0, 0]], [[0, 0, 0], [255, 0, 0]]]
    np.testing.assert_array_equal(read_image(write("p.png", buffer.getvalue())), expected)
    both = np.array([[[200, 255], [200, 0]]], np.uint8)
    np.testing.assert_array_equal(read_image(write("la.png", saved("PNG", both)))[0, :, 0], [200, 0])


def test_the_first_frame_of_an_animation_is_used_and_that_is_said(write):
    frames = [Image.fromarray(np.full((8, 8, 3), v, np.uint8)) for v in (10, 120, 240)]
    for kind in ("GIF", "WEBP", "PNG"):
        buffer = io.BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=40)
        path = write("moving." + kind.lower(), buffer.getvalue())
        with pytest.warns(UserWarning, match=rf"{path.name}: holds 3 frames; the first one"):
            image = read_image(path)
        assert np.abs(image.astype(int) - 10).max() <= 2


def test_a_still_picture_does_not_warn(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
            read_image(write("still", saved(kind)))


def test_a_photograph_with_a_second_picture_behind_it_does_not_warn(write):
    buffer = io.BytesIO()
    Image.fromarray(SMOOTH).save(buffer, "MPO", save_all=True, append_images=[Image.fromarray(SMOOTH // 2)], quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(write("phone.jpg", buffer.getvalue()))
    assert np.abs(image.astype(int) - SMOOTH).mean() < 8


def test_content_decides_and_not_the_name(write):
    np.testing.assert_array_equal(read_image(write("really.jpg", saved("PNG", PIXELS))), PIXELS)


def test_no_file(tmp_path):
    assert "no such file" in complaint(tmp_path / "gone.jpg")
    assert "directory" in complaint(tmp_path).lower()


def test_an_empty_file(write):
    assert "empty" in complaint(write("zero.jpg", b""))


@pytest.mark.parametrize(
    "data", [b"<html>sign in</html>", b"version https://git-lfs.github.com/spec/v1\n", b"\0" * 400]
)
def test_what_is_no_picture(data, write):
    assert "not a picture" in complaint(write("page.jpg", data))


def test_postscript_is_not_run(write):
    assert "not a picture" in complaint(write("a.eps", saved("EPS")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_half_a_file(kind, write):
    data = saved(kind, rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    complaint(write("half", data[: len(data) // 2]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 1))
def test_a_cut_file_gives_all_pixels_or_none(kind, keep, write):
    data = saved(kind)
    whole = read_image(write("whole", data))
    cut = write("cut", data[: int(keep * len(data))])
    try:
        image = read_image(cut)
    except ImageError:
        return
    np.testing.assert_array_equal(image, whole)


def test_a_flipped_byte_in_a_png_is_found(write):
    data = bytearray(saved("PNG"))
    data[len(data) // 2] ^= 0x55
    complaint(write("flip.png", bytes(data)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.binary(min_size=1, max_size=40), where=st.integers(0, 200), kind=st.sampled_from(["JPEG", "GIF", "TIFF"])
)
def test_hostile_bytes_raise_nothing_else(noise, where, kind, write):
    data = bytearray(saved(kind))
    data[where : where + len(noise)] = noise
    path = write("hostile", bytes(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = read_image(path)
        except ImageError:
            return
    assert image.ndim == 3 and image.shape[2] == 3


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_decompression_bomb(write):
    for side in (10_000, 60_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(b"\0" * 99))
            + chunk(b"IEND", b"")
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert "limit" in complaint(write("bomb.png", bomb))


def test_the_limit_is_on_pixels(write, monkeypatch):
    path = write("a.png", saved("PNG", PIXELS))
    monkeypatch.setattr(decode, "PIXEL_LIMIT", 240)
    assert read_image(path).shape == (12, 20, 3)
    monkeypatch.setattr(decode, "PIXEL_LIMIT", 239)
    assert "20x12 pixels" in complaint(path)


def test_samples_without_a_range_are_refused(write):
    assert "32-bit" in complaint(write("f.tif", saved("TIFF", np.ones((4, 4), np.float32))))
