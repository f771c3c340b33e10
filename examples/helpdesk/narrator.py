"""What the demo shows: chapters, live progress in a terminal, plain lines where there is none."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_EVERY_SECONDS = 10.0  # between two lines of progress where nothing can be redrawn


@dataclass
class Advance:
    """Moves one progress bar: by a step when called, to a place with `to`."""

    _move: Callable[[int, int | None], None]
    _done: int = 0

    def __call__(self, steps: int = 1) -> None:
        self._done += steps
        self._move(self._done, None)

    def to(self, done: int, total: int) -> None:
        self._done = done
        self._move(done, total)


class Narrator:
    """Tells the story on the terminal that it is given."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, width=None if _is_terminal() else 110)
        self._started = time.monotonic()
        self._chapters = 0

    @property
    def console(self) -> Console:
        return self._console

    def chapter(self, title: str) -> None:
        self._chapters += 1
        clock = f"{time.monotonic() - self._started:5.0f} s"
        self._console.print(f"\n[dim]{clock}[/]  [bold cyan]{self._chapters}. {escape(title)}[/]")

    def say(self, text: str) -> None:
        self._console.print(f"         {escape(text)}")

    def problem(self, text: str) -> None:
        self._console.print(f"[bold red]the demo stopped:[/] {escape(text)}")

    def command(self, line: str) -> None:
        self._console.print(f"         [bold]$ {escape(line)}[/]")

    def output(self, text: str) -> None:
        for line in text.strip().splitlines():
            self._console.print(f"           {escape(line)}", style="dim")

    def table(self, table: Table) -> None:
        self._console.print(table)

    def alarm(self, alarm: Mapping[str, Any], fidelity: float, aggregate: float) -> None:
        """What it is about, what moved, and what was decided."""
        harm, decision = (alarm[name].replace("_", " ") for name in ("harm", "decision"))
        self._console.print(
            f"         [bold red]ALARM {alarm['id']}[/] on {escape(alarm['slice'])}, {harm}: fidelity there"
            f" {fidelity:.1%} since the drift began; the student's aggregate still says {aggregate:.1%}"
        )
        if alarm["cause"] is not None:
            self.say(f"what moved: {alarm['cause']['summary']}")
        self.say(f"{decision}: {alarm['decision_reason']}")

    def addresses(self, status_page: str, metrics: list[str]) -> None:
        self._console.print(f"\n         status page  {status_page}", soft_wrap=True)
        for address in metrics:
            self._console.print(f"         metrics      {address}")

    def wait_for_interrupt(self) -> None:
        self._console.print("\n         everything keeps running; Ctrl-C stops it")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            self._console.print("         stopping")

    @contextmanager
    def counting(self, what: str, total: int | None = None) -> Iterator[Advance]:
        """A bar that counts; in a pipe, a line now and then and one at the end."""
        if not self._console.is_terminal:
            yield from self._plainly(what, total)
            return
        with self._bar() as bar:
            task = bar.add_task(what, total=total)
            yield Advance(lambda done, of: bar.update(task, completed=done, total=of or total))

    @contextmanager
    def following(self, what: str) -> Iterator[Callable[[str, float], None]]:
        """A bar for what reports a phase and a share of it."""
        if not self._console.is_terminal:
            said: list[str] = []

            def line(phase: str, share: float) -> None:
                step = phase.partition(" (")[0]
                if step and step not in said:
                    said.append(step)
                    self.say(f"{what}: {step}")

            yield line
            return
        with self._bar() as bar:
            task = bar.add_task(what, total=100)
            yield lambda phase, share: bar.update(
                task, description=f"{what}: {phase}", completed=round(share * 100)
            )

    def _plainly(self, what: str, total: int | None) -> Iterator[Advance]:
        last = time.monotonic()
        seen: list[int] = [0]

        def move(done: int, of: int | None) -> None:
            nonlocal last
            seen[0] = done
            if time.monotonic() - last >= PLAIN_EVERY_SECONDS:
                last = time.monotonic()
                self.say(f"{done} of {of or total or '?'} {what}")

        started = time.monotonic()
        yield Advance(move)
        self.say(f"{seen[0]} {what} in {time.monotonic() - started:.0f} s")

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("        "),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
        )


def _is_terminal() -> bool:
    return Console().is_terminal
