# SPDX-License-Identifier: Apache-2.0
"""Every file of the EG3D fixtures is used by a test."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENTS = {"README.md", "ARRAYS.md"}
SERIES = {
    r"render_(\w+)\.(npz|json)": "test_eg3d_rendering.py",
    r"sr_(\w+?)(_io|_state)?\.(npz|json)": "test_eg3d_generator.py",
    r"disc_(\w+?)(_io|_state)?\.(npz|json)": "test_eg3d_discriminators.py",
}
"""Files whose names are put together in a test, from a list of quoted kinds in it."""


def test_every_file_is_used(parity_folder):
    sources = {path.name: path.read_text() for path in HERE.glob("*.py") if path.name != Path(__file__).name}
    unused = []
    for path in sorted((parity_folder / "eg3d").iterdir()):
        if path.name in DOCUMENTS or any(f'"{path.name}"' in text for text in sources.values()):
            continue
        found = [(test, re.fullmatch(pattern, path.name)) for pattern, test in SERIES.items()]
        if not any(match and f'"{match[1]}"' in sources[test] for test, match in found):
            unused.append(path.name)
    assert not unused
    assert len(list((parity_folder / "eg3d").iterdir())) >= 42  # an empty folder would pass the above
