"""Folders of others: one file per layout, each with `Settings(LayoutSettings)` and `write_toy`."""

from sim_models.sources.listing import LayoutSettings, Listed

__all__ = ["LayoutSettings", "Listed"]
