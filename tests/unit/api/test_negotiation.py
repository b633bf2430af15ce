import pytest

from broker.api.negotiation import DATA, ENTITIES, GEO_JSON, JSON, LD_JSON, negotiate
from broker.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/ld+json", LD_JSON),
        ("Application/LD+JSON", LD_JSON),
        ("application/geo+json", GEO_JSON),
        ("application/ld+json, application/json", JSON),
        ("application/ld+json, application/json;q=0.9", LD_JSON),
        ("application/ld+json;q=0.5, */*;q=0.1", LD_JSON),
        ("application/json;q=0, */*", LD_JSON),
        ("text/html, application/geo+json;q=0.8, text/*", GEO_JSON),
        ("application/json; charset=utf-8", JSON),
        ("application/ld+json;q=much", LD_JSON),
    ],
)
def test_the_heaviest_type_is_chosen_and_the_standards_order_breaks_ties(accept: str | None, chosen: str) -> None:
    assert negotiate(accept, ENTITIES) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "", "image/*"])
def test_an_accept_that_fits_nothing_is_refused_with_the_list_of_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=r"application/json, application/ld\+json\.$"):
        negotiate(accept, DATA)
