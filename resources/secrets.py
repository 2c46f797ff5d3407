"""The address of the warehouse from AWS Secrets Manager. It holds a password: no message repeats it."""

from __future__ import annotations

import json
from typing import Any

from psycopg.conninfo import make_conninfo

from sentinel_assets.vision.errors import StoreRejected, StoreUnavailable

_REFUSED = (
    "ResourceNotFoundException",
    "AccessDeniedException",
    "InvalidRequestException",
    "DecryptionFailure",
    "UnrecognizedClientException",
)
_FIELDS = {"username": "user", "password": "password", "host": "host", "port": "port", "dbname": "dbname"}
"""Of the JSON that RDS keeps in a secret, and libpq's names for them."""


def database_address(secret: str) -> str:
    """What the secret of that name or ARN holds: an address as DATABASE_URL has it, or the JSON of RDS.

    Raises StoreRejected where it cannot be had or is neither, StoreUnavailable where Secrets Manager does not answer.
    """
    return read_address(_value(secret), secret)


def read_address(value: str, where: str) -> str:
    """The address in a secret's text, as libpq reads it."""
    if not value.lstrip().startswith("{"):
        return value.strip()
    try:
        described: dict[str, Any] = json.loads(value)
    except ValueError:
        described = {}
    missing = [name for name in ("username", "password", "host") if not described.get(name)]
    if missing:
        raise StoreRejected(
            f"the secret is JSON without {' and '.join(missing)}",
            where=where,
            remedy="Put an address postgresql://..., or what RDS writes: username, password, host, port, dbname",
        ) from None
    return make_conninfo("", **{ours: str(described[name]) for name, ours in _FIELDS.items() if described.get(name)})


def _value(secret: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        return str(boto3.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    except KeyError:
        raise StoreRejected("the secret is binary, not text", where=secret, remedy="Put it as text") from None
    except NoCredentialsError as error:
        raise StoreRejected(
            str(error), where=secret, remedy="Give this process AWS credentials, or set DATABASE_URL"
        ) from error
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _REFUSED:
            remedy = "Check SENTINEL_DATABASE_SECRET and the permissions of this process"
            raise StoreRejected(str(error), where=secret, remedy=remedy) from error
        raise StoreUnavailable(str(error), where=secret, remedy="Try again") from error
    except BotoCoreError as error:
        raise StoreUnavailable(str(error), where=secret, remedy="Try again") from error
