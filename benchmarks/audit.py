"""Known weaknesses of the locked packages, by pip-audit, where a source of advisories is reachable.

    python benchmarks/audit.py

Exits with 1 where a package has one. Where neither PyPI nor OSV can be asked it says so.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ("pypi", "osv")


def asked(source: str) -> list[dict[str, object]]:
    """The packages that a source knows, each with its `vulns`; none where it does not answer."""
    uv = Path(sys.executable).with_name("uv")
    lock = str(ROOT / "requirements.lock")
    options = ["-r", lock, "--no-deps", "--disable-pip", "-s", source, "--format", "json"]
    command = [str(uv), "tool", "run", "pip-audit", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        found = json.loads(done.stdout)["dependencies"]
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return []
    return [package for package in found if "skip_reason" not in package]


def main() -> int:
    for source in SOURCES:
        if packages := asked(source):
            weak = [package for package in packages if package["vulns"]]
            for package in weak:
                print(f"{package['name']} {package['version']}: {json.dumps(package['vulns'])}")
            print(f"{len(packages)} packages asked of {source}, {len(weak)} with known weaknesses.")
            return int(bool(weak))
    print(f"No source of advisories answers ({', '.join(SOURCES)}): nothing was audited.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
