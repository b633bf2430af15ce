"""Imports: what was written in a file is in the entity, whatever it was; and importing again changes nothing."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clock import Stamp, iso
from broker.devices.placing import CONTAINED, OBSERVES, SPACE_OF, TIES
from broker.entities.place import ImportPlace
from broker.errors import BadRequestData, InvalidRequest
from broker.ngsild.model import DEFAULT_VOCAB, LOCATION, NGSI_LD_NULL, Entity
from broker.ngsild.parse import DEFAULT_RULES
from broker.places.containment import Vocabulary
from broker.places.geojson import read_geojson
from broker.places.given import Given, Options
from broker.places.plan import Plan, plan, settle
from broker.places.sweref import from_degrees
from broker.places.table import decode, read_table
from broker.stores.base import Snapshot, StoredEntity
from broker.stores.command import View
from tests.unit.jsonld.contexts import CORE

NAMES = CORE
WORDS = Vocabulary(TIES, frozenset())
MOMENT = 1_790_000_000_000_000
STAMP = Stamp(MOMENT, iso(MOMENT), 2)


def planned(rows: list[Given], options: Options = Options()) -> Plan:  # noqa: B008  (frozen)
    return plan(rows, options, NAMES, DEFAULT_RULES)


def entities(rows: list[Given], there: dict[str, Entity] | None = None, **options: Any) -> dict[str, Entity]:
    """What is there after the import; that a second one changes nothing is looked at."""
    held = dict(there or {})
    made = planned(rows, Options(**options))
    assert made.problems == []
    places, _ = settle(made, held, WORDS, None)
    for expected in ({"created", "changed", "unchanged"}, {"unchanged"}):
        for place in places:
            snapshot = Snapshot(entities={name: StoredEntity(entity, 1) for name, entity in held.items()})
            effects = ImportPlace(place.fragment).apply(View(snapshot, str), STAMP)
            assert effects.result.what in expected
            assert bool(effects.changes) == (effects.result.what != "unchanged")
            for change in effects.changes:
                assert change.after is not None
                held[change.entity_id] = change.after
    return held


def written(rows: list[dict[str, str]], delimiter: str, end: str, mark: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return mark + out.getvalue()


def shown(number: float, comma: bool) -> str:
    text = repr(number)
    return text.replace(".", ",") if comma else text


# --- round trips ------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20).filter(
    lambda text: text != NGSI_LD_NULL
)
ids = st.text("abcxyzåäöÅ0123456789-_. /", min_size=1, max_size=12).map(str.strip).filter(bool)
numbers = st.one_of(
    st.integers(-(1 << 63) + 1, (1 << 63) - 1).filter(lambda n: len(str(n)) < 19),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(float),
)


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    keys = draw(st.lists(ids, min_size=1, max_size=6, unique=True))
    rows = []
    for at, key in enumerate(keys):
        rows.append(
            {
                "id": key,
                "name": draw(texts),
                "parent": draw(st.sampled_from(["", *keys[:at]])),
                "area": draw(st.one_of(st.none(), numbers)),
                "open": draw(st.one_of(st.none(), st.booleans())),
                "street": draw(texts),
                "position": draw(st.one_of(st.none(), st.tuples(st.floats(11, 24), st.floats(55, 69)))),
            }
        )
    return rows


@given(tables(), st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.booleans())
def test_what_a_table_says_is_in_the_entities(
    rows: list[dict[str, Any]], delimiter: str, end: str, marked: bool, comma: bool, metres: bool
) -> None:
    cells = []
    for row in rows:
        position = row["position"]
        if position is not None and metres:
            position = from_degrees(*position)
        east, north = (shown(each, comma) for each in position) if position is not None else ("", "")
        cells.append(
            {
                "id": row["id"],
                "type": "Building",
                "name": row["name"],
                "parent": row["parent"],
                ("easting" if metres else "longitude"): east,
                ("northing" if metres else "latitude"): north,
                "floorArea:number:MTK": shown(row["area"], comma) if row["area"] is not None else "",
                "open:boolean": {None: "", True: "ja", False: "0"}[row["open"]],
                "address.streetAddress": row["street"],
            }
        )
    text = written(cells, delimiter, end, "\ufeff" if marked else "").removeprefix("\ufeff")
    read = read_table(text, Options())
    urns = {key.id: place.id for key, place in zip(read, planned(read).places, strict=True)}
    found = entities(read_table(text, Options()))
    assert len(found) == len(rows)
    for row in rows:
        attrs = found[urns[row["id"]]]["attrs"]

        def value(name: str, attrs: Any = attrs) -> Any:
            instances = attrs.get(NAMES.expand(name))
            return instances[0]["value"] if instances else None

        assert value("name") == (row["name"] if row["name"].strip() else None)
        assert value("floorArea") == row["area"]
        assert value("open") is row["open"]
        assert value("address") == ({"streetAddress": row["street"]} if row["street"].strip() else None)
        if row["position"] is None:
            assert LOCATION not in attrs
        else:
            assert attrs[LOCATION][0]["value"]["coordinates"] == pytest.approx(row["position"], rel=0, abs=1.5e-8)
        parent = attrs.get(CONTAINED)
        assert (parent[0]["object"] if parent else "") == (urns[row["parent"]] if row["parent"] else "")


plain = st.recursive(
    st.one_of(st.booleans(), numbers, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "street.name", "$x", "å"]), inner, max_size=3),
    ),
    max_leaves=6,
)
positions = st.tuples(st.floats(-180, 180), st.floats(-90, 90)).map(list)
geometries = st.one_of(
    st.none(),
    positions.map(lambda at: {"type": "Point", "coordinates": at}),
    st.lists(positions, min_size=2, max_size=4).map(lambda line: {"type": "LineString", "coordinates": line}),
)


@given(
    st.lists(
        st.tuples(ids, st.dictionaries(st.sampled_from(["name", "a", "b", "address"]), plain), geometries),
        max_size=5,
        unique_by=lambda row: row[0],
    ),
    st.booleans(),
)
def test_what_a_feature_says_is_in_the_entity(rows: list[tuple[str, dict[str, Any], Any]], in_properties: bool) -> None:
    features = [
        {
            "type": "Feature",
            **({} if in_properties else {"id": key}),
            "properties": {**properties, **({"id": key} if in_properties else {}), "gone": None},
            "geometry": geometry,
        }
        for key, properties, geometry in rows
    ]
    document = json.loads(json.dumps({"type": "FeatureCollection", "features": features}))
    made = planned(read_geojson(document, Options()), Options(type="Beach"))
    found = entities(read_geojson(document, Options()), type="Beach")
    assert [place.row for place in made.places] == list(range(1, len(rows) + 1))
    for place, (_, properties, geometry) in zip(made.places, rows, strict=True):
        entity = found[place.id]
        assert entity["type"] == [DEFAULT_VOCAB + "Beach"]
        expected = {NAMES.expand(name): value for name, value in properties.items()}
        if geometry is not None:
            expected[LOCATION] = geometry
        assert {name: instances[0]["value"] for name, instances in entity["attrs"].items()} == expected


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        rows = read_table(text, Options(type="Building"))
    except (BadRequestData, InvalidRequest):
        return
    planned(rows, Options(type="Building"))


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts, st.sampled_from(["Feature", "Point", "EPSG:3006"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "features",
                    "properties",
                    "geometry",
                    "coordinates",
                    "id",
                    "parent",
                    "crs",
                    "name",
                    "object",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(st.one_of(anything, st.lists(anything).map(lambda all_: {"type": "FeatureCollection", "features": all_})))
def test_any_json_is_read_or_refused(document: Any) -> None:
    try:
        rows = read_geojson(document, Options())
    except BadRequestData:
        return
    planned(rows)


# --- ids and parents --------------------------------------------------------------------------------------------------


def table(text: str, **options: Any) -> Plan:
    return planned(read_table(text, Options(**options)), Options(**options))


@pytest.mark.parametrize(
    "crs", ["x", {}, {"properties": None}, {"properties": [1]}, {"properties": {"name": ["EPSG:3006"]}}]
)
def test_coordinates_of_a_system_that_is_not_said_as_it_should_be_are_refused(crs: Any) -> None:
    with pytest.raises(BadRequestData, match="The file's 'crs' must be"):
        read_geojson({"type": "FeatureCollection", "crs": crs, "features": []}, Options())


@pytest.mark.parametrize("charset", ["\x00", "idna", "hex", "nonsense", "utf-8\x00"])
def test_a_charset_that_is_none_is_refused(charset: str) -> None:
    with pytest.raises(BadRequestData, match="charset must be one of"):
        decode(b"id\n1", charset)


def test_ids_of_the_file_become_urns_and_names_never_do() -> None:
    made = table("id,type,name\n7 B,Building,Skolan\nurn:x:1,Building,Skolan\nå/1,Place,Skolan\n")
    assert [place.id for place in made.places] == [
        "urn:ngsi-ld:Building:7%20B",
        "urn:x:1",
        "urn:ngsi-ld:Place:%C3%A5%2F1",
    ]


def test_a_parent_is_an_id_of_the_file_or_a_whole_one() -> None:
    made = table("id,type,parent\n1,Building,\n1,Room,\n2,Room,1\n3,Room,urn:ngsi-ld:Building:1\n4,Room,5\n")
    assert [(one.row, one.member) for one in made.problems] == [(4, "parent"), (6, "parent")]
    assert "'urn:ngsi-ld:Building:1' or 'urn:ngsi-ld:Room:1'" in made.problems[0].problem


@pytest.mark.parametrize(
    ("child", "parent", "held", "name"),
    [
        ("Building", "Place", {}, CONTAINED),
        ("BuildingSpace", "Building", {}, SPACE_OF),
        ("Room", "Building", {}, SPACE_OF),
        ("BuildingSpace", "BuildingSpace", {}, CONTAINED),
        ("IndoorEnvironmentObserved", "BuildingSpace", {}, OBSERVES),
        ("Building", "Place", {SPACE_OF: "urn:other"}, SPACE_OF),
    ],
)
def test_the_relationship_suits_the_types_or_is_the_one_that_is_there(
    child: str, parent: str, held: dict[str, str], name: str
) -> None:
    ties: Any = {tie: [{"type": "Relationship", "object": to}] for tie, to in held.items()}
    urn = f"urn:ngsi-ld:{child}:a"
    there: Any = {"id": urn, "type": [DEFAULT_VOCAB + child], "attrs": ties, "createdAt": "", "modifiedAt": ""}
    rows = read_table(f"id,type,parent\nb,{parent},\na,{child},b\n", Options())
    entity = entities(rows, {urn: there} if held else {})[urn]
    assert {tie: entity["attrs"][tie][0]["object"] for tie in TIES if tie in entity["attrs"]} == {
        name: f"urn:ngsi-ld:{parent}:b"
    }


def test_a_number_is_the_same_with_comma_and_point_and_a_postal_code_stays_a_text() -> None:
    rows = read_table('id;a:number;b:number;code\n1;"1,5";1.5;01234\n2;1e3;-7;1\n', Options())
    assert [row.attributes for row in rows] == [
        {"a": 1.5, "b": 1.5, "code": "01234"},
        {"a": 1000.0, "b": -7, "code": "1"},
    ]


@pytest.mark.parametrize("cell", ["1 000", "1,000.5", "abc", "0x10", "1e999", "99999999999999999999", "NaN"])
def test_what_is_no_number_is_a_problem(cell: str) -> None:
    (row,) = read_table(f'id;a:number\n1;"{cell}"\n', Options())
    assert [problem.member for problem in row.problems] == ["a:number"]


def test_what_asks_for_a_deletion_is_a_problem_an_import_deletes_nothing() -> None:
    made = table(f"id,type,name\n1,Building,{NGSI_LD_NULL}\n")
    assert [(one.row, one.member) for one in made.problems] == [(2, "name")]


def test_relationships_json_and_renamed_headings() -> None:
    text = 'OBJ,YTA,owner:relationship,tags:json\n1,7,urn:org:1 urn:org:2,"[1,{""a"":null}]"\n'
    (row,) = read_table(text, Options(rename={"OBJ": "id", "YTA": "floorArea:number:MTK"}))
    assert (row.id, row.problems) == ("1", [])
    assert row.attributes == {
        "floorArea": {"type": "Property", "value": 7, "unitCode": "MTK"},
        "owner": {"type": "Relationship", "object": ["urn:org:1", "urn:org:2"]},
        "tags": [1, {"a": None}],
    }


def test_east_and_north_that_have_changed_places_are_told() -> None:
    (row,) = read_table("id,easting,northing\n1,6580822,674032\n", Options())
    assert "have changed places" in row.problems[0].problem
