"""Checkpoints in and out: name maps as data, layouts from the IR, and a report where something does not fit.

`archc.weights.load` and `archc.weights.save` need torch, so nothing is imported here that does.
"""

from archc.weights.error import WeightsError, WeightsWarning

__all__ = ["WeightsError", "WeightsWarning"]
