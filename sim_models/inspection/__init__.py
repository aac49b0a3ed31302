"""The data doctor: what a file or a folder of frames holds, what is wrong with it and what it is good for.

report = inspect(Path("stack.tif"))
report.lines()          # for people
report.as_dict()        # for machines
"""

from sim_models.inspection.doctor import Examined, examine, inspect
from sim_models.inspection.known import Known
from sim_models.inspection.report import Report

__all__ = ["Examined", "Known", "Report", "examine", "inspect"]
