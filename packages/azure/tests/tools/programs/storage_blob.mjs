// Azure's own client for JavaScript: OPERATION CONTAINER [KEY [TEXT]], credentials from the environment.

import { BlobServiceClient } from "@azure/storage-blob";

const [operation, container, key, text] = process.argv.slice(2);
const service = BlobServiceClient.fromConnectionString(process.env.AZURE_STORAGE_CONNECTION_STRING);
const client = service.getContainerClient(container);
switch (operation) {
  case "list":
    for await (const found of client.listBlobsFlat()) console.log(found.name);
    break;
  case "write":
    await client.getBlockBlobClient(key).upload(text, Buffer.byteLength(text));
    break;
  case "read":
    console.log((await client.getBlobClient(key).downloadToBuffer()).toString());
    break;
}
