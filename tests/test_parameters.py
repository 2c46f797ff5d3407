"""How a video is sampled: as the environment says, or as its camera does."""

from __future__ import annotations

import pytest

from sentinel_assets.filming import sampling_digest
from sentinel_assets.parameters import SamplingParameters, sampling
from sentinel_assets.vision.adaptive import AdaptiveSampling
from sentinel_assets.vision.errors import SentinelError


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, SamplingParameters(2.0)),
        ({"rate_hz": 5.0}, SamplingParameters(5.0)),
        ({"mode": "adaptive"}, AdaptiveSampling(2.0, 5.0, 10.0)),
        ({"mode": "adaptive", "person_hz": 12.0}, AdaptiveSampling(2.0, 12.0, 12.0)),
        ({"mode": "adaptive", "rate_hz": 1.0, "around_s": 6.0}, AdaptiveSampling(1.0, 5.0, 10.0, 6.0)),
        ({"mode": "adaptive", "person_hz": 1.0}, AdaptiveSampling(2.0, 2.0, 10.0)),  # no slower than the scout
    ],
)
def test_a_camera_has_the_last_word(own: dict[str, object], expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_SAMPLE_RATE", "2")
    assert sampling(own) == expected


def test_a_camera_of_the_usual_kind_may_be_fixed_where_the_deployment_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_SAMPLING", "adaptive")
    assert sampling() == AdaptiveSampling()
    assert sampling({"mode": "fixed"}) == SamplingParameters(1.0)


def test_the_digest_is_of_what_it_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that the camera leaves to the deployment is part of it; one that is said twice changes nothing."""
    assert sampling_digest({}) == ""
    adaptive = sampling_digest({"mode": "adaptive"})
    assert sampling_digest({"mode": "adaptive", "person_hz": 5.0}) == adaptive
    assert sampling_digest({"mode": "adaptive", "person_hz": 6.0}) != adaptive
    monkeypatch.setenv("SENTINEL_SAMPLE_RATE", "2")
    assert sampling_digest({"mode": "adaptive"}) != adaptive


def test_what_is_no_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_SAMPLING", "often")
    with pytest.raises(SentinelError, match="'often' is neither fixed nor adaptive"):
        sampling()
