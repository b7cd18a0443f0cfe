"""Settings of the catalog: where the songs are."""

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from musicrec.settings.base import StageSettings

CatalogKind = Literal["auto", "folder", "gtzan", "fma", "manifest"]
GenreSource = Literal["auto", "tags", "folder", "none"]


class CatalogSettings(StageSettings):
    """Where the songs are."""

    stage: ClassVar[str] = "catalog"
    code_version: ClassVar[int] = 3
    formerly: ClassVar[dict[str, Any]] = {"artist_separators": [], "genre_from": "folder"}
    source: str = Field(
        min_length=1,
        description="Folder or s3://bucket/prefix with the songs, or a manifest: a CSV or Parquet file of paths or "
        "URIs.",
    )
    kind: CatalogKind = Field("auto", description="Layout of the source.")
    genre_from: GenreSource = Field(
        "auto",
        description="Where genres come from. folder: the first folder below the source, GTZAN's file names, or the "
        "column of a manifest or of FMA's tracks.csv; songs without such a folder, or of a source without such a "
        "column, have those of their tags; tags: the tags alone; none: nowhere; auto: what folders and tags look like.",
    )
    artist_separators: tuple[str, ...] = Field(
        (),
        description="Text between the names of several artists in one credit, such as feat. or a semicolon; repeat the "
        "option for several. By default no name is split.",
    )

    @field_validator("source")
    @classmethod
    def _source_can_be_listed(cls, source: str) -> str:
        if re.match(r"https?://", source, re.IGNORECASE):
            raise ValueError("expected a folder or s3://bucket/prefix; list songs on the web in a manifest, by URI")
        return source
