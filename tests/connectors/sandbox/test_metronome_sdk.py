"""The sandbox of Metronome, called by the vendor's own Python package through every customer call it has."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import metronome
import pytest
from metronome import AsyncMetronome, Metronome

from support.sandboxes import Sandbox, sandboxes
from tranship.connectors.sandbox.metronome import IDS, KEYS_IN_A_PAGE, LIMIT, USUAL_LIMIT
from tranship.schemas.providers.metronome import ALIAS_LENGTH, ALIASES, KEY_LENGTH, NAME_LENGTH, VALUE_LENGTH

pytestmark = [pytest.mark.slow, pytest.mark.alternating("client")]

NOBODY = "00000000-0000-4000-8000-000000000000"


class Blocking:
    """The blocking client and the asynchronous one behind the same interface: `api.customers.create(name="A")`."""

    def __init__(self, client: Metronome | AsyncMetronome, loop: asyncio.AbstractEventLoop | None) -> None:
        self.client = client
        self.loop = loop

    @property
    def customers(self) -> Any:
        return _Calls(self.client.v1.customers, self)

    @property
    def billing_config(self) -> Any:
        return _Calls(self.client.v1.customers.billing_config, self)

    @property
    def custom_fields(self) -> Any:
        return _Calls(self.client.v1.custom_fields, self)

    def wait(self, answer: Any) -> Any:
        if self.loop is None or not inspect.isawaitable(answer):
            return answer

        async def awaited() -> Any:
            return await answer

        return self.loop.run_until_complete(awaited())

    def everything(self, pages: Any) -> list[dict[str, Any]]:
        """Return every item of all pages, as the client itself follows them."""
        if self.loop is None:
            return [item.to_dict() for item in pages]

        async def collected(items: AsyncIterator[Any]) -> list[dict[str, Any]]:
            return [item.to_dict() async for item in items]

        return self.loop.run_until_complete(collected(pages))


class _Calls:
    def __init__(self, resource: Any, api: Blocking) -> None:
        self._resource = resource
        self._api = api

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._resource, name)

        def blocking(**arguments: Any) -> Any:
            answer = call(**arguments)
            # An asynchronous list is awaitable (its first page) and iterable (all of them); `everything` decides.
            return answer if hasattr(answer, "__aiter__") else self._api.wait(answer)

        return blocking


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    with sandboxes() as start:
        yield start("metronome")


@pytest.fixture(scope="module", params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, account: Sandbox) -> Iterator[Blocking]:
    """The vendor's client without retries, in both of its kinds."""
    if request.param == "blocking":
        with Metronome(bearer_token="t", base_url=account.url, max_retries=0) as client:
            yield Blocking(client, None)
        return
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        client = AsyncMetronome(bearer_token="t", base_url=account.url, max_retries=0)
        yield Blocking(client, loop)
        loop.run_until_complete(client.close())


@pytest.fixture
def api(client: Blocking, account: Sandbox) -> Blocking:
    """An empty account."""
    account.clear()
    return client


def _create(api: Blocking, name: str = "Nordlys AB", **fields: Any) -> str:
    return str(api.customers.create(name=name, **fields).data.id)


def _detail(api: Blocking, customer: str) -> dict[str, Any]:
    return dict(api.customers.retrieve(customer_id=customer).data.to_dict())


def _names(customers: Iterable[dict[str, Any]]) -> list[str]:
    return [customer["name"] for customer in customers]


def _refused(kind: type[metronome.APIStatusError], call: Callable[..., Any], **arguments: Any) -> str:
    """Return the message of the error raised by this call; its body contains nothing else."""
    with pytest.raises(kind) as error:
        call(**arguments)
    assert isinstance(error.value.body, dict)
    assert list(error.value.body) == ["message"]
    return str(error.value.body["message"])


# Create ----------------------------------------------------------------------------------------------------------


def test_create_with_a_name_only(api: Blocking) -> None:
    created = api.customers.create(name="Nordlys AB").to_dict()
    customer = created["data"]["id"]
    assert UUID(customer).version == 4
    assert created == {
        "data": {
            "id": customer,
            "external_id": customer,
            "ingest_aliases": [],
            "name": "Nordlys AB",
            "custom_fields": {},
        }
    }


def test_create_as_the_documentation_does(api: Blocking) -> None:
    for key in ("canon_email", "canon_country"):
        api.custom_fields.add_key(entity="customer", key=key, enforce_uniqueness=False)
    fields = {"canon_email": "ap@nordlys.example", "canon_country": "SE"}
    aliases = ["cus_000000042", "ap@nordlys.example"]
    created = api.customers.create(name="Nordlys AB", ingest_aliases=aliases, custom_fields=fields).data.to_dict()
    assert created == {
        "id": created["id"],
        "external_id": "cus_000000042",
        "ingest_aliases": aliases,
        "name": "Nordlys AB",
        "custom_fields": fields,
    }


def test_the_deprecated_external_id_becomes_the_first_alias(api: Blocking) -> None:
    created = api.customers.create(name="A", external_id="x", ingest_aliases=["a", "b"]).data
    assert (created.external_id, created.ingest_aliases) == ("x", ["x", "a", "b"])
    again = api.customers.create(name="B", external_id="y", ingest_aliases=["z", "y", "z"]).data
    assert (again.external_id, again.ingest_aliases) == ("y", ["y", "z"])
    alone = api.customers.create(name="C", external_id="only").data
    assert (alone.external_id, alone.ingest_aliases) == ("only", ["only"])


def test_create_with_everything_the_client_can_send(api: Blocking) -> None:
    api.custom_fields.add_key(entity="customer", key="tier", enforce_uniqueness=False)
    customer = _create(
        api,
        external_id="x",
        ingest_aliases=["a"],
        custom_fields={"tier": "pro"},
        billing_config={
            "billing_provider_type": "stripe",
            "billing_provider_customer_id": "cus_old",
            "stripe_collection_method": "send_invoice",
        },
        customer_billing_provider_configurations=[
            {
                "billing_provider": "stripe",
                "delivery_method": "direct_to_billing_provider",
                "configuration": {"stripe_customer_id": "cus_1", "stripe_collection_method": "charge_automatically"},
                "tax_provider": "anrok",
            }
        ],
        customer_revenue_system_configurations=[
            {
                "provider": "netsuite",
                "delivery_method": "direct_to_billing_provider",
                "configuration": {"netsuite_customer_id": "7"},
            }
        ],
        extra_body={"customer_config": {"salesforce_account_id": "sf-1"}},
    )
    detail = _detail(api, customer)
    assert detail["ingest_aliases"] == ["x", "a"]
    assert detail["custom_fields"] == {"tier": "pro"}
    assert detail["customer_config"] == {"salesforce_account_id": "sf-1"}
    old = api.billing_config.retrieve(customer_id=customer, billing_provider_type="stripe").data.to_dict()
    assert old == {"billing_provider_customer_id": "cus_old", "stripe_collection_method": "send_invoice"}
    (new,) = api.customers.retrieve_billing_configurations(customer_id=customer).data
    assert (new.billing_provider, new.delivery_method) == ("stripe", "direct_to_billing_provider")
    assert new.configuration == {"stripe_customer_id": "cus_1", "stripe_collection_method": "charge_automatically"}


def test_a_long_name_is_cut_without_a_word(api: Blocking) -> None:
    created = api.customers.create(name="é" * (NAME_LENGTH + 1)).data
    assert created.name == "é" * NAME_LENGTH == "é" * 160
    assert _detail(api, created.id)["name"] == "é" * 160


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": None},
        {"name": 7},
        {"ingest_aliases": [""]},
        {"ingest_aliases": ["a" * (ALIAS_LENGTH + 1)]},
        {"ingest_aliases": [str(n) for n in range(ALIASES + 1)]},
        {"external_id": ""},
        {"external_id": "a" * (ALIAS_LENGTH + 1)},
        {"external_id": "one-more", "ingest_aliases": [str(n) for n in range(ALIASES)]},
        {"custom_fields": {"never-registered": "x"}},
        {"custom_fields": {"tier": "x" * (VALUE_LENGTH + 1)}},
        {"custom_fields": {"tier": 7}},
        {"billing_config": {"billing_provider_type": "stripe"}},
        {"billing_config": {"billing_provider_type": "paypal", "billing_provider_customer_id": "x"}},
        {"customer_billing_provider_configurations": [{"billing_provider": "workday", "delivery_method": "aws_sqs"}]},
        {"customer_billing_provider_configurations": [{"billing_provider": "netsuite"}]},
        {"customer_revenue_system_configurations": [{"provider": "stripe", "delivery_method_id": NOBODY}]},
        {"customer_revenue_system_configurations": [{"provider": "netsuite"}]},
        {"extra_body": {"customer_config": {"salesforce_account_id": 7}}},
    ],
    ids=lambda fields: ",".join(fields),
)
def test_what_breaks_a_limit_is_refused_and_leaves_nothing(api: Blocking, fields: dict[str, Any]) -> None:
    api.custom_fields.add_key(entity="customer", key="tier", enforce_uniqueness=False)
    assert _refused(metronome.BadRequestError, api.customers.create, **{"name": "A", **fields})
    assert api.everything(api.customers.list()) == []


def test_the_limits_themselves_are_allowed(api: Blocking) -> None:
    key = "k" * KEY_LENGTH
    api.custom_fields.add_key(entity="customer", key=key, enforce_uniqueness=False)
    aliases = [f"{n:0{ALIAS_LENGTH}}" for n in range(ALIASES)]
    fields = {key: "é" * VALUE_LENGTH}
    created = api.customers.create(name="A", ingest_aliases=aliases, custom_fields=fields).data
    assert (created.ingest_aliases, created.custom_fields) == (aliases, fields)
    assert (len(aliases), len(aliases[0]), len(key), len(fields[key])) == (2000, 128, 100, 200)


def test_an_unregistered_key_is_called_invalid(api: Blocking) -> None:
    message = _refused(metronome.BadRequestError, api.customers.create, name="A", custom_fields={"tier": "pro"})
    assert message.startswith("Invalid custom field keys")


def test_an_alias_belongs_to_one_customer(api: Blocking) -> None:
    owner = _create(api, ingest_aliases=["cus_000000042"])
    message = _refused(metronome.ConflictError, api.customers.create, name="B", ingest_aliases=["b", "cus_000000042"])
    assert message == "Ingest alias already in use: cus_000000042"
    assert _refused(metronome.ConflictError, api.customers.create, name="B", external_id="cus_000000042") == message
    assert [c["id"] for c in api.everything(api.customers.list())] == [owner]
    _create(api, "B", ingest_aliases=["b"])


def test_a_key_that_enforces_uniqueness(api: Blocking) -> None:
    api.custom_fields.add_key(entity="customer", key="account", enforce_uniqueness=True)
    first = _create(api, "A", custom_fields={"account": "1"})
    assert _refused(metronome.ConflictError, api.customers.create, name="B", custom_fields={"account": "1"})
    second = _create(api, "B", custom_fields={"account": "2"})
    taken = {"entity": "customer", "entity_id": second, "custom_fields": {"account": "1"}}
    assert _refused(metronome.ConflictError, api.custom_fields.set_values, **taken)
    api.custom_fields.set_values(entity="customer", entity_id=first, custom_fields={"account": "1"})
    api.custom_fields.delete_values(entity="customer", entity_id=first, keys=["account"])
    api.custom_fields.set_values(**taken)
    assert _detail(api, second)["custom_fields"] == {"account": "1"}


# Retrieve --------------------------------------------------------------------------------------------------------


def test_retrieve_gives_the_detail(api: Blocking) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    customer = _create(api, ingest_aliases=["x"])
    detail = _detail(api, customer)
    assert before < detail["created_at"] <= datetime.now(UTC) + timedelta(seconds=1)
    assert detail == {
        "id": customer,
        "external_id": "x",
        "ingest_aliases": ["x"],
        "name": "Nordlys AB",
        "custom_fields": {},
        "customer_config": {"salesforce_account_id": None},
        "created_at": detail["created_at"],
        "updated_at": detail["created_at"],
        "archived_at": None,
    }


def test_an_unknown_customer_is_not_found_and_a_broken_id_is_bad(api: Blocking) -> None:
    assert _refused(metronome.NotFoundError, api.customers.retrieve, customer_id=NOBODY)
    assert _refused(metronome.BadRequestError, api.customers.retrieve, customer_id="x")


# List ------------------------------------------------------------------------------------------------------------


def test_an_empty_account(api: Blocking) -> None:
    page = api.wait(api.customers.list())
    assert page.to_dict() == {"data": [], "next_page": None}


@pytest.mark.parametrize("count", [1, 3, 6, 7])
def test_every_customer_is_listed_once_in_order(api: Blocking, count: int) -> None:
    for n in range(count):
        _create(api, str(n), ingest_aliases=[f"alias {n}"])
    page = api.wait(api.customers.list(limit=3))
    assert len(page.data) == min(count, 3)
    assert (page.next_page is None) == (count <= 3)
    listed = api.everything(api.customers.list(limit=3))
    assert _names(listed) == [str(n) for n in range(count)]
    assert listed == [_detail(api, customer["id"]) for customer in listed]


def test_a_page_holds_fifty_unless_told(api: Blocking) -> None:
    for n in range(101):
        _create(api, str(n))
    page = api.wait(api.customers.list())
    assert _names(item.to_dict() for item in page.data) == [str(n) for n in range(USUAL_LIMIT)]
    assert len(api.wait(api.customers.list(limit=LIMIT)).data) == LIMIT == 100
    assert _names(api.everything(api.customers.list())) == [str(n) for n in range(101)]


@pytest.mark.parametrize("limit", [0, -1, LIMIT + 1])
def test_a_limit_outside_its_range(api: Blocking, limit: int) -> None:
    with pytest.raises(metronome.BadRequestError):
        api.wait(api.customers.list(limit=limit))


def test_a_cursor_of_another_list_is_refused(api: Blocking) -> None:
    for n in range(3):
        _create(api, str(n))
    cursor = api.wait(api.customers.list(limit=1)).next_page
    assert _names(api.everything(api.customers.list(limit=1, next_page=cursor))) == ["1", "2"]
    assert _names(api.everything(api.customers.list(limit=2, next_page=cursor))) == ["1", "2"]
    for other in ({"next_page": "nonsense"}, {"next_page": cursor, "only_archived": True}):
        with pytest.raises(metronome.BadRequestError):
            api.wait(api.customers.list(**other))


def test_the_filters(api: Blocking) -> None:
    a, b, c = (_create(api, name, ingest_aliases=[f"{name}1", f"{name}2"]) for name in "abc")
    api.customers.update_config(customer_id=a, salesforce_account_id="sf-1")
    api.customers.update_config(customer_id=c, salesforce_account_id="sf-1")

    def found(**filters: Any) -> list[str]:
        return _names(api.everything(api.customers.list(limit=1, **filters)))

    assert found(ingest_alias="b2") == ["b"]
    assert found(ingest_alias="B2") == []
    assert found(ingest_alias="b") == []
    assert found(customer_ids=[c, a]) == ["a", "c"]
    assert found(customer_ids=[b, NOBODY, b]) == ["b"]
    assert found(salesforce_account_ids=["sf-1", "sf-2"]) == ["a", "c"]
    assert found(salesforce_account_ids=["sf-2"]) == []
    assert found(salesforce_account_ids=["sf-1"], customer_ids=[b, c]) == ["c"]
    assert found(ingest_alias="a1", customer_ids=[b]) == []
    api.customers.archive(id=c)
    assert found(salesforce_account_ids=["sf-1"]) == ["a"]
    assert found(salesforce_account_ids=["sf-1"], only_archived=True) == ["c"]
    assert found(customer_ids=[a, b, c], only_archived=True) == ["c"]
    assert found(ingest_alias="c1") == []
    assert found(ingest_alias="c1", only_archived=True) == ["c"]
    assert found(only_archived=False) == ["a", "b"]


@pytest.mark.parametrize("name", ["customer_ids", "salesforce_account_ids"])
def test_a_hundred_ids_and_no_more(api: Blocking, name: str) -> None:
    ids = [str(uuid4()) for _ in range(IDS + 1)]
    assert api.everything(api.customers.list(**{name: ids[:IDS]})) == []
    with pytest.raises(metronome.BadRequestError):
        api.wait(api.customers.list(**{name: ids}))


def test_a_broken_id_in_a_filter(api: Blocking) -> None:
    with pytest.raises(metronome.BadRequestError):
        api.wait(api.customers.list(customer_ids=["x"]))


# Update ----------------------------------------------------------------------------------------------------------


def test_set_name(api: Blocking) -> None:
    customer = _create(api, "before", ingest_aliases=["x"])
    before = _detail(api, customer)
    answer = api.customers.set_name(customer_id=customer, name="n" * 161)
    assert answer.to_dict() == {
        "data": {"id": customer, "external_id": "x", "ingest_aliases": ["x"], "name": "n" * 160, "custom_fields": {}}
    }
    after = _detail(api, customer)
    assert after == {**before, "name": "n" * 160, "updated_at": after["updated_at"]}
    assert after["updated_at"] >= before["updated_at"]
    assert _refused(metronome.BadRequestError, api.customers.set_name, customer_id=customer, name="")
    assert _refused(metronome.NotFoundError, api.customers.set_name, customer_id=NOBODY, name="x")
    assert _refused(metronome.BadRequestError, api.customers.set_name, customer_id="x", name="x")


def test_set_ingest_aliases_replaces_them_all(api: Blocking) -> None:
    customer = _create(api, ingest_aliases=["a", "b"])
    for _ in range(2):
        answer = api.customers.set_ingest_aliases(customer_id=customer, ingest_aliases=["c", "b", "c"])
        assert answer is None
        assert _detail(api, customer)["ingest_aliases"] == ["c", "b"]
        assert _detail(api, customer)["external_id"] == "c"
    _create(api, "B", ingest_aliases=["a"])
    api.customers.set_ingest_aliases(customer_id=customer, ingest_aliases=[])
    assert (_detail(api, customer)["ingest_aliases"], _detail(api, customer)["external_id"]) == ([], customer)


def test_an_alias_moves_in_two_calls(api: Blocking) -> None:
    old, new = _create(api, "old", ingest_aliases=["x", "y"]), _create(api, "new", ingest_aliases=["z"])
    move = {"customer_id": new, "ingest_aliases": ["z", "x"]}
    message = _refused(metronome.ConflictError, api.customers.set_ingest_aliases, **move)
    assert message == "Ingest alias already in use: x"
    assert _detail(api, new)["ingest_aliases"] == ["z"]
    api.customers.set_ingest_aliases(customer_id=old, ingest_aliases=["y"])
    api.customers.set_ingest_aliases(**move)
    assert _detail(api, new)["ingest_aliases"] == ["z", "x"]


@pytest.mark.parametrize(
    "aliases",
    [[""], ["a" * (ALIAS_LENGTH + 1)], [str(n) for n in range(ALIASES + 1)], None, [7]],
    ids=["empty", "long", "many", "none", "number"],
)
def test_aliases_that_cannot_be_set(api: Blocking, aliases: Any) -> None:
    customer = _create(api, ingest_aliases=["x"])
    arguments = {"customer_id": customer, "ingest_aliases": aliases}
    assert _refused(metronome.BadRequestError, api.customers.set_ingest_aliases, **arguments)
    assert _detail(api, customer)["ingest_aliases"] == ["x"]
    assert _refused(metronome.NotFoundError, api.customers.set_ingest_aliases, customer_id=NOBODY, ingest_aliases=[])


def test_update_config(api: Blocking) -> None:
    customer = _create(api)
    update = api.customers.update_config
    assert update(customer_id=customer, salesforce_account_id="sf-1", leave_stripe_invoices_in_draft=True) is None
    assert _detail(api, customer)["customer_config"] == {"salesforce_account_id": "sf-1"}
    update(customer_id=customer, leave_stripe_invoices_in_draft=None)
    assert _detail(api, customer)["customer_config"] == {"salesforce_account_id": "sf-1"}
    update(customer_id=customer, salesforce_account_id=None)
    assert _detail(api, customer)["customer_config"] == {"salesforce_account_id": None}
    assert _refused(metronome.BadRequestError, update, customer_id=customer, salesforce_account_id=7)
    assert _refused(metronome.BadRequestError, update, customer_id=customer, leave_stripe_invoices_in_draft="yes")
    assert _refused(metronome.NotFoundError, update, customer_id=NOBODY, salesforce_account_id="x")


# Archive ---------------------------------------------------------------------------------------------------------


def test_archive(api: Blocking) -> None:
    customer, other = _create(api, "gone", ingest_aliases=["x"]), _create(api, "here")
    before, began = _detail(api, customer), datetime.now(UTC) - timedelta(seconds=1)
    assert api.customers.archive(id=customer).to_dict() == {"data": {"id": customer}}
    after = _detail(api, customer)
    assert began <= after["archived_at"] <= datetime.now(UTC)
    assert after == {**before, "archived_at": after["archived_at"], "updated_at": after["updated_at"]}
    assert [c["id"] for c in api.everything(api.customers.list())] == [other]
    assert api.everything(api.customers.list(only_archived=True)) == [after]


def test_an_archived_customer_keeps_its_aliases(api: Blocking) -> None:
    customer = _create(api, ingest_aliases=["x"])
    api.customers.archive(id=customer)
    assert _refused(metronome.ConflictError, api.customers.create, name="B", ingest_aliases=["x"])
    freeing = {"customer_id": customer, "ingest_aliases": []}
    assert _refused(metronome.BadRequestError, api.customers.set_ingest_aliases, **freeing)


def test_aliases_taken_off_before_archiving_are_free(api: Blocking) -> None:
    customer = _create(api, ingest_aliases=["x"])
    api.customers.set_ingest_aliases(customer_id=customer, ingest_aliases=[])
    api.customers.archive(id=customer)
    assert _create(api, "B", ingest_aliases=["x"]) != customer


def test_an_archived_customer_cannot_be_written(api: Blocking) -> None:
    api.custom_fields.add_key(entity="customer", key="tier", enforce_uniqueness=False)
    customer = _create(api)
    api.customers.archive(id=customer)
    before = _detail(api, customer)
    entity = {"entity": "customer", "entity_id": customer}
    billing = {"customer_id": customer, "billing_provider": "netsuite", "delivery_method": "direct_to_billing_provider"}
    old_billing = {"billing_provider_type": "stripe", "billing_provider_customer_id": "c"}
    for call, arguments in (
        (api.customers.archive, {"id": customer}),
        (api.customers.set_name, {"customer_id": customer, "name": "x"}),
        (api.customers.update_config, {"customer_id": customer, "salesforce_account_id": "x"}),
        (api.custom_fields.set_values, {**entity, "custom_fields": {"tier": "x"}}),
        (api.custom_fields.delete_values, {**entity, "keys": ["tier"]}),
        (api.customers.set_billing_configurations, {"data": [billing]}),
        (api.billing_config.create, {"customer_id": customer, **old_billing}),
    ):
        assert _refused(metronome.BadRequestError, call, **arguments)
    assert _detail(api, customer) == before


def test_archiving_nobody(api: Blocking) -> None:
    assert _refused(metronome.NotFoundError, api.customers.archive, id=NOBODY)
    assert _refused(metronome.BadRequestError, api.customers.archive, id="x")
    assert _refused(metronome.BadRequestError, api.customers.archive, id=None)


# Custom fields ---------------------------------------------------------------------------------------------------


def test_keys_are_registered_listed_and_removed(api: Blocking) -> None:
    keys = api.custom_fields
    assert api.everything(keys.list_keys(entities=["customer"])) == []
    assert keys.add_key(entity="customer", key="tier", enforce_uniqueness=False) is None
    keys.add_key(entity="customer", key="account", enforce_uniqueness=True)
    keys.add_key(entity="contract", key="tier", enforce_uniqueness=False)
    tier = {"entity": "customer", "key": "tier", "enforce_uniqueness": False}
    account = {"entity": "customer", "key": "account", "enforce_uniqueness": True}
    contract = {"entity": "contract", "key": "tier", "enforce_uniqueness": False}
    assert api.everything(keys.list_keys(entities=["customer"])) == [tier, account]
    assert api.everything(keys.list_keys()) == [tier, account, contract]
    assert api.everything(keys.list_keys(entities=["contract", "customer"])) == [tier, account, contract]
    assert api.wait(keys.list_keys(entities=["invoice"])).to_dict() == {"data": [], "next_page": None}
    assert keys.remove_key(entity="contract", key="tier") is None
    assert api.everything(keys.list_keys()) == [tier, account]


def test_more_keys_than_a_page_holds(api: Blocking) -> None:
    names = [f"key {n}" for n in range(250)]
    for name in names:
        api.custom_fields.add_key(entity="customer", key=name, enforce_uniqueness=False)
    first = api.wait(api.custom_fields.list_keys(entities=["customer"]))
    assert (len(first.data), first.next_page is None) == (KEYS_IN_A_PAGE, False)
    assert [key["key"] for key in api.everything(api.custom_fields.list_keys(entities=["customer"]))] == names
    with pytest.raises(metronome.BadRequestError):
        api.wait(api.custom_fields.list_keys(next_page="nonsense"))


def test_a_key_is_registered_once(api: Blocking) -> None:
    key = {"entity": "customer", "key": "tier", "enforce_uniqueness": False}
    api.custom_fields.add_key(**key)
    assert _refused(metronome.ConflictError, api.custom_fields.add_key, **key)


@pytest.mark.parametrize(
    "wrong",
    [{"entity": "country"}, {"key": ""}, {"key": "k" * 101}, {"key": None}, {"enforce_uniqueness": "no"}],
    ids=str,
)
def test_a_key_that_cannot_be_registered(api: Blocking, wrong: dict[str, Any]) -> None:
    key = {"entity": "customer", "key": "tier", "enforce_uniqueness": False}
    assert _refused(metronome.BadRequestError, api.custom_fields.add_key, **{**key, **wrong})
    assert api.everything(api.custom_fields.list_keys()) == []


def test_values_of_a_removed_key_are_out_of_reach(api: Blocking) -> None:
    key = {"entity": "customer", "key": "tier"}
    for name in ("tier", "other"):
        api.custom_fields.add_key(entity="customer", key=name, enforce_uniqueness=False)
    customer = _create(api, custom_fields={"tier": "pro", "other": "x"})
    api.custom_fields.remove_key(**key)
    assert _detail(api, customer)["custom_fields"] == {"other": "x"}
    values = {"entity": "customer", "entity_id": customer, "custom_fields": {"tier": "pro"}}
    assert _refused(metronome.BadRequestError, api.custom_fields.set_values, **values)
    assert _refused(metronome.NotFoundError, api.custom_fields.remove_key, **key)


def test_set_values_overwrites_the_given_ones_and_keeps_the_others(api: Blocking) -> None:
    for name in "abc":
        api.custom_fields.add_key(entity="customer", key=name, enforce_uniqueness=False)
    customer = _create(api, custom_fields={"a": "1", "b": "2"})
    values = {"entity": "customer", "entity_id": customer}
    assert api.custom_fields.set_values(**values, custom_fields={"b": "20", "c": "3"}) is None
    assert _detail(api, customer)["custom_fields"] == {"a": "1", "b": "20", "c": "3"}
    assert api.custom_fields.delete_values(**values, keys=["a", "c"]) is None
    assert _detail(api, customer)["custom_fields"] == {"b": "20"}
    api.custom_fields.delete_values(**values, keys=["a"])
    assert _detail(api, customer)["custom_fields"] == {"b": "20"}


@pytest.mark.parametrize(
    "bad", [{"never": "x"}, {"a": "x" * 201}, {"a": 7}, {"a": None}], ids=lambda bad: str(bad)[:20]
)
def test_set_values_is_all_or_nothing(api: Blocking, bad: dict[str, Any]) -> None:
    for name in "ab":
        api.custom_fields.add_key(entity="customer", key=name, enforce_uniqueness=False)
    customer = _create(api, custom_fields={"a": "1"})
    values = {"entity": "customer", "entity_id": customer, "custom_fields": {"b": "2", **bad}}
    assert _refused(metronome.BadRequestError, api.custom_fields.set_values, **values)
    assert _detail(api, customer)["custom_fields"] == {"a": "1"}


def test_values_of_nobody(api: Blocking) -> None:
    api.custom_fields.add_key(entity="customer", key="a", enforce_uniqueness=False)
    nobody = {"entity": "customer", "entity_id": NOBODY}
    assert _refused(metronome.NotFoundError, api.custom_fields.set_values, **nobody, custom_fields={"a": "1"})
    assert _refused(metronome.NotFoundError, api.custom_fields.delete_values, **nobody, keys=["a"])


# Billing configurations ------------------------------------------------------------------------------------------


def test_billing_configurations_of_several_customers(api: Blocking) -> None:
    one, two = _create(api, "one"), _create(api, "two")
    stripe = {"stripe_customer_id": "cus_1", "stripe_collection_method": "send_invoice"}
    direct = "direct_to_billing_provider"
    answer = api.customers.set_billing_configurations(
        data=[
            {
                "customer_id": one,
                "billing_provider": "stripe",
                "configuration": stripe,
                "delivery_method": direct,
                "tax_provider": "avalara",
            },
            {"customer_id": two, "billing_provider": "aws_marketplace", "delivery_method": "aws_sqs"},
        ]
    ).to_dict()["data"]
    assert len({entry["id"] for entry in answer}) == 2
    assert answer[0] == {
        "id": answer[0]["id"],
        "customer_id": one,
        "billing_provider": "stripe",
        "configuration": stripe,
        "delivery_method_id": answer[0]["delivery_method_id"],
        "tax_provider": "avalara",
    }
    assert answer[1] == {
        "id": answer[1]["id"],
        "customer_id": two,
        "billing_provider": "aws_marketplace",
        "configuration": {},
        "delivery_method_id": answer[1]["delivery_method_id"],
        "tax_provider": None,
    }
    assert api.customers.retrieve_billing_configurations(customer_id=one).to_dict() == {
        "data": [
            {
                "id": answer[0]["id"],
                "archived_at": None,
                "billing_provider": "stripe",
                "configuration": stripe,
                "customer_id": one,
                "delivery_method": direct,
                "delivery_method_id": answer[0]["delivery_method_id"],
                "delivery_method_configuration": {},
            }
        ]
    }
    by_id = {"billing_provider": "netsuite", "delivery_method_id": answer[0]["delivery_method_id"]}
    api.customers.set_billing_configurations(data=[{"customer_id": one, **by_id}])
    both = api.customers.retrieve_billing_configurations(customer_id=one).data
    assert [(c.billing_provider, c.delivery_method) for c in both] == [("stripe", direct), ("netsuite", direct)]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"billing_provider": "paypal"}, metronome.BadRequestError),
        ({"billing_provider": None}, metronome.BadRequestError),
        ({"delivery_method": "pigeon"}, metronome.BadRequestError),
        ({"delivery_method": None}, metronome.BadRequestError),
        ({"delivery_method": None, "delivery_method_id": "x"}, metronome.BadRequestError),
        ({"configuration": "x"}, metronome.BadRequestError),
        ({"configuration": {}}, metronome.BadRequestError),
        ({"configuration": {"stripe_customer_id": "c", "stripe_collection_method": "x"}}, metronome.BadRequestError),
        ({"tax_provider": "x"}, metronome.BadRequestError),
        ({"billing_provider": "netsuite", "tax_provider": "anrok"}, metronome.BadRequestError),
        ({"customer_id": "x"}, metronome.BadRequestError),
        ({"customer_id": NOBODY}, metronome.NotFoundError),
    ],
    ids=str,
)
def test_one_bad_billing_configuration_spoils_all(api: Blocking, wrong: dict[str, Any], kind: Any) -> None:
    customer = _create(api)
    good = {
        "customer_id": customer,
        "billing_provider": "stripe",
        "configuration": {"stripe_customer_id": "cus_1"},
        "delivery_method": "direct_to_billing_provider",
    }
    bad = {name: value for name, value in {**good, **wrong}.items() if value is not None}
    assert _refused(kind, api.customers.set_billing_configurations, data=[good, bad])
    assert api.customers.retrieve_billing_configurations(customer_id=customer).data == []


def test_billing_configurations_are_archived_together_or_not_at_all(api: Blocking) -> None:
    customer = _create(api)
    entry = {"customer_id": customer, "billing_provider": "netsuite", "delivery_method": "direct_to_billing_provider"}
    first, second = (c.id for c in api.customers.set_billing_configurations(data=[entry, entry]).data)
    archive, listed = api.customers.archive_billing_configurations, api.customers.retrieve_billing_configurations
    ids = {"customer_id": customer, "customer_billing_provider_configuration_ids": [first, NOBODY]}
    assert _refused(metronome.BadRequestError, archive, **ids)
    assert [c.id for c in listed(customer_id=customer).data] == [first, second]
    one = {"customer_id": customer, "customer_billing_provider_configuration_ids": [first]}
    assert archive(**one).to_dict() == {"data": one}
    assert [c.id for c in listed(customer_id=customer).data] == [second]
    both = listed(customer_id=customer, include_archived=True).data
    assert [(c.id, c.archived_at is None) for c in both] == [(first, False), (second, True)]
    assert _refused(metronome.BadRequestError, archive, **one)
    assert _refused(metronome.NotFoundError, archive, **{**one, "customer_id": NOBODY})
    assert _refused(metronome.NotFoundError, listed, customer_id=NOBODY)


def test_the_old_billing_configuration(api: Blocking) -> None:
    customer = _create(api)
    stripe = {"customer_id": customer, "billing_provider_type": "stripe"}
    old = api.billing_config
    assert _refused(metronome.NotFoundError, old.retrieve, **stripe)
    assert _refused(metronome.NotFoundError, old.delete, **stripe)
    values = {"billing_provider_customer_id": "cus_1", "stripe_collection_method": "charge_automatically"}
    assert old.create(**stripe, **values) is None
    assert old.retrieve(**stripe).to_dict() == {"data": values}
    old.create(**stripe, billing_provider_customer_id="cus_2")
    assert old.retrieve(**stripe).to_dict() == {"data": {"billing_provider_customer_id": "cus_2"}}
    assert old.delete(**stripe) is None
    assert _refused(metronome.NotFoundError, old.retrieve, **stripe)


def test_the_old_billing_configuration_of_a_market_place_stays(api: Blocking) -> None:
    aws = {"customer_id": _create(api), "billing_provider_type": "aws_marketplace"}
    values = {
        "billing_provider_customer_id": "c",
        "aws_customer_id": "a",
        "aws_customer_account_id": "b",
        "aws_product_code": "p",
        "aws_region": "eu-north-1",
    }
    api.billing_config.create(**aws, **values)
    assert api.billing_config.retrieve(**aws).to_dict() == {"data": values}
    assert _refused(metronome.BadRequestError, api.billing_config.delete, **aws)
    assert api.billing_config.retrieve(**aws).to_dict() == {"data": values}


@pytest.mark.parametrize(
    "wrong",
    [
        {"billing_provider_type": "paypal"},
        {"billing_provider_customer_id": None},
        {"billing_provider_customer_id": ""},
        {"aws_region": "moon"},
        {"stripe_collection_method": "x"},
    ],
    ids=str,
)
def test_an_old_billing_configuration_that_cannot_be_set(api: Blocking, wrong: dict[str, Any]) -> None:
    customer = _create(api)
    values = {"billing_provider_type": "stripe", "billing_provider_customer_id": "c", **wrong}
    assert _refused(metronome.BadRequestError, api.billing_config.create, customer_id=customer, **values)
    nobody = {"billing_provider_type": "stripe", "billing_provider_customer_id": "c"}
    assert _refused(metronome.NotFoundError, api.billing_config.create, customer_id=NOBODY, **nobody)


# Calls that the sandbox does not support
# ----------------------------------------------------------------------------------


def test_usage_is_not_played(api: Blocking) -> None:
    customer = _create(api)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(metronome.NotFoundError):
        api.wait(api.customers.list_billable_metrics(customer_id=customer))
    with pytest.raises(metronome.NotFoundError):
        api.wait(api.customers.list_costs(customer_id=customer, starting_on=day, ending_before=day))
    events = [{"event_type": "heartbeat"}]
    assert _refused(metronome.NotFoundError, api.customers.preview_events, customer_id=customer, events=events)


def test_no_call_of_the_client_was_forgotten(api: Blocking) -> None:
    """A call that is new in a release fails here: support it, or list it above as unsupported."""

    def calls(resource: object) -> set[str]:
        functions = inspect.getmembers(type(resource), inspect.isfunction)
        return {name for name, _ in functions if not name.startswith("_")}

    v1 = api.client.v1
    assert calls(v1.customers) == {
        *("create", "retrieve", "list", "archive", "set_name", "set_ingest_aliases", "update_config"),
        *("set_billing_configurations", "retrieve_billing_configurations", "archive_billing_configurations"),
        *("list_billable_metrics", "list_costs", "preview_events"),
    }
    assert calls(v1.customers.billing_config) == {"create", "retrieve", "delete"}
    assert calls(v1.custom_fields) == {"add_key", "list_keys", "remove_key", "set_values", "delete_values"}


def test_the_list_as_the_client_got_it(api: Blocking) -> None:
    customer = _create(api)
    raw = api.wait(api.client.v1.customers.with_raw_response.list(limit=1))
    assert raw.status_code == 200
    assert raw.headers["content-type"].startswith("application/json")
    # Only fields that the vendor's model has.
    assert set(raw.http_response.json()["data"][0]) == set(metronome.types.v1.CustomerDetail.model_fields) - {
        "current_billable_status"
    }
    assert api.wait(api.client.v1.customers.with_raw_response.archive(id=customer)).status_code == 200
