"""The only writer and the only reader of what gpt1 keeps on disk.

A folder is written under a temporary name, every file flushed and `manifest.json` (sizes and
SHA-256) last, and then renamed: a reader sees the old folder or the new one, never a part. A reader
verifies the very bytes it returns, and changes nothing. Folders of other tools have no manifest and
are read as they are.

Nothing is replaced but what gpt1 wrote, as it was when the writing began. Temporary names look like
.PATH.new-gpt1-XXXXXXXX; a writer keeps its own locked, so that the next one in the same folder can
remove what killed writers left.
"""

from gpt1.storage.log import Log
from gpt1.storage.reader import MANIFEST, Folder, existing
from gpt1.storage.record import check_own, read_record, update_file, write_record
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
    "check_own",
    "clean_up",
    "disk",
    "existing",
    "json_bytes",
    "make_folder",
    "read_record",
    "remove",
    "update_file",
    "wrap_os_errors",
    "write_file",
    "write_folder",
    "write_record",
]
