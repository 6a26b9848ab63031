"""Types that the functions share."""

import os
from collections.abc import Callable

Place = str | os.PathLike[str]
"""A path."""
Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""
