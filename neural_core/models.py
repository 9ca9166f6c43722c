# SPDX-License-Identifier: Apache-2.0
"""Which models there are: the user's folder, then the weights shipped in assets/models."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from . import checkpoints
from .errors import ModelError, PortraitError, UsageError
from .files import make_folder, write_bytes
from .progress import Report, silent

DEFAULT_MODEL = "default-next3d"
FOLDER_VARIABLE = "NEURAL_PORTRAIT_MODELS"
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Model:
    """An installed model as its header describes it, or the problem with the file."""

    name: str
    path: Path
    header: checkpoints.Header | None
    problem: str = ""

    def describe(self) -> dict[str, str | float]:
        """Return name, system, licence, licence_url, use, size_mb, path and problem as plain values."""
        texts = self.header.metadata if self.header else {}
        return {
            "name": self.name,
            "system": texts.get("system", ""),
            "licence": texts.get("licence", ""),
            "licence_url": texts.get("licence_url", ""),
            "use": texts.get("use", ""),
            "size_mb": round(self.header.nbytes / 1e6, 1) if self.header else 0.0,
            "path": str(self.path),
            "problem": self.problem,
        }


def assets() -> Path:
    """Return the folder of shipped assets: inside the package in a wheel, beside it in a clone and in the add-on."""
    package = Path(__file__).resolve().parent
    inside = package / "assets"
    return inside if inside.is_dir() else package.parent / "assets"


def user_folder() -> Path:
    """Return where the user's models are: $NEURAL_PORTRAIT_MODELS, else the user's data folder. It need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_data_path("neural-portrait", appauthor=False) / "models"


def faces_folder() -> Path:
    """Return where the user's face models are, beside the models. It need not exist."""
    return user_folder().parent / "faces"


_FACE_KINDS = {5: "flame", 24: "smpl"}
"""By the number of joints, which the skinning weights have as columns."""


def faces() -> dict[str, Path]:
    """Return the user's face models by name, sorted."""
    folder = faces_folder()
    found = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
    return {path.stem: path for path in sorted(found) if not path.name.startswith(".")}


def face_kind(path: Path) -> str:
    """Return "flame" or "smpl", from the header of an imported face model; "" if it is neither or damaged."""
    try:
        shape = checkpoints.read_header(path).tensors["weights"].shape
    except (ModelError, KeyError):
        return ""
    return _FACE_KINDS.get(shape[-1], "") if len(shape) == 2 else ""


def _published_hash(path: Path) -> str:
    """Return the sha256 of the published file that an imported face model came from; "" if it is damaged."""
    try:
        return checkpoints.read_header(path).metadata.get("sha256", "")
    except ModelError:
        return ""


def find_face(name: str, kind: str, needed_by: str, sha256: str = "") -> Path:
    """Return the file of an imported face model.

    Args:
        name: its name; empty for the only one of the kind.
        kind: "flame" or "smpl".
        needed_by: what to call, in messages, what needs it.
        sha256: of the published file that it has to come from, whatever its name; empty for any.

    Raises:
        ModelError: if it is not there, of another kind, or one of several.
    """
    known = faces()
    if sha256:
        known = {known_name: path for known_name, path in known.items() if _published_hash(path) == sha256}
        if not known and faces():
            raise ModelError(
                f"{needed_by} was imported for another {kind.upper()} than those that are there now.",
                "Import that one again by `neural-portrait faces import FILE`, or the model.",
            )
        name = name if name in known else next(iter(known), "")
    of_kind = [known_name for known_name, path in known.items() if face_kind(path) == kind]
    bring = f"Get {kind.upper()} from its owners' site and bring it in: `neural-portrait faces import FILE`."
    if name and name not in known:
        raise ModelError(
            f'{needed_by} needs the face model "{name}", which is not among the imported ones.',
            f"Imported: {', '.join(known)}." if known else bring,
        )
    if name and name not in of_kind:
        raise ModelError(f'{needed_by} needs {kind.upper()}, and the face model "{name}" is another.', bring)
    if not of_kind:
        raise ModelError(f"{needed_by} is driven by the face model {kind.upper()}, which is not imported.", bring)
    if not name and len(of_kind) > 1:
        raise ModelError(f"{needed_by} needs one of several face models.", f"Add --face {' or --face '.join(of_kind)}.")
    return known[name or of_kind[0]]


def folders() -> tuple[Path, ...]:
    """Return the folders that are searched, the user's first: a model there hides a shipped one of the same name."""
    return user_folder(), assets() / "models"


def installed() -> list[Model]:
    """Return all models, sorted by name. A damaged file is listed with its problem."""
    found: dict[str, Model] = {}
    for path in _files():
        found.setdefault(path.stem, _read(path))
    return sorted(found.values(), key=lambda model: model.name)


def find(name: str) -> Model:
    """Return the model of that name; a path that ends in .safetensors is taken as it is.

    Raises:
        ModelError: if there is none, or its header is damaged.
    """
    if name.endswith(SUFFIX):
        model = _read(Path(name).expanduser())
    else:
        path = next((path for path in _files() if path.stem == name), None)
        if path is None:
            raise _missing(name)
        model = _read(path)
    if model.problem:
        raise ModelError(model.problem, "See `neural-portrait models list`.")
    return model


def import_model(source: Path, name: str, face: str = "", report: Report = silent) -> Model:
    """Copy a checkpoint of ours, or convert a published one, into the user's folder under `name`.

    Nothing stored in a published file is executed: it passes through `convert`'s restricted unpickler.

    Args:
        source: the file.
        name: the model's new name.
        face: name of the imported face model that drives it; empty for the only one of its kind.
        report: told of progress; may raise to stop, and there is no new model then.

    Raises:
        UsageError: if the name is no file name, or taken.
        ModelError: if the file is no model that we know, or needs a face model that is not there.
        PortraitError: kind "output", if the folder cannot be written.
    """
    target = new_file(user_folder(), name)
    if source.suffix == SUFFIX:
        report(f"Copying {source.name}", 0, 1)
        header = checkpoints.read_header(source)
        checkpoints.check_format(header.metadata, checkpoints.FORMAT, source.name)
        write_bytes(target, source.read_bytes())
    else:
        from . import convert

        convert.convert(source, target, face, report)
    return find(name)


def new_file(folder: Path, name: str) -> Path:
    """Return the path of a new .safetensors file in a folder, which is made.

    Raises:
        UsageError: if the name is no file name, or taken.
        PortraitError: kind "output", if the folder cannot be made.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.endswith(SUFFIX):
        raise UsageError(f'"{name}" cannot be a name here.', "Use letters, digits, dots and dashes: --name NAME.")
    target = folder / (name + SUFFIX)
    if target.exists():
        raise UsageError(f'There is a "{name}" already.', f'Choose another name, or delete "{target}".')
    make_folder(folder)
    return target


def _files() -> Iterator[Path]:
    """Yield the model files of all folders in the order in which they are searched."""
    for folder in folders():
        if folder.is_dir():
            yield from sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _read(path: Path) -> Model:
    try:
        header = checkpoints.read_header(path)
        checkpoints.check_format(header.metadata, checkpoints.FORMAT, path.name)
    except PortraitError as error:
        return Model(path.stem, path, None, error.message)
    return Model(path.stem, path, header)


def _missing(name: str) -> ModelError:
    names = [model.name for model in installed()]
    close = difflib.get_close_matches(name, names, 1)
    hint = f'Did you mean "{close[0]}"?' if close else f"Installed: {', '.join(names) or 'none'}."
    return ModelError(f'There is no model "{name}" in {user_folder()} or among the shipped ones.', hint)
