"""One thin file per DVC stage, the typed tree of `params.yaml`, and the command line."""

from sim_models.process import settle

settle()
