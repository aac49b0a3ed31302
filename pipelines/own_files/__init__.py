"""Commands on files of a person's own: reconstruct, restore, compress."""
