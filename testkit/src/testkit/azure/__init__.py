"""Azure Blob Storage in tests: azurite, a front end that answers as Azure does, a fake Entra ID, the backend."""
