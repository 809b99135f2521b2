"""Azure's own client for Python: OPERATION CONTAINER [KEY [TEXT]], credentials from the environment."""

import os
import sys

from azure.storage.blob import BlobServiceClient

_, operation, container, *rest = sys.argv
with BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"]) as service:
    client = service.get_container_client(container)
    match operation:
        case "list":
            print("\n".join(client.list_blob_names()))
        case "write":
            client.upload_blob(rest[0], rest[1].encode())
        case "read":
            print(client.download_blob(rest[0]).readall().decode())
