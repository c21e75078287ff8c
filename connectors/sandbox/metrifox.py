"""Metrifox's customers API, as documented and as its clients use it.

The two disagree about paths, methods, the form field of a CSV file and the envelope. All are served, and a response has
the fields that either expects. Behaviour that neither documents is marked *assumed*; the numbers of pages are those of
the library Kaminari, whose field names are used.

https://docs.metrifox.com/api-reference/customers/post, https://github.com/metrifox/metrifox-js,
https://github.com/metrifox/metrifox-ruby (its specs contain complete responses), the package metrifox-sdk 1.3.1
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from tranship.connectors.sandbox.contract import Answer, Call, Handler, Problem, Route, SandboxApi
from tranship.connectors.sandbox.store import Ranks, Record, Store, decode, encode, numbered

PORT: Final = 8702
SWITCHES: Final = {
    "spelling": ("both", "sdk", "docs"),
    "duplicate": ("400", "409", "422"),
    "archived": ("listed", "hidden"),
    "bulk": ("100", "1000"),
}
"""`spelling`: only the paths, methods and form field of the clients or of the documentation exist. `duplicate`: the
status of a create whose key or e-mail is taken. `archived=hidden`: lists do not contain archived customers. `bulk`: the
maximum rows of a call."""

_KEY_LENGTH: Final = 255
_PAGE: Final = 25
_LARGEST_PAGE: Final = 100
LARGEST_CSV: Final = 10 << 20
"""Bytes. Assumed, like the maximum length of a key and of a page."""

_REQUIRED: Final = ("customer_key", "customer_type", "primary_email")
_TYPES: Final = ("BUSINESS", "INDIVIDUAL")
_TAX: Final = ("TAXABLE", "TAX_EXEMPT", "REVERSE_CHARGE")
_NAMES: Final = ("legal_name", "display_name", "first_name", "middle_name", "last_name")
_TEXT: Final = (
    *("customer_key", "customer_type", "primary_email", "primary_phone", *_NAMES, "legal_number"),
    *("tax_identification_number", "logo_url", "website_url", "account_manager", "date_of_birth", "billing_email"),
    *("timezone", "language", "currency", "tax_status", "address_line1", "address_line2", "city", "state", "country"),
    *("zip_code", "shipping_address_line1", "shipping_address_line2", "shipping_city", "shipping_state"),
    *("shipping_country", "shipping_zip_code"),
)
_EMAILS: Final = ("primary_email", "billing_email")
_WORDS: Final = {"customer_type": _TYPES, "tax_status": _TAX}
_ARRAYS: Final = ("email_addresses", "phone_numbers", "tax_identifications", "contact_people", "payment_terms")
_OBJECTS: Final = ("billing_configuration", "metadata", "documents")
_SETTABLE: Final = (*_TEXT, *_ARRAYS, *_OBJECTS)
_FREE: Final = frozenset(_TEXT) - {*_REQUIRED, *_EMAILS, *_WORDS, "date_of_birth"}
"""Fields that accept any text."""
_ADDRESS: Final = re.compile(r'(?:"[^"]+"|[^@\s]+)@[^@\s]+\.[^@\s]+')
_CSV_TAX: Final = {"1": "TAXABLE", "2": "TAX_EXEMPT", "3": "REVERSE_CHARGE"}
"""The vendor's example of a CSV file has numbers instead of the API's words, here in the order of the documentation
(assumed)."""

Faults = dict[str, list[str]]


def api(store: Store, switches: Mapping[str, str]) -> SandboxApi:
    """Return the API. There is one kind of key, with all permissions."""
    return _Metrifox(store, switches).api()


class _Metrifox:
    def __init__(self, store: Store, switches: Mapping[str, str]) -> None:
        self._store = store
        self._spelling = switches["spelling"]
        self._duplicate = int(switches["duplicate"])
        self._hides = switches["archived"] == "hidden"
        self._most = int(switches["bulk"])
        self._customers = store.collection(
            "customers",
            unique={
                "customer_key": lambda record: _text_values(record, "customer_key"),
                "primary_email": lambda record: [email.lower() for email in _text_values(record, "primary_email")],
            },
            lists=self._lists,
            text=lambda record: "\n".join(
                part for name in ("primary_email", "full_name", *_NAMES) for part in _text_values(record, name)
            ).lower(),
        )

    def api(self) -> SandboxApi:
        return SandboxApi(
            customers=self._customers,
            routes=[*self._routes()],
            key=lambda call: call.headers.get("x-api-key") or None,
            allow=lambda _key, _call: None,
            problem=_problem,
            admit=self.admit,
            remove=self._customers.delete,
            example="METRIFOX_API_KEY=sk_test_1 tranship run metrifox://127.0.0.1:{port} duckdb:///warehouse.duckdb",
            messages={404: "Not Found", 405: "Method Not Allowed", 429: "Too Many Requests"},
        )

    def _routes(self) -> list[Route]:
        every = "/api/v1/customers"
        # A key may contain any character, even a brace.
        customer = every + "/{key:[^/]+}"
        spelled: dict[str, list[tuple[str, str, Handler]]] = {
            "sdk": [("POST", every + "/new", self._create), ("PATCH", customer, self._update)],
            "docs": [("POST", every, self._create), ("PUT", customer, self._update)],
        }
        routes = [
            *(route for side in spelled if self._spelling in ("both", side) for route in spelled[side]),
            ("POST", every + "/bulk-create", self._bulk_create),
            ("POST", every + "/csv-upload", self._upload),
            ("GET", customer, self._get),
            ("DELETE", customer, self._delete),
            ("GET", customer + "/details", self._details),
            ("GET", customer + "/check-active-subscription", self._has_subscription),
            ("POST", customer + "/archive", self._archive),
            ("POST", customer + "/unarchive", self._unarchive),
        ]
        return [*(Route(*route) for route in routes), Route("GET", every, self._list, lists=True)]

    # Create

    def admit(self, body: Record) -> Record:
        """Create a customer and return it. Raises Problem."""
        faults = self._faults(body, None)
        if faults:
            taken = all(words == ["must be unique"] for words in faults.values())
            raise Problem(self._duplicate if taken else 400, "Bad Request - Invalid customer data", faults)
        return self._made(body)

    def _create(self, call: Call) -> Answer:
        return _wrapped(201, "Customer Created", encode(self.admit(call.object())), b'"status":"created",')

    def _made(self, body: Record) -> Record:
        time = _stamp(self._store.moment())
        record = {
            "id": self._store.uuid(),
            **{name: body.get(name) for name in _TEXT},
            "full_name": None,
            **{name: body.get(name) or [] for name in _ARRAYS},
            **{name: body.get(name) or {} for name in _OBJECTS},
            "mid_cycle_invoice_consolidation": None,
            "created_at": time,
            "updated_at": time,
            "archived_at": None,
        }
        _complete(record)
        self._customers.put(record)
        return record

    def _bulk_create(self, call: Call) -> Answer:
        rows = call.object().get("customers")
        if not isinstance(rows, list) or not rows:
            raise Problem(400, "Bad Request - Invalid customer data", {"customers": ["is required"]})
        if len(rows) > self._most:
            # https://docs.metrifox.com/api-reference/customers/create-multiple-customers-in-a-single-request: 100
            words = [f"is too long (maximum is {self._most} customers)"]
            raise Problem(400, "Bad Request - Invalid customer data", {"customers": words})
        created_rows, failed = self._each(rows, "index", 0)
        counts = {"total": len(rows), "successful_count": len(created_rows), "failed_count": len(failed)}
        created = [{**place, "data": _brief(record)} for place, record in created_rows]
        data = {**counts, "customers_created": created, "customers_failed": failed}
        return _wrapped(200, "Bulk Customer Creation Completed", encode(data))

    def _upload(self, call: Call) -> Answer:
        form = call.form()
        fields = {"both": ("csv", "file"), "sdk": ("csv",), "docs": ("file",)}[self._spelling]
        file = next((form[name] for name in fields if name in form), None)
        if file is None:
            raise Problem(400, "Bad Request - Invalid file", {fields[0]: ["is required"]})
        if len(file) > LARGEST_CSV:
            raise Problem(413, "File too large")
        rows = _rows(file)
        created_rows, failed = self._each(rows, "row", 1)
        counts = {
            "total_customers": len(rows),
            "successful_upload_count": len(created_rows),
            "failed_upload_count": len(failed),
        }
        # In the documentation a customer's fields are beside its key, in the clients within `data`.
        added = [{**place, **_same(record), "data": _brief(record) | _email(record)} for place, record in created_rows]
        data = {**counts, "customers_added": added, "customers_failed": failed}
        # … and the counts beside the envelope.
        return _wrapped(200, "Customers Upload Completed", encode(data), encode(data)[1:-1] + b",")

    def _each(self, rows: Sequence[Any], counted: str, first: int) -> tuple[list[tuple[Record, Record]], list[Record]]:
        """Create each row separately; return place and record of those created, place and reason of the others."""
        created_rows: list[tuple[Record, Record]] = []
        failed: list[Record] = []
        for number, row in enumerate(rows, first):
            body = row if isinstance(row, dict) else {}
            place = {counted: number, "customer_key": body.get("customer_key")}
            if faults := self._faults(body, None):
                failed.append({**place, "error": _sentence(faults)})
                continue
            created_rows.append((place, self._made(body)))
        return created_rows, failed

    # Read

    def _get(self, call: Call) -> Answer:
        return _wrapped(200, "Customer Retrieved Successfully", self._named(call))

    def _details(self, call: Call) -> Answer:
        record = decode(self._named(call))
        lines = {"line1": "address_line1", "line2": "address_line2", "city": "city", "state": "state"}
        address = {name: record[of] for name, of in {**lines, "postal_code": "zip_code", "country": "country"}.items()}
        before = ("customer_key", "customer_type", "primary_email", "display_name", "full_name", "billing_email")
        data = {
            "metrifox_id": record["id"],
            **{name: record[name] for name in before},
            "billing_address": address if any(value is not None for value in address.values()) else None,
            **{name: record[name] for name in ("currency", "timezone", "language")},
            "tenant_checkout_username": "sandbox",
            "subscriptions": [],
            "wallets": [],
            "archived_at": record["archived_at"],
        }
        return _wrapped(200, "Customer Details Fetched Successfully", encode(data))

    def _has_subscription(self, call: Call) -> Answer:
        self._named(call)
        return _wrapped(200, "Active subscription status fetched", b'{"has_active_subscription":false}')

    def _list(self, call: Call) -> Answer:
        kind, day = call.query("customer_type"), call.query("date_created")
        faults: Faults = {}
        if kind and kind not in _TYPES:
            faults["customer_type"] = ["is not included in the list"]
        if day and not _is_date(day):
            faults["date_created"] = ["is not a valid date"]
        if faults:
            raise Problem(400, "Bad Request - Invalid filter", faults)
        view = self._customers.view(" ".join(filter(None, (kind, day))) or ("listed" if self._hides else ""))
        if needle := call.query("search_term"):
            view = self._customers.search(needle, view)
        page = _number(call, "page") or 1
        size = min(_number(call, "per_page") or _PAGE, _LARGEST_PAGE)
        rows = b",".join(self._customers.bodies(numbered(view, page, size, newest_first=True)))
        return _wrapped(200, "Customers Fetched", b"[" + rows + b"]", meta=_meta(view, page, size))

    def _lists(self, record: Record) -> Sequence[str]:
        if self._hides and record.get("archived_at"):
            return ()
        kind, day = str(record.get("customer_type")), str(record.get("created_at"))[:10]
        return (*(("listed",) if self._hides else ()), kind, day, f"{kind} {day}")

    # Change

    def _update(self, call: Call) -> Answer:
        record = decode(self._named(call))
        # The key cannot be changed. That a key in the body is ignored is assumed.
        body = {name: value for name, value in call.object().items() if name in _SETTABLE and name != "customer_key"}
        if faults := self._faults(body, record["id"]):
            raise Problem(422, "Validation Error", faults)
        was = record["primary_email"]
        for name, value in body.items():
            record[name] = value if name in _TEXT else value or ({} if name in _OBJECTS else [])
        if "email_addresses" not in body and record["primary_email"] != was:
            # As in https://docs.metrifox.com/api-reference/webhooks/events/customer-updated
            record["email_addresses"] = [
                address for address in record["email_addresses"] if address.get("email") != was
            ]
        _complete(record)
        record["updated_at"] = _stamp(self._store.moment())
        return _wrapped(200, "Customer updated", self._customers.put(record))

    def _archive(self, call: Call) -> Answer:
        return self._set_archived(call, "Customer archived successfully", archived=True)

    def _unarchive(self, call: Call) -> Answer:
        return self._set_archived(call, "Customer unarchived successfully", archived=False)

    def _set_archived(self, call: Call, message: str, *, archived: bool) -> Answer:
        record = decode(self._named(call))
        # Repeating it has no effect (assumed). An archived customer keeps its key and e-mail.
        if archived != bool(record["archived_at"]):
            time = _stamp(self._store.moment())
            record |= {"archived_at": time if archived else None, "updated_at": time}
            self._customers.put(record)
        return _wrapped(200, message, encode(record))

    def _delete(self, call: Call) -> Answer:
        # Metrifox marks the customer as deleted and hides it. That key and e-mail can be used again is assumed.
        record = decode(self._named(call))
        self._customers.delete(record["id"])
        data = {"deleted": True, "customer_key": record["customer_key"]}
        return _wrapped(200, "Customer Deleted Successfully", encode(data))

    # Both

    def _named(self, call: Call) -> bytes:
        """Return the customer of the path: by its key, or by its id, as documented for `details`."""
        named = call.params["key"]
        body = self._customers.raw(self._customers.owner("customer_key", named) or named.lower())
        if body is None:
            raise Problem(404, "Customer not found")
        return body

    def _faults(self, body: Record, key: str | None) -> Faults:
        """Return the faults of a body by field. `key` is that of the customer to change, null for a new one."""
        faults: Faults = {}
        supplied = [name for name, value in body.items() if not (name in _FREE and isinstance(value, str))]
        for name in (*_REQUIRED, *(name for name in supplied if name not in _REQUIRED)):
            if (name in body or key is None) and (fault := self._fault(name, body.get(name), key)):
                faults[name] = [fault]
        return faults

    def _fault(self, name: str, value: Any, key: str | None) -> str | None:
        if name in _REQUIRED and (value is None or (isinstance(value, str) and not value.strip())):
            return "is required"
        if value is None:
            return None
        if name in _TEXT:
            return self._text_fault(name, value, key) if isinstance(value, str) else "must be a string"
        if name in _ARRAYS and not (isinstance(value, list) and all(isinstance(entry, dict) for entry in value)):
            return "must be an array of objects"
        return "must be an object" if name in _OBJECTS and not isinstance(value, dict) else None

    def _text_fault(self, name: str, value: str, key: str | None) -> str | None:
        if name == "customer_key" and len(value) > _KEY_LENGTH:
            return f"is too long (maximum is {_KEY_LENGTH} characters)"
        if name in _EMAILS and value and not _ADDRESS.fullmatch(value):
            return "is not a valid email format"
        if value and value not in _WORDS.get(name, (value,)):
            return "is not included in the list"
        if name == "date_of_birth" and value and not _is_date(value):
            return "is not a valid date"
        unique = {"customer_key": value, "primary_email": value.lower()}.get(name)
        owner = None if unique is None else self._customers.owner(name, unique)
        return "must be unique" if owner not in (None, key) else None


def _complete(record: Record) -> None:
    """Set the values that the provider derives: the full name, and the primary e-mail among the addresses."""
    business = record["customer_type"] == "BUSINESS"
    parts = [record["legal_name"]] if business else [record["first_name"], record["last_name"]]
    record["full_name"] = " ".join(filter(None, parts)) or record["display_name"]
    primary = record["primary_email"].lower()
    others = [address for address in record["email_addresses"] if str(address.get("email")).lower() != primary]
    record["email_addresses"] = [
        {"email": record["primary_email"], "is_primary": True},
        *({**address, "is_primary": False} for address in others),
    ]


def _same(record: Record) -> Record:
    return {name: record[name] for name in ("id", "customer_type", "primary_email")}


def _brief(record: Record) -> Record:
    return {**_same(record), "display_name": record["display_name"] or record["full_name"]}


def _email(record: Record) -> Record:
    return {"email": record["primary_email"]}


def _rows(file: bytes) -> list[Record]:
    """Return the rows of a CSV file as bodies, without empty values and unknown columns."""
    try:
        rows = list(csv.DictReader(io.StringIO(file.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise Problem(400, "Bad Request - Invalid file", {"csv": ["is not a valid CSV file"]}) from None
    bodies = [{name: value for name, value in row.items() if name in _TEXT and value} for row in rows]
    return [
        body | {name: _CSV_TAX.get(body[name], body[name]) for name in ("tax_status",) if name in body}
        for body in bodies
    ]


def _sentence(faults: Faults) -> str:
    """Return the faults of a row as the message of a bulk response (assumed)."""
    return ", ".join(
        f"{name.replace('_', ' ').capitalize()} {word.replace('must be unique', 'has already been taken')}"
        for name, words in faults.items()
        for word in words
    )


def _text_values(record: Record, name: str) -> list[str]:
    value = record.get(name)
    return [value] if isinstance(value, str) else []


def _number(call: Call, name: str) -> int | None:
    """Return a number from 1; null for any other text, as in Kaminari."""
    text = call.query(name) or ""
    return int(text) or None if re.fullmatch(r"[0-9]{1,9}", text) else None


def _is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) and date.fromisoformat(text))
    except ValueError:
        return False


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _meta(view: Ranks, page: int, size: int) -> bytes:
    total = len(view)
    pages = -(-total // size)
    outside = page > pages
    return encode(
        {
            "current_page": page,
            "total_pages": pages,
            "total_count": total,
            "limit_value": size,
            "per_page": size,
            "next_page": None if page == pages or outside else page + 1,
            "prev_page": None if page == 1 or outside else page - 1,
            "first_page?": page == 1,
            "last_page?": page == pages,
            "out_of_range?": outside,
        }
    )


def _wrapped(status: int, message: str, data: bytes, more: bytes = b"", meta: bytes = b"{}") -> Answer:
    form = b'{"statusCode":%d,%b"message":%b,"meta":%b,"errors":{},"data":%b}'
    return Answer(status, form % (status, more, encode(message), meta, data))


def _problem(problem: Problem) -> Any:
    return {
        "statusCode": problem.status,
        "message": problem.message,
        "meta": {},
        "data": None,
        "errors": problem.details or {},
    }
