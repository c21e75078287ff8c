"""Billing configurations of Metronome's customers: the current ones, and those of the older "plans" (`billing-config`).

https://docs.metronome.com/api-reference; behaviour that is not documented is marked *assumed*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from tranship.connectors.sandbox.contract import Answer, Call, Problem, Route, answer
from tranship.connectors.sandbox.metronome_values import object_of, objects_of, one_of, stamp, text_of
from tranship.connectors.sandbox.store import Record, Store

READING: Final = "/v1/getCustomerBillingProviderConfigurations"
"""The path of a POST that only reads."""

_PROVIDERS: Final = frozenset(
    (
        *("aws_marketplace", "azure_marketplace", "custom", "gcp_marketplace", "metronome", "netsuite"),
        *("quickbooks_online", "stripe", "workday"),
    )
)
_AT_CREATION: Final = _PROVIDERS - {"custom", "metronome", "quickbooks_online", "workday"}
_KEPT: Final = frozenset(("aws_marketplace", "azure_marketplace"))
"""Old-style configurations of these cannot be deleted."""
_DELIVERY: Final = {
    str(uuid5(NAMESPACE_URL, f"https://api.metronome.com/delivery-methods/{name}")): name
    for name in ("direct_to_billing_provider", "aws_sqs", "tackle", "aws_sns")
}
"""Id of a delivery method → its name; the account has one of each (assumed)."""
_TAX: Final = frozenset(("anrok", "avalara", "stripe"))
_COLLECTION: Final = frozenset(("charge_automatically", "send_invoice"))
_REGIONS: Final = frozenset(
    (
        *("af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1"),
        *("ap-southeast-1", "ap-southeast-2", "ca-central-1", "cn-north-1", "cn-northwest-1", "eu-central-1"),
        *("eu-north-1", "eu-south-1", "eu-west-1", "eu-west-2", "eu-west-3", "me-south-1", "sa-east-1"),
        *("us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2"),
    )
)
_OLD_TEXTS: Final = ("billing_provider_customer_id", "aws_customer_account_id", "aws_customer_id", "aws_product_code")


class Billing:
    """The configurations of all customers.

    `known` returns the id of an existing customer, `writable` the customer if it may be changed; both raise Problem.
    """

    def __init__(self, store: Store, known: Callable[[object], str], writable: Callable[[object], Record]) -> None:
        self._store, self._known, self._writable = store, known, writable
        self._configurations = store.collection(
            "billing_provider_configurations", lists=lambda record: [record["customer_id"]]
        )
        self._revenue = store.collection("revenue_system_configurations")
        self._olds = store.collection("billing_configs", key=_old_key)

    def routes(self) -> Sequence[Route]:
        """Return the endpoints."""
        old = "/v1/customers/{id}/billing-config/{provider}"
        return [
            Route("POST", "/v1/setCustomerBillingProviderConfigurations", self._set),
            Route("POST", READING, self._get),
            Route("POST", "/v1/archiveCustomerBillingProviderConfigurations", self._archive),
            Route("POST", old, self._set_old),
            Route("GET", old, self._get_old),
            Route("DELETE", old, self._delete_old),
        ]

    def prepared(self, body: Record, customer: str) -> Callable[[], None]:
        """Check the configurations of a new customer; return a function that stores them. Raises Problem."""
        configurations = [
            self._record({**entry, "customer_id": customer}, _AT_CREATION)
            for entry in objects_of(body, "customer_billing_provider_configurations", required=False)
        ]
        revenue = [
            self._revenue_record(entry, customer)
            for entry in objects_of(body, "customer_revenue_system_configurations", required=False)
        ]
        olds = [_old(object_of(body, "billing_config"), customer)] if "billing_config" in body else []

        def store() -> None:
            for record in configurations:
                self._configurations.put(record)
            for record in revenue:
                self._revenue.put(record)
            for record in olds:
                self._olds.put(record)

        return store

    def _set(self, call: Call) -> Answer:
        records = []
        for entry in objects_of(call.object(), "data"):
            customer = self._writable(entry.get("customer_id"))["id"]
            records.append(self._record({**entry, "customer_id": customer}, _PROVIDERS))
        for record in records:
            self._configurations.put(record)
        shown = ("id", "billing_provider", "configuration", "customer_id", "delivery_method_id", "tax_provider")
        return answer(200, {"data": [{name: record[name] for name in shown} for record in records]})

    def _record(self, entry: Record, providers: frozenset[str]) -> Record:
        provider, method = one_of(entry, "billing_provider", providers), _delivery(entry)
        configuration, tax = object_of(entry, "configuration"), entry.get("tax_provider")
        if provider == "stripe":
            text_of(configuration, "stripe_customer_id")
            if "stripe_collection_method" in configuration:
                one_of(configuration, "stripe_collection_method", _COLLECTION)
        if tax is not None:
            one_of(entry, "tax_provider", _TAX)
            if provider != "stripe":
                raise Problem(400, "tax_provider is for Stripe only")
        return {
            "id": self._store.uuid(),
            "archived_at": None,
            "billing_provider": provider,
            "configuration": configuration,
            "customer_id": entry["customer_id"],
            "delivery_method": _DELIVERY[method],
            "delivery_method_id": method,
            "delivery_method_configuration": {},
            "tax_provider": tax,
        }

    def _revenue_record(self, entry: Record, customer: str) -> Record:
        return {
            "id": self._store.uuid(),
            "customer_id": customer,
            "provider": one_of(entry, "provider", frozenset(("netsuite",))),
            "configuration": object_of(entry, "configuration"),
            "delivery_method_id": _delivery(entry, frozenset(("direct_to_billing_provider",))),
        }

    def _of(self, customer: str) -> list[Record]:
        keys = self._configurations.keys(self._configurations.view(customer))
        return [record for key in keys if (record := self._configurations.get(key))]

    def _get(self, call: Call) -> Answer:
        body = call.object()
        archived = body.get("include_archived", False)
        if not isinstance(archived, bool):
            raise Problem(400, "include_archived must be a boolean")
        shown = [
            {name: value for name, value in record.items() if name != "tax_provider"}
            for record in self._of(self._known(body.get("customer_id")))
            if archived or record["archived_at"] is None
        ]
        return answer(200, {"data": shown})

    def _archive(self, call: Call) -> Answer:
        body = call.object()
        customer, ids = self._known(body.get("customer_id")), body.get("customer_billing_provider_configuration_ids")
        active = {record["id"]: record for record in self._of(customer) if record["archived_at"] is None}
        if not isinstance(ids, list) or not ids:
            raise Problem(400, "customer_billing_provider_configuration_ids must be a list of ids")
        if any(not isinstance(key, str) or key not in active for key in ids):
            raise Problem(400, "A billing provider configuration is not the customer's, or archived already")
        time = stamp(self._store.moment())
        for key in ids:
            self._configurations.put({**active[key], "archived_at": time})
        return answer(200, {"data": {"customer_billing_provider_configuration_ids": ids, "customer_id": customer}})

    def _set_old(self, call: Call) -> Answer:
        customer = self._writable(call.params["id"])["id"]
        body = {**call.object(), "billing_provider_type": call.params["provider"]}
        # It is assumed that an older configuration of the same billing provider is replaced.
        self._olds.put(_old(body, customer))
        return Answer(200)

    def _get_old(self, call: Call) -> Answer:
        return answer(200, {"data": self._known_old(call, self._known(call.params["id"]))["values"]})

    def _delete_old(self, call: Call) -> Answer:
        record = self._known_old(call, self._writable(call.params["id"])["id"])
        if record["billing_provider_type"] in _KEPT:
            raise Problem(400, "The billing configuration of AWS and Azure Marketplace customers cannot be deleted")
        self._olds.delete(_old_key(record))
        return Answer(200)

    def _known_old(self, call: Call, customer: str) -> Record:
        provider = one_of(call.params, "provider", _PROVIDERS)
        record = self._olds.get(_old_key({"customer_id": customer, "billing_provider_type": provider}))
        if record is None:
            raise Problem(404, "Billing configuration not found")
        return record


def _delivery(entry: Record, methods: frozenset[str] = frozenset(_DELIVERY.values())) -> str:
    """Return the id of the delivery method, which is given by name or by id. Raises Problem."""
    if "delivery_method" in entry:
        name = one_of(entry, "delivery_method", methods)
        return next(method for method, known in _DELIVERY.items() if known == name)
    if "delivery_method_id" not in entry:
        raise Problem(400, "Either delivery_method or delivery_method_id must be given")
    method = one_of(
        entry, "delivery_method_id", frozenset(known for known, name in _DELIVERY.items() if name in methods)
    )
    return str(method)


def _old(body: Record, customer: str) -> Record:
    provider = one_of(body, "billing_provider_type", _PROVIDERS)
    text_of(body, "billing_provider_customer_id")
    values: Record = {name: text_of(body, name) for name in _OLD_TEXTS if name in body}
    if "aws_region" in body:
        values["aws_region"] = one_of(body, "aws_region", _REGIONS)
    if "stripe_collection_method" in body:
        values["stripe_collection_method"] = one_of(body, "stripe_collection_method", _COLLECTION)
    if "aws_is_subscription_product" in body:
        if not isinstance(body["aws_is_subscription_product"], bool):
            raise Problem(400, "aws_is_subscription_product must be a boolean")
        values["aws_is_subscription_product"] = body["aws_is_subscription_product"]
    return {"customer_id": customer, "billing_provider_type": provider, "values": values}


def _old_key(record: Record) -> str:
    return f"{record['customer_id']} {record['billing_provider_type']}"
