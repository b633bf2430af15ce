import pytest

from broker.access.token import BearerTokens
from broker.errors import Unauthorized


def test_the_right_token_passes_whatever_the_case_of_the_scheme() -> None:
    tokens = BearerTokens("häst-batteri")
    assert not tokens.check("Bearer häst-batteri")
    assert not tokens.check("bearer häst-batteri")


@pytest.mark.parametrize(
    "header", [None, "", "secret", "Basic secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secret2"]
)
def test_anything_else_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        BearerTokens("secret", "personal").check(header)


def test_the_token_of_personal_data_goes_for_the_other_and_grants_it() -> None:
    tokens = BearerTokens("secret", "personal")
    assert tokens.check("Bearer personal")
    assert not tokens.check("Bearer secret")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer personal2", "Basic personal"])
def test_where_no_token_is_asked_for_only_the_right_one_grants_personal_data(header: str | None) -> None:
    assert not BearerTokens("", "personal").check(header)
    assert BearerTokens("", "personal").check("Bearer personal")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer x"])
def test_without_a_token_of_personal_data_nobody_is_granted_it(header: str | None) -> None:
    assert not BearerTokens("", "").check(header)
