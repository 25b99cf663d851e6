from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.live.cache import ENTRY_OVERHEAD, ByteCache


def test_what_was_put_is_found_and_counted_as_a_hit() -> None:
    cache: ByteCache[str, str] = ByteCache(10_000)
    cache.put("a", "A", 10)
    assert cache.get("a") == "A"
    assert cache.get("b") is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_the_least_recently_used_goes_first() -> None:
    cache: ByteCache[str, str] = ByteCache(3 * (100 + ENTRY_OVERHEAD))
    for key in "abc":
        cache.put(key, key, 100)
    cache.get("a")
    cache.put("d", "d", 100)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]


def test_a_value_larger_than_the_cache_is_not_kept_and_drives_nothing_out() -> None:
    cache: ByteCache[str, str] = ByteCache(1000)
    cache.put("small", "s", 10)
    cache.put("large", "l", 1000)
    assert cache.get("large") is None
    assert cache.get("small") == "s"


def test_a_value_that_became_too_large_is_not_kept_at_its_old_cost() -> None:
    cache: ByteCache[str, str] = ByteCache(1000)
    cache.put("a", "small", 10)
    cache.put("a", "large", 1000)
    assert cache.get("a") is None
    assert cache.used == 0


def test_a_cache_without_capacity_keeps_nothing() -> None:
    cache: ByteCache[str, str] = ByteCache(0)
    cache.put("a", "A", 0)
    assert (len(cache), cache.used) == (0, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "discard"]), st.integers(0, 9), st.integers(0, 900)
        )
    )
)
def test_whatever_happens_the_bytes_stay_within_the_capacity_and_are_counted_right(
    steps: list[tuple[str, int, int]],
) -> None:
    cache: ByteCache[int, int] = ByteCache(2000)
    costs: dict[int, int] = {}
    for step, key, cost in steps:
        if step == "put":
            cache.put(key, cost, cost)
            costs[key] = cost + ENTRY_OVERHEAD
        elif step == "get":
            assert cache.get(key) in (None, costs.get(key, ENTRY_OVERHEAD) - ENTRY_OVERHEAD)
        else:
            cache.discard(key)
            assert cache.get(key) is None
        assert cache.used <= 2000
    kept = [key for key in costs if cache.get(key) is not None]
    assert cache.used == sum(costs[key] for key in kept)
    assert len(cache) == len(kept)


def test_what_is_unwanted_is_forgotten_and_the_rest_stays() -> None:
    cache: ByteCache[tuple[str, int], str] = ByteCache(10_000)
    for name in ("a", "b"):
        for number in range(3):
            cache.put((name, number), f"{name}{number}", 10)
    used = cache.used
    cache.discard_where(lambda key: key[0] == "a")
    assert (len(cache), cache.used) == (3, used // 2)
    assert cache.get(("a", 1)) is None
    assert cache.get(("b", 1)) == "b1"
