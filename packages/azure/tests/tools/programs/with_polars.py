"""polars: OPERATION CONTAINER [KEY [TEXT]].

Where azure-identity is installed, it looks for an identity first, and not for the SAS: hence `credential_provider`.
"""

import sys

import polars as pl

_, operation, container, *rest = sys.argv
match operation:
    case "list":
        every = pl.scan_parquet(f"az://{container}/polars*", credential_provider=None, include_file_paths="path")
        print("\n".join(every.collect()["path"]))
    case "write":
        pl.DataFrame({"text": [rest[1]]}).write_parquet(f"az://{container}/{rest[0]}", credential_provider=None)
    case "read":
        print(pl.read_parquet(f"az://{container}/{rest[0]}", credential_provider=None)["text"][0])
