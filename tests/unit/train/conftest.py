"""Lets the tests of this folder, and workers in other processes, share the stages in toy.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
