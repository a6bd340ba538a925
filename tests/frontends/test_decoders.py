"""Sound and picture files: right values from good ones, a `DataError` saying what is wrong from bad ones."""

from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_db.engine.frontends.audio import decode_audio, resample
from aios_db.engine.frontends.image import load_pixels
from aios_db.schema.errors import DataError, MissingExtraError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")
Image = pytest.importorskip("PIL.Image")


def sound(samples: np.ndarray, rate: int, container: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def picture(width: int, height: int, mode: str = "RGB", container: str = "PNG") -> bytes:
    rng = np.random.default_rng(width * height)
    array = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(array, "RGBA").convert(mode).save(buffer, container)
    return buffer.getvalue()


SINE = np.sin(2 * np.pi * 200 * np.arange(8000) / 8000).astype(np.float32) * 0.5
WAV = sound(SINE, 8000)
PNG = picture(40, 30)


def test_wav_at_the_right_rate_is_returned_exactly() -> None:
    np.testing.assert_array_equal(decode_audio(sound(SINE, 16_000, subtype="FLOAT"), 16_000), SINE)


def test_channels_are_averaged() -> None:
    stereo = np.stack((SINE, np.zeros_like(SINE)), 1)
    np.testing.assert_allclose(decode_audio(sound(stereo, 8000, subtype="FLOAT"), 8000), SINE / 2, atol=1e-7)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_resampling_keeps_the_tone(container: str) -> None:
    decoded = decode_audio(sound(SINE, 8000, container), 16_000)
    expected = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000) * 0.5
    assert decoded.dtype == np.float32 and abs(decoded.size - 16_000) <= 2400
    middle = slice(4000, 12_000)
    loudness = np.sqrt(np.mean(decoded[middle] ** 2)), np.sqrt(np.mean(expected[middle] ** 2))
    assert loudness[0] == pytest.approx(loudness[1], rel=0.05)


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "empty"), (b"not sound at all", "6e 6f 74"), (WAV[:20], "cannot be decoded")]
)
def test_unreadable_sound_is_a_data_error(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_audio(data, 16_000)


def test_sound_without_samples_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"shape \(0,\)"):
        decode_audio(sound(np.zeros(0, np.float32), 8000), 16_000)


def test_nan_samples_are_counted() -> None:
    with pytest.raises(DataError, match="2 samples of NaN or infinity"):
        resample(np.array([0.0, np.nan, np.inf], np.float32), 16_000, 16_000)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(DataError, match="sample rate of 0"):
        resample(SINE, 0, 16_000)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
@pytest.mark.parametrize(("width", "height"), [(224, 224), (500, 375), (91, 333), (30, 20)])
def test_pixels_equal_clips_own_processor(mode: str, width: int, height: int) -> None:
    processing = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    data = picture(width, height, mode, "TIFF" if mode == "CMYK" else "PNG")
    expected = processing.CLIPImageProcessorPil()(
        Image.open(BytesIO(data)), return_tensors="np"
    ).pixel_values[0]
    actual = load_pixels(data)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, atol=1e-5)


GREY = np.linspace(0, 1, 24 * 24).reshape(24, 24)


@pytest.mark.parametrize(
    ("kind", "container", "most"),
    [("uint16", "PNG", 65_535), ("uint16", "TIFF", 65_535), ("int32", "TIFF", 65_535), ("int32", "TIFF", 255),
     ("float32", "TIFF", 1), ("float32", "TIFF", 900), ("int32", "TIFF", -70_000)],
)  # fmt: skip
def test_a_grey_picture_of_many_bits_is_not_cut_off_at_255(kind: str, container: str, most: int) -> None:
    scaled = GREY * most if most > 0 else (GREY - 1) * -most
    found = BytesIO()
    Image.fromarray(scaled.astype(kind)).save(found, container)
    plain = BytesIO()
    Image.fromarray((GREY * 255).astype(np.uint8)).save(plain, "PNG")
    np.testing.assert_allclose(
        load_pixels(found.getvalue(), 24), load_pixels(plain.getvalue(), 24), atol=0.03
    )


def test_a_large_picture_of_16_bits() -> None:
    found = BytesIO()
    rows = np.linspace(0, 65_535, 5_000 * 4_100).reshape(4_100, 5_000).astype(np.uint16)
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    Image.fromarray(rows).save(found, "TIFF", exif=upside_down)
    pixels = load_pixels(found.getvalue(), 8)
    assert pixels.shape == (3, 8, 8) and 3 < pixels[0, 0, 0] - pixels[0, -1, -1] < 3.8


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty"), (b"GIF89a", "47 49 46"), (PNG[: len(PNG) // 2], "cannot be decoded")],
)
def test_unreadable_picture_is_a_data_error(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_pixels(data)


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="too large to decode"):
        load_pixels(PNG)


def test_a_sliver_is_refused() -> None:
    with pytest.raises(DataError, match="2 x 300 pixels"):
        load_pixels(picture(2, 300))


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(PNG) - 1), byte=st.integers(0, 255))
def test_a_damaged_picture_decodes_or_is_a_data_error(at: int, byte: int) -> None:
    try:
        pixels = load_pixels(PNG[:at] + bytes([byte]) + PNG[at + 1 :])
    except DataError:
        return
    assert pixels.shape == (3, 224, 224) and np.isfinite(pixels).all()


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 60), byte=st.integers(0, 255))
def test_a_damaged_sound_decodes_or_is_a_data_error(at: int, byte: int) -> None:
    try:
        samples = decode_audio(WAV[:at] + bytes([byte]) + WAV[at + 1 :], 16_000)
    except DataError:
        return
    assert samples.size and np.isfinite(samples).all()


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("soundfile", lambda: decode_audio(WAV, 16_000)),
        ("soxr", lambda: decode_audio(WAV, 16_000)),
        ("PIL", lambda: load_pixels(PNG)),
    ],
)
def test_an_absent_package_is_named_with_its_pip_line(
    package: str, call: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="pip install 'aios_db"):
        call()  # type: ignore[operator]
