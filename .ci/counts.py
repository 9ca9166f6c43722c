# SPDX-License-Identifier: Apache-2.0
"""Says how many tests passed and were skipped; fails when too few passed, or more were skipped than is on record.

    python .ci/counts.py build/junit.xml core

The bounds are in ``.ci/counts.toml``, a table for each kind of run. A run that does nothing must not pass, and a test
must not disappear by being skipped: raising ``skipped`` is a line in a commit that a reader sees.
"""

import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree


def check(report: Path, bounds: dict[str, int]) -> tuple[str, list[str], list[str]]:
    """Return a summary line, the problems, and why each skipped test was skipped."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    skips = [f"{c.get('classname')}::{c.get('name')}: {s.get('message')}" for c in cases for s in c.iter("skipped")]
    failed = sum(1 for case in cases for kind in ("failure", "error") if case.find(kind) is not None)
    passed = len(cases) - len(skips) - failed
    problems = []
    if failed:
        problems.append(f"{failed} failed")
    if passed < bounds["passed"]:
        problems.append(f"only {passed} passed; at least {bounds['passed']} are expected")
    if len(skips) > bounds["skipped"]:
        problems.append(f"{len(skips)} were skipped; {bounds['skipped']} is the number on record")
    return f"{passed} passed, {failed} failed, {len(skips)} skipped", problems, skips


def main(arguments: list[str]) -> int:
    """Print the counts and return the exit code."""
    report, kind = arguments
    bounds = tomllib.loads(Path(__file__).with_name("counts.toml").read_text())[kind]
    summary, problems, skips = check(Path(report), bounds)
    print(f"{kind} tests: {summary} (at least {bounds['passed']} passed, at most {bounds['skipped']} skipped)")
    for skip in skips:
        print(f"  skipped {skip}")
    for problem in problems:
        print(f"FAILED {kind}: {problem}.", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
