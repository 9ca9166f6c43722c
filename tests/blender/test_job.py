# SPDX-License-Identifier: GPL-3.0-or-later
"""Job files: what is read, and the sentence for everything that is wrong."""

import importlib
import sys

import pytest

MINIMAL = """version = 1
[[job]]
do = "create"
[job.portrait]
create = { seed = 3 }
[job.policy]
save_blend = "a.blend"
"""


@pytest.fixture(scope="module")
def job(stub_stage):
    sys.path.insert(0, str(stub_stage))
    yield importlib.import_module("neural_portrait.job")
    sys.path.remove(str(stub_stage))


@pytest.fixture
def read(job, tmp_path):
    def read(text, *overrides):
        path = tmp_path / "job.toml"
        path.write_text(text)
        return job.read(path, overrides)

    return read


def test_defaults(read):
    (one,) = read(MINIMAL)
    assert one.portrait.create.choice().seed == 3
    assert (one.portrait.create.model, one.portrait.create.truncation) == ("default-next3d", 0.7)
    assert one.render is None
    assert one.worker.python == "env:NEURAL_PORTRAIT_PYTHON"


def test_several_jobs_and_overrides(read):
    text = MINIMAL + '[job.render]\nout = "a.png"\n' + MINIMAL.split("\n", 1)[1]
    first, second = read(text, "render.out=b.png", "render.size=64", 'render.what=["scene"]')
    assert (first.render.out, first.render.size, first.render.what) == ("b.png", 64, ("scene",))
    assert second.render.out == "b.png"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("seed = 3", "sede = 3"), 'job 1: portrait.create: unknown key "sede". Did you mean "seed"?'),
        (("seed = 3", 'seed = "seven"'), "job 1: portrait.create.seed must be a whole number, not 'seven'."),
        (("seed = 3", "seed = 3.5"), "job 1: portrait.create.seed must be a whole number, not 3.5."),
        (("seed = 3", "seed = true"), "job 1: portrait.create.seed must be a whole number, not True."),
        (("seed = 3", "seed = -3"), "job 1: portrait.create: The seed -3 is not in 0"),
        (("seed = 3", "detail = 5"), "job 1: portrait.create.detail is 5, not in 32 .. 512."),
        (("seed = 3", "truncation = nan"), "must be a number, not nan"),
        (("seed = 3", 'make = ["rigg"]'), 'make[0] is "rigg". Did you mean "rig"?'),
        (("seed = 3", 'make = "rig"'), "must be a list"),
        (("version = 1", "version = 2"), "version 2"),
        (("version = 1", ""), "version None"),
        (('"create"', '"speek"'), 'Did you mean "speak"?'),
        (('"create"', '"speak"'), 'job 1: do = "speak" needs a [job.speak] table.'),
        (("[job.portrait]", "[job.speak]\n[job.portrait]"), "job 1: speak lacks audio."),
        (("[job.portrait]", "[job.speak]\naudio = 'a'\nstrength = -1\n[job.portrait]"), "speak.strength is -1, not in"),
        (('"create"', '"rendr"'), 'Did you mean "render"?'),
        (('do = "create"', ""), "lacks do"),
        (("[job.portrait]", "[job.portrait]\nrig = 'x'"), "both rig and create"),
        (("create = { seed = 3 }", ""), "needs portrait.create"),
        (("[[job]]", "[job]"), "no job"),
        (("[[job]]", "[[jobs]]"), 'unknown key "jobs". Did you mean "job"?'),
        (("= 1", "= ="), "is no TOML"),
        (("create = {", "create = [{"), "is no TOML"),
        (("{ seed = 3 }", "3"), "portrait.create is no table"),
        (("[job.portrait]", "[job.portrait]\nkey = [{ frame = 1, expression = { jawOpne = 1 } }]"), '"jawOpen"'),
        (("[job.portrait]", "[job.portrait]\nkey = [{ expression = { jawOpen = 1 } }]"), "lacks frame"),
        (
            ("[job.portrait]", "[job.scene]\nframes = '1,5-2'\n[job.portrait]"),
            'job 1: scene.frames: "5-2" are frames from last to first. Write "2-5".',
        ),
        (("[job.portrait]", "[job.render]\n[job.portrait]"), "job 1: render lacks out"),
        (("[job.portrait]", "[job.render]\nout = 'a'\nsamples = 0\n[job.portrait]"), "render.samples is 0, not in 1"),
        (('save_blend = "a.blend"', ""), "job 1: it writes nothing."),
        (('"create"', '"reconstruct"'), "job 1: portrait.create lacks photo (or clip)"),
        (("seed = 3", "photo = 'a.jpg', clip = 'a.mp4'"), "job 1: portrait.create: There are both photo and clip."),
        (("seed = 3", "clip = 'a.mp4', clip_frames = 0"), "portrait.create.clip_frames is 0, not in 1 .. 3000."),
        (("[job.portrait]", "[job.animate]\nclip_smoothing = 2\n[job.portrait]"), "clip_smoothing is 2, not in 0"),
        (('"create"', '"animate"'), 'job 1: do = "animate" has nothing to animate with.'),
        (('"create"', '"turntable"'), 'job 1: do = "turntable" needs a [job.render] table.'),
        (('"create"', '"export"'), 'job 1: do = "export" needs a [job.export] table.'),
        (("[job.portrait]", "[job.animate]\nrandom = {}\n[job.portrait]"), "job 1: animate.random lacks frames."),
        (("[job.portrait]", "[job.animate]\nrandom = { frames = 0 }\n[job.portrait]"), "random.frames is 0, not in 1"),
        (("[job.portrait]", "[job.animate]\ncsv_head = 'TURNS'\n[job.portrait]"), 'Did you mean "HALF_TURNS"?'),
        (("[job.portrait]", "[job.turntable]\n[job.portrait]"), '[job.turntable] belongs to do = "turntable"'),
        (
            ("[job.portrait]", "[job.export]\nout = ['a.glb', 'a.max']\n[job.portrait]"),
            'job 1: export.out[1] is "a.max", no file that can be exported. Known: .glb,',
        ),
    ],
)
def test_what_is_wrong_gets_one_sentence(job, read, change, sentence):
    from_, to = change
    assert from_ in MINIMAL
    with pytest.raises(job.UsageError) as caught:
        read(MINIMAL.replace(from_, to, 1))
    assert sentence in str(caught.value)
    assert "\n" not in caught.value.message.rstrip()


def test_render_needs_a_table(job, read):
    with pytest.raises(job.UsageError, match=r"needs a \[job.render\]"):
        read('version = 1\n[[job]]\ndo = "render"\n')


@pytest.mark.parametrize("override", ["render.size", "=3", "render..size=3", "do.x=1"])
def test_bad_overrides(job, read, override):
    with pytest.raises(job.UsageError, match="--set"):
        read(MINIMAL, override)


def test_a_file_that_is_not_there(job, tmp_path):
    with pytest.raises(job.UsageError, match="cannot be read: No such file"):
        job.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "frames"),
    [("", []), ("3", [3]), ("1-3,7", [1, 2, 3, 7]), ("5, 1-2,2", [1, 2, 5]), ("-2-1", [-2, -1, 0, 1])],
)
def test_frames(job, text, frames):
    assert job.parse_frames(text) == frames


@pytest.mark.parametrize("text", ["x", "1-", "3-1", "1-999999999", "1.5"])
def test_no_frames(job, text):
    with pytest.raises(job.UsageError, match=r"are (no|more than 100000) frames|from last to first"):
        job.parse_frames(text)


FULL = """version = 1
[[job]]
do = "turntable"
name = 'say "ä"'
[job.scene]
blend = 'C:\\x\\y.blend'
frames = "1-3,5"
[job.portrait]
create = { seed = 9, make = ["rig", "mesh"], truncation = 0.5 }
actions = ["a.json", "b.json"]
key = [ { frame = 1, expression = { jawOpen = 0.5 } }, { frame = 2 } ]
[job.animate]
random = { frames = 30, blinks = 0 }
[job.turntable]
frames = 12
yaw = 30
[job.render]
out = "x_####.png"
what = ["plane", "mesh"]
[job.export]
out = ["p.glb"]
[job.worker]
timeout_s = 12.5
[job.policy]
resume = true
"""


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_a_job_that_is_written_is_read_as_the_same_job(job, read, text):
    (one,) = read(text)
    assert read(job.text_of(one)) == [one]


def test_what_is_written_leaves_defaults_out(job, read):
    (one,) = read(FULL)
    written = job.text_of(one)
    assert "quality" not in written
    assert "latent_iterations" not in written
    assert 'what = ["plane", "mesh"]' in written


def test_frames_and_resume_of_the_command_line(job, read):
    (one,) = read(MINIMAL)
    assert job.with_frames(one, "4-6").scene.frames == "4-6"
    assert job.resumed(one).policy.resume
    with pytest.raises(job.UsageError, match="are no frames"):
        job.with_frames(one, "x")
