"""S3 as boto3 finds it in the environment (Amazon's, or a stand-in at AWS_ENDPOINT_URL), its errors in our words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sentinel_assets.vision.errors import FootageMissing, SentinelError, StoreRejected, StoreUnavailable

_GONE = ("404", "NoSuchKey")
_REFUSED = ("AccessDenied", "403", "NoSuchBucket", "InvalidBucketName", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_WHERE_AND_WHO = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
)


def s3_client() -> Any:
    """This process's client for the environment as it is now; threads may share it."""
    return _client(os.getpid(), *(os.environ.get(name) for name in _WHERE_AND_WHO))


@lru_cache(maxsize=8)
def _client(*_of: object) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client("s3", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; no letter of a key means anything else, as '#' and '?' do in a URL."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@contextmanager
def s3_errors(where: str, *, missing: Callable[[str], SentinelError]) -> Iterator[None]:
    """What boto3 raises as `missing(where)`, StoreRejected or StoreUnavailable."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in _GONE:
            raise missing(where) from error
        if code in _REFUSED:
            raise StoreRejected(
                f"S3 refuses: {error}", where=where, remedy="Check the bucket's name, and this role's rights on it"
            ) from error
        raise StoreUnavailable(f"S3 does not answer: {error}", where=where, remedy="Try again later") from error
    except (NoCredentialsError, ProfileNotFound) as error:
        raise StoreRejected(
            f"there are no AWS credentials: {error}", where=where, remedy="Give this process a role, or AWS_PROFILE"
        ) from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"S3 does not answer: {error}", where=where, remedy="Try again later") from error


def no_object(where: str) -> FootageMissing:
    """What to say of an address of footage at which S3 has nothing."""
    return FootageMissing("no such object", where=where, remedy="Upload it again")
