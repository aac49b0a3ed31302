"""MLflow: runs, pictures, the registry and its family tree. The one room that knows MLflow."""
