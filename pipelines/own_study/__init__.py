"""A transfer study on a person's own stacks: `sim-models transfer`."""
