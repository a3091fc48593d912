"""Children of pools, which end without Python's exit handlers: what they accepted is stored before they do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


class PoolEnd:
    """Has `drain` called at the end of a process that `multiprocessing` or Celery's prefork pool forked.

    Such a process ends by `os._exit`: what it left in the journal would wait for somebody else who writes there.
    """

    def __init__(self, drain: Callable[[], object]) -> None:
        self._drain = drain
        self._process_id = -1

    def arrange(self) -> None:
        """Once in a process: not when it is forked, for a pool makes itself known to its child only after that."""
        if self._process_id != os.getpid():
            self._process_id = os.getpid()
            # Not imported: where they are not loaded, they did not fork us.
            process: Any = sys.modules.get("multiprocessing.process")
            if process is not None and process.parent_process() is not None:
                from multiprocessing.util import Finalize

                Finalize(None, self._drain, exitpriority=0)
            if (signals := sys.modules.get("celery.signals")) is not None:
                signals.worker_process_shutdown.connect(self._celery_ends, weak=False)

    def _celery_ends(self, **_: object) -> None:
        self._drain()
