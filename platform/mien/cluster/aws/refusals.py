"""What AWS refuses, as one line with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mien.errors import MienError

THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown")


class AccountError(MienError):
    """An AWS account that does not let this be done, or cannot be reached."""


def found(call: Callable[..., Any], *absent: str, **named: Any) -> Any:
    """What a call of AWS answers; None where its error is one of these codes."""
    from botocore.exceptions import ClientError

    try:
        return call(**named)
    except ClientError as error:
        if error.response["Error"]["Code"] in absent:
            return None
        raise


@contextmanager
def said_by_aws() -> Iterator[None]:
    """Errors of boto3 as AccountError, in a line with what to do."""
    from botocore import exceptions as boto

    try:
        yield
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError) as error:
        raise AccountError(f"no AWS credentials ({error}): aws configure, or set AWS_PROFILE") from error
    except boto.ClientError as error:
        code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        raise AccountError(f"AWS refused {error.operation_name}: {code}: {text}{_remedy(code)}") from error
    except boto.EndpointConnectionError as error:
        raise AccountError(f"no way to AWS: {error}; is this machine on the network?") from error
    except boto.ProfileNotFound as error:
        remedy = "name another (aws configure list-profiles), or make it: aws configure --profile NAME"
        raise AccountError(f"AWS_PROFILE: {error}: {remedy}") from error
    except boto.BotoCoreError as error:  # a bucket that cannot be named so, ...
        raise AccountError(f"AWS: {' '.join(str(error).split())}") from error


def _remedy(code: str) -> str:
    if code in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
        return "; the credentials ran out: sign in again (aws sso login), or make new ones"
    if code in ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "AuthFailure"):
        return "; check the keys (aws sts get-caller-identity), and that the account has this region switched on"
    if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        return "; your user lacks this right: docs/how-to/start-a-cluster.md lists what it needs"
    if code in THROTTLED:
        return "; too many calls of this account at once, also by others in it: ask again in some minutes"
    return ""
