"""What the server tells a worker: the JSON specs of the three kinds of workload, and the meta of their calls.

Place in the flow: reconcilers and function pools build a spec, ``engine.start`` carries it to the worker's entry
(``model_server``, ``function_worker``, ``job_runner``). Plain TypedDicts: they cross process borders as JSON. Names of
files are relative to the scratch directory and are keys of ``Workload.files``.
"""

from typing import Any, NotRequired, TypedDict


class ModelSpec(TypedDict):
    """A model server. ``algorithm`` names a module with ``load(spec, model_dir) -> Model`` (``worker.model``).

    Without a dot it is a module of ``stagedoor.worker.algorithms`` (``xgboost_serving``), with one it is a full
    module name. ``model_archive`` (tar.gz) is extracted in the worker to ``model/``; without it that folder is empty.
    ``options`` is the algorithm's own. A batch is at most ``max_batch_count`` requests and ``max_batch_bytes`` of bodies, and is
    computed at once, or ``max_batch_delay_s`` after its first request at the latest. A model that settles does so ``settle_after_s`` after it
    was loaded, or after its first answer.
    """

    algorithm: str
    name: NotRequired[str]
    model_archive: NotRequired[str]
    options: NotRequired[dict[str, Any]]
    max_batch_count: NotRequired[int]
    max_batch_bytes: NotRequired[int]
    max_batch_delay_s: NotRequired[float]
    max_model_bytes: NotRequired[int]
    settle_after_s: NotRequired[float]


class ModelHello(TypedDict):
    """Meta of a model server's HELLO. ``rungs`` names the isolation in force, ``details`` is the algorithm's own."""

    ready: bool
    load_s: float
    rungs: list[str]
    details: dict[str, Any]


class InvocationMeta(TypedDict):
    """Meta of a CALL to a model: what the client said about the body and the answer it wants."""

    content_type: NotRequired[str]
    accept: NotRequired[str]
    custom_attributes: NotRequired[str]
    target_model: NotRequired[str]
    inference_id: NotRequired[str]


class PredictionMeta(TypedDict):
    """Meta of a RESULT of a model."""

    content_type: NotRequired[str]
    custom_attributes: NotRequired[str]


class FaultMeta(TypedDict):
    """Meta of a FAULT: see ``worker.frames``. ``status`` only in a call's fault, ``error`` only from functions.

    ``requirements`` only from a model with a script whose requirements.txt is not in its environment: its text.
    """

    reason: str
    status: NotRequired[int]
    requirements: NotRequired[str]
    traceback: NotRequired[str]
    error: NotRequired["FunctionError"]


class FunctionSpec(TypedDict):
    """A Lambda function's worker. ``package`` is the zip in ``Workload.files``; it is extracted to ``task/``.

    The worker itself sets the variables AWS's runtime reserves that follow from these members (``_HANDLER``,
    ``LAMBDA_TASK_ROOT``, ``AWS_LAMBDA_FUNCTION_NAME``, ``…_VERSION``, ``…_MEMORY_SIZE``, ``AWS_LAMBDA_LOG_GROUP_NAME``,
    ``AWS_LAMBDA_LOG_STREAM_NAME``, ``AWS_LAMBDA_INITIALIZATION_TYPE``, ``AWS_EXECUTION_ENV``, ``TZ``).
    ``Workload.environment`` brings the rest: credentials, ``AWS_REGION`` and ``AWS_DEFAULT_REGION`` (which is
    the one boto3 reads), ``AWS_ENDPOINT_URL``, the user's variables.
    """

    function_name: str
    function_version: str
    function_arn: str
    handler: str
    package: str
    memory_limit_mb: int
    log_group_name: str
    log_stream_name: str
    max_package_bytes: NotRequired[int]


class FunctionCallMeta(TypedDict):
    """Meta of a CALL to a function; the body is the event (JSON; empty means ``{}``).

    ``deadline_ms`` is the wall clock in milliseconds since the epoch. ``client_context`` is JSON text, already decoded
    from base64.
    """

    request_id: str
    deadline_ms: int
    invoked_function_arn: str
    client_context: NotRequired[str]
    trace_id: NotRequired[str]


class FunctionResultMeta(TypedDict):
    """Meta of a function's RESULT. ``function_error`` (``Unhandled``) is there when the body is an error payload.

    ``peak_bytes`` is the most memory that the worker ever had resident.
    """

    function_error: NotRequired[str]
    peak_bytes: int


class FunctionError(TypedDict):
    """AWS's error payload of the Python runtime."""

    errorMessage: str
    errorType: str
    requestId: str
    stackTrace: list[str]


class JobSpec(TypedDict):
    """A job. ``entry`` is ``module:function``, called with a ``worker.job.Job``; modules as in ``ModelSpec``.

    The runner makes the container layout under ``opt/ml`` of the scratch directory: ``config`` becomes
    ``input/config/NAME.json`` (``hyperparameters``, ``inputdataconfig``, ``resourceconfig``, …), ``channels`` become
    folders ``input/data/NAME``; the server links the channels' files by ``Workload.files``
    (``opt/ml/input/data/train/part-0.csv``). ``pack_model``: after success ``opt/ml/model`` becomes
    ``opt/ml/output/model.tar.gz``; an empty model folder gives an empty archive, as on AWS. ``pack_output``: a
    non-empty ``opt/ml/output/data`` becomes ``opt/ml/output/output.tar.gz``.
    """

    entry: str
    name: NotRequired[str]
    config: NotRequired[dict[str, Any]]
    channels: NotRequired[list[str]]
    options: NotRequired[dict[str, Any]]
    pack_model: NotRequired[bool]
    pack_output: NotRequired[bool]


WANTS_ENVIRONMENT_EXIT = 85
"""How a job's process ends that has found requirements and runs without them: ``REQUIREMENTS_FILE`` in its scratch directory
has their text. The user's program has not run then.
"""

REQUIREMENTS_FILE = "requirements-wanted.txt"
CONSTRAINTS_LINE = "[constraints]"
"""What stands between the requirements in such a text and constraints on their versions."""

MAX_REQUIREMENTS_BYTES = 256 * 1024


INIT_OUTPUT_END = b"\x00stagedoor-end init\x00\n"
"""What a function worker writes to its output when its module is loaded, just before its HELLO."""


LINE_GOES_ON = "\0\n"
"""How a line of a function worker's output ends when the next one belongs to the same log event."""


def one_event(text: str) -> str:
    """Lines (without the last one's end) as a function worker writes them to become one log event: a traceback, a record."""
    return text.replace("\n", LINE_GOES_ON) + "\n"


def output_end(request_id: str) -> bytes:
    """What a function worker writes to its output at the end of an invocation, just before its RESULT.

    The server cuts the output there and drops the marker. Everything before it belongs to that invocation. It is written
    as one piece but may follow user output that ended without a newline.
    """
    return b"\x00stagedoor-end " + request_id.encode() + b"\x00\n"
