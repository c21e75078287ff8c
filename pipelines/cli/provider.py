"""The commands about providers: connectors, doctor, sandbox."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from tranship.connectors.addresses import redacted
from tranship.connectors.errors import ConfigError, ConnectorError
from tranship.pipelines.cli import completion
from tranship.pipelines.cli.command_help import LOOK_FIRST, Command
from tranship.pipelines.cli.options import Decorated, OwnPath, WholeNumber, given, json_option
from tranship.pipelines.cli.output import print_json
from tranship.pipelines.cli.terminal import look, say, width
from tranship.schemas.visible import visible


@click.command(
    "connectors",
    cls=Command,
    job=LOOK_FIRST,
    common=("losses", "as_json"),
    examples=("tranship connectors", "tranship connectors --losses metronome marginfront"),
    short_help="List files, tables, APIs",
)
@click.option(
    "--losses",
    nargs=2,
    metavar="A B",
    shell_complete=completion.providers,
    help="Fields that customers of provider A lose when written to B and read back.",
)
@json_option
def connectors_command(losses: tuple[str, str] | None, as_json: bool) -> None:
    """List connectors, or show which fields are lost between two providers."""
    from tranship.connectors import plug_ins, provider_services, registry
    from tranship.pipelines.cli import layout, render

    if losses:
        passage = provider_services.passage(*losses)
        if as_json:
            print_json(msgspec.to_builtins(passage))
        else:
            say("\n".join(render.of_passage(*losses, passage, look(sys.stdout))))
        return
    others = plug_ins.plug_ins()
    connectors = [*registry.CONNECTORS.values(), *others.connectors.values()]
    if as_json:
        # In the order that this output has always had.
        names = ("name", "summary", "example", "abilities", "key_variable")
        values = msgspec.to_builtins(connectors)
        listed = [{name: row[name] for name in names} for row in values]
        broken = {"broken": dict(others.broken)} if others.broken else {}
        print_json({"connectors": listed, **broken})
        return
    rows: list[tuple[str, ...]] = []
    for connector in connectors:
        yes_or_no = ["yes" if ability else "no" for ability in (connector.abilities.reads, connector.abilities.writes)]
        rows.append(
            (
                connector.name,
                *yes_or_no,
                " ".join(connector.abilities.modes if connector.abilities.writes else ()),
                connector.example,
                connector.key_variable or "",
                connector.summary,
            )
        )
    header = ("connector", "reads", "writes", "modes", "example", "key from", "")
    say("\n".join(layout.table(rows, (), width(sys.stdout), header)))
    for name, problem in others.broken.items():
        say(visible(f"{name}: {problem}"))


@click.command(
    "doctor",
    cls=Command,
    job=LOOK_FIRST,
    common=("as_json",),
    examples=("tranship doctor metronome://",),
    short_help="Check access to a provider",
)
@click.argument(
    "address", shell_complete=completion.provider_addresses, help="URL of a provider's account, such as metronome://."
)
@json_option
def doctor_command(address: str, as_json: bool) -> int:
    """Check the provider at ADDRESS: key, connection, permissions, clock, rate limits. Nothing is changed."""
    from tranship.connectors import provider_services
    from tranship.pipelines.cli import layout

    findings = provider_services.check(address)
    failed = [finding for finding in findings if finding.state == "fail"]
    if as_json:
        listed = msgspec.to_builtins(findings)
        print_json({"address": redacted(address), "ok": not failed, "findings": listed})
    else:
        rows = [(finding.state, finding.what, finding.sentence) for finding in findings]
        say("\n".join(layout.table(rows, (), width(sys.stdout))))
    if not failed:
        return 0
    return (ConfigError if failed[0].is_given else ConnectorError).exit_code


class _Share(click.ParamType[float]):
    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return `5%` or `0.05` as 0.05."""
        try:
            share = float(value[:-1]) / 100 if str(value).endswith("%") else float(value)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value!r} is not a share such as 5%.", param, ctx)
        return share


class _Seconds(click.ParamType[float]):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return `50ms` or `0.05` as 0.05."""
        from tranship.pipelines.setting_values import seconds

        try:
            found = seconds(str(value))
        except (KeyError, ValueError):
            found = -1.0
        if not 0 <= found < math.inf:
            self.fail(f"{value!r} is not a duration such as 50ms or 2s.", param, ctx)
        return found


def _parse_pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in values)
    if not all(pairs.values()):
        raise click.BadParameter(f"give it as {param.metavar}.", ctx, param)
    return pairs


_MOST_DIGITS: Final = 8
_MOST_SHOWN: Final = 40
_FAILURES: Final = {
    "timeout": "Share of calls that are never answered.",
    "cut_before": "Share of connections cut before the call is processed.",
    "cut_after": "Share of connections cut after the call is processed: the write is stored, the response lost.",
    "half": "Share of responses cut off in the middle of the body.",
    "slow": "Share of responses sent slowly, over one second.",
    "html": "Share of responses replaced by an HTML page with status 200.",
    "shift": "Share of list calls before which a customer moves to another position.",
    "churn": "Share of list calls before which one customer is created and another deleted.",
}


def _weather_options(command: Decorated) -> Decorated:
    options = [
        click.option("--latency", type=_Seconds(), metavar="TIME", help="Response time, e.g. 50ms."),
        click.option(
            "--jitter", type=_Seconds(), metavar="TIME", help="Random variation of the response time, plus or minus."
        ),
        click.option(
            "--error",
            "statuses",
            multiple=True,
            callback=_parse_pairs,
            metavar="STATUS=SHARE",
            help="Share of calls answered with 429, 500, 502, 503 or 504, e.g. 500=5%. Repeatable.",
        ),
        *(
            click.option(f"--{name.replace('_', '-')}", name, type=_Share(), metavar="SHARE", help=text)
            for name, text in _FAILURES.items()
        ),
        click.option(
            "--rate",
            multiple=True,
            callback=_parse_pairs,
            metavar="METHOD=N",
            help="Calls per minute for an HTTP method, e.g. GET=300; * covers all others together. Repeatable.",
        ),
        click.option(
            "--retry-after",
            type=click.Choice(["page", "none", "seconds", "date", "milliseconds"]),
            help="How a 429 announces when to retry; `page` follows the provider's documentation.",
        ),
        click.option(
            "--chance", "seed_of_chance", type=int, metavar="N", help="Random seed of the simulated failures."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    "sandbox",
    cls=Command,
    job=LOOK_FIRST,
    common=("seed", "port", "state", "statuses", "log"),
    examples=(
        "tranship sandbox growpanel --seed 5000",
        "tranship sandbox metronome --seed customers.csv --state metronome.sandbox",
        "tranship sandbox metrifox --latency 50ms --error 500=5% --error 429=5% --cut-after 2%",
    ),
    sections={
        "Simulated failures": ("latency", "jitter", "statuses", *_FAILURES, "rate", "retry_after", "seed_of_chance")
    },
    short_help="Simulate a provider's API",
)
@click.argument(
    "provider", shell_complete=completion.providers, help="Name of the provider, as tranship connectors lists it."
)
@click.option("--port", type=WholeNumber(0, 65_535), metavar="N", help="Port to listen on; 0 picks a free one.")
@click.option("--seed", metavar="N|FILE", help="Start with N generated customers, or with those of a CSV file.")
@click.option("--state", type=OwnPath(), metavar="FILE", help="Keep the state in this file, across restarts.")
@click.option(
    "--switch",
    "switches",
    multiple=True,
    callback=_parse_pairs,
    metavar="NAME=CHOICE",
    help="Variant of the provider's behaviour, e.g. dialect=docs. Repeatable.",
)
@click.option("--log", is_flag=True, help="Print each call.")
@_weather_options
def sandbox_command(
    provider: str,
    port: int | None,
    seed: str | None,
    state: Path | None,
    switches: dict[str, str],
    log: bool,
    seed_of_chance: int | None,
    statuses: dict[str, str],
    rate: dict[str, str],
    **weather: Any,
) -> None:
    """Run the customer API of PROVIDER on a local port until interrupted.

    Any key in the provider's format is accepted. To change the simulated failures (the "weather") while it runs,
    PUT JSON to /_sandbox/weather; GET /_sandbox/state returns its customers. Both need the header
    "X-Tranship-Sandbox: 1".
    """
    from tranship.connectors import provider_services

    here = click.get_current_context()
    option = next(param for param in here.command.params if param.name == "statuses")
    error_shares = {status: _Share().convert(share, option, here) for status, share in statuses.items()}
    simulated = {**given(weather), **given({"seed": seed_of_chance, "statuses": error_shares})}
    if rate:
        simulated["rate"] = {method.upper(): _number(calls, "--rate", "calls") for method, calls in rate.items()}
    seeding = None if seed is None else _number(seed, "--seed", "customers") if seed.isdecimal() else Path(seed)
    provider_services.serve_sandbox(
        provider, port=port, seeding=seeding, state=state, weather=simulated, switches=switches, log=log
    )


def _number(text: str, option: str, unit: str) -> int:
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        shown = text if len(text) < _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
        raise ConfigError(f"{option}: {shown!r} is not a number of {unit} with at most {_MOST_DIGITS} digits.")
    return int(text)


COMMANDS: Final[tuple[click.Command, ...]] = (connectors_command, doctor_command, sandbox_command)
