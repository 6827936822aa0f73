"""`python -m tests.chaos.inside`: the service, which reports tasks and objects on SIGUSR1.

It writes one JSON object to the file that CHAOS_INSIDE names: asyncio's tasks, and the objects that
the garbage collector knows of since the start.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from service.cli import main


def dump(_signal: int, _frame: FrameType | None) -> None:
    """Write the counts; the file appears atomically."""
    gc.collect()
    counts = {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())}
    path = Path(os.environ["CHAOS_INSIDE"])
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(counts))
    partial.rename(path)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, dump)
    sys.exit(main([]))
