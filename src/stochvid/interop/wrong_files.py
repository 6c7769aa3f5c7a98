"""What a file is that is not a checkpoint: people download pages, pointers and archives in place of one."""

import zipfile
from pathlib import Path
from typing import BinaryIO

from stochvid.core.errors import InputError
from stochvid.core.untrusted import shown

HEAD = 512  # bytes that tell
ASK = "Give the .pth file that the published code wrote with torch.save."
UNPACK = "Unpack it, and give the .pth file in it."
BEGINNINGS = (
    (b"version https://git-lfs.", "a Git LFS pointer, not the file that it points to", "Fetch that: git lfs pull."),
    (b"\x1f\x8b", "packed with gzip", UNPACK),
    (b"BZh", "packed with bzip2", UNPACK),
    (b"\xfd7zXZ\0", "packed with xz", UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x93NUMPY", "an array of NumPy", ASK),
    (b"\x89HDF\r\n", "an HDF5 file", ASK),
    (b"%PDF", "a PDF document", ASK),
    (b"\x89PNG", "a picture", ASK),
    (b"\xff\xd8\xff", "a picture", ASK),
    (b"GIF8", "a picture", ASK),
    (b"RIFF", "a video or a sound", ASK),
    (b"\x1aE\xdf\xa3", "a video", ASK),
    (b"GGUF", "a GGUF file", ASK),
    (b"\x7fELF", "a program", ASK),
    (b"{", "a JSON text", ASK),
)
SAVED_PAGE = "Fetch the file itself: a page's address is not the address of the file that it shows."


def refuse_other_file(file: BinaryIO, path: Path) -> None:
    """Says what a file is that no `torch.save` wrote, where its first bytes tell.

    Raises:
        InputError: it is such a file.
    """
    head = file.read(HEAD)
    file.seek(0)
    if found := _kind(head):
        what, fix = found
        raise InputError(f"{str(path)!r} is {what}, not a checkpoint. {fix}")


def _kind(head: bytes) -> tuple[str, str] | None:
    if not head:
        return "empty", "Fetch it again."
    if not head.strip(b"\0"):
        return "nothing but zeros", "Its download broke off, perhaps. Fetch it again."
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "an HTML page", SAVED_PAGE
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "a safetensors file", f"It holds tensors without the modules and the options of training. {ASK}"
    if head[257:262] == b"ustar":
        return "a tar archive", f"{UNPACK} If PyTorch before 0.1.10 wrote it, save it again with a later one."
    if head[4:8] == b"ftyp":
        return "a video", ASK
    for begin, what, fix in BEGINNINGS:
        if head.startswith(begin):
            return what, fix
    return None


def refuse_other_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Says what a zip archive is that no `torch.save` wrote.

    Raises:
        InputError: it is such an archive.
    """
    names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    packed = next((name for name in names if name.endswith((".pth", ".pt", ".ckpt", ".tar"))), None)
    if "data.pkl" in inner and not any(name == "constants.pkl" or name.startswith("code/") for name in inner):
        return
    if "data.pkl" in inner:
        what, fix = "a TorchScript archive", f"It holds a program in place of modules. {ASK}"
    elif "[Content_Types].xml" in names:
        what, fix = "an Office document", ASK
    elif names and all(name.endswith(".npy") for name in names):
        what, fix = "a NumPy archive (.npz)", ASK
    elif packed:
        what, fix = f"a zip archive that holds {shown(packed)}", UNPACK
    else:
        first = ", ".join(map(shown, names[:2])) or "nothing"
        what, fix = f"a zip archive of something else ({first})", ASK
    raise InputError(f"{str(path)!r} is {what}, not a checkpoint. {fix}")
