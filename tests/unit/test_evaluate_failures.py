# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in an evaluation costs only what it touches, and is said: no model is rendered here."""

import argparse
import json
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neural_core import devices, models, systems
from neural_core.errors import InputError, UsageError
from training import distributed, evaluate
from training.metrics import judge_portraits, judge_sets, judge_truth, sources, subject, truth
from training.metrics.judge_held_out import Depth, Psnr, Ssim, ViewVariance
from training.metrics.judge_identity import MultiViewId
from training.metrics.judge_portraits import ChamferDistance, Diversity, LandmarkConsistency
from training.metrics.judge_sets import Kid
from training.metrics.kid import kernel_distance
from training.metrics.protocol import Figure, Measured, Setting
from training.metrics.report import Report
from training.metrics.sharding import measure

ALONE = SimpleNamespace(rank=0, size=1, first=True)


class Numbers:
    """Items 0..3; the third is damaged."""

    what = "numbers"

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise InputError("damaged")
        return index


class Sum:
    """Adds up; cannot read some items, or not sum up."""

    def __init__(self, unread=(), broken=False):
        self.unread, self.broken = unread, broken

    def measure(self, item):
        if item in self.unread:
            raise InputError("unread")
        return Measured({"x": np.array([item])})

    def figures(self, measured):
        if self.broken:
            raise InputError("too few")
        return [Figure("sum", float(sum(one.values["x"][0] for one in measured)), "", "", len(measured), "x", "")]


def test_what_one_judge_cannot_read_is_lost_to_that_judge_only():
    kept = measure(Numbers(), {"all": Sum(), "some": Sum(unread=(1,))}, ALONE)
    assert sorted(kept.measured["all"]) == [0, 1, 3]
    assert sorted(kept.measured["some"]) == [0, 3]
    assert kept.not_read() == {"1 (some)": "unread", "2": "damaged"}


def run(monkeypatch, tmp_path, metrics, judges, sources):
    """Run the command with these judges and sources in place of real ones; return the exit code and the report."""
    monkeypatch.setattr(models, "find", lambda name: SimpleNamespace(path=tmp_path / "m.safetensors"))
    monkeypatch.setattr(systems, "load", lambda *_: None)
    monkeypatch.setattr(devices, "choose", lambda name: name)
    fake = SimpleNamespace(system=SimpleNamespace(checkpoint_hash=""), pixels=8, size=8, code_size=1)
    monkeypatch.setattr(subject, "Subject", lambda *_: fake)
    monkeypatch.setattr(distributed, "joined", lambda _: nullcontext(ALONE))
    monkeypatch.setattr(evaluate, "_judges", lambda wanted, *_: [(evaluate.METRICS[n], j) for n, j in judges.items()])

    def source(name, setting):
        if isinstance(sources[name], InputError):
            raise sources[name]
        return sources[name]

    monkeypatch.setattr(evaluate, "_source", source)
    (tmp_path / "metrics.json").unlink(missing_ok=True)
    code = evaluate.main(["--model", "m", "--metrics", metrics, "--out", str(tmp_path)])
    file = tmp_path / "metrics.json"
    return code, json.loads(file.read_text()) if file.exists() else None


def test_one_failure_leaves_the_other_figures(monkeypatch, tmp_path, capsys):
    judges = {"l1": Sum(broken=True), "psnr": Sum(), "cd": Sum()}
    sources = {"held-out": Numbers(), "seeds": InputError("no seeds")}
    code, report = run(monkeypatch, tmp_path, "all", judges, sources)
    assert code == 0
    assert report["figures"]["sum"]["value"] == 4
    assert report["left_out"] == {"l1": "too few", "cd": "no seeds"}
    code, report = run(monkeypatch, tmp_path, "l1,psnr", {"l1": judges["l1"], "psnr": judges["psnr"]}, sources)
    assert (code, report["figures"]["sum"]["value"]) == (1, 4), "the error ends the command, after the report"
    assert "too few" in capsys.readouterr().err
    code, report = run(monkeypatch, tmp_path, "psnr,cd", {"psnr": Untouched(), "cd": Sum()}, sources)
    assert (code, report) == (1, None), "all sources are opened before any is measured"


class Untouched(Sum):
    """A judge that may not be asked."""

    def measure(self, item):
        raise AssertionError


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--yaw", "0,nan"], "no list of different angles"),
        (["--yaw", "0,30,30.0"], "no list of different angles"),
        (["--truncation", "nan"], "--truncation is no number"),
    ],
)
def test_numbers_that_are_none_are_wrong_usage(flags, words, tmp_path, capsys):
    assert evaluate.main(["--model", "m", "--out", str(tmp_path), *flags]) == 2
    assert words in capsys.readouterr().err


def test_an_output_folder_that_is_a_file_is_a_sentence(tmp_path, capsys):
    (tmp_path / "out").touch()
    assert evaluate.main(["--model", "m", "--out", str(tmp_path / "out")]) == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


def test_ssim_refuses_pictures_below_its_window():
    with pytest.raises(UsageError, match="at least 11 pixels"):
        Ssim(SimpleNamespace(subject=SimpleNamespace(pixels=10)))


def test_landmarks_from_the_same_side_say_nothing(monkeypatch):
    def same_side(*_):
        raise ValueError

    monkeypatch.setattr(judge_portraits, "multiview_landmark_consistency", same_side)
    item = SimpleNamespace(landmarks=[], shown=SimpleNamespace(views=SimpleNamespace(camera=None)))
    assert LandmarkConsistency.measure(argparse.Namespace(), item) is None


def seed(number):
    shown = SimpleNamespace(compared=torch.full((1, 3, 8, 8), number / 10))
    return SimpleNamespace(seed=number, shown=shown, subject=SimpleNamespace(pixels=8))


def diverse(monkeypatch, people):
    """Judge diversity of seeds against people who are as bright as this, None for one that cannot be read."""

    def read(path):
        if people[path] is None:
            raise InputError("damaged")
        picture = torch.full((1, 3, 8, 8), float(people[path]))
        return SimpleNamespace(frontal=0, over_grey=lambda pixels, only: picture)

    monkeypatch.setattr(judge_portraits, "people_files", lambda folder: range(len(people)))
    monkeypatch.setattr(judge_portraits, "TruePictures", read)
    judge = Diversity(SimpleNamespace(folder=lambda *_: None))
    measured = [judge.measure(seed(number)) for number in range(4)]
    return {figure.name: figure for figure in judge.figures(measured)}


def test_a_damaged_training_person_costs_no_portrait(monkeypatch):
    figures = diverse(monkeypatch, [0.0, None, 0.5])
    assert figures["pairwise_l1_portraits"].count == 4
    assert figures["pairwise_l1_people"].count == 2
    assert "1 more could not be used" in figures["pairwise_l1_people"].meaning
    assert figures["diversity"].value == pytest.approx(0.1 / 0.5, rel=1e-5)


def test_diversity_needs_two_people_who_differ(monkeypatch):
    assert not diverse(monkeypatch, [None, None])
    assert not diverse(monkeypatch, [0.5, None])
    assert set(diverse(monkeypatch, [0.5, 0.5])) == {"pairwise_l1_portraits", "pairwise_l1_people"}


def test_what_is_nan_everywhere_is_no_figure_and_else_does_not_count():
    nothing = [Measured({"cd": np.array([np.nan]), "depth": np.array([np.nan])})]
    some = [*nothing, Measured({"depth": np.array([0.25, 0.75])})]
    assert ChamferDistance.figures(ChamferDistance.__new__(ChamferDistance), nothing) == []
    depth = Depth.__new__(Depth)
    assert depth.figures(nothing) == []
    (figure,) = depth.figures(some)
    assert (figure.value, figure.count) == (50, 2)


def test_equal_pictures_have_a_finite_psnr():
    truth = torch.rand(2, 3, 8, 8)
    shown = SimpleNamespace(compared=truth.clone())
    item = SimpleNamespace(shown=shown, mean_shown=shown, truth=truth)
    assert Psnr(SimpleNamespace()).measure(item).values["psnr"].tolist() == [100, 100]
    assert ViewVariance(SimpleNamespace()).measure(item).values["nvv"].tolist() == [0]


def test_the_matrix_of_views_is_in_the_report(tmp_path):
    judge = ViewVariance(SimpleNamespace())
    scores = np.array([[20.0, 30.0, 40.0], [10.0, 10.0, 40.0]])
    measured = []
    for person in scores:
        truth_of = torch.zeros(3, 3, 8, 8)
        shown = truth_of + torch.from_numpy(10 ** (-person / 20))[:, None, None, None]
        measured.append(judge.measure(SimpleNamespace(shown=SimpleNamespace(compared=shown), truth=truth_of)))
    Report({}, {"view-variance": judge.figures(measured)}).write(tmp_path)
    figure = json.loads((tmp_path / "metrics.json").read_text())["figures"]["nvv_psnr"]
    assert figure["value"] == pytest.approx(scores.std(1).mean())
    np.testing.assert_allclose(figure["matrix"], np.tile([15.0, 20.0, 40.0], (3, 1)), rtol=1e-6)
    assert figure["synthesis"] == figure["nvs"] == pytest.approx(25)
    assert figure["ivv"] == 0
    (uneven,) = judge.figures([measured[0], Measured({**measured[1].values, "matrix": np.zeros((2, 2))})])
    assert "matrix" not in uneven.more


def test_who_was_not_read_is_not_unrecognised(monkeypatch):
    monkeypatch.setattr(judge_truth, "recognised", lambda *_: np.array([True, False, False]))
    judge = SimpleNamespace(face=None)

    def person(identity):
        values = {"shape": np.zeros((1, 2)), "identity": np.array([identity]), "of_mean": np.ones(1)}
        values |= {"expression": np.ones(1), "pose": np.ones(1)}
        sides = {f"{side}_{name}": value for side in ("ours", "true") for name, value in values.items()}
        return Measured({"truth": np.zeros((1, 2)), **sides})

    found = judge_truth.TruthDistance.figures(judge, [person(1.0), person(np.nan), person(2.0)])
    figures = {figure.name: figure for figure in found}
    assert (figures["recognised"].value, figures["recognised"].count) == (50, 2)
    assert "1 more could not be read" in figures["recognised"].meaning
    unread = judge_truth.TruthDistance.figures(judge, [person(np.nan)] * 3)
    assert "recognised" not in {figure.name for figure in unread}


def test_pictures_that_fit_alone_but_not_together_are_a_person_who_was_not_read(monkeypatch):
    def fit(model, points, evidence):
        if len(points) > 1:
            raise InputError("not one person")

    monkeypatch.setattr(truth, "fit_face", fit)
    monkeypatch.setattr(truth, "first_crop", lambda *_: None)
    monkeypatch.setattr(truth, "look_again", lambda *_: np.zeros((478, 2)))
    monkeypatch.setattr(truth, "read_pixels", lambda *_: None)
    monkeypatch.setattr(truth, "through_usual_lens", lambda points, _: points)
    finder = SimpleNamespace(faces=lambda _: [SimpleNamespace(points=None)])
    assert truth._read(finder, None, np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 25))) == ([], None)


def test_identity_over_views_needs_two():
    with pytest.raises(UsageError, match="'multi-view-id' compares views"):
        MultiViewId(SimpleNamespace(yaws=(0.0,)))


def test_portraits_that_are_truncated_say_so():
    measured = [Measured({"cd": np.array([2.0]), "id": np.array([0.5])})]
    for truncation, words in ((0.7, "at truncation 0.7; the papers truncate nothing"), (1.0, "")):
        judge = ChamferDistance(Setting(None, truncation=truncation))
        assert judge.figures(measured)[0].meaning == words
        identity = SimpleNamespace(meaning=Setting(None, truncation=truncation).truncated)
        assert MultiViewId.figures(identity, measured)[0].meaning == words


@pytest.mark.parametrize(("count", "said"), [(10, False), (11, True)])
def test_kid_has_a_deviation_only_where_subsets_differ(count, said, monkeypatch):
    monkeypatch.setattr(judge_sets, "kernel_distance", partial(kernel_distance, subset_size=10))
    features = np.random.default_rng(0).standard_normal((2, count, 1)).astype(np.float32)
    measured = [Measured({"generated": features[0], "real": features[1]})]
    assert ("deviation" in Kid.figures(Kid.__new__(Kid), measured)[0].meaning) == said


def test_a_truth_that_would_have_to_be_enlarged_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(sources.media, "read_picture", lambda path: np.zeros((8, 8, 4), np.uint8))
    true = sources.TruePictures.__new__(sources.TruePictures)
    true.path = tmp_path / "records" / "0.npz"
    true.record = SimpleNamespace(images=["0.png"], alpha=np.zeros((1, 8, 8), np.uint8))
    assert true._picture(0, 8).shape == (3, 8, 8)
    with pytest.raises(InputError, match="of 8 pixels cannot be compared at 9"):
        true._picture(0, 9)
