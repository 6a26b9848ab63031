"""A worker process of `local_runner`: Beam's own worker, which ends with its driver."""

import os
import sys
import threading
import time

_LOOK_SECONDS = 1.0


def main() -> None:
    """Serve the driver whose process id is the first argument, until it closes or is gone."""
    driver = int(sys.argv[1])
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    import cv2
    from apache_beam.runners.worker import sdk_worker_main

    cv2.setNumThreads(1)  # the other cores have workers of their own
    sdk_worker_main.main(sys.argv)


def _end_with(driver: int) -> None:
    """A killed driver says no goodbye, and a worker in the middle of a clip would not notice."""
    while os.getppid() == driver:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
