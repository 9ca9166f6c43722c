# SPDX-License-Identifier: Apache-2.0
"""Native code is silent within `quiet`, and nothing fails where there is nobody to hear it."""

import os
import subprocess
import sys

PROGRAM = """
import os
from neural_core.capture._quiet import quiet
with quiet():
    os.write(2, b"chatter") if {open} else None
if {open}:
    os.write(2, b"after")
print("done")
"""


def test_what_is_written_within_goes_nowhere():
    said = subprocess.run([sys.executable, "-c", PROGRAM.format(open=True)], capture_output=True, timeout=60)
    assert (said.stdout.split(), said.stderr) == ([b"done"], b"after")


def test_a_closed_stderr_is_no_error():
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(open=False)],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.close(2),
        timeout=60,
    )
    assert (said.returncode, said.stdout.split()) == (0, [b"done"])
