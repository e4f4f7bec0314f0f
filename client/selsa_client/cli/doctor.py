"""What is installed, whether a server answers, and what the installed extras find on this machine."""

import platform
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Final

from selsa_client.cli.extras import MissingExtraError, needs_extra
from selsa_server.schema.doctor import Finding

GROUP: Final = "selsa.doctor"
_TIMEOUT: Final = 5.0
_START: Final = "start one with `selsa serve`, or give its address with --server"


def installed() -> Iterator[Finding]:
    """Versions, and which extras are there."""
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(status="ok", subject="selsa", text=f"{version('selsa')}, {system}, in {sys.prefix}")
    for extra, packages in sorted(_extras().items()):
        if extra == "dev":
            continue
        missing = sorted(package for package in packages if not _is_installed(package))
        if not missing:
            yield Finding(status="ok", subject=f"extra {extra}", text="installed")
        else:
            some = f"lacks {', '.join(missing)}" if len(missing) < len(packages) else "not installed"
            yield Finding(
                # Nobody needs all of them.
                status="ok",
                subject=f"extra {extra}",
                text=some,
                remedy=f"to have it: pip install 'selsa[{extra}]'",
            )


def of_extras(bundle: Path | None) -> Iterator[Finding]:
    """What the packages with an entry point in `selsa.doctor` find."""
    for point in entry_points(group=GROUP):
        try:
            with needs_extra("doctor", point.module):
                findings: Callable[[Path | None], Iterator[Finding]] = point.load()
                yield from findings(bundle)
        except MissingExtraError:
            yield Finding(
                status="warn",
                subject=point.name,
                text="not installed: this machine can ask a server, and not detect by itself",
                remedy=f"pip install 'selsa[{point.name}]'",
            )
        except Exception as error:  # noqa: BLE001 - a shared library that does not load is a finding
            yield _broken(point, error)


def of_server(address: str, api_key: str | None) -> Iterator[Finding]:
    """Whether a server is at the address, ready, and what it serves."""
    import httpx

    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    subject = f"server {address}"
    try:
        with httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT) as client:
            ready = client.get("/readyz")
            model = client.get("/model")
    except httpx.HTTPError as error:
        text = f"does not answer: {error or type(error).__name__}"
        yield Finding(status="fail", subject=subject, text=text, remedy=_START)
        return
    if ready.status_code != 200:
        yield Finding(
            status="fail",
            subject=subject,
            text=f"is not ready: {_detail(ready)}",
            remedy="wait a little; the server's log says what it is at",
        )
    elif model.status_code == 401:
        remedy = "give it with --api-key, or SELSA_API_KEY"
        yield Finding(status="fail", subject=subject, text="wants an API key, or another one", remedy=remedy)
    elif model.status_code != 200 or not isinstance(served := _json(model), dict):
        yield Finding(status="fail", subject=subject, text="is no selsa server", remedy=_START)
    else:
        where = f"{served.get('precision')} on {served.get('provider')}"
        yield Finding(status="ok", subject=subject, text=f"ready, serves {served.get('name')} in {where}")


def _broken(point: EntryPoint, error: Exception) -> Finding:
    return Finding(
        status="fail",
        subject=point.name,
        text=f"cannot be looked at: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
        remedy=f"pip install --force-reinstall 'selsa[{point.name}]'",
    )


def _extras() -> dict[str, set[str]]:
    """Names of packages by extra, as this distribution's metadata have them."""
    found: dict[str, set[str]] = {}
    for requirement in requires("selsa") or []:
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        package = re.match(r"[A-Za-z0-9._-]+", name.strip())
        if extra is not None and package is not None and package[0] != "selsa":
            found.setdefault(extra[1], set()).add(package[0])
    return found


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _detail(response: object) -> str:
    said = _json(response)
    detail = said.get("detail") if isinstance(said, dict) else None
    status = getattr(response, "status_code", "?")
    return f"{detail} ({status})" if isinstance(detail, str) else f"it answers {status}"


def _json(response: object) -> object:
    try:
        return response.json()  # type: ignore[attr-defined]
    except ValueError:
        return None
