"""Who may talk to the local AWS: whoever on this machine knows its access key, and no page in a browser.

moto checks no keys. But a Batch job is a command, so a request here must be signed with the server's own key id, which
takes the place of a password: the signature itself is not checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# A page can reach loopback under a name of its own (DNS rebinding), but not under these.
_LOOPBACK = re.compile(r"(127\.0\.0\.1|\[::1\]|([a-z0-9.-]+\.)?localhost)(:\d+)?")
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]+/[^/]+/([^/]+)/aws4_request")
# The codes that these services give for an unknown key, of the ones that answer in XML
_XML_CODES = {"s3": "InvalidAccessKeyId", "sts": "InvalidClientTokenId"}


class Door:
    """A WSGI application before another one."""

    def __init__(self, inner: WSGIApplication, access_key: str) -> None:
        self._inner, self._access_key = inner, access_key

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not _LOOPBACK.fullmatch(environ.get("HTTP_HOST", "")):
            return _refuse(
                "", "AccessDeniedException", "The local AWS answers to its loopback address only", start_response
            )
        key, service = _signed_with(environ)
        if key != self._access_key:
            message = "The security token included in the request is invalid."
            return _refuse(service, "UnrecognizedClientException", message, start_response)
        return self._inner(environ, _closed_to_other_origins(start_response))


def _closed_to_other_origins(start_response: StartResponse) -> StartResponse:
    """Without the headers by which moto lets a page of any origin read its answers."""

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
        return start_response(status, kept, *error)

    return start


def _signed_with(environ: WSGIEnvironment) -> tuple[str, str]:
    """The key id and the service of the signature, in the header or, presigned, in the query."""
    if "HTTP_X_ACCESS_KEY" in environ:
        return str(environ["HTTP_X_ACCESS_KEY"]), ""
    query = parse_qs(str(environ.get("QUERY_STRING", "")))
    text = environ.get("HTTP_AUTHORIZATION") or f"Credential={query.get('X-Amz-Credential', [''])[0]}"
    if found := _CREDENTIAL.search(text):
        return found.group(1), found.group(2)
    return query.get("AWSAccessKeyId", [""])[0], "s3"  # presigned with the old signature, boto3's default for S3


def _refuse(service: str, code: str, message: str, start_response: StartResponse) -> Iterable[bytes]:
    if service in _XML_CODES:
        error = f"<Code>{_XML_CODES[service]}</Code><Message>{message}</Message>"
        whole = (
            f"<Error>{error}</Error>" if service == "s3" else f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"
        )
        data, kind = whole.encode(), "application/xml"
    else:
        data, kind = json.dumps({"__type": code, "message": message}).encode(), "application/json"
    headers = [("Content-Type", kind), ("Content-Length", str(len(data))), ("x-amzn-ErrorType", code)]
    start_response("403 Forbidden", headers)
    return [data]
