"""Write the sync side from the async side, so that the two cannot drift apart.

    python tools/generate_sync.py            # write what changed, remove what has no source
    python tools/generate_sync.py --check    # change nothing; exit 1 with a diff if not up to date

The source is read as tokens and only words are replaced, so its layout and comments stay; ruff
then sorts imports, drops those no longer used, and formats. Where the two sides must really
differ, the async source says so in a comment:

    import asyncio  # sync: import threading     the line becomes what follows "sync:"
    await asyncio.sleep(0)  # sync: drop         the line is left out
    # sync: off                                  as is everything from here
    # sync: on                                   to here
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import keyword
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

__all__ = ["NotSync", "generate", "main", "sync_name", "to_sync"]

ROOT = Path(__file__).resolve().parent.parent

TREES = (  # async source, generated target
    ("src/belaypin/_async", "src/belaypin/_sync"),
    ("src/belaypin/backends/_async", "src/belaypin/backends/_sync"),
    ("src/belaypin/integrations/langgraph/_async", "src/belaypin/integrations/langgraph/_sync"),
    ("src/belaypin/testing/conformance/_async", "src/belaypin/testing/conformance/_sync"),
)

NAMES = {
    "AbstractAsyncContextManager": "AbstractContextManager",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
    "aopen": "open",
    "asend": "send",
    "asynccontextmanager": "contextmanager",
    "athrow": "throw",
    "create_async_engine": "create_engine",
    "pytest_asyncio": "pytest",
}

RULES = (  # for every name that is not in the table, the first that matches
    (re.compile(r"^(_*)Async(?=[A-Z])"), r"\1"),  # AsyncStore -> Store
    (re.compile(r"^(_*)async_(?=[a-z])"), r"\1"),  # async_store -> store
    (re.compile(r"_async$"), "_sync"),  # belaypin._async -> belaypin._sync
)

# Types that mean "T, once awaited": the subscript's last argument takes their place.
AWAITED = {"Awaitable", "Coroutine"}

# Names that have no place on the sync side; what uses them needs a "# sync:" comment.
ASYNC_ONLY = {"aiosqlite", "async", "asyncio", "await", "isawaitable", "iscoroutinefunction"}

# F401 unused and I001 unsorted imports, RUF022 sorted __all__, PYI016 T | T (was T | Awaitable[T]).
FIXES = "F401,I001,RUF022,PYI016"

_MARKER = re.compile(r"# sync: *(?P<what>.*?) *$")
_WORD = re.compile(r"\b[A-Za-z_]\w*")
_ASYNC_PHRASE = re.compile(r"\basync (?=(?:def|with|for)\b)")
_CODE_SPAN = re.compile(r"^[ \t]*(?:>>>|\.\.\.)[^\n]*|`[^`\n]+`", re.MULTILINE)
# From Python 3.12 on an f-string comes in parts, and the code inside it as tokens of its own.
_TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT}

Tokens = list[tokenize.TokenInfo]
Edit = tuple[int, int, str]  # start and end offset in the source, what takes their place


class NotSync(Exception):
    """The source has something that the sync side cannot have; the message says where."""


def sync_name(name: str) -> str:
    """The sync side's name for ``name``: by the table, else by the first rule that matches."""
    if name in NAMES:
        return NAMES[name]
    for pattern, replacement in RULES:
        changed, count = pattern.subn(replacement, name)
        if count:
            return changed
    return name


def to_sync(source: str) -> str:
    """``source`` in sync words, its layout kept; imports and formatting are left to ruff."""
    _refuse_await_in_fstrings(source)
    source = _obey_markers(source)
    for start, end, text in sorted(_edits(source, _tokens(source)), reverse=True):
        source = source[:start] + text + source[end:]
    return source


def _tokens(source: str) -> Tokens:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def _lines(source: str) -> list[str]:
    return list(io.StringIO(source))  # unlike splitlines, at the line ends that Python knows


# --- "# sync:" comments -------------------------------------------------------------------------


def _obey_markers(source: str) -> str:
    lines = _lines(source)
    off_since = 0
    for token in _tokens(source):
        marker = _MARKER.match(token.string) if token.type == tokenize.COMMENT else None
        if marker is None:
            continue
        row, what = token.start[0], marker["what"]
        alone = not token.line[: token.start[1]].strip()
        if alone and what == "off" and not off_since:
            off_since = row
        elif alone and what == "on" and off_since:
            lines[off_since - 1 : row] = [""] * (row - off_since + 1)
            off_since = 0
        elif alone or what in {"", "on", "off"}:
            raise NotSync(f"line {row}: {token.string!r} does not stand where it means something")
        elif not off_since:
            indent = token.line[: len(token.line) - len(token.line.lstrip())]
            lines[row - 1] = "" if what == "drop" else f"{indent}{what}\n"
    if off_since:
        raise NotSync(f"line {off_since}: '# sync: off' is never followed by '# sync: on'")
    return "".join(lines)


def _refuse_await_in_fstrings(source: str) -> None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr) and any(
            isinstance(n, ast.Await) for n in ast.walk(node)
        ):
            raise NotSync(f"line {node.lineno}: await inside an f-string; give it a name before")


# --- words --------------------------------------------------------------------------------------


def _edits(source: str, tokens: Tokens) -> Iterator[Edit]:
    starts = [0, *accumulate(map(len, _lines(source)))]

    def span(i: int) -> tuple[int, int]:
        (first_row, first), (last_row, last) = tokens[i].start, tokens[i].end
        return starts[first_row - 1] + first, starts[last_row - 1] + last

    for i, token in enumerate(tokens):
        start, end = span(i)
        if token.type in _TEXTS:
            # Not token.string, which has lost the doubled braces of an f-string.
            yield start, end, _text_to_sync(source[start:end])
        elif token.type != tokenize.NAME:
            continue
        elif token.string in {"async", "await"}:
            yield start, span(i + 1)[0], ""
            if token.string == "await" and (close := _needless_parentheses(tokens, i)):
                opening = span(i - 1)
                yield *opening, " " if source[opening[0] - 1].isalnum() else ""
                yield *span(close), ""
        elif token.string in AWAITED and tokens[i + 1].string == "[":
            last, close = _last_argument(tokens, i + 1)
            yield start, span(last)[0], ""
            yield *span(close), ""
        else:
            yield start, end, sync_name(token.string)


def _text_to_sync(text: str) -> str:
    """Code words in prose; "async" and "await" alone may be plain words and stay."""
    text = _ASYNC_PHRASE.sub("", text)
    text = _CODE_SPAN.sub(lambda span: re.sub(r"\bawait ", "", span[0]), text)
    return _WORD.sub(lambda word: sync_name(word[0]), text)


def _needless_parentheses(tokens: Tokens, at: int) -> int:
    """Where the parenthesis closes that only the await at ``at`` needed, else 0."""
    if tokens[at - 1].string != "(":
        return 0
    before = tokens[at - 2]
    called = before.type == tokenize.NAME and not keyword.iskeyword(before.string)
    if called or before.string in {")", "]", "}"} or before.type == tokenize.STRING:
        return 0
    for i, depth in _with_depth(tokens, at - 1):
        token = tokens[i]
        if depth == 0:
            return i
        word = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        if depth == 1 and i > at and not (word or token.string in {".", ")", "]"}):
            return 0
    return 0


def _last_argument(tokens: Tokens, bracket: int) -> tuple[int, int]:
    """Where the last argument of a subscript starts, and where the subscript closes."""
    start = bracket + 1
    for i, depth in _with_depth(tokens, bracket):
        if depth == 0:
            return start, i
        if tokens[i].type in _LAYOUT:
            break
        if depth == 1 and tokens[i].string == ",":
            start = i + 1
    row = tokens[bracket].start[0]
    raise NotSync(f"line {row}: {tokens[bracket - 1].string}[...] must stand on one line")


def _with_depth(tokens: Tokens, opening: int) -> Iterator[tuple[int, int]]:
    """Each token after the bracket ``opening`` with the brackets open after it, up to its end."""
    depth = 1
    for i in range(opening + 1, len(tokens)):
        if tokens[i].type == tokenize.OP:
            depth += (tokens[i].string in "([{") - (tokens[i].string in ")]}")
        yield i, depth
        if depth == 0:
            return


# --- files --------------------------------------------------------------------------------------


def generate(source: Path, target: Path, root: Path = ROOT) -> str:
    """The whole text of ``target``, generated from ``source``."""
    try:
        text = to_sync(source.read_text(encoding="utf-8"))
        text = _ruff(text, target, "check", "--fix", "--exit-zero", "--select", FIXES)
        _refuse_async_words(text)
    except (NotSync, SyntaxError, tokenize.TokenError) as error:
        raise NotSync(f"{source.relative_to(root).as_posix()}: {error}") from error
    name = source.relative_to(root).as_posix()
    header = f"# Generated from {name} by tools/generate_sync.py; do not edit.\n"
    return _ruff(header + text, target, "format")


def _ruff(text: str, target: Path, *command: str) -> str:
    config = ROOT / "pyproject.toml"
    options = ["--quiet", "--config", str(config), "--stdin-filename", str(target)]
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *options, "-"],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if run.returncode:
        raise NotSync(f"ruff {command[0]} failed: {run.stderr.strip()}")
    return run.stdout


def _refuse_async_words(text: str) -> None:
    for token in _tokens(text):
        if token.type == tokenize.NAME and token.string in ASYNC_ONLY | AWAITED:
            raise NotSync(f"{token.string!r} is left in: {token.line.strip()}")


def _plan(root: Path, trees: Iterable[tuple[str, str]]) -> Iterator[tuple[Path, str | None]]:
    """Each target that there is or should be, with its text, None where it has no source."""
    for source_tree, target_tree in trees:
        wanted = set()
        for source in sorted((root / source_tree).rglob("*.py")):
            relative = source.relative_to(root / source_tree)
            target = root / target_tree / relative.with_stem(sync_name(relative.stem))
            wanted.add(target)
            yield target, generate(source, target, root)
        for target in sorted((root / target_tree).rglob("*.py")):
            if target not in wanted:
                yield target, None


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (fresh)"
    )
    return "".join(lines)


def main(
    argv: list[str] | None = None,
    *,
    root: Path = ROOT,
    trees: Iterable[tuple[str, str]] = TREES,
) -> int:
    parser = argparse.ArgumentParser(description="Write the sync side from the async side.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    check = parser.parse_args(argv).check
    stale = 0
    try:
        for target, fresh in _plan(root, trees):
            before = target.read_text(encoding="utf-8") if target.exists() else None
            if before != fresh:
                stale += 1
                name = target.relative_to(root).as_posix()
                print(_diff(name, before or "", fresh or "") if check else f"writing {name}")
                if not check:
                    _write(target, fresh)
    except NotSync as error:
        print(error, file=sys.stderr)
        return 2
    if check and stale:
        print(f"{stale} files of the sync side are not up to date: run `make sync`")
    return 1 if check and stale else 0


def _write(target: Path, text: str | None) -> None:
    if text is None:
        target.unlink()
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
