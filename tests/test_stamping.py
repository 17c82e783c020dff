"""What becomes of artefacts whose settings or code have changed."""

import pytest

from meiju_utils.stamping import Stamp, renewed, spread_over, stamp_in

A, B = Stamp("s", "code a", "first"), Stamp("s", "code b", "second")


def never(stamp: Stamp) -> bool:
    raise AssertionError("nothing was to be compared")


def test_an_artefact_of_the_same_code_is_taken_without_comparing() -> None:
    assert renewed([A, B], "s", "code a", never) == A
    assert renewed([A, B], "s", "code b", never) == B


def test_other_settings_make_a_new_artefact_without_comparing() -> None:
    new = renewed([A], "t", "code a", never)
    assert (new.settings, new.code) == ("t", "code a")
    assert new.identity not in ("", A.identity)
    assert renewed([], "t", "code a", never) == new  # the same settings and code: the same


def test_an_equal_artefact_of_other_code_keeps_its_identity() -> None:
    asked: list[Stamp] = []
    kept = renewed([A, B], "s", "code c", lambda stamp: asked.append(stamp) or stamp == A)
    assert kept == Stamp("s", "code c", A.identity)
    assert asked == [B, A]  # the latest first


def test_an_unequal_artefact_is_made_anew_under_an_identity_of_its_own() -> None:
    first = renewed([], "s", "code a", never)
    restamped = Stamp("s", "code b", first.identity)
    again = renewed([restamped], "s", "code a", lambda _: False)
    assert again.code == "code a"
    assert again.identity != first.identity


def test_a_lost_record_is_that_of_unknown_code_and_gets_its_identity_back() -> None:
    first = renewed([], "s", "code a", never)
    lost = stamp_in({"settings": "s"})
    assert renewed([lost], "s", "code a", lambda _: True) == first


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, []), (2, [0, 1]), (3, [0, 1, 2]), (10, [0, 4, 9])]
)
def test_compared_items_are_spread_from_first_to_last(count: int, chosen: list[int]) -> None:
    assert spread_over(range(count)) == chosen
