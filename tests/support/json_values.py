"""Any JSON value, as a strategy of Hypothesis."""

from hypothesis import strategies as st

# Two levels deep: st.recursive draws deeper ones, and takes several times as long.
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
INNER = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)
JSON = SCALARS | st.lists(INNER, max_size=3) | st.dictionaries(st.text(max_size=5), INNER, max_size=3)
