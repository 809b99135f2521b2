"""delta-rs: OPERATION CONTAINER [KEY [TEXT]], where the key is a table's."""

import sys

import deltalake
import polars as pl

_, operation, container, *rest = sys.argv
table = f"az://{container}/{(rest or ['deltalake'])[0]}"
match operation:
    case "list":
        print("\n".join(deltalake.DeltaTable(table).file_uris()))
    case "write":
        deltalake.write_deltalake(table, pl.DataFrame({"text": [rest[1]]}))
    case "read":
        builder = deltalake.QueryBuilder().register("it", deltalake.DeltaTable(table))
        print(pl.DataFrame(builder.execute("select text from it").read_all())["text"][0])
