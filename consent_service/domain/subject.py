"""Names of tenants and subjects."""

from typing import NewType

TenantName = NewType("TenantName", str)
"""The human-chosen name of a tenant, `default` unless another was created."""

ExternalId = NewType("ExternalId", str)
"""What a shop calls a subject (customer number, e-mail). Never stored, logged or sent in clear."""

SubjectRef = NewType("SubjectRef", str)
"""The opaque reference of a subject: a keyed hash of the external id, meaningless outside its tenant."""
