# SPDX-License-Identifier: Apache-2.0
"""Published Next3D snapshots: imported as users do, a file of their format renders what the published code rendered."""

import csv
import dataclasses

import numpy as np
import pytest
import torch

from neural_core import checkpoints, models, systems
from neural_core.cameras import Camera
from neural_core.cli import main
from neural_core.convert import next3d as convert
from neural_core.errors import ModelError
from neural_core.human import retarget
from neural_core.human.flame import LANDMARKS, flame_mesh
from neural_core.human.model_files import convert as import_face
from neural_core.systems.next3d import dynamic
from neural_core.systems.next3d.config import MeshConfig, Next3DConfig
from neural_core.systems.next3d.generator import Next3DGenerator
from tests.official_pickles import write_generator
from tests.parity.published import Recorded, arrays, check, facts, recorded_rasterizer
from tests.tolerances import EG3D_W, NEXT3D_PICTURE

VERTICES = 5023
PLAIN = {
    "decoder": ("OSGDecoder", "training_avatar_texture.triplane_next3d"),
    "renderer": ("ImportanceRenderer", "training_avatar_texture.volumetric_rendering.renderer"),
}


@pytest.fixture(scope="module")
def folder(parity_folder):
    return parity_folder / "next3d"


@pytest.fixture(scope="module")
def stored(folder):
    return arrays(folder / "gen_io.npz")


@pytest.fixture(scope="module")
def state(folder):
    return arrays(folder / "gen_state.npz")


@pytest.fixture(scope="module")
def described(folder):
    return facts(folder / "gen.json")


@pytest.fixture(scope="module")
def attributes(described, stored):
    """What the published class keeps beside its tensors."""
    own = described["plain_attributes_not_in_state_dict"]
    arguments = described["init_kwargs"]
    return {
        "": {
            "_init_kwargs": arguments,
            "rendering_kwargs": arguments["rendering_kwargs"],
            "neural_rendering_resolution": 32,
            "uv_face_mask": stored["uv_face_mask_256"],
            "orth_scale": torch.tensor(own["orth_scale"]),
            "orth_shift": torch.tensor(own["orth_shift"]),
            "fill_mouth": own["fill_mouth"],
            "load_lms": own["load_lms"],
        },
        "renderer": {"plane_axes": torch.tensor(own["plane_axes"])},
        "backbone.synthesis.b4.conv1": {"conv_clamp": arguments["conv_clamp"]},
        "superresolution.block0.conv1": {"conv_clamp": 256},
    }


@pytest.fixture(scope="module")
def source(state, attributes, tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("theirs") / "next3d.pkl", state, attributes, PLAIN)


def face_arrays(stored):
    """A file of FLAME's layout around the fixture's mesh: eyes at height 0.03, the tip of the nose at 0.1."""
    template = np.array(stored["v"][0, :VERTICES], np.float64)
    template[:, 2] += 0.1 - template[:, 2].max()
    regressor = np.zeros((5, VERTICES))
    regressor[:3, 0] = 1
    regressor[3:, np.abs(template[:, 1] - 0.03).argmin()] = 1
    weights = np.zeros((VERTICES, 5))
    weights[:, 1] = 1
    return {
        "v_template": template,
        "shapedirs": np.zeros((VERTICES, 3, 2)),
        "posedirs": np.zeros((VERTICES, 3, 36)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "f": stored["faces_used_by_rasterizer"].numpy(),
    }


def models_folder(patch, root):
    folder = root / "models"
    folder.mkdir()
    patch.setenv("NEURAL_PORTRAIT_MODELS", str(folder))
    return folder


def add_face(path, landmarks=None, **face):
    path.parent.mkdir(exist_ok=True)
    np.savez(path.with_suffix(".npz"), **face)
    import_face(path.with_suffix(".npz"), path, landmarks)


def landmarks_of(stored, face):
    """The triangles whose middles are nearest to the fixture's landmarks."""
    middles = face["v_template"][face["f"]].mean(1)
    places = stored["v"][0, VERTICES:].numpy()
    chosen = np.linalg.norm(places[:, None] - middles, axis=2).argmin(1)
    return dict(zip(LANDMARKS, (chosen, np.full((68, 3), 1 / 3)), strict=True))


@pytest.fixture(scope="module")
def imported(source, stored, tmp_path_factory):
    root = tmp_path_factory.mktemp("ours")
    with pytest.MonkeyPatch.context() as patch:
        models_folder(patch, root)
        face = face_arrays(stored)
        add_face(root / "faces" / "mine.safetensors", landmarks_of(stored, face), **face)
        yield models.import_model(source, "published", "mine")


@pytest.fixture(scope="module")
def checkpoint(imported):
    return checkpoints.load(imported.path)


@pytest.fixture(scope="module")
def generator(checkpoint):
    config = systems.read_config("next3d", checkpoint.config)
    network = Next3DGenerator(config).requires_grad_(False)
    checkpoints.fill(network, checkpoint.tensors, checkpoint.name)
    return network


def test_import_tells_where_the_model_comes_from(imported, checkpoint, source):
    header = imported.header
    assert header.system == "next3d"
    assert header.metadata["use"] == "non-commercial"
    assert "NVIDIA" in header.metadata["licence"]
    assert header.json("source")["sha256"] == checkpoints.file_hash(source)
    face = models.find_face("mine", "flame", "")
    needed = header.json("requires")["flame"]
    assert needed == {"name": "mine", "sha256": checkpoints.file_hash(face.with_suffix(".npz"))}
    config = checkpoint.config
    assert config["dynamic_planes"] == "front_only"
    assert config["plane_axes"] == ["xy", "xz", "zy"]
    assert config["mesh"]["shift"] == pytest.approx([0, 0.01, -0.01])
    assert (config["mesh"]["triangles"], config["mesh"]["mask_resolution"]) == (4616, 256)
    assert config["superresolution"]["kind"] == "2x"


def test_head_space_is_found_through_the_face_model(checkpoint, stored):
    """A place of the mesh has the same model coordinates by way of head space as where its texture is drawn."""
    config = systems.read_config("next3d", checkpoint.config)
    face = face_arrays(stored)
    place = np.array([0.01, -0.02, 0.05])
    drawn = config.mesh.scale * (place + config.mesh.shift)  # half widths of a plane
    head = place - [0, face["J_regressor"][3] @ face["v_template"][:, 1], 0.1 - 0.104]
    model = config.head_to_model.scale * head + config.head_to_model.translation
    np.testing.assert_allclose(model, drawn * config.render.box / 2, atol=1e-6)
    assert config.head_to_model.scale == pytest.approx(2.5)


@pytest.mark.parametrize(("views", "name"), [("front_only", "gen_frontonly_io"), ("repo", "gen_io")])
def test_pictures(generator, stored, folder, views, name):
    """The first person, as imported and with all views that the published code draws."""
    expected = arrays(folder / f"{name}.npz")
    generator.config = dataclasses.replace(generator.config, dynamic_planes=views)
    w_plus = generator.mapping(stored["z"][:1], stored["c_cond"][:1])
    check("ws", w_plus, stored["ws"][:1], atol=EG3D_W)
    vertices, landmarks = stored["v"][:1].split([VERTICES, 68], dim=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic, "rasterize", recorded_rasterizer(stored))
        instant = generator.instant(generator.person(w_plus), vertices, landmarks)
    sampling = Recorded(stored["jitter_coarse"][:1], stored["u_fine"][:1024])
    found = generator.render(instant, Camera.from_label(stored["c_render"][:1]), sampling=sampling)
    check("picture", found.image, expected["image"][:1], atol=NEXT3D_PICTURE)
    check("raw picture", found.image_raw, expected["image_raw"][:1], atol=NEXT3D_PICTURE)
    check("depth", found.depth, expected["image_depth"][:1], atol=NEXT3D_PICTURE)


def test_every_published_key_has_its_place(folder):
    """Of the full-size generator: every tensor is one of ours, of that shape, or one that is known not to act."""
    with (folder / "ffhq512_G_keys.tsv").open() as file:
        rows = {row["key"]: row for row in csv.DictReader(file, delimiter="\t")}
    config = Next3DConfig(mesh=MeshConfig(triangles=4616))
    shapes = {key: sizes(row["shape"]) for key, row in rows.items()}
    acting = {key: s for key, s in shapes.items() if not key.endswith(("resample_filter", "dataset_label_std"))}
    found = convert.rename_all(acting, config)
    with torch.device("meta"):
        network = Next3DGenerator(config)
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    mesh = {key for key in expected if key.startswith("topology.")}
    assert found == {key: shape for key, shape in expected.items() if key not in mesh}
    # what is left over, by the published names
    used = {key for key in acting if convert.rename(key) in found}
    left = {key for key in acting if key not in used}
    assert len(used) == len(found)
    mappings = [f"{name}.mapping." for name in ("texture_backbone", "mouth_backbone", "neural_blending")]
    blocks = ["mouth_backbone.synthesis.b4.", *(f"neural_blending.synthesis.b{size}." for size in (4, 8, 16, 32))]
    fusions = ["mouth_backbone.synthesis.fusion.4.", "neural_blending.synthesis.fusion.3."]
    geometry = ["dense_faces", "faces", "face_uvcoords", "raw_uvcoords", "uvcoords", "uvfaces"]
    idle = [*mappings, *blocks, *fusions, *geometry]
    assert left == {key for key in acting if key.startswith(tuple(idle))}
    assert all(any(key.startswith(prefix) for key in left) for prefix in idle)
    kinds = {convert.rename(key) for key in used if rows[key]["kind"] == "param"}
    assert kinds == {name for name, _ in network.named_parameters()}


def test_the_published_arguments_give_our_defaults(described):
    """Those of FFHQ at 512 pixels; the head's place depends on the user's FLAME."""
    arguments = {**described["init_kwargs"], "z_dim": 512, "channel_base": 32768, "channel_max": 512}
    rendering = arguments["rendering_kwargs"] | {
        "depth_resolution": 48,
        "depth_resolution_importance": 48,
        "superresolution_module": "training_avatar_texture.superresolution.SuperresolutionHybrid8XDC",
    }
    mesh = convert.mesh_config(5.0, (0.0, -0.01, -0.01), triangles=9976, mask_resolution=256, fill_mouth=True)
    found = convert.read_config(arguments, rendering, neural_resolution=64, mesh=mesh, head_origin=(0.0, 0.0, 0.0))
    assert found.head_to_model.translation == pytest.approx((0, 0.025, -0.025))
    assert dataclasses.replace(found, head_to_model=Next3DConfig().head_to_model) == Next3DConfig()


def test_the_imported_model_shows_people_in_head_space(imported, generator, stored):
    """Neutral FLAME is its mean person, and a camera around the head is one around the mesh."""
    system = systems.load(imported.path)
    portrait = system.create(3)
    camera = Camera.from_label(stored["c_render"][:1])
    placed = generator.config.head_to_model
    matrix = camera.cam2world.clone()
    matrix[:, :3, 3] = (matrix[:, :3, 3] - torch.tensor(placed.translation)) / placed.scale
    found = system.pose(portrait).render(Camera(matrix, camera.intrinsics))

    face = face_arrays(stored)
    vertices = torch.from_numpy(face["v_template"]).float()[None]
    chosen = landmarks_of(stored, face)[LANDMARKS[0]]
    landmarks = vertices[:, torch.from_numpy(face["f"][chosen]).long()].mean(2)
    generator.config = dataclasses.replace(generator.config, dynamic_planes="front_only")
    instant = generator.instant(generator.person(portrait.tensors["w_plus"]), vertices, landmarks)
    expected = generator.render(instant, camera)
    check("picture", found.image, expected.image, atol=2 * NEXT3D_PICTURE)  # a camera that went there and back
    check("depth", found.depth * placed.scale, expected.depth, atol=2 * NEXT3D_PICTURE)


def test_the_model_wants_the_face_model_that_it_was_imported_with(imported, stored, tmp_path, monkeypatch):
    models_folder(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="FLAME, which is not imported"):
        systems.load(imported.path)
    face = face_arrays(stored)
    add_face(tmp_path / "faces" / "mine.safetensors", **{**face, "v_template": 1.01 * face["v_template"]})
    with pytest.raises(ModelError, match="was imported for another FLAME"):
        systems.load(imported.path)
    add_face(tmp_path / "faces" / "renamed.safetensors", landmarks_of(stored, face), **face)
    assert systems.load(imported.path).info.requires == ("flame",)


def test_actions_reach_the_face_model_in_its_own_terms(imported, monkeypatch):
    """And its own controls are added to them."""
    system = systems.load(imported.path)
    rng = np.random.default_rng(3)
    tables = [torch.from_numpy(rng.normal(size=size)).float() for size in ((0, 52), (3, 52), (2, 3, 52))]
    known = retarget.Retargeting(*tables, np.zeros(52), np.zeros(52))
    monkeypatch.setattr(retarget, "retargeting", lambda face: known)
    seen = []

    def instant(self, person, vertices, landmarks):
        seen.extend((vertices, landmarks))
        raise StopIteration

    monkeypatch.setattr(Next3DGenerator, "instant", instant)
    actions, own = torch.zeros(52), torch.tensor([0.1, 0.0, -0.2])
    actions[7] = 0.5
    with pytest.raises(StopIteration):
        system.pose(system.create(1), {"actions": actions, "jaw_pose": own})
    asked = {"jaw_pose": (0.5 * tables[1][:, 7] + own)[None], "eye_pose": 0.5 * tables[2][:, :, 7].reshape(1, 6)}
    for found, expected in zip(seen, flame_mesh(system.face, None, asked), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_the_command_line_tells_what_is_missing_and_imports(source, stored, tmp_path, monkeypatch, capsys):
    folder = models_folder(monkeypatch, tmp_path)
    command = ["models", "import", str(source), "--name", "theirs", "--face", "mine"]
    assert main(command) == 1
    assert "neural-portrait faces import" in capsys.readouterr().err
    add_face(tmp_path / "faces" / "mine.safetensors", **face_arrays(stored))
    assert main(command) == 0
    assert "non-commercial" in capsys.readouterr().out
    assert models.find("theirs").path == folder / "theirs.safetensors"


def sizes(text):
    return () if text == "scalar" else tuple(int(size) for size in text.split("x"))


def test_without_flame_the_way_to_it_is_told(source, stored, tmp_path, monkeypatch):
    models_folder(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match=r'"next3d\.pkl" is driven by the face model FLAME') as caught:
        models.import_model(source, "x")
    assert "neural-portrait faces import" in caught.value.hint
    with pytest.raises(ModelError, match='needs the face model "flame2020"') as caught:
        models.import_model(source, "x", "flame2020")
    assert "neural-portrait faces import" in caught.value.hint
    face = face_arrays(stored)
    add_face(tmp_path / "faces" / "body.safetensors", **{**face, "weights": np.zeros((VERTICES, 24))})
    with pytest.raises(ModelError, match='the face model "body" is another'):
        models.import_model(source, "x", "body")
    small = {**face, **{name: face[name][:2000] for name in ("v_template", "shapedirs", "posedirs", "weights")}}
    small |= {"J_regressor": face["J_regressor"][:, :2000], "f": face["f"][:10] % 2000}
    add_face(tmp_path / "faces" / "a.safetensors", **small)
    with pytest.raises(ModelError, match="a mesh of 2400 vertices, and the face model has 2000"):
        models.import_model(source, "x")
    add_face(tmp_path / "faces" / "b.safetensors", **face)
    with pytest.raises(ModelError, match="one of several"):
        models.import_model(source, "x")
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state, own: state.pop("neural_blending.synthesis.fusion.0.bias"), r"lacks blending\.fusions\.0\.bias"),
        (lambda state, own: state.update({"w_extra.weight": torch.zeros(2)}), r"unknown w_extra\.weight"),
        (lambda state, own: own[""].pop("uv_face_mask"), 'no "uv_face_mask"'),
        (lambda state, own: own[""].update(uv_face_mask="mask.png"), "a str where numbers should be"),
        (lambda state, own: own[""].update(orth_shift=torch.zeros(1)), "not Next3D's"),
    ],
)
def test_other_networks_are_refused_by_name(state, attributes, stored, tmp_path, monkeypatch, change, sentence):
    state, attributes = dict(state), {name: dict(values) for name, values in attributes.items()}
    change(state, attributes)
    source = write_generator(tmp_path / "other.pkl", state, attributes, PLAIN)
    models_folder(monkeypatch, tmp_path)
    add_face(tmp_path / "faces" / "mine.safetensors", **face_arrays(stored))
    with pytest.raises(ModelError, match=sentence):
        models.import_model(source, "x")
    assert not list((tmp_path / "models").iterdir())


def test_the_mesh_may_lie_in_parameters(state, attributes, stored, tmp_path, monkeypatch):
    """As in the class that came before the released one."""
    attributes = {name: dict(values) for name, values in attributes.items()}
    shift = torch.tensor([[0.01, -0.02, 0.005]])
    state = {**state, "orth_scale": torch.tensor([[4.97]]), "orth_shift": shift}
    for name in ("orth_scale", "orth_shift", "fill_mouth"):
        del attributes[""][name]
    source = write_generator(tmp_path / "older.pkl", state, attributes, PLAIN)
    models_folder(monkeypatch, tmp_path)
    add_face(tmp_path / "faces" / "mine.safetensors", **face_arrays(stored))
    mesh = models.import_model(source, "older").header.json("config")["mesh"]
    assert mesh["scale"] == pytest.approx(4.97)
    assert mesh["shift"] == pytest.approx([0.01, 0.02, 0.005])
