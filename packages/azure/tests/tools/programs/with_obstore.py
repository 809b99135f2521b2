"""obstore, which is Rust's object_store: OPERATION CONTAINER [KEY [TEXT]]."""

import sys

import obstore
from obstore.store import AzureStore

_, operation, container, *rest = sys.argv
store = AzureStore(container_name=container)
match operation:
    case "list":
        print("\n".join(found["path"] for page in obstore.list(store) for found in page))
    case "write":
        obstore.put(store, rest[0], rest[1].encode())
    case "read":
        print(bytes(obstore.get(store, rest[0]).bytes()).decode())
