"""A stand-in for S3 (moto), which checks keys and signatures as S3 does and keeps everything in memory."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from infra.local.processes import Service

REGION = "us-east-1"


@dataclass(frozen=True)
class Keys:
    """What a client shows."""

    id: str
    secret: str


def service(port: int, environment: Mapping[str, str], log: Path) -> Service:
    """Say how to serve it."""
    return Service(
        name="s3",
        command=[sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        environment=environment,
        log=log,
        healthy=lambda: requests.get(f"{endpoint(port)}/moto-api/", timeout=2).ok,
    )


def endpoint(port: int) -> str:
    """Where it answers."""
    return f"http://127.0.0.1:{port}"


def open_account(port: int, buckets: Sequence[str]) -> Keys:
    """Make buckets and the only account that may use them."""
    import boto3

    def client(name: str) -> "boto3.client":
        return boto3.client(
            name,
            endpoint_url=endpoint(port),
            region_name=REGION,
            aws_access_key_id="nobody",
            aws_secret_access_key="asks for this yet",
        )

    store, accounts = client("s3"), client("iam")
    for bucket in buckets:
        store.create_bucket(Bucket=bucket)
    accounts.create_user(UserName="sim-models")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    accounts.put_user_policy(UserName="sim-models", PolicyName="s3", PolicyDocument=json.dumps(policy))
    made = accounts.create_access_key(UserName="sim-models")["AccessKey"]
    # From the next request on nothing goes without a signature.
    requests.post(f"{endpoint(port)}/moto-api/reset-auth", data="0", timeout=5).raise_for_status()
    return Keys(made["AccessKeyId"], made["SecretAccessKey"])
