"""What a person types: one file per command. The outermost layer; each command loads only when it is called."""

import importlib

import click

from stagedoor import __version__

COMMANDS = {
    "up": "Start the server in the foreground.",
    "demo": "Train on real reviews, deploy, open the web app.",
    "env": "Print the shell variables that point AWS clients here.",
    "status": "Show what is running.",
    "logs": "Show the server's log, or a CloudWatch log group.",
    "why-denied": "Explain why a request was refused.",
    "least-privilege": "Write the policy for what a role did.",
    "stop": "Stop the server.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"stagedoor.cli.{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stagedoor")
def main() -> None:
    """From a trained model to a public web app, the SageMaker way, on your own machine."""
