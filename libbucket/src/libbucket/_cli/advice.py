"""What each reason means to an operator: one row for each `Reason`. Pure data.

The texts follow the table of reasons in docs/operating.md. Who has to act is not here but in `_outcomes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libbucket.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

ADVICE: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.PROVISIONING: ("the provisioner to finish", "Wait; if it lasts, read the provisioner's log."),
    Reason.BOUND: ("nothing", "Nothing."),
    Reason.RELEASED: ("nothing", "Nothing."),
    Reason.RECLAIMED: ("nothing", "Nothing."),
    Reason.RESTORED: ("nothing", "Find out who removed or edited what was restored."),
    Reason.CREDENTIALS_ROTATED: ("nothing", "Restart pods that read the Secret as environment variables."),
    Reason.DRIFT_REPAIRED: ("nothing", "Find out who changed it."),
    Reason.UNMANAGED_CONFIG: ("nothing", "Remove the key, or add it to --allow-additional-config."),
    Reason.PROVISIONER_WARNING: ("nothing", "Read the warning."),
    Reason.PURGING: ("the bucket to be emptied", "Wait."),
    Reason.INVALID_CLAIM: ("another claim", "Make a new claim; names cannot be edited once set."),
    Reason.INVALID_CONFIG: ("an edit of the claim", "Correct the key of spec.additionalConfig that the message names."),
    Reason.INVALID_UPDATE: ("an edit of the claim", "Undo the edit, or make a new claim."),
    Reason.STORAGE_CLASS_MISSING: ("its StorageClass", "Create the class; a claim cannot change its class."),
    Reason.INVALID_PARAMETERS: ("valid parameters of its class", "Delete the class and create it with valid ones."),
    Reason.ADMIN_SECRET_MISSING: ("the administrator's Secret", "Create the Secret, or fix the RBAC permissions."),
    Reason.INVALID_ADMIN_SECRET: ("a valid administrator's Secret", "Fix the key that the message names."),
    Reason.ACCESS_DENIED: ("access to the store", "Fix the administrator's Secret, or its permissions in the store."),
    Reason.PROVISIONER_MISCONFIGURED: ("a provisioner with valid settings", "Fix the flag that the message names."),
    Reason.STORE_REFUSED: ("the store to accept the request", "Fix what the message names."),
    Reason.OBJECT_BUCKET_CONFLICT: ("a free ObjectBucket name", "Delete the ObjectBucket that is not needed."),
    Reason.SECRET_CONFLICT: ("the Secret's name", "Rename or delete the Secret, or rename the claim."),
    Reason.CONFIG_MAP_CONFLICT: ("the ConfigMap's name", "Rename or delete the ConfigMap, or rename the claim."),
    Reason.NAMESPACE_TERMINATING: ("the end of its namespace", "Nothing: the claim goes with its namespace."),
    Reason.BUCKET_EXISTS: (
        "a bucket name that is free",
        "Make a claim with another name. To share it: a class with bucketName. After a restore: libbucket adopt.",
    ),
    Reason.BUCKET_NOT_FOUND: ("the bucket that the class names", "Create the bucket, or fix the class."),
    Reason.BUCKET_LOST: ("its bucket", "Restore the bucket in the store, or delete the claim and make it again."),
    Reason.BUCKET_NOT_EMPTY: (
        "the objects in its bucket",
        "Wait for the end of the lock or lift it, empty the bucket, or annotate as the message says.",
    ),
    Reason.QUOTA_EXCEEDED: ("a limit of the store", "Raise the limit, or delete what is not needed."),
    Reason.NOT_READY: ("the store to complete a change", "Wait."),
    Reason.THROTTLED: (
        "the store to accept more requests",
        "Wait: the provisioner spaces its calls. If it takes too long, ask for a higher quota.",
    ),
    Reason.STORE_UNAVAILABLE: ("the store to answer", "Check the store and the network."),
    Reason.CLUSTER_UNAVAILABLE: ("the API server to answer", "Check the API server."),
    Reason.REJECTED_BY_CLUSTER: (
        "the API server to accept a write",
        "Repair the webhook, raise the quota, apply the bundled CRDs, or exempt the provisioner.",
    ),
    Reason.DELETION_BLOCKED: ("its StorageClass", "Create the class again, or recover manually: docs/operating.md."),
    Reason.INTERNAL_ERROR: ("a fix of the provisioner", "Report it, with the log lines of the id in the message."),
}
"""For each reason, what the claim waits for, and what to do next."""
