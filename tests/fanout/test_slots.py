"""What a cluster says of its slots."""

from __future__ import annotations

from server.fanout.slots import SlotMap, by_slot, slot_of

ANSWER = [
    [8192, 16383, [b"10.0.0.2", 6379, b"id2", []]],
    [0, 8191, [b"10.0.0.1", 6379, b"id1", []], [b"10.0.0.3", 6380, b"id3", []]],
]


def test_the_first_that_is_named_has_the_slots_and_all_are_known() -> None:
    found = SlotMap.read(ANSWER, ("seed", 1))
    owners = found.owners()
    assert (owners[0], owners[8191]) == (("10.0.0.1", 6379),) * 2
    assert (owners[8192], owners[16383]) == (("10.0.0.2", 6379),) * 2
    assert ("10.0.0.3", 6380) in found.servers


def test_the_order_of_the_answer_does_not_matter() -> None:
    assert SlotMap.read(ANSWER, ("a", 1)) == SlotMap.read(ANSWER[::-1], ("b", 2))


def test_a_server_that_does_not_know_its_own_name_is_the_one_that_was_asked() -> None:
    for name in (b"", None, b"?"):
        found = SlotMap.read([[0, 1, [name, 7000, b"id"]]], ("seed", 1))
        assert found.owners() == {0: ("seed", 7000), 1: ("seed", 7000)}


def test_channels_are_grouped_by_slot() -> None:
    channels = [b"room:{a}", b"room:{b}", b"room:{a}:chat"]
    assert by_slot(channels) == [[channels[0], channels[2]], [channels[1]]]
    assert slot_of(channels[0]) == slot_of(channels[2])
