"""Make docs/images/demo.svg: the beginning and the end of a real run of the demo, as a terminal shows them.

    python scripts/demo_picture.py [FILE]

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
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COMMAND = "web4 demo --seed 7"
WIDTH = 134
UNTIL, FROM = "alice proposes a fact", "alice works for hal"
"""What is between these is left out."""


def record() -> tuple[int, str]:
    """Run the demo; its exit code, and what it printed, in colours."""
    command = [sys.executable, str(ROOT / "scripts" / "web4_demo.py"), "--seed", "7", "--timeout", "300"]
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    return done.returncode, done.stdout


def picture_of(output: str) -> str:
    """The beginning of a run, and its end."""
    lines = output.splitlines()
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    console.print(Text(f"$ {COMMAND}", style="bold"))
    until, later = (next(number for number, line in enumerate(lines) if one in line) for one in (UNTIL, FROM))
    for line in [*lines[:until], f"  … {later - until} lines …", "", *lines[later:]]:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis", crop=True)
    picture = console.export_svg(title="Web4", theme=DIMMED_MONOKAI, unique_id="demo")
    # The picture asks no other host for anything: fonts are those of whoever looks at it.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = re.sub(r"<!--.*?-->\s*", "", picture, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"


def main(arguments: list[str]) -> int:
    """Make the picture of a run that passed."""
    code, output = record()
    if code != 0:
        sys.stderr.write(output)
        return code
    target = Path(arguments[0]) if arguments else PICTURE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture_of(output), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
