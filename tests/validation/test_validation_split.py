from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aios_db.engine.validation.split import (
    bundled_texts,
    calibration_side,
    is_validation_text,
    validation_side,
)


@given(st.lists(st.text()))
def test_no_text_is_on_both_sides_and_none_is_lost(texts: list[str]) -> None:
    calibration, validation = calibration_side(texts), validation_side(texts)
    assert not set(calibration) & set(validation)
    assert set(calibration) | set(validation) == {text for text in texts if text.strip()}
    assert calibration_side(reversed(texts)) == sorted(calibration, key=list(reversed(texts)).index)


@given(st.text(min_size=1))
def test_case_white_space_and_unicode_form_do_not_move_a_text(text: str) -> None:
    assert is_validation_text(f"  {text}\n") == is_validation_text(text)
    assert is_validation_text("The  ÄPFEL\tfell") == is_validation_text("the a\u0308pfel fell")


def test_the_sides_are_fixed_for_good_and_about_equal() -> None:
    sides = [is_validation_text(text) for text in ("alpha", "beta", "gamma", "delta")]
    assert sides == [False, False, False, True]
    share = len(validation_side(f"sentence {number}" for number in range(4000))) / 4000
    assert 0.47 < share < 0.53


def test_bundled_texts_are_all_for_validation() -> None:
    texts = bundled_texts()
    assert len(texts) >= 100
    assert validation_side(texts) == list(texts)
