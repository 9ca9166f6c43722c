# SPDX-License-Identifier: GPL-3.0-or-later
"""A "Python" that only pretends: for the set-up's tests, which must neither download nor wait.

`write` puts a program into a folder. It answers the set-up's questions with the facts that it was given, makes
"environments" that hold itself, and its pip does what `pip` says: "works", "lacks" (no such package), "full" (disk),
"away" (no network), "odd", or "hangs" with a child that hangs as well and writes its process id to `child`.
"""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

from staging import ROOT

_PROGRAM = """#!{python} -IS
import json, os, pathlib, shutil, subprocess, sys, time
facts = json.loads({facts!r})
words = sys.argv[1:]
if "-m" in words and "venv" in words:
    target = pathlib.Path(words[-1]) / "bin" / "python"
    target.parent.mkdir(parents=True)
    shutil.copyfile(__file__, target)
    target.chmod(0o755)
elif words[:3] == ["-m", "pip", "--version"]:
    print("pip 24.0 from somewhere")
elif "pip" in words:
    kind = facts["pip"]
    print("Collecting torch>=2.11")
    print("  Downloading https://example.org/torch-2.13.0-cp312.whl (190 MB)", flush=True)
    if kind == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pathlib.Path(facts["child"]).write_text(str(child.pid))
        time.sleep(60)
    print({{
        "works": "Installing collected packages: torch",
        "lacks": "ERROR: No matching distribution found for mediapipe==0.10.21",
        "full": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "away": "WARNING: Retrying after connection broken by 'NewConnectionError(...)'",
        "odd": "ERROR: the moon is in the wrong house",
    }}[kind])
    sys.exit(kind != "works")
elif len(words) > 3:  # an inspection: what is wanted is its argument
    wanted = json.loads(words[-1])
    have = {{name: facts["packages"].get(name.lower(), "") for name, _ in wanted}}
    print("a line of somebody's")
    said = {{"packages": {{name: version for name, version in have.items() if version}}, "broken": facts["broken"]}}
    print(json.dumps({{**said, "path": __file__, "version": facts["version"], "machine": facts["machine"], "threads": 2,
                      "memory": 16 * 10**9, **facts["torch"]}}))
else:
    print(json.dumps({{"path": __file__, "lacks": facts["lacks"],
                      **{{name: facts[name] for name in ("version", "machine", "bits", "implementation")}}}}))
"""


def write(path: Path, **facts: Any) -> Path:
    """Write a pretending Python and return its path; the facts are those of a good one where nothing else is said.

    It has all packages in their tested versions, but for those that `packages` changes ("" for a missing one).
    """
    tested = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text().lower(), re.M))
    good = {"version": [3, 12, 1], "machine": "x86_64", "bits": 64, "implementation": "CPython", "lacks": []}
    good |= {"broken": {}, "torch": {}, "pip": "works", "child": str(path.with_suffix(".child"))}
    facts["packages"] = {**tested, **facts.get("packages", {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PROGRAM.format(python=sys.executable, facts=json.dumps({**good, **facts})))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
