# SPDX-License-Identifier: Apache-2.0
"""Parts of the evaluator: the worst cases, laziness, whom it looks at, and the table in the docs."""

import dataclasses
import gc
import itertools
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neural_core import others, systems
from neural_core.cameras import orbit
from neural_core.errors import UsageError
from neural_core.records import Record
from tests.spheres import write_spheres
from tests.tiny_evaluation import PEOPLE, SIZE, VIEWS, evaluate, truths, write_folder
from training.metrics import sources
from training.metrics.protocol import Case, Setting
from training.metrics.registry import METRICS
from training.metrics.worst import KEPT, Worst, sheet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("evaluate"))


def picture(value: int) -> np.ndarray:
    return np.full((2, 3, 3), value, np.uint8)


def test_the_worst_are_those_of_a_sort_whoever_saw_them():
    badness = np.random.default_rng(0).permutation(50) // 2  # each value twice
    expected = sorted(range(50), key=lambda index: (-badness[index], index))[:KEPT]
    whole, halves = Worst(), (Worst(), Worst())
    for index in range(50):
        case = Case(float(badness[index]), picture(index))
        whole.see(index, [case])
        halves[index % 2].see(index, [case])
    halves[0].merge(halves[1])
    for worst in (whole, halves[0]):
        ranked = worst.ranked()
        assert [index for index, _ in ranked] == expected
        assert all((case.picture == index).all() for index, case in ranked)


def test_the_sheet_shows_the_worst_first_and_every_case():
    canvas = sheet([Case(5 - value, picture(value)) for value in range(5)])
    shown = [canvas[row : row + 2, column : column + 3] for row in (0, 6) for column in (0, 7, 14, 21)]
    assert [int(part[0, 0, 0]) for part in shown] == [0, 1, 2, 3, 4, 255, 255, 255]
    assert all((part == part[0, 0]).all() for part in shown)


def test_one_person_is_in_memory_at_a_time(folder, tmp_path, monkeypatch):
    alive, most = weakref.WeakSet(), []
    read = sources.TruePictures.__init__

    def counted(self, path, **more):
        gc.collect()
        read(self, path, **more)
        alive.add(self)
        most.append(len(alive))

    monkeypatch.setattr(sources.TruePictures, "__init__", counted)
    gc.freeze()  # what other tests have left need not be gone through for each person
    try:
        evaluate(folder, tmp_path, "psnr,depth")
    finally:
        gc.unfreeze()
    assert len(most) == PEOPLE
    assert max(most) <= 2, "the one before may still be held while the next is read"


def test_the_help_comes_without_torch():
    blocked = "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
    program = blocked + "from training.evaluate import main\nsys.exit(main(['--list']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parents[2])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "psnr: " in done.stdout


def test_the_table_in_the_docs_is_the_registry(repository):
    rows = {
        line.split("|")[1].strip().strip("`"): line
        for line in (repository / "docs" / "metrics.md").read_text().splitlines()
        if line.startswith("| `")
    }
    assert list(rows) == list(METRICS)
    for name, metric in METRICS.items():
        cells = [cell.strip() for cell in rows[name].strip("|").split("|")]
        assert cells[1] == metric.definition
        assert cells[2] == metric.paper
        files = others.NETWORKS[metric.network].files[0] if metric.network else ""
        assert cells[4].strip("`") == files


def lower_median_of_pairs(pictures: list[np.ndarray]) -> float:
    apart = sorted(np.abs(a - b).mean() for a, b in itertools.combinations(pictures, 2))
    return apart[(len(apart) - 1) // 2]


def test_diversity_compares_pairs_of_portraits_with_pairs_of_people(folder, tmp_path):
    figures = evaluate(folder, tmp_path, "diversity", "--train-data", str(folder / "data"))["figures"]
    system = systems.load(folder / "tiny.safetensors")
    portraits = []
    for seed in range(4):
        seen = system.pose(system.create(seed, 0.7)).render(system.creation_camera(), 32)
        picture = ((seen.image + 1) / 2 + 0.5 * (1 - seen.opacity))[0].clamp(0, 1).numpy()
        portraits.append(picture.reshape(3, SIZE, 2, SIZE, 2).mean((2, 4)))
    people = [picture / 255 for picture in truths(folder)[: 4 * VIEWS : VIEWS]]  # a ball looks the same from all sides
    assert figures["pairwise_l1_portraits"]["value"] == pytest.approx(lower_median_of_pairs(portraits), rel=1e-3)
    assert figures["pairwise_l1_people"]["value"] == pytest.approx(lower_median_of_pairs(people), rel=2e-2)
    ratio = lower_median_of_pairs(portraits) / lower_median_of_pairs(people)
    assert figures["diversity"]["value"] == pytest.approx(ratio, rel=2e-2)


def test_the_frontal_picture_is_no_close_up(folder, tmp_path):
    path = tmp_path / "records" / "000000.npz"
    record = Record.load(folder / "data" / "records" / "000000.npz")
    for yaws, close_up, expected in (
        ([60.0, -10.0, 5.0, 170.0], [], 2),
        ([60.0, -10.0, 5.0, 170.0], [False, False, True, False], 1),
    ):
        cameras = orbit(torch.tensor(yaws)).label().numpy()
        dataclasses.replace(record, cameras=cameras, close_up=np.array(close_up, bool)).save(path)
        assert sources.TruePictures(path).frontal == expected


def test_people_of_whom_the_code_does_not_say_all_are_left_out(folder, tmp_path):
    data = tmp_path / "data"
    write_spheres(data, 4, VIEWS, SIZE, z_dim=64)
    smiling = np.zeros((VIEWS, 52), np.float32)
    smiling[1, 40] = 0.5
    changes = {0: {"actions": smiling}, 1: {"source": {"variety": "wide"}}, 2: {"z": np.zeros(9, np.float32)}}
    for person, change in changes.items():
        path = data / "records" / f"{person:06d}.npz"
        dataclasses.replace(Record.load(path), **change).save(path)
    report = evaluate(folder, tmp_path / "out", "l1", "--data", str(data))
    assert report["figures"]["l1"]["count"] == VIEWS
    assert set(report["not_read"]) == {f"held-out people {person}" for person in range(3)}


def test_a_model_without_codes_is_not_asked_for_people(folder):
    seeds_alone = Setting(SimpleNamespace(code_size=0), data=folder / "data")
    with pytest.raises(UsageError, match="'psnr' asks for people by their code"):
        METRICS["psnr"].begin(seeds_alone)
    METRICS["cd"].begin(seeds_alone)
