"""The deployments on a real network: five namespaces, two edges, SIPp with media, and a bad Internet when wanted.

Usage: lab.py TOLLGATE [CASE...], as root. What a case is: `cases.py`; on what it is played: `bed.py`.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop")]

import cases  # noqa: E402
from bed import Lab  # noqa: E402
from calls import Failure  # noqa: E402


def main(tollgate, wanted):
    known = {case.__name__: case for case in cases.CASES}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"no such case: {', '.join(unknown)}; there are {', '.join(known)}")
    for name in wanted or known:
        folder = Path(tempfile.mkdtemp(prefix=f"tollgate-lab-{name}-"))
        try:
            with ExitStack() as running:
                summary = known[name](Setting(tollgate, folder, running))
            print(f"lab {name}: {summary}", flush=True)
        except (Failure, RuntimeError, OSError, ValueError, subprocess.SubprocessError) as why:
            sys.exit(f"lab {name}: FAILED: {why}\nlogs, messages and captures are in {folder}")
        shutil.rmtree(folder)


@dataclass
class Setting:
    """What a case is given: the program, a folder, and the stack that ends what it starts."""

    tollgate: Path
    folder: Path
    running: ExitStack

    def lab(self, policy, more_a="", more_b=""):
        return Lab(self.tollgate, policy, self.folder, self.running, more_a, more_b)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: lab.py TOLLGATE [CASE...]")
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
