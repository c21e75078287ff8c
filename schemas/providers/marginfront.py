"""MarginFront's customer: every documented field, for reading and writing.

Sources: https://docs.marginfront.com/sdk/customers, https://marginfront.mintlify.app/api-reference/customers. The names
of the two timestamps, and that they cannot be set, are assumed from the conventions of such APIs. Maximum lengths are
not documented.
"""

from __future__ import annotations

import polars as pl

from tranship.schemas.provider import Field, Overflow, ProviderSchema

SCHEMA = ProviderSchema(
    provider="marginfront",
    title="MarginFront",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        Field("externalId", canonical="external_id"),
        Field("name", canonical="name", required=True, always_present=True),
        Field("email", canonical="email"),
        Field("phone", canonical="phone"),
        Field("addressLine1", canonical="address_line1"),
        Field("addressLine2", canonical="address_line2"),
        Field("city", canonical="city"),
        Field("state", canonical="state"),
        Field("zipCode", canonical="zip_code"),
        Field("country", canonical="country"),
        # Set to UTC if missing, as billing periods depend on it.
        Field("timezone", canonical="timezone", default="UTC"),
        Field(
            "status",
            canonical="status",
            default="active",
            choices=("active", "inactive", "suspended"),
            write=pl.col("status").replace({"trial": "active", "cancelled": "inactive"}),
        ),
        Field("billingContactName", canonical="billing_contact_name"),
        Field("billingContactEmail", canonical="billing_contact_email"),
        Field("netTerms", "number", canonical="net_terms", default="30"),
        Field("invoiceEmailRecipients", "texts", canonical="invoice_cc_emails"),
        Field("agentCode", settable=False, why="it would subscribe the customer to that agent; it is never sent"),
        Field("subscriptions", "array", settable=False),
        Field("createdAt", canonical="created_at", settable=False, server_generated=True),
        Field("updatedAt", canonical="updated_at", settable=False, server_generated=True),
    ),
    overflow=Overflow("metadata"),
    partial={"status": "active, inactive and suspended"},
)
