"""adlfs, by the address that fsspec, pandas and Dask know: OPERATION CONTAINER [KEY [TEXT]]."""

import sys

import fsspec

_, operation, container, *rest = sys.argv
files = fsspec.filesystem("abfs")
match operation:
    case "list":
        print("\n".join(files.ls(container)))
    case "write":
        files.pipe_file(f"{container}/{rest[0]}", rest[1].encode())
    case "read":
        print(files.cat_file(f"{container}/{rest[0]}").decode())
