"""Long sounds and large pictures: a bound on memory, and a clear error beyond it."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from aios_db.engine.frontends import audio, views
from aios_db.engine.frontends.audio import decode_audio, without_trailing_silence
from aios_db.engine.frontends.views import open_picture
from aios_db.schema.errors import DataError

soundfile = pytest.importorskip("soundfile")
soxr = pytest.importorskip("soxr")
Image = pytest.importorskip("PIL.Image")

MEASURED = """
import resource, sys
from pathlib import Path
import numpy, soundfile, soxr, PIL.Image
from aios_db.engine.frontends.audio import decode_audio, without_trailing_silence
from aios_db.engine.frontends.views import open_picture
data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = eval(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, made)
"""


def measured(file: Path, expression: str) -> tuple[int, str]:
    """Return the MiB that an expression of ``data`` takes besides it, and what it makes."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, file, expression], capture_output=True, text=True, check=True
    )
    kib, made = run.stdout.split(maxsplit=1)
    return int(kib) >> 10, made.strip()


def test_an_hour_is_decoded_in_the_memory_of_what_it_becomes(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 44_100, 2) as file:
        for _ in range(60):
            file.write(np.full((60 * 44_100, 2), 0.25, np.float32))
    expression = "without_trailing_silence(decode_audio(data, 16_000)).shape"
    mib, made = measured(tmp_path / "hour.flac", expression)
    assert made == "(57600000,)"
    assert mib < 620  # the hour at 16 kHz is 220 MiB, at 44.1 kHz in stereo 1,211


def test_blocks_are_bounded_however_many_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 1000)
    random = np.random.default_rng(0).normal(0, 0.1, (3000, 7)).astype(np.float32)
    buffer = BytesIO()
    soundfile.write(buffer, random, 8000, format="WAV", subtype="FLOAT")
    whole = soxr.resample(random.mean(1), 8000, 16_000)
    np.testing.assert_allclose(decode_audio(buffer.getvalue(), 16_000), whole, atol=1e-6)


def test_longer_than_the_most_is_refused_before_it_is_all_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SECONDS", 2)
    buffer = BytesIO()
    soundfile.write(buffer, np.zeros(8000 * 3, np.float32), 8000, format="WAV")
    with pytest.raises(DataError, match="lasts longer than 2 s, the most that is decoded; cut it in parts"):
        decode_audio(buffer.getvalue(), 16_000)


def test_silence_at_the_end_is_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 10)
    for last in (0, 4, 9, 10, 34, 99):
        samples = np.zeros(100, np.float32)
        samples[last] = -0.5
        assert len(without_trailing_silence(samples)) == last + 1
    assert len(without_trailing_silence(np.zeros(100, np.float32))) == 1


def test_a_picture_of_100_million_pixels(tmp_path: Path) -> None:
    large = Image.new("RGB", (12_500, 8_000), (200, 30, 30))
    large.save(tmp_path / "large.jpg")
    mib, made = measured(tmp_path / "large.jpg", "open_picture(data, 224).getpixel((5, 5))")
    assert mib < 100 and made == "(202, 30, 30)"
    buffer = BytesIO()
    large.save(buffer, "PNG", compress_level=1)
    with pytest.raises(DataError, match="12500 x 8000 pixels is too large to decode: the most is 89 million"):
        open_picture(buffer.getvalue(), 224)


def test_a_large_picture_is_reduced_before_it_is_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "LARGE_PIXELS", 1000)
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned right
    pixels = np.zeros((64, 96, 4), np.uint8)
    pixels[:, :48] = (255, 0, 0, 255)
    pixels[:, 48:] = (0, 0, 255, 0)  # transparent, which is on white
    buffer = BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "PNG", exif=exif)
    picture = open_picture(buffer.getvalue(), 8)
    assert picture.size == (32, 48)  # half of 64 x 96: four times 8 is what is kept at least
    assert picture.getpixel((16, 4)) == (255, 0, 0) and picture.getpixel((16, 44)) == (255, 255, 255)
