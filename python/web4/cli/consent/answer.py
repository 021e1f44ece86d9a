"""`web4 consent answer`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.node.reaching import tell
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def answer(
    question: Annotated[
        str, Parameter(name="QUESTION", help="Its id, or the first digits, as `web4 consent asked` has it.")
    ],
    word: Annotated[Literal["yes", "no"], Parameter(name="ANSWER", help="`yes` or `no`.")],
    /,
    *,
    common: Common = COMMON,
) -> int:
    """Answer a question: yes lets pass what waits, no ends it.

    Exit code 5: it was a yes, but meanwhile something else stands against it.

    ```
    web4 consent answer 4b1f77c2 yes
    ```
    """

    async def body(_: Output) -> Answer:
        data = await tell(common, "consent_answer", {"check_in": question, "yes": word == "yes"})
        return Answer(data, [f"{data['human']} says {data['answer']}"])

    return perform(common, body)
