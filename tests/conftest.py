"""What every test may ask for: real footage, real weights, a real database."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.local.postgres import LocalPostgres, Server
from resources.warehouse import Warehouse
from resources.weights import Catalogue
from tests.builders.faults import cut
from tests.builders.folders import new_folder
from tests.builders.machine import Machine
from tests.goldens import Golden

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

_CHECKOUT = Path(__file__).resolve().parent.parent
_POSTGRES_FOLDER = "SENTINEL_TEST_POSTGRES"
_LONGEST_FIRST = (
    "system/test_upgrade.py",  # nearly all of it is Dagster's daemons, waiting
    "infra/terraform/test_apply.py",  # and of this one Terraform's provider
    "system/test_loop.py",
    "system/test_budget.py",
    "test_gpu_steps.py",
    "test_analyze.py",
    "test_dev.py",
    "system/test_ui.py",
    "test_faults.py",
    "test_reviewing.py",
    "infra/terraform/test_checks.py",
)
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def footage() -> Path:
    """The folder of real clips: SENTINEL_FOOTAGE, or shared/footage beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("SENTINEL_FOOTAGE") or _CHECKOUT.parent / "shared" / "footage")
    if not folder.is_dir():
        pytest.skip("no folder of real clips (SENTINEL_FOOTAGE)")
    return folder


@pytest.fixture(scope="session")
def oracle() -> Path:
    """The folder of goldens that the reference implementations made: SENTINEL_ORACLE, or shared/oracle beside the
    checkout; skips where there is none."""
    folder = Path(os.environ.get("SENTINEL_ORACLE") or _CHECKOUT.parent / "shared" / "oracle")
    if not folder.is_dir():
        pytest.skip("no folder of the reference implementations' goldens (SENTINEL_ORACLE)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, or one worker of pytest-xdist ends alone with them."""
    rank = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(_CHECKOUT / "tests").as_posix(), len(rank)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="Write the recorded results anew; review the diff.")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares with a recorded result under tests/golden."""
    return Golden(update=request.config.getoption("--update-goldens"))


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """The verified file of a model, by its name in models.yaml; fetched where it is not here, never skipped."""
    catalogue = Catalogue.load()
    return lambda name: catalogue.fetch(catalogue.model(name))


def pytest_configure(config: pytest.Config) -> None:
    """One folder for the PostgreSQL of this test run; the workers of pytest-xdist inherit the variable.

    A script that starts us in its background has us ignore SIGINT, and so would all that tests start and interrupt.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        os.environ[_POSTGRES_FOLDER] = str(new_folder("sentinel-tests-"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and (folder := os.environ.pop(_POSTGRES_FOLDER, None)):
        LocalPostgres(Path(folder)).remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server, started by the first who asks and shared by all workers of this test run."""
    with LocalPostgres(Path(os.environ[_POSTGRES_FOLDER]), _NOT_DURABLE, linger_s=2).session() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Server) -> str:
    """The name of a migrated, empty database, from which others are copied."""
    name = "template_of_tests"
    postgres.create_database(name)
    with Warehouse(postgres.url(name)) as warehouse:
        warehouse.migrate()
    return name


@pytest.fixture(scope="session")
def fresh_database(postgres: Server, migrated_template: str) -> Callable[[], AbstractContextManager[str]]:
    """Gives the address of an empty, migrated database for as long as its context lasts."""

    @contextmanager
    def made() -> Iterator[str]:
        name = f"test_{uuid.uuid4().hex}"
        postgres.create_database(name, template=migrated_template)
        yield postgres.url(name)
        postgres.drop_database(name)

    return made


@pytest.fixture
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """The address of an empty, migrated database of the test's own."""
    with fresh_database() as url:
        yield url


@pytest.fixture(scope="session")
def sample_clip(weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip that `sentinel demo` composes of real people in two photos."""
    from sentinel_assets.sample import compose_sample

    path = tmp_path_factory.mktemp("sample") / "composition.mp4"
    compose_sample(weights("photo-bus"), weights("photo-zidane"), path)
    return path


@pytest.fixture(scope="session")
def aws_server() -> Iterator[LocalAws]:
    """S3, SQS, Logs, Secrets Manager, STS and Batch for all tests of this process; a test asks for `aws`."""
    from infra.local.aws import LocalAws
    from infra.local.batch.settings import BatchSettings

    # A second is long enough for a process of a test to end in, and the least that a timeout can be.
    with LocalAws(BatchSettings(gpus=4, grace_s=1.0, minimum_timeout_s=1, minimum_time_limit_s=1)) as server:
        yield server


@pytest.fixture(scope="session")
def aws_session(aws_server: LocalAws) -> object:
    """The boto3 session of all tests: a new one for each would read its service models each time."""
    import boto3

    return boto3.session.Session(aws_server.access_key, aws_server.access_key, region_name=aws_server.settings.region)


@pytest.fixture
def aws(aws_server: LocalAws, aws_session: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """An empty local AWS, which boto3 and child processes find through the environment; emptied again afterwards."""
    import boto3

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", aws_session)
    yield aws_server
    aws_server.reset()


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory, sample_clip: Path) -> Path:
    """The first seconds of the sample clip: real people of two photos, moving."""
    path = tmp_path_factory.mktemp("clips") / "people.mp4"
    cut(sample_clip, path, seconds=4)
    return path


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url)


@pytest.fixture(scope="session")
def undisturbed(
    people: Path, tmp_path_factory: pytest.TempPathFactory, fresh_database: Any
) -> Iterator[list[dict[str, Any]]]:
    """The rows of an analysis that nothing interrupted."""
    with fresh_database() as url:
        machine = Machine(tmp_path_factory.mktemp("undisturbed"), url)
        machine.analyze(people)
        yield machine.rows("people.mp4")
