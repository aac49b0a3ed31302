"""One thin file per DVC stage, the typed tree of `params.yaml`, and the command line."""

import os

# Before torch is loaded. A fixed number whatever the machine: the last digits of sums depend on it. Ray's workers set
# theirs (see `training.distributed`). One is best where others compute too: two wait for whichever was put aside.
if (threads := os.environ.get("SIM_MODELS_THREADS", "2")).isdecimal():
    os.environ.setdefault("OMP_NUM_THREADS", threads)
