"""payment's real worker with a kill -9 at one step: `python -m tests.support.payment_worker "after the charge"`."""

import sys

from payment import worker
from tests.support.seams import die_at

if __name__ == "__main__":
    die_at(sys.argv[1])
    worker.main()
