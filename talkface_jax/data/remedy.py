"""What mends a damaged prepared set, in the same words wherever the damage is met.

A finished set is left alone by `talkface prepare`, which would only find the same damage again, so
that its folder must go first.
"""

import os
import pathlib
import shlex

PREPARE_ANEW = "remove its folder and run `talkface prepare` again"
"""Where the message names a file of the set."""
_REBUILD = "import sys; from talkface_jax.data import store; store.rebuild_index(sys.argv[1])"
_REBUILD_ALL = "import sys; from talkface_jax.data import manifest; manifest.rebuild(sys.argv[1])"


def prepare_anew(directory: str | os.PathLike[str]) -> str:
    """For damage to the data themselves."""
    return f"remove the folder {os.fspath(directory)} and run `talkface prepare` again"


def rebuild_index(shard: str | os.PathLike[str]) -> str:
    """For damage to an index, which a line of shell makes anew from its shard."""
    place = shlex.quote(str(pathlib.Path(shard)))
    return f'rebuild its index with: python -c "{_REBUILD}" {place}'


def rebuild_indices(directory: str | os.PathLike[str]) -> str:
    """For indices that lack something that the records have."""
    place = shlex.quote(str(pathlib.Path(directory)))
    return f'rebuild its indices with: python -c "{_REBUILD_ALL}" {place}'
