"""`web4 completion`."""

from typing import Annotated, Literal

import trio
from cyclopts import Parameter

from web4.cli.app import build_app
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform

_ZSH_END = """
if [[ "$funcstack[1]" = _web4 ]]; then
  _cyclopts_web4 "$@"
else
  compdef _cyclopts_web4 web4
fi
"""
"""The generator defines a function, and leaves calling it to whoever names the file. With this it works as `_web4` in
the `fpath`, whose first call runs the file, and sourced."""


def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], Parameter(name="SHELL", help="For which shell: bash, zsh or fish.")
    ],
    /,
    *,
    common: Common = COMMON,
) -> int:
    """Print what lets a shell complete verbs and options of `web4`.

    These are the places where bash-completion, zsh with `~/.zfunc` in its `fpath`, and fish look for it. It knows the
    verbs of this release: after an update, print it again.

    ```
    web4 completion bash > ~/.local/share/bash-completion/completions/web4
    web4 completion zsh > ~/.zfunc/_web4
    web4 completion fish > ~/.config/fish/completions/web4.fish
    ```
    """

    async def body(_: Output) -> Answer:
        # Every verb is imported for it.
        script = await trio.to_thread.run_sync(
            lambda: build_app(()).generate_completion(prog_name="web4", shell=shell)
        )
        script += _ZSH_END if shell == "zsh" else ""
        return Answer({"shell": shell, "script": script}, script.splitlines())

    return perform(common, body)
