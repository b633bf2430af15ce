from __future__ import annotations

import pytest

from broker.errors import BadRequestData
from broker.ngsild.language import choose_language, parse_languages

TEXTS = {"sv": "hej", "en-GB": "hello", "@none": "-"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("en", ("en",)),
        ("fr-CH,fr", ("fr-ch", "fr")),
        ("*", ("*",)),
        ("en;q=0.8, fr-CH , *;q=0.5, de;q=0", ("fr-ch", "en", "*")),
    ],
)
def test_languages_are_ranked(text: str, wanted: tuple[str, ...]) -> None:
    assert parse_languages(text) == wanted


@pytest.mark.parametrize("text", ["", "a b", "en;q=2", "en,,fr", "q=1", "*-x"])
def test_what_is_no_list_of_languages_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="'lang'"):
        parse_languages(text)


@pytest.mark.parametrize(
    ("lang", "chosen"),
    [
        ("sv", ("sv", "hej")),
        ("SV-fi", ("sv", "hej")),
        ("en", ("en-GB", "hello")),
        ("fr,en;q=0.5", ("en-GB", "hello")),
        ("fr", ("@none", "-")),
        ("*", ("@none", "-")),
    ],
)
def test_the_best_language_there_is_is_chosen(lang: str, chosen: tuple[str, str]) -> None:
    assert choose_language(TEXTS, parse_languages(lang)) == chosen


def test_without_a_default_any_language_is_better_than_none() -> None:
    assert choose_language({"sv": "hej"}, parse_languages("fr")) == ("sv", "hej")
