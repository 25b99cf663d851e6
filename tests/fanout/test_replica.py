"""A replica is current or knows that it is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.fanout.backend import Change, Snapshot
from server.fanout.kept import CHAT_KEPT
from server.fanout.replica import TRAIL_KEPT, Replica, Verdict


def test_the_next_change_is_applied() -> None:
    replica = Replica(
        Snapshot("e", 3, {"page": 1, "upload": {}}, ({"n": 1},), {"f": "1", "g": "1"})
    )
    change = Change("e", 4, {"page": 2, "upload": None}, {"n": 2}, {"f": "", "h": "2"})
    assert replica.apply(change) is Verdict.APPLIED
    assert replica.snapshot() == Snapshot(
        "e", 4, {"page": 2}, ({"n": 1}, {"n": 2}), {"g": "1", "h": "2"}
    )


def test_an_old_change_is_ignored() -> None:
    replica = Replica(Snapshot("e", 3, {"page": 1}))
    for rev in (1, 2, 3):
        assert replica.apply(Change("e", rev, {"page": 9})) is Verdict.OLD
    assert replica.snapshot() == Snapshot("e", 3, {"page": 1})


def test_a_gap_and_another_epoch_are_noticed_and_change_nothing() -> None:
    replica = Replica(Snapshot("e", 3, {"page": 1}))
    for epoch, rev in (("e", 5), ("e2", 4), ("e2", 1), ("e2", 3), ("", 4)):
        assert replica.apply(Change(epoch, rev, {"page": 9})) is Verdict.GAP
    assert replica.snapshot() == Snapshot("e", 3, {"page": 1})


def marked(number: int, history: str = "a") -> str:
    return f"{history}{number:07}"


def gone(first: int, last: int, history: str = "a") -> str:
    """The trail of these changes."""
    return "".join(marked(number, history) for number in range(first, last + 1))


def test_a_change_that_follows_another_one_than_is_known_is_a_gap() -> None:
    replica = Replica(Snapshot("e", 3, trail=gone(1, 3)))
    other = Change("e", 4, {"page": 9}, mark=marked(4, "b"), after=marked(3, "b"))
    assert replica.apply(other) is Verdict.GAP
    assert replica.apply(Change("e", 4, mark=marked(4), after=marked(3))) is Verdict.APPLIED
    assert replica.mark == marked(4)


def test_an_old_change_is_old_only_if_it_is_the_one_that_was_known() -> None:
    replica = Replica(Snapshot("e", 3, trail=gone(2, 3)))
    assert replica.apply(Change("e", 2, mark=marked(2), after=marked(1))) is Verdict.OLD
    assert replica.apply(Change("e", 3, mark=marked(3, "b"), after=marked(2))) is Verdict.GAP
    assert replica.apply(Change("e", 1, mark=marked(1, "b"))) is Verdict.OLD  # out of sight


@given(known=st.integers(1, 400), now=st.integers(1, 400), forked=st.integers(1, 400))
def test_a_snapshot_leads_on_only_if_it_has_all_that_was_known(
    known: int, now: int, forked: int
) -> None:
    """It went another way from `forked` on; if that is after what was known, nothing is lost."""
    replica = Replica(Snapshot("e", known, trail=gone(1, known)[-8 * TRAIL_KEPT :]))
    theirs = gone(1, min(now, forked - 1)) + gone(forked, now, "b")
    leads = replica.leads_to(Snapshot("e", now, trail=theirs[-8 * TRAIL_KEPT :]))
    in_sight = now - known < TRAIL_KEPT
    assert leads == (known <= now and known < forked and in_sight)


def test_what_has_no_marks_is_judged_by_its_revision() -> None:
    replica = Replica(Snapshot("e", 3))
    assert replica.leads_to(Snapshot("e", 3))
    assert replica.leads_to(Snapshot("e", 9))
    assert not replica.leads_to(Snapshot("e", 2))
    assert replica.apply(Change("e", 4, mark=marked(4), after=marked(3))) is Verdict.APPLIED


def test_the_first_change_of_an_untouched_room_brings_the_epoch() -> None:
    replica = Replica()
    assert replica.apply(Change("e", 2, {"page": 9})) is Verdict.GAP
    assert replica.apply(Change("e", 1, {"page": 1})) is Verdict.APPLIED
    assert (replica.epoch, replica.rev) == ("e", 1)


def test_a_snapshot_replaces_everything_even_by_a_lower_revision() -> None:
    replica = Replica(Snapshot("e", 30, {"page": 1}, ({"n": 1},), {"f": "1"}))
    replica.replace(Snapshot("e2", 2, {"document": 1}))
    assert replica.snapshot() == Snapshot("e2", 2, {"document": 1})


def test_a_snapshot_that_was_given_out_stays_as_it_was() -> None:
    replica = Replica(Snapshot("e", 1, {"page": 1}))
    given_out = replica.snapshot()
    replica.apply(Change("e", 2, {"page": 2}, {"n": 1}, {"f": "1"}))
    assert given_out == Snapshot("e", 1, {"page": 1})


def test_the_chat_keeps_its_last_messages() -> None:
    replica = Replica()
    for rev in range(1, CHAT_KEPT + 51):
        replica.apply(Change("e", rev, chat={"n": rev}))
    assert [message["n"] for message in replica.chat] == list(range(51, CHAT_KEPT + 51))


@given(st.lists(st.integers(min_value=1, max_value=12), max_size=60))
def test_whatever_order_changes_come_in_the_state_is_that_of_its_revision(order: list[int]) -> None:
    history = [Change("e", rev, {f"r{rev % 3}": rev or None}) for rev in range(1, 13)]
    states = [Replica()]
    for change in history:
        following = Replica(states[-1].snapshot())
        following.apply(change)
        states.append(following)
    replica = Replica()
    for rev in order:
        before = replica.rev
        verdict = replica.apply(history[rev - 1])
        assert verdict is (
            Verdict.APPLIED if rev == before + 1 else Verdict.OLD if rev <= before else Verdict.GAP
        )
        assert replica.snapshot() == states[replica.rev].snapshot()
