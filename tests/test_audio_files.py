"""Sound files: every format, rate and number of channels as one channel of 16 bits; broken ones by name."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipelines.audio.files import Stretch, chunks, decoded, opened, opened_array, opened_bytes
from pipelines.sources.scan import BadExample

RATE = 8_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def heard(path: Path, rate: int = RATE, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
    with opened(Stretch(os.fsencode(path), start, seconds)) as sound:
        return decoded(sound, rate)


def problem(path: Path, start: float = 0.0, seconds: float | None = None) -> str:
    with pytest.raises(BadExample) as caught:
        heard(path, start=start, seconds=seconds)
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "subtype", "off"),
    [
        ("a.wav", "PCM_U8", 2.0**-7),
        ("a.wav", "PCM_16", 2.0**-15),
        ("a.wav", "PCM_24", 2.0**-15),
        ("a.wav", "PCM_32", 2.0**-15),
        ("a.wav", "FLOAT", 2.0**-15),
        ("a.wav", "DOUBLE", 2.0**-15),
        ("a.wav", "ULAW", 0.03),
        ("a.flac", "PCM_16", 2.0**-15),
        ("a.flac", "PCM_24", 2.0**-15),
        ("a.ogg", "VORBIS", 0.1),
        ("a.opus", "OPUS", 0.1),
        ("a.mp3", "MPEG_LAYER_III", 0.1),
    ],
)
def test_every_format(tmp_path: Path, name: str, subtype: str, off: float) -> None:
    kind = "OGG" if name.endswith("opus") else None
    soundfile.write(tmp_path / name, tone(), RATE, subtype=subtype, format=kind)
    found = heard(tmp_path / name)
    assert found.dtype == np.int16
    assert len(found) == RATE // 2
    assert np.abs(found / 32_768 - tone()).max() <= off


def test_samples_of_16_bits_stay_as_they_are(tmp_path: Path) -> None:
    samples = np.array([-32_768, 32_767, 0, 1, -1] * 100, np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    np.testing.assert_array_equal(heard(tmp_path / "a.wav"), samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_any_rate_is_resampled(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5, rate), rate)
    found = heard(tmp_path / "a.wav", 16_000)
    assert abs(len(found) - 8_000) <= 1
    inside = slice(800, 7_200)
    assert np.abs(found[inside] / 32_768 - tone(0.5, 16_000)[inside]).max() < 0.01


def test_a_tone_above_the_new_rate_is_no_other_tone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5, 16_000, 6_000.0), 16_000)
    assert np.abs(heard(tmp_path / "a.wav", 8_000)[400:-400]).max() < 100


def test_channels_are_mixed(tmp_path: Path) -> None:
    both = np.stack([tone(), np.zeros_like(tone())], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
    np.testing.assert_allclose(heard(tmp_path / "a.wav") / 32_768, tone() / 2, atol=2.0**-15)


def test_what_is_louder_than_full_scale_is_cut_not_turned_round(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone() * 4, RATE, subtype="FLOAT")
    found = heard(tmp_path / "a.wav")
    assert found.max() == 32_767
    assert found.min() == -32_768
    loud = np.abs(tone()) > 0.05
    assert (np.sign(found[loud]) == np.sign(tone()[loud])).all()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_a_stretch_is_what_lies_there_in_the_whole(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, tone(2.0) * np.linspace(0, 1, 2 * RATE, dtype=np.float32), RATE)
    whole = heard(tmp_path / name)
    np.testing.assert_array_equal(heard(tmp_path / name, start=0.5, seconds=0.25), whole[4_000:6_000])
    np.testing.assert_array_equal(heard(tmp_path / name, start=1.5), whole[12_000:])


def test_a_stretch_beyond_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE)
    assert "is 1.00 s long, and the clip is to be 0.80 to 1.30 s of it" in problem(tmp_path / "a.wav", 0.8, 0.5)
    assert "is 1.00 s long" in problem(tmp_path / "a.wav", 3.0)
    for start, seconds in ((1e308, None), (1e305, 1.0), (0.0, 1e308)):
        assert "is 1.00 s long" in problem(tmp_path / "a.wav", start, seconds)
    # Rounding in somebody's table is no fault.
    assert len(heard(tmp_path / "a.wav", start=0.5, seconds=0.51)) == 4_000


def test_chunks_are_the_whole_in_parts(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.resize(tone(1.0, 12_000), 25 * 12_000), 12_000)
    parts = list(chunks(Stretch(os.fsencode(tmp_path / "a.wav")), RATE, 4.0))
    assert [len(part) for part in parts[:-1]] == [32_000] * 6
    np.testing.assert_array_equal(np.concatenate(parts), heard(tmp_path / "a.wav"))


def test_bytes_and_arrays() -> None:
    file = BytesIO()
    soundfile.write(file, tone(), RATE, format="FLAC")
    with opened_bytes(file.getvalue()) as sound:
        found = decoded(sound, RATE)
    np.testing.assert_allclose(found / 32_768, tone(), atol=2.0**-15)
    for array in (found.astype(np.int64), found.astype(np.int64) << 16, (found / 32_768).astype(np.float32)):
        with opened_array(array[:, None], RATE) as sound:
            np.testing.assert_array_equal(decoded(sound, RATE), found)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_files_that_are_no_sound(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert problem(path) == "does not exist."
    path.mkdir()
    assert problem(path) == "is no file."
    path.rmdir()
    path.write_bytes(b"")
    assert problem(path) == "is empty (0 bytes)."
    for junk in (b"hello world " * 200, b"\0" * 3_000):
        path.write_bytes(junk)
        message = problem(path)
        assert "is no sound file, or a damaged one" in message
        assert str(tmp_path) not in message
        assert "does not exist" not in message


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("kept", [0.6, 0.02])
def test_files_that_are_cut_short(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(2.0), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    message = problem(path)
    assert any(words in message for words in ("is cut short", "is damaged", "a damaged one")), message


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), RATE)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[:1_044])
    assert problem(tmp_path / "a.wav") == (
        "is cut short: its header promises 8,000 bytes of sound and it holds 1,000: fetch it again."
    )
    # What a program wrote that did not know yet how long it would be: all that there is is meant.
    (tmp_path / "a.wav").write_bytes(data[:40] + b"\xff\xff\xff\xff" + data[44:])
    assert len(heard(tmp_path / "a.wav")) == 4_000


@pytest.mark.parametrize("name", ["a.aiff", "a.au", "a.w64", "a.rf64", "a.ogg", "a.opus"])
def test_every_format_that_is_cut_short_says_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).normal(0, 0.1, 16 * RATE).astype(np.float32)  # pages of Ogg, more than one
    soundfile.write(path, noise, RATE, format="OGG" if name in ("a.ogg", "a.opus") else None)
    assert len(heard(path)) == 16 * RATE
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert "is cut short" in problem(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_of_several_streams_is_not_heard_to_its_first_alone(tmp_path: Path, subtype: str) -> None:
    path, other = tmp_path / "a.ogg", tmp_path / "b.ogg"
    for file in (path, other):
        soundfile.write(file, tone(), RATE, format="OGG", subtype=subtype)
        assert len(heard(file)) == len(tone())
    path.write_bytes(path.read_bytes() + other.read_bytes())
    assert "goes on behind its first Ogg stream" in problem(path)


def test_flac_that_was_written_into_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path, sound = tmp_path / "a.flac", tone(12.0) * np.linspace(0, 1, 12 * RATE, dtype=np.float32)
    soundfile.write(path, sound, RATE)
    whole, data = heard(path), bytearray(path.read_bytes())
    data[21], data[22:26] = data[21] & 0xF0, bytes(4)  # of its 36 bits for how many samples there are
    path.write_bytes(data)
    np.testing.assert_array_equal(heard(path), whole)
    np.testing.assert_array_equal(heard(path, start=10.5), whole[84_000:])
    np.testing.assert_array_equal(heard(path, start=0.5, seconds=0.25), whole[4_000:6_000])
    assert len(heard(path, start=12.5)) == 0
    assert "0.50 s are missing" in problem(path, 11.5, 1.0)


def test_a_header_with_no_rate_that_there_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 3)
    assert problem(tmp_path / "a.wav") == "has a damaged header (3 samples a second)."


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    samples = tone()
    samples[7] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    assert "NaN" in problem(tmp_path / "a.wav")
