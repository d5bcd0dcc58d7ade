"""Drawn pedestrians: data sets of any size and difficulty with known answers; a test bed, not real data."""

from .draw import draw
from .painter import PART_NAMES
from .presets import PRESETS, Preset
from .write import write_market1501

__all__ = ["PART_NAMES", "PRESETS", "Preset", "draw", "write_market1501"]
