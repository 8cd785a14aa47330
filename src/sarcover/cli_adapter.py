"""The adapter around jsonargparse: a dataclass of settings, filled from flags and YAML.

What it adds to jsonargparse: several words after a flag for a list, dashed flags, help without type
expressions, and every mistake as one line that names the nearest key.
"""

from __future__ import annotations

import re
from argparse import SUPPRESS
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import docstring_parser
import yaml
from jsonargparse import ActionYesNo, ArgumentError, ArgumentParser, DefaultHelpFormatter

from sarcover.errors import SarcoverError

S = TypeVar("S")

_HELP = ("-h", "--help")
_SHARED = ("--config", "--print-config")
_WORDS = "bare_words"  # those given without a flag
_NEGATIVE = re.compile(r"-(\d+\.|(\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3})")


@dataclass(frozen=True)
class _Flag:
    """One field of the settings, as the command line sees it."""

    name: str
    help: str
    type: Any  # of one word: int, float, str, bool or a Literal
    count: int | Literal["+"] | None  # how many words: one (None), so many, or one and more
    default: Any
    required: bool

    @property
    def dashed(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def metavar(self) -> str:
        if get_origin(self.type) is Literal:
            return "{" + ",".join(map(str, get_args(self.type))) + "}"
        return {int: "N", float: "X"}.get(self.type) or self.name.upper()

    @property
    def wanted(self) -> str:
        """What an error says was expected."""
        if get_origin(self.type) is Literal:
            kind = "one of " + ", ".join(map(str, get_args(self.type)))
        else:
            kind = {int: "a whole number", float: "a number", bool: "true or false"}.get(self.type, "text")
        if self.count is None:
            return kind
        return f"{'one or more' if self.count == '+' else self.count} values, each {kind}"


class _Help(DefaultHelpFormatter):
    """Shows the help texts as they are: ours hold the default already."""

    def _get_help_string(self, action: Any) -> str:
        return action.help or ""


def parse(verb: str, settings: type[S], words: Sequence[str], *, positional: str = "", epilog: str = "") -> S:
    """The settings of one verb.

    Args:
        verb: its name, for messages and help.
        settings: a frozen dataclass; field types are int, float, str, bool, a Literal, a tuple of these, or
            one of them or None.
        words: what follows the verb on the command line.
        positional: field that takes the words given without a flag.
        epilog: text under the help.

    Raises:
        SarcoverError: an unknown, repeated or missing flag, an unknown YAML key, a wrong type or choice.
        SystemExit: after printing the help or the settings, if they were asked for.
    """
    flags = {flag.name: flag for flag in _flags(settings)}
    words = [_with_dashes(_written_out(word)) for word in words]
    _check_flags(verb, flags, words)
    for file in _values_of("--config", words):
        _check_config(verb, flags, file)
    parser = _parser(verb, settings, flags, positional, epilog)
    try:
        parsed = parser.parse_args(words).as_dict()
    except ArgumentError as error:
        raise _readable(verb, flags, str(error)) from error
    if positional and parsed[_WORDS]:
        parsed[positional] = _positional(verb, flags[positional], parsed[_WORDS])
    return _fill(verb, settings, flags, positional, parsed)


def _flags(settings: type) -> Iterator[_Flag]:
    hints = get_type_hints(settings)
    texts = {
        param.arg_name: param.description for param in docstring_parser.parse(settings.__doc__ or "").params
    }
    for field in fields(settings):
        yield _flag(field, hints[field.name], texts.get(field.name) or "")


def _flag(field: Field[Any], hint: Any, text: str) -> _Flag:
    """A field as a flag: `X | None` is X with None as default, a tuple is several words."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    count: int | Literal["+"] | None = None
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        count = "+" if kinds[-1] is Ellipsis else len(kinds)
        hint = kinds[0]
    required = field.default is MISSING
    default = None if required else field.default
    return _Flag(
        field.name,
        " ".join(text.split()).rstrip(".") + _default(default, required),
        hint,
        count,
        default,
        required,
    )


def _default(value: Any, required: bool) -> str:
    if required:
        return " (required)"
    if value is None or value == () or value is False:
        return ""
    if value is True:
        return " (on by default)"
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
    return f" (default: {round(shown, 6) if isinstance(shown, float) else shown})"


def _parser(
    verb: str, settings: type, flags: dict[str, _Flag], positional: str, epilog: str
) -> ArgumentParser:
    needed = [f"{flag.dashed} {flag.metavar}" for flag in flags.values() if flag.required]
    if positional:
        needed = [text for text in needed if not text.startswith(flags[positional].dashed + " ")]
        needed.insert(0, _metavar(positional) + (" ..." if flags[positional].count else ""))
    parser = ArgumentParser(
        prog=f"sarcover {verb}",
        usage=" ".join([f"sarcover {verb}", *needed, "[--flag VALUE ...]"]),
        description=docstring_parser.parse(settings.__doc__ or "").short_description,
        epilog=epilog,
        formatter_class=_Help,
        exit_on_error=False,
        print_config="--print-config",
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", metavar="FILE", help="YAML file of these settings")
    for flag in flags.values():
        _add(parser, flag, hidden=flag.name == positional)
    if positional:
        parser.add_argument(
            _WORDS, nargs="*", metavar=_metavar(positional), help=flags[positional].help, default=[]
        )
    return parser


def _metavar(positional: str) -> str:
    return positional.upper().removesuffix("S")


def _add(parser: ArgumentParser, flag: _Flag, *, hidden: bool) -> None:
    text = SUPPRESS if hidden else flag.help.replace("%", "%%")
    if flag.type is bool:
        parser.add_argument(flag.dashed, action=ActionYesNo(no_prefix="no-"), default=flag.default, help=text)
        return
    kind, default = flag.type, flag.default
    extra: dict[str, Any] = {}
    if flag.count:
        extra = {"nargs": flag.count}
        default = None if default is None else list(default)
    elif default is None:
        kind = flag.type | None  # a YAML file may say null
    parser.add_argument(flag.dashed, type=kind, default=default, metavar=flag.metavar, help=text, **extra)


def _with_dashes(word: str) -> str:
    """--learning_rate=1 as --learning-rate=1; values are left alone."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _written_out(word: str) -> str:
    """-3e6 as -3000000 and -10. as -10: other negative numbers argparse takes for flags."""
    return format(Decimal(word), "f") if _NEGATIVE.fullmatch(word) else word


def _check_flags(verb: str, flags: dict[str, _Flag], words: Sequence[str]) -> None:
    known = [*_HELP, *_SHARED, *(flag.dashed for flag in flags.values())]
    known += ["--no-" + flag.dashed[2:] for flag in flags.values() if flag.type is bool]
    seen: set[str] = set()
    for word in words:
        name, equals, _ = word.partition("=")
        if not name.startswith("--"):
            continue
        if name not in known:
            raise SarcoverError(f"{verb} has no flag {name}", do=f"the nearest is {nearest(name, known)}")
        if name in seen and name != "--config":
            raise SarcoverError(
                f"{verb}: the flag {name} is given twice", do=f"write it once ({name} A B for several values)"
            )
        flag = flags.get(name[2:].removeprefix("no-").replace("-", "_"))
        if equals and flag and flag.type is bool:
            raise SarcoverError(
                f"{verb}: {name} takes no value", do=f"write {flag.dashed} or --no-{flag.dashed[2:]}"
            )
        seen.add(name)


def nearest(name: str, known: Sequence[str]) -> str:
    """The known name that looks most like `name`."""
    return get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _values_of(flag: str, words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            yield value if equals else " ".join(words[place + 1 : place + 2])


def _check_config(verb: str, flags: dict[str, _Flag], file: str) -> None:
    if not file:
        raise SarcoverError(f"{verb}: --config", expected="a YAML file")
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SarcoverError(f"--config {file} does not exist") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SarcoverError(f"--config {file} is not a readable YAML file", got=str(error)) from error
    if not isinstance(content, dict):
        raise SarcoverError(
            f"--config {file}", expected="a mapping of settings, one per line", got=type(content).__name__
        )
    for key, value in content.items():
        flag = flags.get(str(key).replace("-", "_"))
        if flag is None:
            closest = nearest(str(key), list(flags))
            raise SarcoverError(f"{file}: {verb} has no setting '{key}'", do=f"the nearest is '{closest}'")
        open_choice = value is None and flag.default is None and not flag.required
        if flag.type is bool and not isinstance(value, bool) and not open_choice:
            raise SarcoverError(f"{file}: {key}", expected=flag.wanted, got=str(value))
        if flag.count and value is not None and not isinstance(value, list):
            raise SarcoverError(
                f"{file}: {key}", expected=flag.wanted, got=str(value), do=f"write {key}: [{value}]"
            )


def _readable(verb: str, flags: dict[str, _Flag], message: str) -> SarcoverError:
    """What jsonargparse says about a wrong value, as one line in the words of the field."""
    extra = re.match(r"unrecognized arguments: (.*)", message)
    if extra:
        return SarcoverError(f"{verb} has no use for '{extra[1]}'", do=f"see sarcover {verb} --help")
    key = re.search(r"(?:Parser key|argument) [\"']?(?:--)?([\w-]+)", message)
    flag = flags.get(key[1].replace("-", "_").removeprefix("no_")) if key else None
    if flag is None:
        return SarcoverError(f"{verb}: {' '.join(message.split())}")
    got = re.search(r"(?:Got value|Given value): (.*)", message)
    if got is None and "argument" in message:  # argparse: "expected 4 arguments"
        return SarcoverError(f"{verb}: {flag.dashed}", expected=flag.wanted, got="another number of values")
    return SarcoverError(
        f"{verb}: {flag.dashed}", expected=flag.wanted, got=got[1] if got else " ".join(message.split())
    )


def _positional(verb: str, flag: _Flag, words: Sequence[str]) -> Any:
    if flag.count:
        return words
    if len(words) > 1:
        raise SarcoverError(f"{verb} takes one {_metavar(flag.name)}", got=" ".join(words))
    return words[0]


def _fill(
    verb: str, settings: type[S], flags: dict[str, _Flag], positional: str, parsed: dict[str, Any]
) -> S:
    values = {name: parsed[name] for name in flags}
    missing = [
        _metavar(name) if name == positional else flag.dashed
        for name, flag in flags.items()
        if (flag.required and values[name] is None) or (name == positional and not values[name])
    ]
    if missing:
        raise SarcoverError(f"{verb} needs {' and '.join(missing)}", do=f"see sarcover {verb} --help")
    for name, flag in flags.items():
        if isinstance(flag.count, int) and values[name] is not None and len(values[name]) != flag.count:
            raise SarcoverError(
                f"{verb}: {flag.dashed}", expected=flag.wanted, got=" ".join(map(str, values[name]))
            )
    return settings(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    )
