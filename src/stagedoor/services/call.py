"""What an operation is given: who calls, for which account and region, and the house it works in.

Place in the flow: ``front`` builds a ``Call`` after authentication; ``services.<service>.<resource>.<operation>``
receives it with the parsed and validated request.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from stagedoor.authz.caller import Caller
from stagedoor.authz.credential_grants import CredentialGrants
from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.domain.arns import Arn
from stagedoor.domain.clock import Clock
from stagedoor.http.message import Request
from stagedoor.services.principals import Principals
from stagedoor.services.role_activity import RoleActivity
from stagedoor.services.trial import TryMethod
from stagedoor.settings import Settings
from stagedoor.store.contents import Contents
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.records import Key, Records
from stagedoor.store.step_metrics import StepMetrics
from stagedoor.traffic.endpoint_routes import EndpointRoutes
from stagedoor.traffic.function_pools import FunctionPools
from stagedoor.traffic.invocation_metrics import InvocationMetrics


@dataclass(frozen=True, slots=True)
class House:
    """Everything an operation may touch, put together once by ``app``.

    ``role_activity`` notes what roles do. ``try_method`` runs a method of an API that need not be deployed (TestInvokeMethod); ``public`` has it, above here.
    """

    settings: Settings
    clock: Clock
    records: Records
    objects: ObjectRows
    contents: Contents
    log_events: LogEvents
    metric_points: MetricPoints
    step_metrics: StepMetrics
    session_tokens: SessionTokens
    principals: Principals
    endpoint_routes: EndpointRoutes
    invocation_metrics: InvocationMetrics
    function_pools: FunctionPools
    try_method: TryMethod | None = None
    role_activity: RoleActivity | None = None
    credential_grants: CredentialGrants = field(default_factory=CredentialGrants)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated, authorised call of one operation.

    ``request`` is the raw HTTP request, for the few operations that need what the model does not carry; ``received_s`` the monotonic time
    at which it came.
    """

    service: str
    operation: str
    account_id: str
    region: str
    caller: Caller
    request_id: str
    house: House
    request: Request | None = field(default=None, repr=False)
    received_s: float | None = None

    @property
    def now(self) -> float:
        """Seconds since the epoch, from the house's clock."""
        return self.house.clock.now()

    def key(self, kind: str, name: str) -> Key:
        """The key of a regional resource of this account."""
        return Key(kind, self.account_id, self.region, name)

    def global_key(self, kind: str, name: str) -> Key:
        """The key of a global resource (IAM) of this account."""
        return Key(kind, self.account_id, "", name)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a regional resource of this account."""
        return str(Arn(service, self.region, self.account_id, resource))


Answer = Mapping[str, Any]

# An operation is a plain function (run in a thread: it may block on the store) or a coroutine function (run on the
# event loop: it must not block; used by what streams or invokes).
Operation = Callable[[Call, dict[str, Any]], "Answer | Coroutine[Any, Any, Answer]"]
