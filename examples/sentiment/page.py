"""The web page: the files of ``web/`` and the API's address, in a bucket that serves a website."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from botocore.exceptions import ClientError

from place import Place
from plan import RESOURCE, STAGE, Plan
from storage import ensure_bucket

_WEB = Path(__file__).parent / "web"
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def ensure(place: Place, plan: Plan, api_id: str) -> int:
    """Put the page where anyone can read it; the number of files that were new or changed."""
    ensure_bucket(place, plan.page_bucket)
    _open_to_all(place, plan.page_bucket)
    files = {path.name: path.read_bytes() for path in sorted(_WEB.iterdir()) if path.suffix in _CONTENT_TYPES}
    files["config.js"] = config(place, api_id)
    there = {
        item.get("Key"): item.get("ETag", "").strip('"')
        for item in place.s3.list_objects_v2(Bucket=plan.page_bucket).get("Contents", [])
    }
    changed = 0
    for name, data in files.items():
        if there.get(name) == hashlib.md5(data, usedforsecurity=False).hexdigest():
            continue
        place.s3.put_object(
            Bucket=plan.page_bucket,
            Key=name,
            Body=data,
            ContentType=_CONTENT_TYPES[Path(name).suffix],
            CacheControl="no-cache",
        )
        changed += 1
    return changed


def config(place: Place, api_id: str) -> bytes:
    """``config.js``: where the page finds the API.

    On a local server the page can also be opened by path (``/_aws/s3-website/…``), for browsers that do not know
    names under localhost; then it calls the API by path, too.
    """
    addresses = {"api": place.api_url(api_id, STAGE, RESOURCE)}
    by_path = place.api_url_by_path(api_id, STAGE, RESOURCE)
    if by_path:
        addresses["apiByPath"] = by_path
    return f"window.sentiment = {json.dumps(addresses, indent=2)};\n".encode()


def _open_to_all(place: Place, bucket: str) -> None:
    """A bucket is private unless its owner says otherwise, twice."""
    place.s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": False,
            "RestrictPublicBuckets": False,
        },
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AnyoneMayRead",
                "Effect": "Allow",
                "Principal": "*",
                "Action": "s3:GetObject",
                "Resource": f"arn:{place.partition}:s3:::{bucket}/*",
            }
        ],
    }
    _put_policy(place, bucket, json.dumps(policy))
    place.s3.put_bucket_website(
        Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )


def _put_policy(place: Place, bucket: str, policy: str) -> None:
    """On AWS the public access block just lifted holds for some seconds more."""
    for attempt in range(15):
        try:
            place.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "AccessDenied" or attempt == 14:
                raise
            time.sleep(1)
        else:
            return
