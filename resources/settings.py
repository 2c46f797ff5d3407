"""What the environment says, read once: where data lives, which deployment, which models, which database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from platformdirs import user_cache_path, user_data_path

from resources.cloud import Cloud
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.held_frames import DEFAULT_MB

if TYPE_CHECKING:
    from sentinel_assets.vision.containers import DecodeDevice

Deployment = Literal["local", "aws"]
Profile = Literal["cpu", "permissive", "gpu"]

_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """`home` holds everything that the local deployment writes; `weights` is a cache that checkouts may share."""

    home: Path
    weights: Path
    deployment: Deployment = "local"
    profile: Profile = "cpu"
    database_url: str | None = None
    """None: the PostgreSQL that we start ourselves under `home`."""
    sample_rate_hz: float = 1.0
    """Frames looked at in a second of presentation time."""
    show_faces: bool = False
    """Pictures blur faces unless this is set."""
    accept_truncated: bool = False
    """Analyse what is there of a file whose end is missing, instead of refusing it."""
    step_time_limit_s: float = 4 * 3600.0
    """How long a stage may run as a job on Batch before it is stopped; no clip of a store comes near the default."""
    held_frames_mb: float = DEFAULT_MB
    """Of decoded frames that a run keeps for its later stages; a job on Batch is given more
    (`gpu_steps.py`)."""
    decode_device: DecodeDevice = "cpu"
    """Where sampled frames are decoded; "cuda": on the GPU, where there is one that can."""
    videos_per_job: int = 20
    """That one job on Batch analyses at most, of those of one backfill, one after another; its models stay loaded."""
    host_prices: Mapping[str, float] = field(default_factory=dict)
    """USD per hour of a host of Batch, by "type/spot" and "type/on-demand", in place of the launcher's."""
    cloud: Cloud = field(default_factory=Cloud)

    @property
    def artifacts(self) -> str:
        """Base of the tables between assets: a folder, or an s3:// prefix."""
        return self.cloud.artifacts or str(self.home / "artifacts")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read SENTINEL_HOME, SENTINEL_WEIGHTS, SENTINEL_DEPLOYMENT, SENTINEL_PROFILE, SENTINEL_SAMPLE_RATE,
        SENTINEL_SHOW_FACES, SENTINEL_ACCEPT_TRUNCATED, SENTINEL_STEP_TIME_LIMIT (s), SENTINEL_HELD_FRAMES_MB,
        SENTINEL_DECODE_DEVICE, SENTINEL_VIDEOS_PER_JOB, SENTINEL_HOST_PRICES (type/purchase=USD, ...), DATABASE_URL,
        and those that `Cloud` names.

        In a checkout `home` is its `.sentinel` folder, else the user's data folder.
        """
        env = os.environ if environ is None else environ
        in_checkout = (_CHECKOUT / "pyproject.toml").exists()
        home = env.get("SENTINEL_HOME") or (_CHECKOUT / ".sentinel" if in_checkout else user_data_path("sentinel"))
        return cls(
            home=Path(home).expanduser().resolve(),
            weights=Path(env.get("SENTINEL_WEIGHTS") or user_cache_path("sentinel") / "weights").expanduser().resolve(),
            deployment=cast(Deployment, _choice(env, "SENTINEL_DEPLOYMENT", get_args(Deployment), "local")),
            profile=cast(Profile, _choice(env, "SENTINEL_PROFILE", get_args(Profile), "cpu")),
            database_url=env.get("DATABASE_URL") or None,
            sample_rate_hz=_number(env, "SENTINEL_SAMPLE_RATE", 1.0),
            accept_truncated=_choice(env, "SENTINEL_ACCEPT_TRUNCATED", ("0", "1"), "0") == "1",
            show_faces=_choice(env, "SENTINEL_SHOW_FACES", ("0", "1"), "0") == "1",
            step_time_limit_s=_seconds(env, "SENTINEL_STEP_TIME_LIMIT", 4 * 3600.0),
            held_frames_mb=max(0.0, _number(env, "SENTINEL_HELD_FRAMES_MB", DEFAULT_MB)),
            decode_device=cast("DecodeDevice", _choice(env, "SENTINEL_DECODE_DEVICE", ("cpu", "cuda"), "cpu")),
            videos_per_job=_count(env, "SENTINEL_VIDEOS_PER_JOB", 20),
            host_prices=_prices(env, "SENTINEL_HOST_PRICES"),
            cloud=Cloud.from_env(env),
        )


def _choice(env: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = env.get(name) or default
    if value not in allowed:
        raise SentinelError(
            f"{value!r} is none of {', '.join(allowed)}", where=name, remedy=f"Set {name} to one of them"
        )
    return value


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        return float(text)
    except ValueError as error:
        raise SentinelError(
            f"{text!r} is not a number", where=name, remedy=f"Set {name} to one, such as {default}"
        ) from error


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise SentinelError(
            f"{text!r} is not a whole number above 0", where=name, remedy=f"Set {name} to one, such as {default}"
        )
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    seconds = _number(env, name, default)
    if not 0 < seconds < float("inf"):
        raise SentinelError(f"{seconds:g} s is no time", where=name, remedy=f"Set {name} to seconds above 0")
    return seconds


def _prices(env: Mapping[str, str], name: str) -> dict[str, float]:
    found = {}
    for part in filter(None, (env.get(name) or "").replace(" ", "").split(",")):
        host, _, text = part.partition("=")
        kind, _, purchase = host.partition("/")
        try:
            usd = float(text)
        except ValueError:
            usd = -1.0
        if not kind or purchase not in ("spot", "on-demand") or not 0 <= usd < float("inf"):
            raise SentinelError(
                f"{part!r} is no price of a host",
                where=name,
                remedy="Write them as g5.xlarge/on-demand=1.006,g5.xlarge/spot=0.45, in USD per hour",
            )
        found[host] = usd
    return found
