"""Command lines as their interpreter reads them: carets, split quotes, backticks, joined strings, sliced variables.

Nothing is executed and nothing is looked up on this machine. Every step is linear and leaves other text alone.
"""

import re

# Values that Windows gives these variables on a default installation; slices of them spell out words.
_VARIABLES = {
    "comspec": r"C:\WINDOWS\system32\cmd.exe",
    "programdata": r"C:\ProgramData",
    "programfiles": r"C:\Program Files",
    "public": r"C:\Users\Public",
    "os": "Windows_NT",
    "pathext": ".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC",
    "systemdrive": "C:",
    "systemroot": r"C:\WINDOWS",
    "windir": r"C:\WINDOWS",
    "pshome": r"C:\Windows\System32\WindowsPowerShell\v1.0",
    "shellid": "Microsoft.PowerShell",
}
_MAX_PARTS = 64

_CARET = re.compile(r"\^(?=\S)")
_EMPTY_QUOTES = re.compile(r"(?<=[\w.:\\/-])(?:\"\"|'')(?=[\w.:\\/-])")
_QUOTED_PIECE = re.compile(r"(?:(?<=\w)([\"'])(\w{1,32})\1)|(?:([\"'])(\w{1,32})\3(?=\w))")
_BACKTICK = re.compile(r"(?<=[\w$-])`(?=\w)")
_JOIN = re.compile(r"(?:'\s*+\+\s*+')|(?:\"\s*+\+\s*+\")|(?:\"\s*+&\s*+\")")
_SLICE = re.compile(r"%(\w{2,16}):~(-?\d{1,3})(?:,(-?\d{1,3}))?%")
_INDEX = re.compile(r"\$(?:\{?env:)?(\w{2,16})\}?\[([\d, ]{1,64})\](?:-join\s*'')?", re.IGNORECASE)
_FORMAT = re.compile(r"\(?[\"']((?:\{\d{1,2}\}){2,32})[\"']\s*-f\s*([\"'][^()\n]{1,400})\)?", re.IGNORECASE)
_FORMAT_PART = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_PLACE = re.compile(r"\{(\d{1,2})\}")
_IFS = re.compile(r"\$\{IFS[^}]{0,16}\}|\$IFS(?:\$9)?")
_EMPTY_EXPANSION = re.compile(r"(?<=\w)\$(?:@|\*|[0-9](?!\d))(?=\w)")
_ESCAPED_LETTERS = re.compile(r"(?<![\w:\\.%])[a-z]{1,2}(?:\\[a-z]{1,2}){2,32}+(?![\w\\.])")
# [char]65, chr(0x41), CHAR(65,66) and sums of them
_CODE = r"(?:\[char\]|\bcha?r\()\s*+(?:0x[0-9a-f]{2,4}|\d{2,5})(?:\s*+,\s*+\d{2,5}){0,64}+(?:\s*+\))?"
_CHARS = re.compile(rf"{_CODE}(?:\s*+(?:\+|\|\|)\s*+{_CODE})*+", re.IGNORECASE)
_NUMBER = re.compile(r"0x([0-9a-f]{2,4})|(\d{2,5})", re.IGNORECASE)
_SQL_COMMENT = re.compile(r"/\*!?\d{0,5}[^*/]{0,64}\*/")


def deobfuscate(text: str) -> str:
    r"""One pass over all tricks; a second pass finds what the first has laid open.

    >>> deobfuscate("p^ow^er''shell -c ('who'+'ami')")
    "powershell -c ('whoami')"
    >>> deobfuscate("%comspec:~-7,3% /c dir")
    'cmd /c dir'
    """
    if "^" in text:
        text = _CARET.sub("", text)
    if "`" in text:
        text = _BACKTICK.sub("", text)
    if "'" in text or '"' in text:
        text = _JOIN.sub("", text)
        text = _EMPTY_QUOTES.sub("", text)
        text = _FORMAT.sub(_formatted, text)
        text = _QUOTED_PIECE.sub(lambda found: found[2] or found[4], text)
    if "%" in text:
        text = _SLICE.sub(_sliced, text)
    if "$" in text:
        text = _INDEX.sub(_indexed, text)
        text = _IFS.sub(" ", text)
        text = _EMPTY_EXPANSION.sub("", text)
    if "\\" in text:
        text = _ESCAPED_LETTERS.sub(lambda found: found[0].replace("\\", ""), text)
    if "/*" in text:
        text = _SQL_COMMENT.sub(" ", text)
    if "(" in text or "[" in text:
        text = _CHARS.sub(_spelled, text)
    return text


def _sliced(found: re.Match[str]) -> str:
    """``%name:~start,length%`` of cmd.exe; a negative length counts from the end."""
    value = _VARIABLES.get(found[1].lower())
    if value is None:
        return found[0]
    rest = value[int(found[2]) :]
    return rest if found[3] is None else rest[: int(found[3])]


def _indexed(found: re.Match[str]) -> str:
    """``$env:name[4,26,25]-join''`` of PowerShell."""
    value = _VARIABLES.get(found[1].lower())
    places = [int(place) for place in found[2].replace(" ", "").split(",")[:_MAX_PARTS] if place]
    if value is None or not places or max(places) >= len(value):
        return found[0]
    return "".join(value[place] for place in places)


def _formatted(found: re.Match[str]) -> str:
    """``'{1}{0}' -f 'b','a'`` of PowerShell."""
    parts = [one or other for one, other in _FORMAT_PART.findall(found[2])][:_MAX_PARTS]
    places = [int(place) for place in _PLACE.findall(found[1])]
    return "".join(parts[place] for place in places) if places and max(places) < len(parts) else found[0]


def _spelled(found: re.Match[str]) -> str:
    codes = [
        int(hexadecimal, 16) if hexadecimal else int(decimal) for hexadecimal, decimal in _NUMBER.findall(found[0])
    ]
    return "".join(map(chr, codes))
