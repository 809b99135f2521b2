"""The command: builds the provisioner and hands it to the core."""

import sys

import libbucket
from garage_provisioner.provisioner import GarageProvisioner

if __name__ == "__main__":
    name = "garage.example/bucket"
    sys.exit(libbucket.run(GarageProvisioner, program="garage_provisioner", provisioner_name=name, version="1"))
