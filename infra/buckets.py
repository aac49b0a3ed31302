#!/usr/bin/env python3
"""Make S3 buckets that are not there yet: `buckets.py NAME...`, with AWS_ENDPOINT_URL and keys in the environment."""

import sys

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    """Make each that is missing."""
    store = boto3.client("s3")
    for name in sys.argv[1:]:
        try:
            store.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
                raise
            store.create_bucket(Bucket=name)
            print(f"made bucket {name}")


if __name__ == "__main__":
    main()
