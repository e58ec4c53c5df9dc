"""DataCaptureConfig of a transform job: manifests of what went in and what came out, and ids on every record of the output.

Place in the flow: ``act`` writes the manifests when the job is complete; ``data_processing`` puts an id (a UUID) and the job's start
behind each record when GenerateInferenceId asks for it. The manifests are below ``DestinationS3Uri``, in ``input`` and ``output``,
by the hour of the job's start, and can be read as a ManifestFile.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from stagedoor.reconcile.transform.inputs import Source
from stagedoor.store import objects_io
from stagedoor.store.contents import Contents
from stagedoor.store.job_inputs import Location
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Document


def write(
    document: Document, transformed: Sequence[Source], objects: ObjectRows, contents: Contents, now: float
) -> None:
    """Store the manifests of a complete job. Blocks. ``NoSuchBucketError`` when the destination is gone."""
    if not transformed:
        return
    destination = Location.parse(document["DataCaptureConfig"]["DestinationS3Uri"])
    hour = datetime.fromtimestamp(document["TransformStartTime"], UTC).strftime("%Y/%m/%d/%H")
    first = transformed[0].object
    given = [{"prefix": first.uri.removesuffix(first.name)}, *(one.object.name for one in transformed)]
    output = f"{document['TransformOutput']['S3OutputPath'].rstrip('/')}/"
    made = [{"prefix": output}, *(f"{one.object.name}.out" for one in transformed)]
    for folder, manifest in (("input", given), ("output", made)):
        place = destination.under(folder, hour, f"{uuid.uuid4()}.json")
        data = json.dumps(manifest).encode()
        objects_io.put_bytes(objects, contents, place.bucket, place.key, data, now=now)
