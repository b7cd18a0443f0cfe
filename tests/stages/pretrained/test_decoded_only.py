"""In the chain, a pretrained model is run on the songs that extract has decoded: with --limit on no others."""

import pytest

from extracting import new_out
from musicrec.models.pretrained import library
from musicrec.stages.chain import chain_settings, stages
from onnx_files import card, network

pytestmark = pytest.mark.usefixtures("ray_session")
SPACE = {"similar": {"space": ["small"]}}


def outcomes(store):
    rows = store.read("outcomes").to_pandas()
    of = {stage: rows[rows.stage == stage].set_index("track_id") for stage in ("extract", "vectors/small")}
    return of["extract"], of["vectors/small"]


def test_a_limit_on_decoding_is_one_on_the_model_too(synthetic, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICREC_CACHE", str(tmp_path / "cache"))
    library.add(network().SerializeToString(), card())
    store = new_out(tmp_path / "out", synthetic)
    for limit in (5, None):
        chain = stages(store, chain_settings(store, SPACE), limit=limit)
        chain["extract"]()
        counts = chain["vectors/small"]()
        extracted, run = outcomes(store)
        decoded = extracted.index[extracted.status == "ok"]
        assert sorted(run.index) == sorted(store.track_ids())
        assert (run.status[decoded] == "ok").all()
        others = run.drop(decoded)
        assert set(others.status) == {"skipped"}
        assert set(others.reason) == {"no_features"}
        assert counts.ok == len(decoded)
        assert counts.fresh == len(decoded) - (5 if limit is None else 0)  # what has a vector keeps it
    assert len(decoded) > 5
    assert chain["vectors/small"]().fresh == 0
