from urllib.parse import parse_qs, urlsplit

from broker.api.paging import page_links

GIVEN = {"type": "Room", "q": 'name=="Räksmörgås & co";temperature>20', "limit": "2", "offset": "4"}


def test_a_page_in_the_middle_links_to_both_neighbours_with_all_parameters() -> None:
    links = page_links("/ngsi-ld/v1/entities", GIVEN, limit=2, offset=4, more=True, media_type="application/json")
    assert [link.partition(">")[2] for link in links] == [
        ';rel="prev";type="application/json"',
        ';rel="next";type="application/json"',
    ]
    offsets = []
    for link in links:
        target = urlsplit(link[1 : link.index(">")])
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        offsets.append(query.pop("offset"))
        assert target.path == "/ngsi-ld/v1/entities"
        assert query == {"type": "Room", "q": GIVEN["q"], "limit": "2"}
    assert offsets == ["2", "6"]


def test_the_first_page_has_no_previous_and_the_last_no_next() -> None:
    first = page_links("/e", {}, limit=5, offset=0, more=True, media_type="application/json")
    assert first == ['</e?limit=5&offset=5>;rel="next";type="application/json"']
    last = page_links("/e", {}, limit=5, offset=3, more=False, media_type="application/ld+json")
    assert last == ['</e?limit=5&offset=0>;rel="prev";type="application/ld+json"']


def test_a_mere_count_has_no_pages() -> None:
    assert page_links("/e", {"count": "true"}, limit=0, offset=0, more=True, media_type="application/json") == []
