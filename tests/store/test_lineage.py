"""What a table's footer says of its making."""

import pyarrow as pa
import pytest

from musicrec.errors import SchemaError
from musicrec.schemas import SCHEMA_VERSION
from musicrec.settings import SimilarSettings
from musicrec.store.lineage import check_footer, digest, made_by, read_footer, to_metadata

SCHEMA = pa.schema([("track_id", pa.string())])


def test_a_footer_comes_back_as_it_was_written():
    footer = made_by(SimilarSettings(n=7), model="mlp")
    assert read_footer(SCHEMA.with_metadata(to_metadata(footer))) == footer
    assert (footer["algorithm"], footer["settings"]["n"]) == (f"similar {SimilarSettings.code_version}", 7)
    assert footer["lineage"] == {"model": "mlp"}


def test_a_table_of_somebody_else_has_no_footer():
    assert read_footer(SCHEMA) == read_footer(SCHEMA.with_metadata({"pandas": "{}"})) == {}


@pytest.mark.parametrize(
    ("footer", "said"),
    [
        (None, "has no schema version, this program reads 1; make it again in another OUT"),
        ({"schema_version": 99}, "has schema version 99, this program reads 1; make it again in another OUT"),
    ],
)
def test_a_table_that_this_program_cannot_read_is_refused(footer, said):
    schema = SCHEMA.with_metadata(to_metadata(footer)) if footer else SCHEMA
    with pytest.raises(SchemaError) as e:
        check_footer(schema, "OUT/tracks")
    assert str(e.value) == f"table OUT/tracks {said}"


def test_a_table_of_this_schema_version_is_taken():
    check_footer(SCHEMA.with_metadata(to_metadata({"schema_version": SCHEMA_VERSION})), "OUT/tracks")


def test_a_digest_depends_on_every_value_and_where_it_stands():
    columns = [
        (["a", "b"], ["c", None]),
        (["b", "a"], ["c", None]),
        (["a", "b"], ["c", "None"]),
        (["a", "b"], [None, "c"]),
    ]
    assert len({digest(*each) for each in columns}) == len(columns)
    assert len(digest(["\udce9"])) == 16  # as a path may hold it
    with pytest.raises(ValueError, match="zip"):
        digest(["a"], ["b", "c"])
