# SPDX-License-Identifier: GPL-2.0-or-later
"""What smmu-rasctl --json prints, held against the schema that is installed with it."""

import json
import os
import sys

try:
    import jsonschema
except ImportError:  # another python3 than that of the distribution comes first
    sys.path.append("/usr/lib/python3/dist-packages")
    import jsonschema

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../config")

with open(f"{CONFIG}/smmu-rasctl.schema.json") as f:
    SCHEMA = json.load(f)


def conforms(text, kind):
    """Reads @text, which has to be a @kind ("list", "show", ...) of the schema."""
    value = json.loads(text)
    schema = {k: v for k, v in SCHEMA.items() if k != "anyOf"} | {"$ref": f"#/$defs/{kind}"}
    jsonschema.Draft202012Validator(schema).validate(value)
    return value
