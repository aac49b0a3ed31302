"""Where fields come from: simulated structures (`objects`, `series`), our own folders (`ome_fields`, `prepared`) and
those of others (`layouts` lists what is there, `raw` reads it)."""
