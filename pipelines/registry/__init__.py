"""What becomes of models at the registry: candidates, judgement, promotion."""
