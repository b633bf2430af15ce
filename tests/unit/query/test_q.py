from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config import Limits
from broker.errors import BadRequestData, TooComplexQuery
from broker.query.ast import And, Comparison, Exists, Operator, Or, Path, Q, Range, Scalar
from broker.query.q import parse_q
from tests.unit.query.printing import VOCAB, expand, format_q

LIMITS = Limits()


def parse(text: str) -> Q:
    return parse_q(text, expand, LIMITS)


def attribute(name: str) -> Path:
    return Path(VOCAB + name)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("temperature", Exists(attribute("temperature"))),
        ("temperature==20", Comparison(attribute("temperature"), "==", (20,))),
        ('brandName!="Mercedes"', Comparison(attribute("brandName"), "!=", ("Mercedes",))),
        ("a==-1.5e2", Comparison(attribute("a"), "==", (-150.0,))),
        ("a==true", Comparison(attribute("a"), "==", (True,))),
        ("a==urn:ngsi-ld:X:1,urn:x:2", Comparison(attribute("a"), "==", ("urn:ngsi-ld:X:1", "urn:x:2"))),
        ("a==http://e.org/a(b)/..", Comparison(attribute("a"), "==", ("http://e.org/a(b)/..",))),
        ("a==10..20,30", Comparison(attribute("a"), "==", (Range(10, 20), 30))),
        ('a=="b".."c"', Comparison(attribute("a"), "==", (Range("b", "c"),))),
        ("a==2017-01-01..2018-01-01", Comparison(attribute("a"), "==", (Range("2017-01-01", "2018-01-01"),))),
        ("a>=12:30:00Z", Comparison(attribute("a"), ">=", ("12:30:00Z",))),
        (
            "temperature.observedAt>=2017-12-24T12:00:00Z",
            Comparison(Path(VOCAB + "temperature", ("observedAt",)), ">=", ("2017-12-24T12:00:00Z",)),
        ),
        ('address[city]=="Berlin"', Comparison(Path(VOCAB + "address", (), ("city",)), "==", ("Berlin",))),
        (
            "sensor.rawdata[airquality.particulate]==40",
            Comparison(Path(VOCAB + "sensor", (VOCAB + "rawdata",), ("airquality", "particulate")), "==", (40,)),
        ),
        ('color[en-GB]=="red"', Comparison(Path(VOCAB + "color", (), ("en-GB",)), "==", ("red",))),
        ("a~=(x;y|z)+|b", Or((Comparison(attribute("a"), "~=", ("(x;y|z)+",)), Exists(attribute("b"))))),
        (r"a!~=[;|)]\);b", And((Comparison(attribute("a"), "!~=", (r"[;|)]\)",)), Exists(attribute("b"))))),
        (r'a~="\d;\"|x"', Comparison(attribute("a"), "~=", (r'\d;"|x',))),
        ("modifiedAt>2026-01-01T00:00:00Z", Comparison(Path("modifiedAt"), ">", ("2026-01-01T00:00:00Z",))),
        ("Fühler_1", Exists(attribute("Fühler_1"))),
    ],
)
def test_the_terms_of_the_clause_and_their_meaning(text: str, meaning: Q) -> None:
    assert parse(text) == meaning


def test_and_binds_tighter_than_or_and_parentheses_tighter_than_both() -> None:
    a, b, c = Exists(attribute("a")), Exists(attribute("b")), Exists(attribute("c"))
    assert parse("a;b|c") == Or((And((a, b)), c))
    assert parse("a;(b|c)") == And((a, Or((b, c))))
    assert parse("((a|b);c)") == And((Or((a, b)), c))


def test_values_of_attributes_in_expand_values_are_terms() -> None:
    read = parse_q('gender==Male,Female;name=="Kim"', expand, LIMITS, expand_values=["gender"])
    assert read == And(
        (
            Comparison(attribute("gender"), "==", (VOCAB + "Male", VOCAB + "Female")),
            Comparison(attribute("name"), "==", ("Kim",)),
        )
    )


def test_an_integer_no_store_can_keep_is_compared_as_a_double() -> None:
    assert parse("a==9223372036854775807") == Comparison(attribute("a"), "==", (2**63 - 1,))
    assert parse("a==123456789012345678901234567890") == Comparison(attribute("a"), "==", (1.2345678901234568e29,))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "an attribute name (a letter, then letters, numbers and '_') at position 1, got the end"),
        (
            "a==",
            "a number, true, false, a date or time, a URI, or a string in double quotes at position 4, got the end",
        ),
        ("a==Mercedes", "a string in double quotes at position 4, got 'Mercedes'"),
        ("a==2026-02-30", "at position 4, got '2026-02-30'"),
        ("a>true", "a number, a date or time, or a string in double quotes at position 3, got 'true'"),
        ("a>1,2", "an operator, ';', '|' or the end at position 4, got ',2'"),
        ("a==1e999", "a number that a double holds at position 4"),
        ('a=="x', "a string that ends with a double quote at position 4"),
        ('a=="\\x"', "a string with the escapes JSON knows at position 4"),
        ('a==1.."x"', "a range whose two ends are of one kind at position 4"),
        ("(a;b", "')' at position 5, got the end"),
        ("a)", "at position 2, got ')'"),
        ("a;;b", "an attribute name (a letter, then letters, numbers and '_') at position 3, got ';b'"),
        ("a[b.]==1", "a path in brackets as in address[city] at position 2"),
        ("1a", "an attribute name (a letter, then letters, numbers and '_') at position 1"),
        ("a~=", "a regular expression at position 4"),
        ("a~=(", "The regular expression '(' in 'q' is not valid"),
        ("a{b}==1", "linked entities at position 1"),
        (" a", "at position 1, got ' a'"),
    ],
)
def test_an_error_names_the_place_and_what_would_be_right(text: str, complaint: str) -> None:
    with pytest.raises(BadRequestData) as error:
        parse(text)
    assert complaint in error.value.detail


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("a" * 9000, "limits.query_characters"),
        ("|".join("a" * 101), "limits.query_terms"),
        ("(" * 33 + "a" + ")" * 33, "32 levels"),
        ("(" * 8000, "32 levels"),
        ("a~=" + "x" * 600, "limits.pattern_characters"),
    ],
)
def test_what_is_too_complex_is_refused_with_the_limit(text: str, limit: str) -> None:
    with pytest.raises(TooComplexQuery) as error:
        parse(text)
    assert limit in error.value.detail


NAMES = st.from_regex(r"[a-zåäö][a-z0-9_]{0,5}", fullmatch=True).filter(lambda name: name != "observedAt")
MEMBERS = st.text("abcXYZ å-_*/$", min_size=1, max_size=4)
PATHS = st.builds(
    Path,
    NAMES.map(expand),
    st.lists(NAMES.map(expand), max_size=2).map(tuple),
    st.lists(MEMBERS, max_size=2).map(tuple),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS: st.SearchStrategy[Scalar] = TEXTS | NUMBERS | st.booleans()
PLAIN = st.text("abc ;|,()\"'", max_size=8)
RANGES = st.builds(Range, NUMBERS, NUMBERS) | st.builds(Range, PLAIN, PLAIN)
EQUALITY: st.SearchStrategy[Operator] = st.sampled_from(["==", "!="])
ORDER: st.SearchStrategy[Operator] = st.sampled_from([">", ">=", "<", "<="])
PATTERN: st.SearchStrategy[Operator] = st.sampled_from(["~=", "!~="])
TERMS: st.SearchStrategy[Q] = (
    st.builds(Exists, PATHS)
    | st.builds(Comparison, PATHS, EQUALITY, st.lists(SCALARS | RANGES, min_size=1, max_size=3).map(tuple))
    | st.builds(Comparison, PATHS, ORDER, st.tuples(TEXTS | NUMBERS))
    | st.builds(Comparison, PATHS, PATTERN, st.tuples(st.sampled_from(["^a+$", "(a|b)", r'[;|"]\d', ";"])))
)


def compound(inner: st.SearchStrategy[Q]) -> st.SearchStrategy[Q]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return several.filter(lambda terms: not any(isinstance(term, And) for term in terms)).map(And) | several.filter(
        lambda terms: not any(isinstance(term, Or) for term in terms)
    ).map(Or)


@given(st.recursive(TERMS, compound, max_leaves=6))
def test_what_is_printed_is_read_back(q: Q) -> None:
    assert parse(format_q(q)) == q


@given(st.text(st.sampled_from('ab.=!<>~();|,"[]{}\\1-:TZ é'), max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except (BadRequestData, TooComplexQuery) as error:
        assert error.detail.endswith(".")
