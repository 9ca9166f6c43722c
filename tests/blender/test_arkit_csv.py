# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of Live Link Face: what is read, and the sentence for everything that is wrong."""

import importlib
import math
import sys

import numpy as np
import pytest

HEADER = "Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen,HeadYaw,LeftEyeYaw"


@pytest.fixture(scope="module")
def arkit_csv(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield importlib.import_module("neural_portrait.arkit_csv")
    sys.path.remove(str(stub_stage))


@pytest.fixture
def read(arkit_csv, tmp_path):
    def read(text, fps=None, encoding="utf-8"):
        path = tmp_path / "take.csv"
        path.write_bytes(text.encode(encoding))
        return arkit_csv.read(path, fps)

    return read


def stamp(frame, fps, start=0.0):
    """Return the timecode of a frame, counted from `start` seconds."""
    seconds, rest = divmod(round(start * fps) + frame, fps)
    return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{rest:02d}.000"


def take(frames, fps, value=lambda time: 0.0, start=0.0):
    """Return a recording of `frames` whose jaw follows a function of the time in seconds."""
    rows = [f"{stamp(frame, fps, start)},61,0.1,{value(frame / fps):.9f},0.25,0.5" for frame in frames]
    return "\n".join([HEADER, *rows]) + "\n"


def test_actions_and_head_are_read_by_their_names(read):
    found = read(take(range(180), 60, lambda time: time / 4))
    assert set(found.tracks) == {"eyeBlinkLeft", "jawOpen", "headYaw"}
    assert found.fps == 60.0
    np.testing.assert_allclose(found.times, np.arange(180) / 60)
    np.testing.assert_allclose(found.tracks["jawOpen"], found.times / 4, atol=1e-8)
    assert (found.tracks["headYaw"] == 0.25).all()


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_the_rate_is_found_in_the_times(read, fps):
    assert read(take(range(3 * fps), fps)).fps == fps


def test_a_short_take_has_the_usual_rate_unless_it_is_told(read):
    text = take(range(20), 30)
    assert read(text).fps == 60.0
    assert read(text, 30.0).times[-1] == pytest.approx(19 / 30)


def test_parts_of_frames_missing_frames_and_midnight(read):
    rows = ["23:59:59:58.500,61,0,0.0,0,0", "00:00:00:00.250,61,0,0.5,0,0", "00:00:02:00.000,61,0,1.0,0,0"]
    found = read("\n".join([HEADER, *rows]))
    np.testing.assert_allclose(found.times, [0.0, 1.75 / 60, 2.0 + 1.5 / 60], atol=1e-9)
    count, tracks = found.resampled(60.0)
    assert count == 122
    assert tracks["jawOpen"][1] == pytest.approx(0.5 / 1.75)


@pytest.mark.parametrize(("fps", "scene_fps"), [(60, 24.0), (60, 30.0), (30, 60.0), (25, 29.97)])
def test_resampling_keeps_the_time(read, fps, scene_fps):
    def jaw(time):
        return 0.5 + 0.5 * math.sin(2 * math.pi * 0.5 * time)

    count, tracks = read(take(range(4 * fps), fps, jaw, start=3 * 3600)).resampled(scene_fps)
    times = np.arange(count) / scene_fps
    assert (4 * fps - 1) / fps - 1 / scene_fps < times[-1] <= (4 * fps - 1) / fps + 1e-6
    np.testing.assert_allclose(tracks["jawOpen"], [jaw(time) for time in times], atol=0.003)


def test_lines_without_a_face_are_left_out_and_equal_times_count_once(read):
    rows = ["0:0:1:00,61,0,0.2,0,0", "0:0:1:01,0,,,,", "0:0:1:02,61,0,0.4,0,0", "0:0:1:02,61,0,0.9,0,0", ""]
    found = read("\ufeff" + "\r\n".join([HEADER.upper(), *rows]))
    np.testing.assert_allclose(found.times * 60, [0, 2])
    np.testing.assert_allclose(found.tracks["jawOpen"], [0.2, 0.4])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        (HEADER, "no frame in which a face was seen"),
        ("Name,JawOpen\n1,2\n", 'does not begin with a column "Timecode"'),
        ("Timecode,Colour\n0:0:0:0,1\n", "no column of a facial action"),
        ("Timecode,JawOpne\n0:0:0:0,1\n", 'Did you mean "jawOpen"?'),
        (f"{HEADER}\n0:0:0:0,61,0\n", 'Line 2 of "take.csv" has 3 columns, the first line 6'),
        (f"{HEADER}\n0:0:0:0,61,0,0,0,0\n12.5,61,0,0,0,0\n", 'Line 3 of "take.csv" has no time: "12.5"'),
        (f"{HEADER}\n0:0:0:0,61,0,wide,0,0\n", 'no number in column "jawOpen": "wide"'),
        (f"{HEADER}\n0:0:0:0,61,0,nan,0,0\n", 'no number in column "jawOpen": "nan"'),
        (f"{HEADER}\n0:0:5:0,61,0,0,0,0\n0:0:4:0,61,0,0,0,0\n", "goes back in time at frame 2"),
    ],
)
def test_bad_files_get_a_sentence(arkit_csv, read, text, sentence):
    with pytest.raises(arkit_csv.InputError) as caught:
        read(text)
    assert sentence in f"{caught.value} {caught.value.hint}"
    assert caught.value.kind == "input"


def test_a_file_of_other_bytes_or_none_gets_a_sentence(arkit_csv, read, tmp_path):
    with pytest.raises(arkit_csv.InputError, match="is no CSV file"):
        read(HEADER, encoding="utf-16")
    with pytest.raises(arkit_csv.InputError, match="cannot be read"):
        arkit_csv.read(tmp_path / "absent.csv")
