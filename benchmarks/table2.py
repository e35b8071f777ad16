"""The paper's Tables 2 to 4 beside what the architectures alone determine; as `syops table2`.

python benchmarks/table2.py [--format markdown]
"""

import sys

from syops.cli import main

if __name__ == "__main__":
    main(["table2", *sys.argv[1:]])
