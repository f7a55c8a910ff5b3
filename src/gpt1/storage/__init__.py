"""The only writer and the only reader of what gpt1 keeps on disk.

A folder is written under a temporary name, every file flushed and `manifest.json` (sizes and
SHA-256) last, and then renamed: a reader sees the old folder or the new one, never a part. A reader
verifies the very bytes it returns, and changes nothing. Folders of other tools have no manifest and
are read as they are.

Replacing takes two renames: PATH becomes .PATH.old, and the new folder becomes PATH. After a crash
between the two, readers find the old folder under its other name (`existing`), and the next writer
puts it back.
"""

from gpt1.storage.log import Log
from gpt1.storage.reader import MANIFEST, Folder, existing
from gpt1.storage.system import Disk, disk, wrap_os_errors
from gpt1.storage.writer import (
    FolderWriter,
    check_free,
    clean_up,
    json_bytes,
    make_folder,
    remove,
    write_file,
    write_folder,
)

__all__ = [
    "MANIFEST",
    "Disk",
    "Folder",
    "FolderWriter",
    "Log",
    "check_free",
    "clean_up",
    "disk",
    "existing",
    "json_bytes",
    "make_folder",
    "remove",
    "wrap_os_errors",
    "write_file",
    "write_folder",
]
