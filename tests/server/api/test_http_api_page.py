"""docs/http-api.md names what there is: every address, every parameter, and every code with its status."""

import re
from pathlib import Path

from fastapi.testclient import TestClient

from selsa_server.api import app as _all_errors  # noqa: F401  imports every module that defines an error
from selsa_server.errors import DetectError
from selsa_server.schema.detect import DetectParams
from selsa_server.schema.problems import TITLES

PAGE = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()


def test_the_addresses_of_the_page_are_those_of_the_server(client: TestClient) -> None:
    described = {path.partition("?")[0] for path in client.get("/openapi.json").json()["paths"]}
    named = set(re.findall(r"(/[a-z0-9_{}/.]*)", PAGE.split("\n## ")[0]))
    assert described <= named
    assert {path for path in named if path.startswith("/v1")} <= described


def test_the_parameters_of_the_page_are_those_of_detect() -> None:
    table = PAGE.split("| query parameter |")[1].partition("\n\n")[0]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(DetectParams.model_fields)


def test_the_codes_of_the_page_are_those_of_the_server_with_their_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", PAGE, re.MULTILINE)
    named = {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert named == {code: status for code, (status, _) in TITLES.items()}


def test_every_code_has_a_status_and_belongs_to_one_class_of_errors() -> None:
    kinds = (DetectError, *DetectError.__subclasses__())
    codes = [code for kind in kinds for code in kind.codes]
    assert sorted(codes) == sorted(TITLES)
