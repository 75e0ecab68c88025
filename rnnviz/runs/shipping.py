"""Copy a trained run into `data/` without what only training needs, for `make example` and `make chapters`.

python -m rnnviz.runs.shipping build/gru-en data/gru-en 8
python -m rnnviz.runs.shipping build/deep-en data/deep-en 0 epochs        (of the reports those of epochs alone)
python -m rnnviz.runs.shipping build/example-en data/example-en 0 best    (also the weights of the best epoch)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from rnnviz.runs.folder import BEST, Run
from rnnviz.runs.reports import Checkpoint, StepReport


def ship(run: Run, folder: Path, kept: int = 0, *, steps_told: bool = True, best: bool = False) -> Run:
    """Copy a finished run to a new folder, with its last weights and as many earlier checkpoints as `kept` says.

    The earlier ones are spread evenly over those that the run kept, beginning with the first. `best` adds that of the
    best epoch, for pages that write with it. The weights of all but the last are stored in half precision, which is
    enough for looking at them. Without `steps_told` the reports of single steps are left out: they are most of the
    size where no page draws them.
    """
    last = run.load_checkpoint()
    steps = [step for step in run.checkpoint_steps() if step < last.meta["step"]]
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("checkpoints", "recordings"):
        (folder / name).mkdir(parents=True)
    for path in run.folder.glob("*.json"):
        shutil.copy(path, folder)
    shutil.copy(run.recording_path(), folder / "recordings")
    shipped = Run(folder)
    shipped.append([r for r in run.reports() if steps_told or not isinstance(r, StepReport)])
    shipped.save_checkpoint(last.only_weights())
    for at in [*_spread(steps, kept), *([BEST] if best and run.has_best else [])]:
        weights = run.load_checkpoint(at).only_weights()
        halves = {key: array.astype(np.float16) for key, array in weights.arrays.items()}
        shipped.save_checkpoint(Checkpoint(halves, weights.meta), at)
    return shipped


def _spread(steps: list[int], count: int) -> list[int]:
    """Choose `count` of the steps, evenly spread; the end of training counts as one more step after them."""
    places = np.linspace(0, len(steps), min(count, len(steps)), endpoint=False)
    return [steps[int(place)] for place in places]


if __name__ == "__main__":
    words = sys.argv[4:]
    ship(
        Run.open(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]),
        steps_told="epochs" not in words,
        best="best" in words,
    )
