"""Where fields come from: simulated structures (`objects`, `simulation`) and datasets on disk (`layouts`)."""
