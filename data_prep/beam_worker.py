"""A worker process of `local_runner`: Beam's own worker, which ends with its driver."""

import sys

from talkface_jax import processes


def main() -> None:
    """Serve the driver whose process id is the first argument, until it closes or is gone."""
    processes.end_with(int(sys.argv[1]))
    import cv2
    from apache_beam.runners.worker import sdk_worker_main

    cv2.setNumThreads(1)  # the other cores have workers of their own
    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
