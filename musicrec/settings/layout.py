"""Settings of the map of all songs."""

from typing import ClassVar

from pydantic import Field

from musicrec.settings.base import StageSettings


class MapSettings(StageSettings):
    """How all songs are laid out on the map.

    The footer of the table ``map`` holds them, not ``settings.toml``.
    """

    stage: ClassVar[str] = "map"
    neighbours: int = Field(
        15, ge=1, le=100, description="How many songs of each list are drawn near; more show the whole better."
    )
    min_dist: float = Field(
        0.1, ge=0, le=1, description="How near songs may come to each other; 0 packs groups tightly, 1 spreads them."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the layout.")
