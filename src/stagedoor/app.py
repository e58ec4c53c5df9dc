"""Composition root: settings -> store, engine, reconcilers, listeners. The only file naming concrete classes.

``serve`` runs one server until it is told to stop; everything it starts it also ends.
"""

import asyncio
import contextlib
import dataclasses
import gc
import json
import logging
import os
import shlex
import signal
import sqlite3
import ssl
import sys
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from stagedoor import __version__, server_process
from stagedoor.authz import regions
from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.domain.clock import SystemClock
from stagedoor.engine.environments import Environments
from stagedoor.engine.isolation import Isolation, Mode
from stagedoor.engine.local import LocalEngine
from stagedoor.engine.runtimes import default_runtimes
from stagedoor.front import certificates
from stagedoor.front.access_log import AccessLog
from stagedoor.front.held_answers import HeldAnswers
from stagedoor.front.listener import SignedListener
from stagedoor.front.processes.control import FrontProcesses, FrontsError
from stagedoor.front.proxy import Proxy
from stagedoor.http.connection import Handler
from stagedoor.http.destinations import Destinations
from stagedoor.http.local_ca import CertificateError
from stagedoor.http.server import Server
from stagedoor.public.listener import PublicListener
from stagedoor.reconcile.endpoints.act import EndpointReconciler
from stagedoor.reconcile.functions.act import FunctionReconciler, FunctionSettings
from stagedoor.reconcile.jobs.act import JobReconciler
from stagedoor.reconcile.jobs.slots import JobSlots
from stagedoor.reconcile.loop import Loop
from stagedoor.reconcile.model_files import ModelFiles
from stagedoor.reconcile.processing.act import ProcessingJobs, ProcessingStores
from stagedoor.reconcile.role_access import RoleAccess
from stagedoor.reconcile.training.act import TrainingJobs, TrainingStores
from stagedoor.reconcile.transform.act import TransformJobs, TransformStores
from stagedoor.reconcile.tuning.act import TuningReconciler
from stagedoor.reconcile.worker_logs import WorkerLogs
from stagedoor.services import container_credentials
from stagedoor.services.call import House
from stagedoor.services.denial_notices import DenialNotices, Selection
from stagedoor.services.denials import Denials
from stagedoor.services.lambda_.routing import resolver
from stagedoor.services.principals import Principals, RootAccount, read_accounts
from stagedoor.services.role_activity import RoleActivity
from stagedoor.settings import (
    Settings,
    address,
    front_count,
    has_tls,
    is_loopback,
    retry_delays_s,
    runtime_pythons,
)
from stagedoor.store import data_directory
from stagedoor.store.contents import Contents
from stagedoor.store.data_directory import DataDirectoryError, Keys
from stagedoor.store.function_packages import FunctionPackages
from stagedoor.store.log_events import LogEvents
from stagedoor.store.metric_points import MetricPoints
from stagedoor.store.object_rows import ObjectRows
from stagedoor.store.objects_io import sweep
from stagedoor.store.records import SqliteRecords
from stagedoor.store.step_metrics import StepMetrics
from stagedoor.traffic.endpoint_routes import EndpointRoutes
from stagedoor.traffic.function_pools import FunctionPools
from stagedoor.traffic.invocation_metrics import InvocationMetrics
from stagedoor.traffic.log_writer import LogWriter

log = logging.getLogger(__name__)

SHUTDOWN_GRACE_S = 5.0
THREADS = 16
ROLE_ACTIVITY_FLUSH_S = 1.0


class StartError(Exception):
    """The server cannot start; the text says what to do about it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """The addresses a started server answers on. ``local``: the signed listener for this machine, never with TLS."""

    api: str
    public: str
    local: str
    keys: Keys
    made_root_key: bool
    isolation: Isolation


def _keys(settings: Settings) -> tuple[Keys, bool]:
    """The server's keys, and whether the root key was made now."""
    try:
        return data_directory.load_keys(
            settings.data, settings.root_access_key_id, settings.root_secret_access_key
        )
    except DataDirectoryError as error:
        raise StartError(str(error)) from error


def root_accounts(settings: Settings, keys: Keys) -> tuple[RootAccount, ...]:
    """The server's own account and those of ``--accounts``. StartError names what is wrong with the file."""
    own = RootAccount(settings.account, keys.root_access_key_id, keys.root_secret_access_key)
    if not settings.accounts:
        return (own,)
    try:
        further = read_accounts(Path(settings.accounts).read_text())
    except (OSError, ValueError) as error:
        raise StartError(f"The accounts file {settings.accounts} cannot be used: {error}.") from error
    return (own, *(account for account in further if account.access_key_id != own.access_key_id))


@contextlib.contextmanager
def _database(path: Path) -> Generator[Path]:
    """StartError naming the file when it cannot be opened as the database it is."""
    try:
        yield path
    except sqlite3.Error as error:
        raise StartError(f"{path} cannot be used: {error}. {data_directory.RESTORE}") from error


def _is_unspecified(host: str) -> bool:
    return host in ("0.0.0.0", "::", "0")


class Application:
    """One server: opened once, closed once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._closing = contextlib.AsyncExitStack()
        self._servers: list[Server] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._fronts: FrontProcesses | None = None
        self._held_answers: HeldAnswers | None = None
        self._ca = certificates.authority(settings)
        self.keys, self._made_root_key = _keys(settings)
        self._isolation = Isolation(cast(Mode, settings.isolation))  # until it is known

    async def open(self) -> Running:
        """Bind the listeners, then let the reconcilers make the world match the store. StartError names the port."""
        settings = self._settings
        house, engine = self._furnish()
        logs = settings.data / "logs"
        denials = Denials(logs, house.principals, self._clock, self._denial_notices())
        self._closing.callback(denials.close)
        public = PublicListener(house, self._health, denials)
        access_log = AccessLog(logs / "access.jsonl", self._clock)
        self._closing.callback(access_log.flush)
        house = dataclasses.replace(house, try_method=public.try_method)
        proxy = Proxy(self._ca, self.keys.proxy_password, Destinations(), offline=settings.offline)
        held = self._held_answers = HeldAnswers(house.records, settings.describe_hold_s)
        signed = SignedListener(
            house, self._health, public.claims, public.handle, proxy.answer, access_log, denials, held
        )
        self._api = self._local = await self._listen("api", signed.handle)
        host, _ = address(settings.api, "api")
        if has_tls(settings) or not (is_loopback(host) or _is_unspecified(host)):
            self._local = await self._listen("local", signed.handle)
        fronts = self._front_processes(house, access_log, denials)
        self._public = await self._listen("public", public.handle)
        opening = asyncio.create_task(fronts.open()) if fronts is not None else None
        await self._reconcile(house, engine)
        if opening is not None:
            try:
                await opening
            except FrontsError as error:
                raise StartError(str(error)) from error
        self._noting_roles(house)
        # Not before: a start that fails has shown nobody the root key, so the next one makes and shows another.
        data_directory.keep_keys(settings.data, self.keys)
        self._isolation = await engine.isolation()
        running = Running(
            self._api, self._public, self._local, self.keys, self._made_root_key, self._isolation
        )
        self._write_instance(running)
        # Now that it is ready: until then everything that is not needed would only make it later.
        self._in_background(partial(_warm, signed))
        return running

    def _denial_notices(self) -> DenialNotices | None:
        """Who started the server on a terminal sees there what it refuses."""
        if not sys.stderr.isatty():
            return None
        data = self._settings.data
        elsewhere = "" if data == Settings().data else f" --data {shlex.quote(str(data))}"
        notices = DenialNotices(
            lambda line: sys.stderr.write(f"{line}\n"),
            Selection(f"stagedoor why-denied{elsewhere}", self._clock),
        )
        self._closing.callback(notices.close)
        return notices

    def _front_processes(
        self, house: House, access_log: AccessLog, denials: Denials
    ) -> FrontProcesses | None:
        count = front_count(self._settings)
        if not count:
            return None
        servers = list(self._servers)  # the signed ones: the public one is opened behind them
        self._fronts = FrontProcesses(count, house, self.keys.session_secret, servers, access_log, denials)
        self._closers.append(self._fronts.close)
        return self._fronts

    def _health(self) -> bytes:
        return json.dumps(
            {
                "status": "ok",
                "version": __version__,
                "api": self._api,
                "public": self._public,
                "isolation": {"mode": self._isolation.mode, "rungs": list(self._isolation.rungs)},
            }
        ).encode()

    def _furnish(self) -> tuple[House, LocalEngine]:
        settings, data = self._settings, self._settings.data
        with _database(data / "state.sqlite") as path:
            records = SqliteRecords(path)
        self._closing.callback(records.close)
        contents = Contents(data / "contents")
        objects = ObjectRows(data / "state.sqlite", contents)
        self._closing.callback(objects.close)
        with _database(data / "logs.sqlite") as path:
            log_events = LogEvents(path, self._clock)
        self._closing.callback(log_events.close)
        with _database(data / "metrics.sqlite") as path:
            metric_points = MetricPoints(path, self._clock)
            step_metrics = StepMetrics(path)
        self._closing.callback(metric_points.close)
        self._closing.callback(step_metrics.close)
        invocation_metrics = InvocationMetrics(metric_points, self._clock)
        self._closing.push_async_callback(invocation_metrics.close)
        session_tokens = SessionTokens(bytes.fromhex(self.keys.session_secret))
        log_writer = LogWriter(log_events)
        self._closing.push_async_callback(log_writer.drained)
        house = House(
            settings=settings,
            clock=self._clock,
            records=records,
            objects=objects,
            contents=contents,
            log_events=log_events,
            metric_points=metric_points,
            step_metrics=step_metrics,
            session_tokens=session_tokens,
            principals=Principals(records, session_tokens, root_accounts(settings, self.keys)),
            endpoint_routes=EndpointRoutes(),
            invocation_metrics=invocation_metrics,
            function_pools=FunctionPools(records, log_writer, self._clock, settings.function_concurrency),
            role_activity=RoleActivity(data / "logs"),
        )
        mode = cast(Mode, settings.isolation)
        return house, LocalEngine(
            data / "scratch",
            default_runtimes(runtime_pythons(settings)),
            mode=mode,
            private=[data],
            memory_max_bytes=settings.workload_memory_max_bytes,
            environments=Environments(data / "environments", settings.environments_max_bytes),
            runtime_idle_s=settings.runtime_idle_s,
        )

    def _in_background(self, work: Callable[[], object]) -> None:
        """Do in a thread what nobody waits for; the server does not end in the middle of it."""
        task = asyncio.create_task(asyncio.to_thread(work))
        self._closing.push_async_callback(asyncio.wait, {task})

    def _tls_context(self, host: str) -> ssl.SSLContext | None:
        """The certificate of a listener bound to ``host``; None without TLS. StartError when there is none for it."""
        settings = self._settings
        try:
            return certificates.listener_context(settings, self._ca, host)
        except CertificateError as error:
            raise StartError(str(error)) from error

    def _noting_roles(self, house: House) -> None:
        """Write down what roles do, once a second; the rest at the end."""
        activity = house.role_activity
        if activity is None:
            return

        async def flushing() -> None:
            while True:
                await asyncio.sleep(ROLE_ACTIVITY_FLUSH_S)
                await asyncio.to_thread(activity.flush)

        task = asyncio.create_task(flushing())
        self._closing.callback(activity.flush)
        self._closing.callback(task.cancel)

    async def _listen(self, name: str, handler: Handler) -> str:
        host, port = address(getattr(self._settings, name), name)
        tls = None if name == "local" else self._tls_context(host)
        server = Server(handler, tls=tls, connections_max=self._settings.connections_max)
        # Front processes accept in this one's place.
        accepted_elsewhere = name != "public" and front_count(self._settings) > 0
        try:
            await (server.bind(host, port) if accepted_elsewhere else server.listen(host, port))
        except OSError as error:
            raise StartError(
                f"Port {port} on {host} ({name} listener) cannot be used: {error.strerror or error}. "
                f"Choose another with --{name} HOST:PORT; port 0 picks a free one."
            ) from error
        self._servers.append(server)
        self._closers.append(partial(server.close, SHUTDOWN_GRACE_S))
        if _is_unspecified(host):
            # Every address of the machine; this is the one that clients on it can always use.
            host = "127.0.0.1" if ":" not in host else "::1"
        shown = f"[{host}]" if ":" in host else host
        return f"{server.scheme}://{shown}:{server.port}"

    async def _reconcile(self, house: House, engine: LocalEngine) -> None:
        settings, records = self._settings, house.records
        logs = WorkerLogs(house.function_pools.log_writer, self._clock)
        model_files = ModelFiles(settings.data / "models", house.objects, house.contents)
        access = RoleAccess(
            house.credential_grants, self._local, container_credentials.PATH, settings.allow_network
        )
        endpoints = EndpointReconciler(
            records,
            engine,
            house.endpoint_routes,
            logs,
            model_files,
            self._clock,
            start_timeout_s=settings.worker_start_timeout_s,
            invoke_timeout_s=settings.invoke_timeout_s,
            idle_s=settings.endpoint_idle_s,
            access=access,
        )
        functions = FunctionReconciler(
            records,
            engine,
            house.function_pools,
            FunctionPackages(settings.data / "functions"),
            house.principals.role_credentials,
            resolver(house),
            FunctionSettings(
                settings.function_idle_s, retry_delays_s(settings), self._local, settings.allow_network
            ),
            self._clock,
        )
        jobs = self._job_reconcilers(house, engine, logs, model_files, access)
        tuning = TuningReconciler(records, house.log_events, self._clock)

        def on_output(workload_id: str, data: bytes) -> Awaitable[None] | None:
            return house.function_pools.on_output(workload_id, data) or logs.output(workload_id, data)

        def on_exit(workload_id: str, exit_code: int) -> None:
            house.function_pools.on_exit(workload_id, exit_code)
            for listener in (access, endpoints, *jobs):
                listener.worker_exited(workload_id, exit_code)

        await engine.open(on_output, on_exit)
        self._closing.push_async_callback(engine.close)
        self._closing.push_async_callback(house.function_pools.close)
        for reconciler in (endpoints, functions, tuning, *jobs):
            loop = Loop(reconciler, records)
            if isinstance(reconciler, FunctionReconciler):
                house.function_pools.on_change(loop.wake)
            else:
                reconciler.wake = loop.wake
            loop.start()
            self._closing.push_async_callback(loop.close)
        # What a crash left behind in the object store.
        self._in_background(partial(sweep, house.objects, house.contents))

    def _job_reconcilers(
        self,
        house: House,
        engine: LocalEngine,
        logs: WorkerLogs,
        model_files: ModelFiles,
        access: RoleAccess,
    ) -> list[JobReconciler]:
        """Training, transform and processing jobs; they share the machine's cores."""
        settings, records, clock = self._settings, house.records, self._clock
        slots = JobSlots(settings.job_cores)
        training = TrainingJobs(
            TrainingStores(records, house.objects, house.contents, house.log_events, house.metric_points),
            engine,
            logs,
            slots,
            clock,
            settings.data / "jobs" / "training",
            access=access,
        )
        transform = TransformJobs(
            TransformStores(records, house.objects, house.contents, model_files),
            engine,
            logs,
            slots,
            clock,
            settings.data / "jobs" / "transform",
            start_timeout_s=settings.worker_start_timeout_s,
            access=access,
        )
        processing = ProcessingJobs(
            ProcessingStores(records, house.objects, house.contents),
            engine,
            logs,
            slots,
            clock,
            settings.data / "jobs" / "processing",
            access,
        )
        kinds = (training, transform, processing)
        return [JobReconciler(kind, records, slots, clock) for kind in kinds]

    def _write_instance(self, running: Running) -> None:
        path = self._settings.data / "stagedoor.json"
        data_directory.write_private(
            path,
            json.dumps(
                {
                    "api": running.api,
                    "public": running.public,
                    "local": running.local,
                    "ca": str(self._ca.certificate_path.absolute()) if self._settings.tls else "",
                    "pid": os.getpid(),
                    "region": self._settings.region,
                    "account": self._settings.account,
                    "isolation": running.isolation.as_json(),
                    "version": __version__,
                }
            ),
        )
        self._closing.callback(path.unlink, missing_ok=True)

    async def close(self) -> None:
        """End what was opened: first the listeners, whose answers under way still need all the rest.

        The public one before the signed one: functions that answer the public call the signed one.
        """
        if self._held_answers is not None:
            self._held_answers.release()
        for close in reversed(self._closers):
            await close()
        await self._closing.aclose()


def _warm(signed: SignedListener) -> None:
    """Load what first requests need, and keep the collector from walking through it again and again.

    The command that starts a server has turned the collector off: hardly anything that starting makes is garbage.
    """
    try:
        signed.warm()
        gc.collect()
        gc.freeze()
    finally:
        gc.enable()
    server_process.give_memory_back()  # reading the service models takes more than keeping them


async def _serve(settings: Settings, on_ready: Callable[[Running], None]) -> None:
    application = Application(settings)
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if told_to_stop.is_set():
            os._exit(1)  # the second signal means now
        told_to_stop.set()

    # asyncio's own has five threads per pair of cores, of which a few clients that wait for the disk would take all.
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="thread"))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        on_ready(await application.open())
        await told_to_stop.wait()
    finally:
        await application.close()


def run(settings: Settings, on_ready: Callable[[Running], None]) -> None:
    """Serve until SIGINT or SIGTERM. StartError says why it could not start."""
    if not regions.is_region(settings.region):
        raise StartError(
            f"region = {settings.region!r} is no region of AWS. Choose one, e.g. us-east-1 or eu-central-1."
        )
    os.umask(0o077)
    server_process.bound_memory()
    server_process.raise_open_files_limit()
    if sys.platform == "linux":
        from stagedoor.worker import linux

        linux.hide_from_debuggers()  # keys are in this process's memory and environment
    try:
        lock = data_directory.take(settings.data)
    except DataDirectoryError as error:
        raise StartError(str(error)) from error
    try:
        server_process.log_to(settings.data / "logs", settings.log_level)
        uvloop.run(_serve(settings, on_ready))
    finally:
        lock.close()
