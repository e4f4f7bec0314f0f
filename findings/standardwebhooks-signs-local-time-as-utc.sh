#!/bin/sh
# standardwebhooks signs an aware local time as if its clock face were UTC, and the receiver calls it a wrong
# signature.
#
# Ground: serving
# Versions: standardwebhooks 1.1.0 (Python).
# Behaviour: sign() replaces the time zone of the timestamp by UTC instead of converting it. A sender two
# hours east of UTC that passes an aware local time signs a time two hours ahead of the one it puts into
# webhook-timestamp. The receiver answers "No matching signature found", which points to the secret, not to
# the clock; a clock that is really off answers "too old" or "too new" beyond 300 s. A body that is signed
# rightly and is no JSON raises JSONDecodeError, which is no WebhookVerificationError.
# Seen: UTC: verified; the same moment at +02:00: no matching signature; 310 s early or late: too old, too
# new.
# A good guess is wrong because the argument is an aware datetime, and the moment is the same.
# Product: docs/operations.md says so for receivers of signed messages; whoever signs passes UTC.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
env=${FINDINGS_VENV:-$folder/env}
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet --quiet --disable-pip-version-check standardwebhooks==1.1.0
"$env/bin/python" - <<'PY'
import datetime
import json

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook("whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB")
now = datetime.datetime.now(datetime.timezone.utc)
east = now.astimezone(datetime.timezone(datetime.timedelta(hours=2)))
assert east == now


def verdict(moment, body="{}"):
    headers = {
        "webhook-id": "message",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": webhook.sign("message", moment, body),
    }
    try:
        webhook.verify(body, headers)
    except (WebhookVerificationError, json.JSONDecodeError) as error:
        return f"{type(error).__name__}: {error}"
    return "verified"


late, early = now - datetime.timedelta(seconds=310), now + datetime.timedelta(seconds=310)
said = {"UTC": verdict(now), "+02:00": verdict(east), "late": verdict(late), "early": verdict(early), "no JSON": verdict(now, "text")}
for name, text in said.items():
    print(f"{name}: {text}")
assert said["UTC"] == "verified"
assert "No matching signature" in said["+02:00"]
assert "too old" in said["late"] and "too new" in said["early"]
assert said["no JSON"].startswith("JSONDecodeError")
PY
