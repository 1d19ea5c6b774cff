#!/usr/bin/env python3
"""Prints the metadata.json of a release, which `vagrant box add` and Vagrantfile's RELEASE read.

metadata.py VERSION ADDRESS: ADDRESS is the folder in which the boxes of build/SHA256SUMS will lie.
"""

import json
import sys
import tarfile
from pathlib import Path

if len(sys.argv) != 3:
    sys.exit(__doc__)
version, address = sys.argv[1:]
build = Path(__file__).resolve().parent.parent / "build"
providers = []
for line in (build / "SHA256SUMS").read_text().splitlines():
    checksum, name = line.split()
    with tarfile.open(build / name) as box:
        inside = json.load(box.extractfile("metadata.json"))
    providers.append(
        {
            "name": inside["provider"],
            "url": f"{address}/{name}",
            "checksum_type": "sha256",
            "checksum": checksum,
            # Vagrant 2.4 takes a box without one for any machine's.
            "architecture": inside["architecture"],
            "default_architecture": True,
        }
    )
release = {"version": version, "providers": providers}
print(json.dumps({"name": "mydocker/class", "versions": [release]}, indent=2))
