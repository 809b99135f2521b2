"""The chart as the tests install it, the RBAC permissions that it grants, and a tenant that uses a release."""
