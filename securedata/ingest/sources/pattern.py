"""Speaker patterns: `{speaker}/{utterance}` against the path of a file under SRC, without its extension.

The rules, exactly:

- The pattern must match the whole path, part by part: only `/` in the pattern matches `/` in the path, so both have the
  same number of parts.
- `{name}` matches one or more characters of one part; `*` matches any number of characters of one part, even none.
- Everything else matches itself, and case counts; `{{` and `}}` are literal braces. Both sides are compared in NFC.
- Where there is a choice, the wildcard further left matches as little as it can: `{speaker}-{utterance}` reads `a-b-c`
  as speaker `a`, utterance `b-c`.
- The same `{name}` twice must match the same text twice: `{speaker}/{chapter}/{speaker}-{chapter}-{utterance}`.
- Two wildcards need something between them: where `{speaker}{utterance}` divides `anna01` would be a guess.
- `{speaker}` is required: the pattern is the rule that names the subject.
"""

from __future__ import annotations

import re
import unicodedata

from securedata.errors import InvalidArgument
from securedata.media.audio.suffixes import AUDIO_SUFFIXES

# A name, `*`, an escaped brace, or a stray brace (an error); the rest is literal text.
_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\*|[{}]")


class PathPattern:
    """A compiled pattern.

    Attributes:
        text: the pattern as it was given.
        names: the names in braces, in order, each once.

    Raises:
        InvalidArgument: the pattern breaks one of the rules above.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: tuple[str, ...] = ()
        self._check_parts()
        self._regex = re.compile(self._translate(unicodedata.normalize("NFC", text)))

    def match(self, path: str) -> dict[str, str] | None:
        """The text of each name in `path` (NFC, without extension), or None if the path does not match."""
        found = self._regex.fullmatch(path)
        return None if found is None else found.groupdict()

    def _check_parts(self) -> None:
        if any(part in ("", ".", "..") for part in self.text.split("/")):
            raise self._wrong("its parts must be names, with one '/' between them and none at either end")
        if self.text.lower().endswith(AUDIO_SUFFIXES):
            raise self._wrong("it is matched against paths without their extension: leave the extension out")

    def _translate(self, text: str) -> str:
        regex, names, position, wildcard_ends = "", list[str](), 0, -1
        for token in _TOKEN.finditer(text):
            regex += re.escape(text[position : token.start()])
            position = token.end()
            name = token["name"]
            if name is None and token[0] != "*":
                if token[0] in "{}":
                    raise self._wrong(f"the brace at character {token.start() + 1} does not belong to a {{name}}")
                regex += re.escape(token[0][0])
                continue
            if wildcard_ends == token.start():
                raise self._wrong("two wildcards are side by side, and where one ends would be a guess")
            wildcard_ends = token.end()
            if name is None:
                regex += "[^/]*?"
            elif name in names:
                regex += f"(?P={name})"
            else:
                names.append(name)
                regex += f"(?P<{name}>[^/]+?)"
        if "speaker" not in names:
            raise self._wrong("it has no {speaker}, so it does not name the speaker")
        self.names = tuple(names)
        return regex + re.escape(text[position:])

    def _wrong(self, why: str) -> InvalidArgument:
        return InvalidArgument(
            f"speaker pattern {self.text!r}: {why}. A pattern looks like '{{speaker}}/{{utterance}}', "
            "'{speaker}/*/{utterance}' or '{split}/{speaker}-{utterance}'"
        )
