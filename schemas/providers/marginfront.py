"""MarginFront's customer: every documented field, both ways.

Source: https://docs.marginfront.com/sdk/customers and https://marginfront.mintlify.app/api-reference/customers. The
names of the two time stamps, and that they cannot be set, are taken from the habit of such APIs. Lengths are not
documented.
"""

from __future__ import annotations

import polars as pl

from tranship.schemas.provider import Bag, Field, Wire

WIRE = Wire(
    provider="marginfront",
    title="MarginFront",
    fields=(
        Field("id", home="provider_id", settable=False, always=True, made=True),
        Field("externalId", home="external_id"),
        Field("name", home="name", required=True, always=True),
        Field("email", home="email"),
        Field("phone", home="phone"),
        Field("addressLine1", home="address_line1"),
        Field("addressLine2", home="address_line2"),
        Field("city", home="city"),
        Field("state", home="state"),
        Field("zipCode", home="zip_code"),
        Field("country", home="country"),
        # Filled in where absent: it drives billing periods.
        Field("timezone", home="timezone", default="UTC"),
        Field(
            "status",
            home="status",
            default="active",
            words=("active", "inactive", "suspended"),
            write=pl.col("status").replace({"trial": "active", "cancelled": "inactive"}),
        ),
        Field("billingContactName", home="billing_contact_name"),
        Field("billingContactEmail", home="billing_contact_email"),
        Field("netTerms", "number", home="net_terms", default="30"),
        Field("invoiceEmailRecipients", "texts", home="invoice_cc_emails"),
        Field("agentCode", settable=False, why="it would subscribe the customer to that agent; it is never sent"),
        Field("subscriptions", "array", settable=False),
        Field("createdAt", home="created_at", settable=False, made=True),
        Field("updatedAt", home="updated_at", settable=False, made=True),
    ),
    bag=Bag("metadata"),
    narrowed={"status": "active, inactive and suspended"},
)
