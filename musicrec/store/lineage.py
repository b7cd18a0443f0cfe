"""The lineage of a table: the project's entry in the footer of each of its Parquet files, and digests of inputs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from musicrec.errors import SchemaError
from musicrec.schemas import SCHEMA_VERSION
from musicrec.settings import StageSettings
from musicrec.store.made_with import Versions, made_with

FOOTER_KEY = b"musicrec"
# Parquet's name for a footer without rows. A version has one of its own, because its parts may be older.
FOOTER_FILE = "_common_metadata"


def made_by(settings: StageSettings, **lineage: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what the rows of a part depend on, whenever it is written."""
    return {
        "schema_version": SCHEMA_VERSION,
        "algorithm": f"{settings.stage} {settings.code_version}",
        "settings": settings.model_dump(mode="json"),
        "lineage": lineage,
    }


def to_metadata(footer: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return the project's entry for a Parquet footer."""
    return {FOOTER_KEY: json.dumps(footer).encode()}


def with_versions(schema: pa.Schema, versions: Sequence[Versions] | None = None) -> pa.Schema:
    """Return the schema of a part, with the versions that made its rows in the footer; by default, this machine's."""
    footer = read_footer(schema)
    if not footer:
        return schema
    here = [made_with(footer["algorithm"].split(" ")[0])]
    return schema.with_metadata(to_metadata(footer | {"versions": list(versions or here)}))


def read_footer(schema: pa.Schema) -> dict[str, Any]:
    """Return the project's entry in a Parquet footer; empty if there is none."""
    footer: dict[str, Any] = json.loads((schema.metadata or {}).get(FOOTER_KEY, b"{}"))
    return footer


def check_footer(schema: pa.Schema, where: str) -> None:
    """Raise SchemaError unless the table at `where` has this program's schema version."""
    version = read_footer(schema).get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"table {where} has {f'schema version {version}' if version else 'no schema version'}, "
            f"this program reads {SCHEMA_VERSION}; "
            f"make it again in another OUT"
        )


def digest(*columns: Sequence[str | None]) -> str:
    """Return the fingerprint of some equally long columns of text, in their order: 16 hex digits."""
    h = hashlib.blake2b(digest_size=8)
    for row in zip(*columns, strict=True):
        h.update(repr(row).encode())
    return h.hexdigest()
