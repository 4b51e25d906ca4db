"""Reads the files of the deployment as the programs do that they are for, and prints them as JSON.

    compose.py docker-compose.yml compose-spec.json VARIABLES engine.toml [engine.toml]

VARIABLES is a file as `.env`: only what stands in it is known. What is wrong with the compose file
stands in `wrong`, the variables that it asks for in `asked`, the engines' configurations by the names
of their files in `engines`.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

import jsonschema_rs
import yaml

VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::?([-?])([^}]*))?\}|(\w+))")


def variables(path):
    """The variables of an env file: lines of NAME=VALUE, and comments."""
    lines = [line.strip() for line in Path(path).read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def put_in(value, known, asked, wrong):
    """The same with each variable's value in its place."""
    if isinstance(value, dict):
        return {key: put_in(one, known, asked, wrong) for key, one in value.items()}
    if isinstance(value, list):
        return [put_in(one, known, asked, wrong) for one in value]
    if not isinstance(value, str):
        return value

    def of(found):
        if found[0] == "$$":
            return "$"
        name = found[1] or found[4]
        asked.add(name)
        if known.get(name):
            return known[name]
        if found[2] != "-":
            wrong.append(f"{name} is asked for, and has no value")
        return found[3] if found[2] == "-" else ""

    return VARIABLE.sub(of, value)


def main(compose, schema, env, *engines):
    asked, wrong = set(), []
    text = yaml.safe_load(Path(compose).read_text())
    resolved = put_in(text, variables(env), asked, wrong)
    validator = jsonschema_rs.validator_for(json.loads(Path(schema).read_text()))
    for error in validator.iter_errors(resolved):
        wrong.append(f"{'/'.join(map(str, error.instance_path))}: {error.message}")
    told = {
        "compose": resolved,
        "engines": {Path(one).name: tomllib.loads(Path(one).read_text()) for one in engines},
        "asked": sorted(asked),
        "known": variables(env),
        "wrong": wrong,
    }
    json.dump(told, sys.stdout)


main(*sys.argv[1:])
