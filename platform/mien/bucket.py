"""A bucket of S3 through `pyarrow.fs`: how a request is made again, and what a refusal means.

The usual AWS_* environment variables are read (AWS_ENDPOINT_URL included, so a moto server serves tests). A request
that S3 throttles, answers with an error of its own, or leaves without an answer is made again, later each time. What S3
refuses becomes a BucketError that says what to do.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow.fs as pafs

from mien.errors import BucketError

ATTEMPTS = 8  # of one request, where AWS_MAX_ATTEMPTS says no other number: about half a minute of waiting in all
_CONNECT_S = 10.0


def located(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or `s3://bucket/key`, and the name that it has there; a key may hold any character.

    Arrow's own URIs take no blanks, and their S3 tries again every 200 ms for six seconds, from all workers at once,
    whatever S3 says. Here it is AWS's standard: waits that double, of random length, up to 20 s.
    """
    if "://" not in path:
        return pafs.LocalFileSystem(), path
    key = path.removeprefix("s3://")
    region = pafs.FileSystem.from_uri(f"s3://{key.split('/')[0]}")[0].region  # asked for, where nothing says it
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    scheme, _, host = endpoint.rpartition("://")
    system = pafs.S3FileSystem(
        region=region,
        scheme=scheme or "https",
        endpoint_override=host.rstrip("/") or None,
        connect_timeout=_CONNECT_S,
        allow_delayed_open=True,  # a small object by one request, not the three of a multipart upload
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_attempts()),
    )
    return system, key


_LOST_ERROR = "Failed to flush response stream"


def asked_again(read: Callable[[], bytes]) -> bytes:
    """What a read of an object gives, asked for again where AWS's own client does not.

    Arrow 26 gives it a buffer of as many bytes as were asked for. Where S3 throttles the read of a short file, its
    answer is longer than that, the client takes it for a fault of its own, and gives up at once.
    """
    for n_failed in range(1, _attempts()):
        try:
            return read()
        except OSError as error:
            if _LOST_ERROR not in str(error):
                raise
            time.sleep(random.uniform(0, min(2 ** (n_failed - 1), 20)))
    return read()


def _attempts() -> int:
    said = os.environ.get("AWS_MAX_ATTEMPTS", "")
    return max(1, int(said)) if said.isdigit() else ATTEMPTS


# What Arrow says ("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: ...", or "UNKNOWN (HTTP status
# 301)"), and what to do; {bucket} and {said} are filled in.
_REMEDIES = (
    (
        r"NO_SUCH_BUCKET|Bucket '.*' not found",
        "there is no bucket {bucket}: check its name, or make it (aws s3 mb s3://{bucket})",
    ),
    (
        r"HTTP status 301|PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint",
        "the bucket is in another region: set AWS_DEFAULT_REGION to the one that "
        "`aws s3api get-bucket-location --bucket {bucket}` names",
    ),
    (
        r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch|EXPIRED_TOKEN|ExpiredToken|InvalidToken"
        r"|INVALID_CLIENT_TOKEN_ID|UNRECOGNIZED_CLIENT",
        "AWS does not accept these credentials ({said}): renew them, or choose others with AWS_PROFILE",
    ),
    (
        r"RequestTimeTooSkewed|REQUEST_TIME_TOO_SKEWED",
        "this machine's clock is more than 15 minutes off, so S3 takes nothing from it: let chrony set it",
    ),
    (
        r"ACCESS_DENIED|AccessDenied|HTTP status 403",
        "access denied ({said}): ask for s3:ListBucket on the bucket, and for s3:GetObject, s3:PutObject and "
        "s3:DeleteObject on what is in it, for {who}",
    ),
    (
        r"NETWORK_CONNECTION|HTTP status 5\d\d|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE",
        "S3 does not answer ({said}; {attempts} tries): check the network, the region and AWS_ENDPOINT_URL, and run "
        "the same again",
    ),
)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """What S3 refuses as one BucketError. Other errors, a file that is not there among them, stay as they are."""
    try:
        yield
    except OSError as error:
        text = str(error)
        remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), "")
        if "://" not in uri or not (remedy or "AWS Error" in text):
            raise
        said = text.splitlines()[0].split("AWS Error ")[-1].split(" (Request ID")[0].rstrip(".")
        who = "the AWS identity in use" if _has_credentials() else "you: no AWS credentials were found, log in first"
        bucket = uri.split("://")[1].split("/")[0]
        filled = {"bucket": bucket, "said": said, "who": who, "attempts": _attempts()}
        raise BucketError(f"{uri}: {(remedy or '{said}').format(**filled)}") from error


def _has_credentials() -> bool:
    import boto3

    return boto3.Session().get_credentials() is not None
