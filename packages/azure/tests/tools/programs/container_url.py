"""The same client with nothing but the container's URL: OPERATION CONTAINER [KEY [TEXT]]."""

import os
import sys

from azure.storage.blob import ContainerClient

_, operation, container, *rest = sys.argv
url = os.environ["AZURE_STORAGE_CONTAINER_URL"].replace(os.environ["BUCKET_NAME"], container)
with ContainerClient.from_container_url(url) as client:
    match operation:
        case "list":
            print("\n".join(client.list_blob_names()))
        case "write":
            client.upload_blob(rest[0], rest[1].encode())
        case "read":
            print(client.download_blob(rest[0]).readall().decode())
