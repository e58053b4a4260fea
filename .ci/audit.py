"""Look for known weaknesses of the packages (pip-audit), where its service is reached.

An advisory that does not concern Stitch is named in EXPLAINED with the reason; any other fails. Our own code is looked
at by `make test` (bandit); what bandit would report is explained where it stands, after "nosec".
"""

import json
import subprocess
import sys

PATIENCE_S = 180
EXPLAINED: dict[str, str] = {}
"""Advisory -> why it does not concern Stitch."""


def audited() -> int:
    """Say in a line what pip-audit found: 1 for an advisory that nobody has explained, else 0."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off",
               "--timeout", "10"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S).stdout
        packages = json.loads(said)["dependencies"]
        known = sum("vulns" in package for package in packages)
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        known = 0
    if not known:
        print("pip-audit: its advisories cannot be reached from here: nothing was checked")
        return 0
    found = {one["id"]: f"{package['name']} {package['version']}: {one['id']}, fixed in {one['fix_versions'] or 'none'}"
             for package in packages for one in package.get("vulns", ())}
    for advisory, line in found.items():
        print(f"pip-audit: {line}{'; ' + EXPLAINED[advisory] if advisory in EXPLAINED else ''}")
    print(f"pip-audit: {known} of {len(packages)} packages are known to its service, {len(found)} advisories")
    return int(bool(found.keys() - EXPLAINED.keys()))


if __name__ == "__main__":
    sys.exit(audited())
