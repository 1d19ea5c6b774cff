#!/usr/bin/env python3
"""Prints the metadata.json of a release, which `vagrant box add` and Vagrantfile's RELEASE read.

metadata.py VERSION ADDRESS: ADDRESS is the folder in which the boxes of build/SHA256SUMS will lie.
"""

import json
import sys
from pathlib import Path

if len(sys.argv) != 3:
    sys.exit(__doc__)
version, address = sys.argv[1:]
sums = Path(__file__).resolve().parent.parent / "build" / "SHA256SUMS"
providers = []
for line in sums.read_text().splitlines():
    checksum, name = line.split()
    providers.append(
        {
            "name": name.removeprefix("mydocker-").removesuffix(".box"),
            "url": f"{address}/{name}",
            "checksum_type": "sha256",
            "checksum": checksum,
        }
    )
release = {"version": version, "providers": providers}
print(json.dumps({"name": "mydocker/class", "versions": [release]}, indent=2))
