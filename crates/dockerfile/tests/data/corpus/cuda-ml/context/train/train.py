import pathlib

import yaml

root = pathlib.Path("configs")
print(*(f"{path.relative_to(root)}:{yaml.safe_load(path.read_text())['size']}" for path in sorted(root.rglob("*.yaml"))))
