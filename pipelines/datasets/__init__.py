"""Public datasets and one's own for people: the commands `sim-models data`, pages, licences."""
