"""In a job models load while the footage is downloaded; in process nothing is loaded before it is needed."""

from __future__ import annotations

import threading

import pytest

from sentinel_assets import models, wiring
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.wiring import loading

LONG_S = 20


@pytest.fixture
def in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "in_job", lambda: True)


@pytest.mark.usefixtures("in_a_job")
def test_models_load_while_footage_is_downloaded() -> None:
    loads, downloaded, asked_by = threading.Event(), threading.Event(), []

    def load() -> None:
        asked_by.append(threading.current_thread())
        loads.set()
        assert downloaded.wait(LONG_S)

    with loading(load):
        assert loads.wait(LONG_S)  # it began although nothing was downloaded
        downloaded.set()  # and is not through, although that is
    assert asked_by != [threading.current_thread()]


@pytest.mark.usefixtures("in_a_job")
def test_who_asks_for_a_model_gets_the_one_that_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = models.catalogue().profile("permissive")["describer"][0]
    built, begun = [], threading.Event()

    def build(*, name: str, **_options: object) -> object:
        begun.set()
        built.append(name)
        return object()

    monkeypatch.setattr(models, "_built", {})
    with loading(lambda: models._shared([entry], build)):
        assert begun.wait(LONG_S)
        assert models._shared([entry], build) is models._shared([entry], build)
    assert built == [entry.name]


@pytest.mark.usefixtures("in_a_job")
def test_what_is_wrong_with_a_model_is_told_to_who_needs_it() -> None:
    def broken() -> None:
        raise ModelError("its weights have another sha256", where="a model")

    with loading(broken):
        pass  # a stage that takes its result from before needs no model
    with pytest.raises(ModelError, match="another sha256"), loading(broken):
        broken()


def test_in_process_nothing_is_loaded_ahead() -> None:
    asked: list[int] = []
    with loading(lambda: asked.append(1)):
        pass
    assert asked == []
