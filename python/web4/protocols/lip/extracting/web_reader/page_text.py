"""From bytes to text. Knows nothing of Web4, and trusts nothing of what it reads."""

from __future__ import annotations

import codecs
import io
import re

from web4.ext import Failure

_DECLARED = re.compile(rb"""<meta[^>]{0,256}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_BLOCKS = (
    "address,article,aside,blockquote,br,caption,dd,div,dl,dt,figcaption,figure,footer,form,h1,h2,h3,h4,h5,h6,header,"
    "hr,li,main,nav,ol,p,pre,section,table,td,th,tr,ul"
)
_UNSEEN = ["script", "style", "noscript", "template", "svg", "math", "iframe", "object"]
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[ \n]*")
PDF_PAGES = 500


def read(body: bytes, kind: str, charset: str, limit: int) -> tuple[str, str, str, str]:
    """Title, text, what the body holds unseen (links, attributes), and all of it if that is more than its text."""
    source = ""
    match kind:
        case "html":
            source = decoded(body, charset or _declared(body))
            title, text, hidden = _html(source)
        case "pdf":
            title, text, hidden = _pdf(body, limit)
        case _:
            title, text, hidden = "", decoded(body, charset), ""
    if len(text.encode("utf-8", "surrogatepass")) > limit:
        raise Failure("too_large", f"the text has more than {limit} bytes")
    return title, text, hidden, source


def decoded(body: bytes, charset: str) -> str:
    """The characters of a body. What its charset does not say is replaced, never guessed further."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    try:
        # Some codecs of Python turn bytes into bytes, or run a decompressor: only those for text count.
        name = codecs.lookup(charset or "utf-8").name
        return body.decode(name, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _declared(body: bytes) -> str:
    found = _DECLARED.search(body[:4096])
    return found[1].decode("ascii") if found else ""


def _html(source: str) -> tuple[str, str, str]:
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - only where it is needed

    tree = LexborHTMLParser(source)
    title = "" if tree.head is None else " ".join(node.text() for node in tree.css("head > title")[:1])
    hidden = [
        value
        for node in tree.css("*")
        for name, value in node.attributes.items()
        if value
        and name in {"href", "content", "title", "alt", "value", "placeholder", "data-email", "data-phone"}
    ]
    tree.strip_tags(_UNSEEN)
    if tree.body is None:
        return " ".join(title.split()), "", "\n".join(hidden)
    for node in tree.body.css(_BLOCKS):
        node.insert_before("\n")
        node.insert_after("\n")
    text = tree.body.text(deep=True, separator="")
    text = _LINES.sub("\n", _SPACES.sub(" ", text.replace("\r", "\n"))).strip()
    return " ".join(title.split()), text, "\n".join(hidden)


def _pdf(body: bytes, limit: int) -> tuple[str, str, str]:
    from pypdf import PdfReader  # noqa: PLC0415 - only where it is needed
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    pieces: list[str] = []
    size = 0
    try:
        reader = PdfReader(io.BytesIO(body))
        if reader.is_encrypted:
            raise Failure("encrypted", "the PDF is encrypted")
        for number, page in enumerate(reader.pages):
            if number >= PDF_PAGES:
                raise Failure("too_large", f"the PDF has more than {PDF_PAGES} pages")
            pieces.append(page.extract_text())
            size += len(pieces[-1])
            if size > limit:
                raise Failure("too_large", f"the text has more than {limit} bytes")
        about = reader.metadata
        title = str(about.title) if about is not None and about.title else ""
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise Failure("damaged", f"the PDF cannot be read ({type(error).__name__})") from None
    return title, "\n\n".join(pieces), ""
