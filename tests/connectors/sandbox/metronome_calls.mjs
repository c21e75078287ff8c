// Every customer call of @metronome/sdk, once, against the base URL in METRONOME_BASE_URL; prints what came back as
// one JSON object. test_metronome_node.py installs the package, runs this and looks at the answers.
import { createRequire } from "node:module";

// ES modules are not looked for in NODE_PATH; the package is.
const { Metronome } = createRequire(process.env.SDK_AT + "/")("@metronome/sdk");

const client = new Metronome({ maxRetries: 0 });
const { customers, customFields } = client.v1;
const nobody = "00000000-0000-4000-8000-000000000000";
const said = {};

async function note(name, answer) {
  const value = await answer;
  said[name] = value === undefined ? null : value;
  return value;
}

async function refused(name, call) {
  try {
    await call();
    said[name] = "no error";
  } catch (error) {
    said[name] = { kind: error.constructor.name, status: error.status, body: error.error };
  }
}

async function everything(name, pages) {
  said[name] = [];
  for await (const item of pages) said[name].push(item);
}

for (const key of ["tier", "canon_email"]) {
  await note(`addKey ${key}`, customFields.addKey({ entity: "customer", key, enforce_uniqueness: false }));
}
await refused("addKey again", () =>
  customFields.addKey({ entity: "customer", key: "tier", enforce_uniqueness: false }),
);
await everything("listKeys", customFields.listKeys({ entities: ["customer"] }));

const first = await note(
  "create",
  customers.create({
    name: "Nordlys AB",
    ingest_aliases: ["cus_000000042", "ap@nordlys.example"],
    custom_fields: { tier: "pro" },
    customer_billing_provider_configurations: [
      {
        billing_provider: "stripe",
        delivery_method: "direct_to_billing_provider",
        configuration: { stripe_customer_id: "cus_123", stripe_collection_method: "charge_automatically" },
      },
    ],
  }),
);
const id = first.data.id;
const second = await customers.create({ name: "n".repeat(161) });
const third = await customers.create({ name: "third" });
said["long name"] = second.data.name.length;
await refused("create again", () => customers.create({ name: "B", ingest_aliases: ["cus_000000042"] }));
await refused("create with an unknown key", () => customers.create({ name: "B", custom_fields: { never: "x" } }));

await note("retrieve", customers.retrieve({ customer_id: id }));
await refused("retrieve nobody", () => customers.retrieve({ customer_id: nobody }));
await everything("list", customers.list({ limit: 1 }));
await everything("list of ids", customers.list({ customer_ids: [third.data.id, id], limit: 1 }));
await everything("list of an alias", customers.list({ ingest_alias: "ap@nordlys.example" }));
await refused("list of 101", () => customers.list({ limit: 101 }));

await note("setName", customers.setName({ customer_id: id, name: "Nordlys" }));
await note("setIngestAliases", customers.setIngestAliases({ customer_id: id, ingest_aliases: ["new"] }));
await note("updateConfig", customers.updateConfig({ customer_id: id, salesforce_account_id: "sf-1" }));
await everything("list of an account", customers.list({ salesforce_account_ids: ["sf-1", "sf-2"] }));
const fields = { entity: "customer", entity_id: id };
await note("setValues", customFields.setValues({ ...fields, custom_fields: { canon_email: "a@b.example" } }));
await note("deleteValues", customFields.deleteValues({ ...fields, keys: ["tier"] }));
await note("retrieve again", customers.retrieve({ customer_id: id }));
await note("removeKey", customFields.removeKey({ entity: "customer", key: "canon_email" }));

const direct = { billing_provider: "netsuite", delivery_method: "direct_to_billing_provider" };
const set = await note("setBilling", customers.setBillingConfigurations({ data: [{ customer_id: id, ...direct }] }));
await note(
  "archiveBilling",
  customers.archiveBillingConfigurations({
    customer_id: id,
    customer_billing_provider_configuration_ids: [set.data[0].id],
  }),
);
await note("getBilling", customers.retrieveBillingConfigurations({ customer_id: id }));
await note("getBilling archived", customers.retrieveBillingConfigurations({ customer_id: id, include_archived: true }));

const stripe = { customer_id: id, billing_provider_type: "stripe" };
await note("billingConfig.create", customers.billingConfig.create({ ...stripe, billing_provider_customer_id: "c" }));
await note("billingConfig.retrieve", customers.billingConfig.retrieve(stripe));
await note("billingConfig.delete", customers.billingConfig.delete(stripe));
await refused("billingConfig.retrieve again", () => customers.billingConfig.retrieve(stripe));

await note("archive", customers.archive({ id }));
await refused("archive again", () => customers.archive({ id }));
await everything("list archived", customers.list({ only_archived: true }));
await refused("setName archived", () => customers.setName({ customer_id: id, name: "x" }));

const key = { headers: { "Idempotency-Key": "k-1" } };
const once = await customers.create({ name: "once" }, key);
const twice = await customers.create({ name: "once" }, key);
said["same key"] = once.data.id === twice.data.id;
await refused("same key, other body", () => customers.create({ name: "other" }, key));

const day = "2026-01-01T00:00:00Z";
await refused("listBillableMetrics", () => customers.listBillableMetrics({ customer_id: id }));
await refused("listCosts", () => customers.listCosts({ customer_id: id, starting_on: day, ending_before: day }));
await refused("previewEvents", () => customers.previewEvents({ customer_id: id, events: [{ event_type: "e" }] }));
const stranger = new Metronome({ maxRetries: 0, bearerToken: "ro_1" });
await refused("read-only token", () => stranger.v1.customers.create({ name: "x" }));

console.log(JSON.stringify({ ids: [id, second.data.id, third.data.id, once.data.id], said }));
