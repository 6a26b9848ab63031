"""What `make bench` writes down: repeated timings, the machine, and the versions."""

import dataclasses
import datetime
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

VERSIONS = ("jax", "jaxlib", "flax", "numpy", "grain", "mediapipe", "opencv-python-headless")


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured quantity over `repeats` timings.

    `first_call_s` is the first call of a jitted function, so mostly compilation; it is in no other
    figure. `rate_gflops` is what the median amounts to, where the work is known, and `mfu` its
    share of the device's peak, where that is known. `ratio` is the median of time over the official
    code's time, measured in turns.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int
    detail: str = ""
    first_call_s: float | None = None
    rate_gflops: float | None = None
    mfu: float | None = None
    ratio: float | None = None


# Dense peaks of one chip in TFLOP/s from the makers' data sheets: bfloat16, and what float32
# products run in by default (TF32 on NVIDIA, one bfloat16 pass on TPU).
PEAKS = {
    "NVIDIA H200": {"bfloat16": 989.4, "float32": 494.7},
    "NVIDIA H100 80GB HBM3": {"bfloat16": 989.4, "float32": 494.7},
    "NVIDIA A100-SXM4-80GB": {"bfloat16": 312.0, "float32": 156.0},
    "NVIDIA A100-SXM4-40GB": {"bfloat16": 312.0, "float32": 156.0},
    "TPU v4": {"bfloat16": 275.0, "float32": 275.0},
    "TPU v5 lite": {"bfloat16": 197.0, "float32": 197.0},
    "TPU v5p": {"bfloat16": 459.0, "float32": 459.0},
    "TPU v6 lite": {"bfloat16": 918.0, "float32": 918.0},
}


class Board:
    """Collects rows; prints the table and writes the JSON at the end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._began = time.monotonic()
        self._load = os.getloadavg()

    def per_item(
        self,
        name: str,
        run: Callable[[], Any],
        *,
        items: int = 1,
        repeats: int = 5,
        flops: float | None = None,
        compute: str = "float32",
        **about: Any,
    ) -> None:
        """Milliseconds for each of the `items` that one `run()` handles."""
        times = [1e3 * seconds / items for seconds in _time(run, repeats)]
        self._add(name, "ms", times, **_rates(flops, times, compute), **about)

    def beside(
        self,
        name: str,
        ours: Callable[[], Any],
        theirs: Callable[[], Any],
        *,
        items: int = 1,
        their_items: int = 1,
        repeats: int = 5,
        flops: float | None = None,
        official: str = "official",
        compute: str = "float32",
        **about: Any,
    ) -> None:
        """Both in turns: milliseconds per item of each, and the median of the ratios."""
        theirs()  # the first call allocates, tunes or compiles
        pairs = [
            (_time(ours, 1)[0] / items, _time(theirs, 1)[0] / their_items) for _ in range(repeats)
        ]
        times, others = ([1e3 * pair[side] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(a / b for a, b in pairs)
        self._add(name, "ms", times, ratio=ratio, **_rates(flops, times, compute), **about)
        self._add(name, "ms", others, detail=official)

    def against(
        self,
        name: str,
        ours: Callable[[], Any],
        rivals: Mapping[str, Callable[[], Any]],
        *,
        their_items: int = 1,
        **about: Any,
    ) -> None:
        """One row for ours alone, or two for each rival by its title; ours is called once first."""
        about["first_call_s"] = first_call(ours)
        if not rivals:
            self.per_item(name, ours, **about)
        for title, theirs in rivals.items():
            self.beside(name, ours, theirs, their_items=their_items, official=title, **about)

    def value(self, name: str, unit: str, value: float, **about: Any) -> None:
        """One number that is not repeated."""
        self._add(name, unit, [value], **about)

    def per_second(
        self, name: str, run: Callable[[], Any], *, items: int, repeats: int = 5, **about: Any
    ) -> None:
        """Items a second, where one `run()` handles `items`."""
        self._add(name, "/s", [items / seconds for seconds in _time(run, repeats)], **about)

    def _add(self, name: str, unit: str, values: list[float], **about: Any) -> None:
        middle = statistics.median(values)
        row = Row(name, unit, middle, min(values), max(values), len(values), **about)
        self.rows.append(row)
        assert all(math.isfinite(value) and value > 0 for value in values), row

    def summary(self) -> dict[str, Any]:
        """Everything that is written."""
        return {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["pytest", *sys.argv[1:]]),
            "hardware": _hardware() | {"load_average_before": list(self._load)},
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in VERSIONS},
            "seconds": time.monotonic() - self._began,
            "peak_rss_mib": peak_rss_mib(),
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }

    def publish(self, path: pathlib.Path) -> None:
        """Writes `path` and prints the same as a table."""
        summary = self.summary()
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(summary, indent=2) + "\n")
        os.replace(temporary, path)
        table = Table("what", "detail", title="talkface bench")
        for name in ("median", "min", "max", "n", "first call", "GFLOP/s", "MFU", "ratio"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            first = "" if row.first_call_s is None else f"{row.first_call_s:.1f} s"
            rate = "" if row.rate_gflops is None else f"{row.rate_gflops:.1f}"
            share = "" if row.mfu is None else f"{row.mfu:.1%}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            numbers = (_short(row.low), _short(row.high), str(row.repeats), first, rate)
            numbers = (*numbers, share, ratio)
            middle = f"{_short(row.median)} {row.unit}"
            table.add_row(row.name, row.detail, middle, *numbers)
        machine, out = summary["hardware"], Console(width=140, highlight=False)
        out.print(table)
        out.print(
            f"{machine['cpu']}, {machine['cores']} cores, {machine['devices']}; load average "
            f"before {self._load[0]:.1f}; peak memory {summary['peak_rss_mib']:.0f} MiB; "
            f"{summary['seconds']:.0f} s in all; written to {path}",
            soft_wrap=True,
        )


def _rates(
    flops: float | None, times: list[float], compute: str = "float32"
) -> dict[str, float | None]:
    """GFLOP/s of the median time in ms, and its share of the device's peak."""
    if flops is None:
        return {}
    rate = flops / statistics.median(times) / 1e6
    peak = PEAKS.get(jax.devices()[0].device_kind, {}).get(compute)
    return {"rate_gflops": rate, "mfu": None if peak is None else rate / peak / 1e3}


def _time(run: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return times


def _short(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def first_call(run: Callable[[], Any]) -> float:
    """Seconds of one call, for a function that compiles in it."""
    (seconds,) = _time(run, 1)
    return seconds


def peak_rss_mib() -> float:
    """The most memory that this process has held."""
    status = pathlib.Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: there a child begins with the peak of the process that started it.
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _hardware() -> dict[str, Any]:
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "system": platform.platform(),
    }


def filled(shapes: Any) -> Any:
    """Arrays for a tree of shapes, by the names of the leaves: nothing is compiled to make them.

    Small random kernels, unit scales and variances, empty optimiser state; timings do not depend on
    them as long as nothing overflows.
    """
    rng = np.random.default_rng(0)
    return jax.tree_util.tree_map_with_path(functools.partial(_leaf, rng), shapes)


def _leaf(rng: np.random.Generator, path: Any, shape: jax.ShapeDtypeStruct) -> Any:
    name = jax.tree_util.keystr(path)
    if jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    if name.endswith(("['scale']", "['var']")) and "opt_state" not in name:
        return np.ones(shape.shape, shape.dtype)
    if "opt_state" in name or not jax.dtypes.issubdtype(shape.dtype, np.floating):
        return np.zeros(shape.shape, shape.dtype)
    return (0.02 * rng.standard_normal(shape.shape)).astype(shape.dtype)


def weights(shapes: Any, compute: str) -> Any:
    """Random weights of one network, which computes in the format of its parameters."""
    variables = jax.device_put(filled(shapes))
    params = jax.tree.map(lambda leaf: leaf.astype(compute), variables["params"])
    return {**variables, "params": params}


def inputs(spec: Any) -> dict[str, np.ndarray]:
    """Random inputs of the given shapes: bytes over their range, numbers in [0, 1]."""
    rng = np.random.default_rng(1)
    return {
        name: rng.integers(0, 256, leaf.shape).astype(leaf.dtype)
        if np.dtype(leaf.dtype) == np.uint8
        else rng.random(leaf.shape).astype(leaf.dtype)
        for name, leaf in spec.items()
    }
