"""The parser of Codat's query language, compared with an evaluation of the same tree without any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.query import MAX_LENGTH, parse

FIELDS = frozenset({"status", "dataType", "code", "requestedOnUtc", "flag", "nothing", "tags"})
WORDS = ["Pending", "Success", "Smith & Sons", "a|b", "x=y", "é"]
SIGNS = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
    "~": lambda left, right: right.casefold() in left.casefold(),
}

blanks = st.sampled_from(["", " ", "  "])
leaves = st.tuples(st.sampled_from(["status", "dataType"]), st.sampled_from(sorted(SIGNS)), st.sampled_from(WORDS))
trees = st.recursive(
    leaves,
    lambda inner: st.tuples(st.sampled_from(["&&", "||"]), st.lists(inner, min_size=2, max_size=3)),
    max_leaves=8,
)
resources = st.fixed_dictionaries({"status": st.sampled_from(WORDS), "dataType": st.sampled_from(WORDS)})


def is_leaf(tree):
    return len(tree) == 3


def written(tree, blank):
    """Write a tree with every group in braces."""
    if is_leaf(tree):
        return blank + blank.join(tree) + blank
    return tree[0].join(
        written(child, blank) if is_leaf(child) else f"{blank}{{{written(child, blank)}}}{blank}" for child in tree[1]
    )


def holds(tree, resource):
    if is_leaf(tree):
        field, sign, value = tree
        return SIGNS[sign](resource[field], value)
    return (all if tree[0] == "&&" else any)(holds(child, resource) for child in tree[1])


@given(trees, resources, blanks)
def test_a_query_means_the_tree_it_was_written_from(tree, resource, blank):
    assert parse(written(tree, blank), FIELDS)(resource) == holds(tree, resource)


@given(st.lists(leaves, min_size=3, max_size=3), resources)
def test_and_binds_closer_than_or(three, resource):
    a, b, c = (holds(leaf, resource) for leaf in three)
    one, two, three_ = (written(leaf, "") for leaf in three)
    assert parse(f"{one}||{two}&&{three_}", FIELDS)(resource) == (a or (b and c))
    assert parse(f"{one}&&{two}||{three_}", FIELDS)(resource) == ((a and b) or c)


@given(st.text(alphabet="status=!~<>&|{} 1", max_size=40))
def test_any_text_is_a_predicate_or_400(text):
    try:
        predicate = parse(text, FIELDS)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017 - either way is right, and each has its own check
    else:
        assert predicate({"status": "1"}) in (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "status",
        "status=",
        "=Pending",
        "status==Pending",
        "status=a&&",
        "&&status=a",
        "status=a||||status=b",
        "{status=a",
        "status=a}",
        "{}",
        "status=a{status=b}",
        "{status=a}{status=b}",
        "status=a&&}",
        "1status=a",
        "unknown=1",
        "tags2.region=uk",
    ],
)
def test_malformed(text):
    with pytest.raises(ApiError) as raised:
        parse(text, FIELDS)
    assert raised.value.status == 400


@pytest.mark.parametrize("length", [MAX_LENGTH - 1, MAX_LENGTH])
def test_only_queries_under_the_limit(length):
    text = "status=".ljust(length, "x")
    if length < MAX_LENGTH:
        assert parse(text, FIELDS)({"status": text.removeprefix("status=")})
    else:
        with pytest.raises(ApiError):
            parse(text, FIELDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code>9", True),
        ("code=200.0", True),
        ("code<=20", False),
        ("requestedOnUtc=2026-01-01T12:00:00Z", True),
        ("requestedOnUtc=2026-01-01T13:00:00+01:00", True),
        ("requestedOnUtc>2026-01-01", True),
        ("requestedOnUtc>=2026-01-02", False),
        ("requestedOnUtc~2026-01", True),
        ("flag=true", True),
        ("flag!=true", False),
        ("nothing=x", False),
        ("nothing!=x", False),
        ("tags.region=uk", True),
        ("tags.uid=uk", False),
    ],
)
def test_values_compare_as_what_they_are(text, expected):
    resource = {
        "code": 200,
        "requestedOnUtc": "2026-01-01T12:00:00.000000Z",
        "flag": True,
        "nothing": None,
        "tags": {"region": "uk"},
    }
    assert parse(text, FIELDS)(resource) is expected


def test_a_number_compared_with_a_word_is_400():
    with pytest.raises(ApiError):
        parse("code>many", FIELDS)({"code": 1})
