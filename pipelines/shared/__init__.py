"""What every stage and command builds on: params.yaml, folders, benches, numbers."""
