"""A stage on a Ray cluster: what is uploaded, what is looked at first, what runs there, and how results come home."""
