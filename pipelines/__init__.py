"""One thin file per kind of DVC stage, and the command line; below them the rooms both build on."""

from sim_models.process import settle

settle()
