"""A MongoDB wire server for tests: a real replica set where one is given, else a stand-in started as its own process.

`KNUTPUNKT_TEST_MONGODB_URI` names a real replica set. The stand-in is under another licence than this project
(GPL-2.0-only), so nothing here or in the product imports it: it is a program that is run.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.support.ports import free_port

START_SECONDS = 60.0


def _wait_until_it_answers(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"The MongoDB stand-in stopped with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            with pymongo.MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=500) as client:
                client.admin.command("ping")
                return
        except PyMongoError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def mongo_stand_in(*options: str) -> Iterator[str]:
    """The stand-in on a free loopback port with its data in a temporary directory; gives its URI."""
    with tempfile.TemporaryDirectory(prefix="knutpunkt-mongo-") as directory:
        log = Path(directory) / "log"
        port = free_port()
        uri = f"mongodb://127.0.0.1:{port}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "secantus", "--host", "127.0.0.1", "--port", str(port)),
                    *("--storage-path", str(Path(directory) / "data"), "--cache-size", "256M", "--log-level", "ERROR"),
                    *options,
                ],
                cwd=directory,  # it reads a settings file from where it is started
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_it_answers(uri, process, log)
            yield uri
        finally:
            # Its data goes with it, so nothing is gained by letting it tidy up.
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def mongo_uri() -> Iterator[str]:
    """Where a MongoDB server answers, without a database name: `mongodb://127.0.0.1:49152`."""
    given = os.environ.get("KNUTPUNKT_TEST_MONGODB_URI")
    if given:
        yield given
        return
    with mongo_stand_in() as uri:
        yield uri


def with_database(uri: str, name: str) -> str:
    """`uri` with `name` as its database: 'mongodb://host/?a=b' and 'x' give 'mongodb://host/x?a=b'."""
    base, question, options = uri.partition("?")
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{name}{question}{options}"


@pytest.fixture
def mongo_url(mongo_uri: str) -> Iterator[str]:
    """A store URL with a database of its own for this test.

    On a server that stays, it and its tenants' databases are dropped afterwards. The stand-in goes with all it has, and may
    take minutes to drop a large database.
    """
    name = f"test_{secrets.token_hex(6)}"
    yield with_database(mongo_uri, name)
    if not os.environ.get("KNUTPUNKT_TEST_MONGODB_URI"):
        return
    with pymongo.MongoClient[dict[str, object]](mongo_uri) as client:
        for database in client.list_database_names():
            if database == name or database.startswith(f"{name}_"):
                client.drop_database(database)


async def make_newer(url: str, version: int) -> None:
    """Let the store at `url` look as if `version` of the schema had written it."""
    async with pymongo.AsyncMongoClient[dict[str, object]](url) as client:
        await client.get_default_database()["meta"].update_one({"_id": "schema"}, {"$set": {"version": version}})
