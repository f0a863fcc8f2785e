import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "infra"))


@pytest.fixture(scope="session")
def pages() -> dict[str, str]:
    """The Markdown of every page of the site, by its address."""
    from documentation.everything import pages

    return pages()
