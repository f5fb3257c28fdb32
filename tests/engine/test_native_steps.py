"""SGLang decodes with the native kernels what it decodes without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.kernels.native import needs_compiler

#: One place of bfloat16 at the size of SmolLM2's largest logits, 16 to 32.
LAST_PLACE = 0.125


@needs_compiler
def test_bfloat16_differs_by_roundings_and_at_ties(model_folder: Path) -> None:
    script = Path(__file__).with_name("native_steps.py")
    done = subprocess.run(
        [sys.executable, "-P", str(script), str(model_folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["steps"] == 8
    # Of logits whose own rounding is up to LAST_PLACE / 2.
    assert 0 < max(report["distances"]) < 2 * LAST_PLACE
    assert max(report["gaps"], default=0.0) <= 2 * LAST_PLACE
