"""What no generator can invent: accounts, tokens, clients, QR logins in every state.

Of the cases that are meant to be good, three in four get what they name; the fourth stays as it was generated, and is
refused in some documented way.
"""

import base64
import itertools
import json
import os
import urllib.parse
import urllib.request
from collections import defaultdict

import schemathesis
from schemathesis import GenerationMode

URL = os.environ["COUNTERSIGN_URL"]
PASSWORD = "correct horse"
DEVICE = "fuzz-1"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
CLIENT = {"Authorization": "Basic " + base64.b64encode(b"fuzz:a-secret-for-schemathesis").decode()}

numbers = itertools.count(1)
turns = defaultdict(itertools.count)


def ask(method, path, body=None, **headers):
    """One request that has to succeed; its answer."""
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(URL + path, data=data, method=method, headers=named)
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read()
    return json.loads(text) if text else None


def as_names(headers):
    """Headers as `ask` takes them."""
    return {name.replace("-", "_"): value for name, value in headers.items()}


def sign_in():
    """A session of its own, of an account that is there."""
    body = {"user_id": "fuzz", "password": PASSWORD, "device": {"id": DEVICE}}
    return ask("POST", "/v1/login", body)


def by(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}", "Countersign-Device": DEVICE}


class Stage:
    """One session that lasts, made when it is first needed."""

    def __init__(self):
        self.tokens = None

    def session(self):
        if self.tokens is None:
            ask("POST", "/v1/accounts", {"user_id": "fuzz", "password": PASSWORD})
            self.tokens = sign_in()
        return self.tokens


stage = Stage()


def opened():
    """A QR login, and what proves that one opened it."""
    attempt = ask("POST", "/v1/qr", {"device": {"id": DEVICE}})
    return attempt, {"Authorization": f"Claim {attempt['claim']}", "Countersign-Device": DEVICE}


def scanned(phone):
    attempt, pc = opened()
    path = f"/v1/qr/{attempt['qr_id']}"
    scan = ask("POST", f"{path}/scan", **as_names(phone))
    return attempt, pc, path, scan["scan_token"]


def fields(case, **values):
    if isinstance(case.body, dict):
        case.body.update(values)


def confirmed(phone):
    """A QR login that only has to be redeemed, and its ticket."""
    attempt, pc, path, token = scanned(phone)
    quoted = as_names(pc)
    code = ask("GET", path, **quoted)["match"]["code"]
    ask("POST", f"{path}/confirm", {"scan_token": token, "code": code}, **as_names(phone))
    return attempt, pc, ask("GET", path, **quoted)["ticket"]


def prepare_pc(case, name, phone):
    """Headers and path of the PC's calls."""
    if name == "qr_redeem":
        attempt, pc, ticket = confirmed(phone)
        fields(case, ticket=ticket)
    else:
        attempt, pc = opened()
    if name == "qr_events":
        # A stream of one that goes on would go on too.
        ask("DELETE", f"/v1/qr/{attempt['qr_id']}", **as_names(pc))
    return attempt, pc


def prepare_phone(case, name, phone):
    """Headers and path of the phone's calls."""
    if name == "qr_scan":
        return opened()[0]
    attempt, pc, path, token = scanned(phone)
    if name == "qr_outcome":
        # Before the end it would wait for it.
        ask("POST", f"{path}/deny", {"scan_token": token}, **as_names(phone))
    fields(case, scan_token=token)
    if name == "qr_confirm":
        fields(case, code=ask("GET", path, **as_names(pc))["match"]["code"])
    return attempt


def submit(path, form):
    """One form of the client that has to succeed; its answer."""
    data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(URL + path, data=data, method="POST", headers=CLIENT)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def authorized(phone):
    """A device authorization that was confirmed: its device code."""
    opened = submit("/oauth/device_authorization", {"scope": "openid"})
    scan = ask("POST", "/v1/qr/scan", {"user_code": opened["user_code"]}, **as_names(phone))
    ask("POST", f"/v1/qr/{opened['qr_id']}/confirm", {"scan_token": scan["scan_token"]}, **as_names(phone))
    return opened["device_code"]


def granted(phone):
    """Tokens of the client."""
    return submit("/oauth/token", {"grant_type": DEVICE_CODE, "device_code": authorized(phone)})


def prepare_client(case, name, phone):
    """Authentication and fields of a client's calls."""
    if isinstance(case.body, dict):
        # One way to authenticate.
        for field in ("client_id", "client_secret"):
            case.body.pop(field, None)
        if name == "oauth_device_authorization":
            case.body.update(scope="openid")
        elif name in ("oauth_revoke", "oauth_introspect"):
            case.body.update(token=granted(phone)["access_token"])
        elif case.body.get("grant_type") == "refresh_token":
            case.body.pop("scope", None)
            case.body.update(refresh_token=granted(phone)["refresh_token"])
        else:
            case.body.update(device_code=authorized(phone))
    # Bound to no device, whatever was generated.
    case.headers.pop("Countersign-Device", None)
    case.headers.update(CLIENT)


@schemathesis.hook
def before_call(ctx, case, kwargs):
    operation = case.operation.definition.raw
    schemes = {scheme for one in operation.get("security", []) for scheme in one}
    name = operation["operationId"]
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE or next(turns[name]) % 4 == 3:
        return
    if name == "register":
        fields(case, user_id=f"fuzz-{next(numbers)}")
        return
    if name == "login":
        stage.session()
        fields(case, user_id="fuzz", password=PASSWORD)
        return
    if name == "refresh":
        stage.session()
        fields(case, refresh_token=sign_in()["refresh_token"])
        case.headers["Countersign-Device"] = DEVICE
        return
    if "client" in schemes:
        prepare_client(case, name, by(stage.session()))
        return
    if name == "qr_scan_by_code":
        fields(case, user_code=submit("/oauth/device_authorization", {})["user_code"])
    if not schemes & {"bearer", "claim"} or name == "socket":
        return
    ends = name in ("logout", "end_session", "end_other_sessions")
    tokens = stage.session()
    tokens = sign_in() if ends else tokens
    phone = by(tokens)
    headers = phone
    if "claim" in schemes:
        attempt, headers = prepare_pc(case, name, phone)
        case.path_parameters["qr_id"] = attempt["qr_id"]
    elif "{qr_id}" in case.path:
        case.path_parameters["qr_id"] = prepare_phone(case, name, phone)["qr_id"]
    if name == "end_session":
        case.path_parameters["id"] = tokens["session"]
    if name == "end_other_sessions":
        # It ends the lasting one.
        stage.tokens = tokens
    case.headers.update(headers)
