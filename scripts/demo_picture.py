"""Make docs/images/demo.svg: the beginning and the end of a real run of a demo, as a terminal shows them.

    python scripts/demo_picture.py [demo|mesh-demo] [FILE]

Times differ from run to run; identities and ids do not. Exit codes are the demo's.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images"
DEMOS = {"demo": ("web4_demo.py", "web4 demo"), "mesh-demo": ("web4_mesh_demo.py", "web4 mesh demo")}
"""Of each demo its script, and how a user calls it."""
LEFT_OUT = {"web4 demo": ("alice proposes a fact", "alice works for hal")}
"""The lines from the first of these to the second are left out; else all from `FIRST_LINES` to the checks."""
WIDTH = 134
FIRST_LINES = 38


def record(script: str) -> tuple[int, str]:
    """Run a demo; its exit code, and what it printed, in colours."""
    command = [sys.executable, str(ROOT / "scripts" / script), "--seed", "7", "--timeout", "300"]
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    return done.returncode, done.stdout


def picture_of(output: str, called: str) -> str:
    """The beginning of a run, and its end."""
    lines = output.splitlines()
    plain = [Text.from_ansi(line).plain for line in lines]
    until, since = FIRST_LINES, plain.index("checks")
    if called in LEFT_OUT:
        first, second = LEFT_OUT[called]
        until = next(number for number, line in enumerate(plain) if first in line)
        since = next(number for number, line in enumerate(plain) if second in line)
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    console.print(Text(f"$ {called} --seed 7", style="bold"))
    for line in [*lines[:until], f"  … {since - until} lines …", "", *lines[since:]]:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis", crop=True)
    picture = console.export_svg(title="Web4", theme=DIMMED_MONOKAI, unique_id="demo")
    # The picture asks no other host for anything: fonts are those of whoever looks at it.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"<!--.*?-->\s*", "", picture, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


def main(arguments: list[str]) -> int:
    """Make the picture of a run that passed."""
    name, *rest = arguments if arguments and arguments[0] in DEMOS else ("demo", *arguments)
    script, called = DEMOS[name]
    code, output = record(script)
    if code != 0:
        sys.stderr.write(output)
        return code
    target = Path(rest[0]) if rest else PICTURES / f"{name}.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture_of(output, called), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
