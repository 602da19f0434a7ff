"""Floors in C, compiled on the spot."""

from bench.native.build import build, numbers

__all__ = ["build", "numbers"]
