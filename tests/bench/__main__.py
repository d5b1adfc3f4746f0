"""`make bench`: runs every module of this folder that has `run()`, and prints figure, aim and verdict.

Figures of one run on one machine: read the ratios; absolute times are those of this machine at this moment. `-m
tests.bench events latency` runs only those. Exits 1 when an aim is missed, so that it is seen.
"""

import importlib
import os
import platform
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure


def main() -> None:
    folder = Path(__file__).parent
    names = sys.argv[1:] or sorted(
        path.stem for path in folder.glob("*.py") if path.stem not in ("__main__", "figures", "load")
    )
    print(f"Sri-Care bench: Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    missed = 0
    for name in names:
        module = importlib.import_module(f"tests.bench.{name}")
        print(f"\n{name}: {(module.__doc__ or '').strip().splitlines()[0]}")
        began = time.monotonic()
        figures: list[Figure] = module.run()
        for figure in figures:
            print(f"  {figure}")
            missed += not figure.good
        print(f"  ({time.monotonic() - began:.0f} s)")
    if missed:
        print(f"\n{missed} aims missed")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
