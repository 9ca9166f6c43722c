# SPDX-License-Identifier: Apache-2.0
"""The same as ``python -m training.synthesize speech``."""

from training.synthetic.speech import main

if __name__ == "__main__":
    raise SystemExit(main())
