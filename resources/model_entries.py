"""What `models.yaml` may say: models with their sources, digests and licences, and profiles that choose among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from resources.weight_sources import check

__all__ = ["Choice", "Document", "FolderFile", "ModelEntry"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderFile(_Strict):
    """A file of a model of several: its sha256 and size (bytes) where they are known, else it is locked when pulled."""

    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_nothing(cls, value: object) -> object:
        return {} if value is None else value

    @model_validator(mode="after")
    def _is_whole(self) -> FolderFile:
        if (self.sha256 is None) != (self.size is None):
            raise ValueError("sha256 and size must be given together")
        return self


class ModelEntry(_Strict):
    """One model. `sources`, `sha256` and `size` (bytes) belong together; without them a model is only code of ours.

    Weights that are published under a name, at a place that no program can fetch them from, have `published_as` and
    `at_most` (bytes) instead: they come from a mirror or a folder, and are locked when they are pulled first.

    A model of several `files` is a folder: what `sources` and `published_as` name are folders too, and `at_most` is for
    each file (see `weight_folders.py`).
    """

    name: str
    roles: tuple[str, ...] = Field(min_length=1)
    version: str
    licence: str
    purpose: str
    sources: tuple[str, ...] = ()
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(default=None, gt=0)
    input_size: int | None = Field(default=None, gt=0)
    """Side of the network's input, px (of a text encoder: tokens)."""
    published_as: tuple[str, ...] = ()
    """Names of the file, the usual one first."""
    published_at: str = ""
    at_most: int | None = Field(default=None, gt=0)
    accept: str | None = None
    """Name by which a person has to accept the licence before the weights are used."""
    is_locked: bool = Field(default=False, exclude=True)
    """Whether `sha256` is that of the first pull, and not the catalogue's."""
    files: Mapping[str, FolderFile] = Field(default_factory=dict)
    """Names of the files of a folder."""
    folder: str = Field(default="", exclude=True)
    """Of a file that is part of a folder: the folder's name in the cache."""
    adapter: str = ""
    """The code that runs it; none for what is no model."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Arguments for the adapter; a profile may set further ones."""

    @model_validator(mode="after")
    def _weights_are_whole(self) -> ModelEntry:
        given = [bool(self.sources), self.sha256 is not None, self.size is not None]
        if self.files:
            if not (self.sources or self.published_as) or self.at_most is None or given[1] or given[2]:
                raise ValueError("files need sources or published_as, and at_most; sha256 and size are each file's own")
            if wrong := [name for name in self.files if not re.fullmatch(r"\w[\w.-]*", name)]:
                raise ValueError(f"{wrong[0]!r} is not the name of a file of a folder")
        elif self.published_as:
            if self.at_most is None or given[1] != given[2]:
                raise ValueError("published_as needs at_most, and sha256 and size must be given together")
        elif any(given) and not all(given):
            raise ValueError("sources, sha256 and size must be given together")
        for source in self.sources:
            check(source)
        return self

    @property
    def has_weights(self) -> bool:
        return bool(self.sources or self.published_as)

    @property
    def file_name(self) -> str:
        """`<name>-<12 digits of sha256><suffix of the source>`: two versions of a model live side by side."""
        if self.folder:
            return f"{self.folder}/{self.name.rpartition('/')[2]}"
        origin = self.published_as[0] if self.published_as else self.sources[0]
        suffix = Path(origin.rpartition("#")[2].rpartition("!")[2]).suffix
        return f"{self.name}-{(self.sha256 or '')[:12]}{suffix}"


class Choice(_Strict):
    """A model as a profile names it: by its name alone, or with options for its adapter."""

    model: str
    options: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"model": value} if isinstance(value, str) else value


class Document(_Strict):
    """`models.yaml` as it stands."""

    models: dict[str, ModelEntry]
    profiles: dict[str, dict[str, tuple[Choice, ...]]]

    @model_validator(mode="before")
    @classmethod
    def _name_entries(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("models"), dict):
            named = {k: {**v, "name": k} if isinstance(v, dict) else v for k, v in value["models"].items()}
            return {**value, "models": named}
        return value

    @model_validator(mode="after")
    def _profiles_name_models(self) -> Document:
        for profile, roles in self.profiles.items():
            for role, choices in roles.items():
                for choice in choices:
                    entry = self.models.get(choice.model)
                    if entry is None:
                        raise ValueError(f"profile {profile}, {role}: there is no model {choice.model!r}")
                    if role not in entry.roles:
                        raise ValueError(f"profile {profile}: model {choice.model!r} does not have the role {role}")
        return self
