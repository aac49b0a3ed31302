"""The data doctor: what a file or a folder of frames holds, what is wrong with it and what it is good for."""

from sim_models.inspection.doctor import USUAL_LAYOUTS, inspect
from sim_models.inspection.report import Report

__all__ = ["USUAL_LAYOUTS", "Report", "inspect"]
