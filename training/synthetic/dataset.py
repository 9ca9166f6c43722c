# SPDX-License-Identifier: Apache-2.0
"""The loop of a render process: the people of its share, one after the other, each written whole or not at all.

    python -m training.synthetic.dataset --job '{...}' --worker 0 --workers 2

runs it with our rasteriser; ``training.synthetic.cycles`` has the same command line and runs it with Blender. Each
prints one line of JSON per picture. ``training.synthesize`` starts these processes and is their only user.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from neural_core.errors import PortraitError
from neural_core.files import make_folder
from neural_core.human.anny import load_anny_head
from neural_core.human.model import FaceModel
from neural_core.media import write_png
from training.data.folders import image_name, record_file
from training.synthetic.figure import Attire, Figure, Pose
from training.synthetic.labels import LICENCE, record, take_labels
from training.synthetic.lighting import Setting
from training.synthetic.people import Person, sample_person
from training.synthetic.picture import Picture
from training.synthetic.plan import Job
from training.synthetic.raster import photographs
from training.synthetic.sight import Sight, see


class Photographer(Protocol):
    """A renderer; every picture depends on the arguments alone."""

    def photographs(self, figure: Figure, sights: Sequence[Sight], setting: Setting) -> list[Picture]:
        """The pictures that some cameras take at the same instant; a sight has its camera."""
        ...


class Rasteriser:
    """The fast renderer (``raster.py``)."""

    def photographs(self, figure: Figure, sights: Sequence[Sight], setting: Setting) -> list[Picture]:
        """The pictures of what is seen; the light is computed once."""
        return photographs(figure, sights, setting)


class Sitter(Protocol):
    """A dressed person who can pose."""

    def figure(self, pose: Pose) -> Figure:
        """The person in a pose."""
        ...


class Atelier(Protocol):
    """Where people are dressed (``sitter.Atelier``)."""

    model: FaceModel

    def sitter(self, code: Any, attire: Attire | None = None) -> Sitter:
        """The person with a code."""
        ...


def render_share(
    job: Job, worker: int, workers: int, atelier: Atelier, photographer: Photographer, tell: Callable[[int], None]
) -> None:
    """Render every ``workers``-th person that is not finished yet.

    Args:
        job: The data set.
        worker: Which share, 0 .. workers - 1.
        workers: How many shares.
        atelier: Dresses people.
        photographer: Takes their pictures.
        tell: Called with the person's index after each picture.

    Raises:
        PortraitError: A file could not be written.
    """
    for index in range(worker, job.people, workers):
        if not record_file(job.out, index).exists():
            person = sample_person(job.seed, index, job.plan)
            _render_person(job, person, atelier, photographer, tell)


def _render_person(
    job: Job, person: Person, atelier: Atelier, photographer: Photographer, tell: Callable[[int], None]
) -> None:
    sitter = atelier.sitter(person.code, person.attire)
    names, frames = [], []
    made_by = {"made_by": "training.synthesize", "licence": LICENCE}
    for take in person.takes:
        figure = sitter.figure(take.pose)
        sights = [see(figure, view, job.plan.size) for view in take.views]
        pictures = photographer.photographs(figure, sights, take.setting)
        frames += take_labels(atelier.model, figure, take, sights, pictures)
        for picture in pictures:
            name = image_name(person.index, len(names))
            make_folder((job.out / name).parent)
            write_png(job.out / name, picture.rgba if take.setting.backdrop is None else picture.rgb, made_by)
            names.append(name)
            tell(person.index)
    plan = job.plan
    source = {"seed": job.seed, "variety": plan.variety, "framing": plan.framing, "expressions": plan.expressions}
    record(person, names, frames, source).save(record_file(job.out, person.index))


def worker_main(photographer_of: Callable[[Job], Photographer]) -> int:
    """Command line of a render process.

    Args:
        photographer_of: Sets a renderer up for a job.

    Returns:
        0; 1 after an error that ``training.synthesize`` can say.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Job.from_json, required=True)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--leash", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    if options.leash:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    job: Job = options.job
    # Blender prints to the process's standard output whatever one does; what is ours goes through a copy of it.
    with os.fdopen(os.dup(1), "w", buffering=1) as ours:
        os.dup2(2, 1)

        def say(**line: Any) -> None:
            ours.write(json.dumps(line) + "\n")

        try:
            from training.synthetic.sitter import Atelier as RealAtelier

            atelier = RealAtelier(load_anny_head())
            photographer = photographer_of(job)
            render_share(job, options.worker, options.workers, atelier, photographer, lambda index: say(person=index))
        except PortraitError as error:
            say(error=error.message, hint=error.hint, kind=error.kind)
            return 1
    return 0


def _end_with_parent() -> None:
    """End at once when whoever started us is gone, however it ended: its end of the pipe is closed then."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> int:
    """Render with our rasteriser."""
    return worker_main(lambda _: Rasteriser())


if __name__ == "__main__":
    raise SystemExit(main())
