"""The networks, each in the shape of one of `vision.protocols`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""Threads of torch that have nothing to do sleep, where they would spin: two steps that share the cores then take what
one takes after the other, not twice that. GNU OpenMP reads it once, when torch is imported.
https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html"""
