import pytest

from broker.access.token import BearerToken
from broker.errors import Unauthorized


def test_the_right_token_passes_whatever_the_case_of_the_scheme() -> None:
    token = BearerToken("häst-batteri")
    token.check("Bearer häst-batteri")
    token.check("bearer häst-batteri")


@pytest.mark.parametrize(
    "header", [None, "", "secret", "Basic secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secret2"]
)
def test_anything_else_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        BearerToken("secret").check(header)
