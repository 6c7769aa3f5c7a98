"""Archives are not opened: this knows them, and says how to unpack them."""

from pathlib import Path

COMMANDS = {
    ".zip": "unzip {name} -d {stem}",
    ".tar": "tar -xf {name}",
    ".tgz": "tar -xf {name}",
    ".tbz2": "tar -xf {name}",
    ".txz": "tar -xf {name}",
    ".tar.gz": "tar -xf {name}",
    ".tar.bz2": "tar -xf {name}",
    ".tar.xz": "tar -xf {name}",
    ".tar.zst": "tar --zstd -xf {name}",
    ".7z": "7z x {name}",
    ".rar": "unrar x {name}",
    ".gz": "gunzip {name}",
    ".bz2": "bunzip2 {name}",
    ".xz": "unxz {name}",
    ".zst": "unzstd {name}",
}
MAGIC = {b"PK\3\4": ".zip", b"7z\xbc\xaf\x27\x1c": ".7z", b"Rar!\x1a\x07": ".rar", b"\x1f\x8b\x08": ".gz"}


def unpack_command(path: Path) -> str | None:
    """The command that unpacks an archive; None: it is none, by its name or its first bytes."""
    suffix = next((s for s in sorted(COMMANDS, key=len, reverse=True) if path.name.lower().endswith(s)), None)
    if suffix is None and path.suffix.lower() != ".npz":
        try:
            with open(path, "rb") as file:
                begin = file.read(8)
        except OSError:
            return None
        suffix = next((suffix for magic, suffix in MAGIC.items() if begin.startswith(magic)), None)
    if suffix is None:
        return None
    stem = path.name[: -len(suffix)] if path.name.lower().endswith(suffix) else f"{path.name}-unpacked"
    quoted, folder = (f"'{text}'" if " " in text else text for text in (path.name, stem))
    return COMMANDS[suffix].format(name=quoted, stem=folder)
