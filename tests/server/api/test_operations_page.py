"""docs/operations.md names what there is: every setting, every metric, and codes with their status."""

import re
from pathlib import Path

import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from selsa_server.schema.problems import TITLES
from selsa_server.settings import ServerSettings

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
CODE = re.compile(r"\b([45]\d\d) `(\w+)`")
NAME = re.compile(r"\b(?:selsa|process)_[a-z_]+\b")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].partition("\n## ")[0]


def test_the_settings_of_the_page_are_those_of_the_server() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("Settings"), re.MULTILINE)
    assert sorted(rows) == sorted(ServerSettings.model_fields)
    variables = set(re.findall(r"SELSA_(\w+)", PAGE))
    assert {name.lower() for name in variables} <= set(ServerSettings.model_fields)


def test_the_metrics_of_the_page_are_those_of_the_server(client: TestClient) -> None:
    families = text_string_to_metric_families(client.get("/metrics").text)
    known = {f.name + "_total" if f.type == "counter" else f.name: f.type for f in families}
    suffixed = {f"{name}{end}" for name in known for end in ("_bucket", "_sum", "_count")}
    named = set(NAME.findall(section("Metrics")))
    assert named - suffixed <= set(known) | {"process_open_fds", "process_resident_memory_bytes"}
    ours = {name for name in known if name.startswith("selsa_") and not name.endswith("_created")}
    assert ours <= named


def test_the_codes_of_the_page_have_their_status() -> None:
    found = CODE.findall(PAGE)
    assert len(found) > 10
    assert [(status, code) for status, code in found if TITLES[code][0] != int(status)] == []


def test_the_rules_of_the_page_are_rules() -> None:
    text = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    (group,) = yaml.safe_load(text[1])["groups"]
    assert all(rule["alert"].startswith("Selsa") and NAME.search(rule["expr"]) for rule in group["rules"])
    codes = re.findall(r'code=~?"([\w|]+)"', text[1])
    assert {code for each in codes for code in each.split("|")} <= set(TITLES)
