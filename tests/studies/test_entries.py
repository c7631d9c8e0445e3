"""A study's list: what programs call an entry, and what people read."""

import pytest

from lara.errors import ConfigError
from lara.studies.entries import read_entries, readable

LABELS = {"demo/lam": "LARA"}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("latent=fsq", "latent fsq"),
        ("stage.weights.lam.commitment=null", "no commitment"),
        ("lam.queries=4", "queries 4"),
        ("~data.root", "no root"),
        ("+data.cache=false", "no cache"),
        ("+data.cache=true", "cache"),
        ("runtime.batch_size=8", "batch size 8"),
    ],
)
def test_overrides_are_read_as_words(override, words):
    assert readable(override) == words


def test_an_entry_has_a_label_for_people_and_a_key_for_programs():
    one, two = read_entries(["demo/lam latent=fsq lam.queries=4", "alam/tiny_lam"], LABELS, of="lams")
    assert (one.label, one.key) == ("LARA, latent fsq, queries 4", "demo_lam_latent_fsq_lam_queries_4")
    assert (two.label, two.key) == ("alam tiny lam", "alam_tiny_lam")
    assert read_entries([one.text], LABELS, of="lams") == (one,)


def test_a_whole_entry_may_have_a_label_of_its_own():
    text = "demo/lam latent=fsq stage.weights.lam.commitment=null"
    (entry,) = read_entries([text], {**LABELS, text: "FSQ"}, of="lams")
    assert entry.label == "FSQ"


def test_no_two_rows_read_alike():
    texts = ["demo/lam lam.former.width=32", "demo/lam lam.encoder.width=32"]
    labels = [entry.label for entry in read_entries(texts, LABELS, of="lams")]
    assert len(set(labels)) == 2
    assert all(label.startswith("LARA, width 32 [") for label in labels)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "at least one"),
        (["demo/lam", "demo/lam"], "different experiments"),
        (["demo/lamm"], "'demo/lam'"),
        (["lam_lara_tiny"], "experiment=lam_lara_tiny is now experiment=demo/lam"),
        ([""], "no experiment ''"),
    ],
)
def test_a_wrong_list_is_refused(texts, said):
    with pytest.raises(ConfigError, match=said):
        read_entries(texts, LABELS, of="lams")
