"""Releases one package of this repository: `nox -s release -- minio 0.2.0`.

`packages` and `git` gather, `decide` turns what they found into a plan or one sentence of refusal, `perform` carries
the plan out in a scratch clone with what `artifacts` builds, and hands it over in one step at the end. `compatibility`
finds which libbucket a package has to be tried with. Knows no store, and nothing of where things are published.
"""
