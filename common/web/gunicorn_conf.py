"""How gunicorn serves a service: threads behind several processes that share the port.

`reuse_port` spreads keep-alive connections over the workers (without it they can all land on one); no control
socket, since all instances on a machine would share its path.
"""

import os
from typing import Any

from prometheus_client import multiprocess

worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
reuse_port = True
control_socket_disable = True
keepalive = 75
timeout = 60
graceful_timeout = 8
accesslog = None
loglevel = "warning"
limit_request_line = 8190
limit_request_field_size = 16380


def child_exit(server: Any, worker: Any) -> None:
    """Fold a dead worker's live gauges out of the metrics."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
